"""``parity sweep``: recipes side by side on subjects and cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.console import Json, answer, decibels, print_table, progress
from harness.cli.lab import write_document
from harness.cli.settings import GoldenRoot, LabCases, Numerics
from harness.errors import ParityError
from harness.places import GOLDEN_ROOT, generated

SWEEPS = generated("build/sweep")

commands = typer.Typer()


@commands.command(
    "sweep",
    epilog="Example: parity sweep mini --precisions fp16,mixed,int8 --case song --case noise",
)
def sweep(
    subjects: Annotated[list[str], typer.Argument(help="NAME, NAME@seeded or NAME@PATH.")],
    precisions: Annotated[str, typer.Option(help="Recipes: names or TOML files, with commas.")],
    case: LabCases = None,
    numerics: Numerics = "storage",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    cache: Annotated[
        Path, typer.Option(help="Folder of results: a sweep that was killed goes on from it.")
    ] = SWEEPS,
    target: Annotated[Path | None, typer.Option("--out", help="Write the document here.")] = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
) -> None:
    """Measure recipes side by side on subjects and cases, by virtual runs."""
    from functools import partial

    from harness.precision.sweep import run_sweep
    from harness.workbench.lab import fp32_package, measure_cell, sweep_cells

    names = [name for name in precisions.split(",") if name]
    packages = {subject: fp32_package(subject, cache) for subject in subjects}
    cells = sweep_cells(packages, names, case or ["song", "noise"], golden_root, numerics)
    if not cells:
        raise ParityError(f"none of the recipes {precisions} is for {', '.join(subjects)}")
    with progress("sweeping") as advance:
        found = run_sweep(
            cells,
            partial(measure_cell, packages, golden_root),
            cache,
            workers=workers,
            advance=advance,
        )
    write_document(target, found)
    answer(json, found, lambda: _print_sweep(found["cells"], numerics))


def _print_sweep(cells: Sequence[Mapping[str, Any]], numerics: str) -> None:
    rows = []
    for row in cells:
        levels = {key: value for key, value in row["snr_db"].items() if value is not None}
        worst = min(levels, key=lambda key: levels[key], default="")
        share = f"{100 * row['fp32_share']:.2f} %"
        level = decibels(levels.get(worst, math.inf))
        size = f"{row['weight_bytes'] / 1e6:.1f} MB"
        rows.append((row["subject"], row["precision"], row["case"], size, share, level, worst))
    columns = ("subject", "recipe", "case", "weights", "flops in FP32", "worst", "of")
    print_table(f"virtual runs in {numerics} numerics", columns, rows, right=(3, 4, 5))
