"""``parity sweep``: recipes side by side on subjects and cases, on one machine or on many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from harness.cli.console import (
    Json,
    answer,
    decibels,
    note,
    out,
    print_table,
    progress,
    write_document,
)
from harness.cli.devices import Devices, ready_for
from harness.cli.outputs import file_option, folder_option
from harness.cli.settings import GoldenRoot, Inputs, LabCases, Numerics, Owner, StoreUrl
from harness.errors import ParityError
from harness.places import GOLDEN_ROOT, generated

SWEEPS = generated("build/sweep")
_LIMIT_BYTES = 64 << 20


class _RunByDefault(TyperGroup):
    """``parity sweep mini ...`` is ``parity sweep run mini ...``: the first word is a subject."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command that is meant before what was given."""
        return super().parse_args(ctx, args if args[:1] in (["merge"], ["run"]) else ["run", *args])


sweeps = typer.Typer(
    cls=_RunByDefault, help="Measure recipes side by side on subjects and cases, by virtual runs."
)
commands = typer.Typer()
commands.add_typer(sweeps, name="sweep")


@sweeps.command(
    "run",
    epilog="Examples: parity sweep mini --precisions fp16,mixed,int8 --case song --case noise; "
    "parity sweep X.mlpackage --inputs in.safetensors --precisions fp16,int8; "
    "parity sweep mini --precisions fp16,mixed --device ane-m1 --device gpu; "
    "parity sweep mini --precisions fp16,mixed --executor dask://scheduler:8786; "
    "parity sweep mini --precisions fp16,mixed --shard 3/12 --out 3.json",
)
def sweep(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="S|X.mlpackage...", help="NAME, NAME@seeded or NAME@PATH; or FP32 packages."
        ),
    ],
    precisions: Annotated[str, typer.Option(help="Recipes: names or TOML files, with commas.")],
    case: LabCases = None,
    given: Inputs = None,
    subject: Owner = None,
    numerics: Numerics = "storage",
    device: Devices = None,
    executor: Annotated[
        str, typer.Option(help="What computes: local, or dask://HOST:PORT of a scheduler.")
    ] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Processes of the local executor.")] = 1,
    shard: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Only the K-th of N parts; merge puts them together."),
    ] = None,
    cache: Annotated[
        Path,
        folder_option(
            "Folder of results: a sweep that was killed goes on from it.", option="--cache"
        ),
    ] = SWEEPS,
    store: StoreUrl = None,
    target: Annotated[Path | None, file_option("Write the document here.")] = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
) -> None:
    """Measure recipes side by side on subjects or packages, and cases, by virtual runs.

    Workers may die: what is done is kept and not measured again, and the document is the same.
    """
    from functools import partial

    from harness.conversion import named_recipes
    from harness.precision.executors import opener_of
    from harness.precision.sweep import FolderOfResults, Shard, run_sweep
    from harness.store import open_store
    from harness.workbench.sources import source_of
    from harness.workbench.stored import StoredResults
    from harness.workbench.sweeping import measure_cell, sweep_cells

    ways = tuple(dict.fromkeys((numerics, *(device or ()))))
    ready_for(device)
    part = None if shard is None else Shard.parse(shard)
    opener = opener_of(executor, workers)
    shared = None if store is None else open_store(store)
    here = FolderOfResults(cache.absolute())
    recipes = named_recipes(name for name in precisions.split(",") if name)
    found_of = {
        model: source_of(
            model,
            golden_root=golden_root,
            cases=case,
            given=given,
            default=("song", "noise"),
            note=note,
            subject=subject,
        )
        for model in models
    }
    if not any(s.takes(recipe) for s in found_of.values() for recipe in recipes.values()):
        raise ParityError(f"none of the recipes {precisions} is for {', '.join(models)}")
    for source in found_of.values():
        source.check_cases()
    sources = {model: source.stored(cache, shared) for model, source in found_of.items()}
    cells = sweep_cells(list(sources.values()), recipes, ways)
    with progress("sweeping") as advance:
        found = run_sweep(
            cells,
            partial(measure_cell, sources, recipes),
            here if shared is None else StoredResults(shared, here),
            executor=opener,
            shard=part,
            advance=advance,
        )
    write_document(target, found)
    answer(json, found, lambda: _print_sweep(found["cells"]))


@sweeps.command("merge", epilog="Example: parity sweep merge shard-*.json --out sweep.json")
def merge(
    documents: Annotated[
        list[Path], typer.Argument(metavar="SHARD.json", help="The documents of all shards.")
    ],
    target: Annotated[Path, file_option("Write the whole document here.")],
    json: Json = False,
) -> None:
    """Put the shards of a sweep together: the document is that of a single run, byte for byte."""
    from harness.bounded import read_json
    from harness.precision.shards import merge as merged

    given = {str(path): read_json(path, _LIMIT_BYTES, ParityError) for path in documents}
    if len(given) < len(documents):
        raise ParityError("a document is named twice; give each shard once")
    found = merged(given)
    write_document(target, found)
    words = f"{target}: {len(found['cells'])} cells of {len(given)} shards"
    answer(json, found, lambda: out.print(words))


def _print_sweep(cells: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for row in cells:
        levels = {key: value for key, value in row["snr_db"].items() if value is not None}
        worst = min(levels, key=lambda key: levels[key], default="")
        share = f"{100 * row['fp32_share']:.2f} %"
        level = decibels(levels.get(worst, math.inf)) if row["snr_db"] else "silent"
        size = f"{row['weight_bytes'] / 1e6:.1f} MB"
        names = (row["subject"], row["precision"], row["case"], row["numerics"])
        rows.append((*names, size, share, level, worst))
    columns = ("subject", "recipe", "case", "numerics", "weights", "flops in FP32", "worst", "of")
    print_table("virtual runs", columns, rows, right=(4, 5, 6))
