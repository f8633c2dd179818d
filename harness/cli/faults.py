"""``parity faults``: inject known bugs, and say what caught each of them."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from harness.cli.console import (
    COLOURS,
    Json,
    answer,
    decibels,
    mark_page,
    out,
    print_table,
    progress,
    write_page,
)
from harness.cli.outputs import folder_option
from harness.cli.settings import GoldenRoot
from harness.errors import NotEvaluatedError, ParityError
from harness.places import GOLDEN_ROOT

if TYPE_CHECKING:
    from harness.faults import Fault
    from harness.verdicts import Run


commands = typer.Typer()


@commands.command(
    "faults",
    epilog="Examples: parity faults --sample; parity faults --level program --level stft; "
    "parity faults --fault 'weights.*' --out reports/faults; parity faults --list; "
    "parity faults --mutations --out reports/faults; parity faults --clean-runs 50",
)
def faults(
    level: Annotated[
        list[str] | None, typer.Option(help="Only faults of this level (repeatable).")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="Only faults of this name or pattern (repeatable).")
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Only those that are part of every run.")
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Say which faults there are; inject none.")
    ] = False,
    mutations: Annotated[
        bool, typer.Option("--mutations", help="Instead: mutation testing of every operation.")
    ] = False,
    every: Annotated[
        int, typer.Option(min=1, help="With --mutations: mutate each so many-th operation.")
    ] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="With --mutations: worker processes; default: cores.")
    ] = None,
    clean_runs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Instead: N runs of what is sound; 50 to pass."),
    ] = None,
    out_dir: Annotated[
        Path | None, folder_option("Also write the document and the report here.")
    ] = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
) -> None:
    """Inject known conversion bugs on purpose, and say what caught each of them."""
    from harness.faults import select_faults
    from harness.verdicts.jsondata import plain

    if mutations or clean_runs is not None:
        if mutations and clean_runs is not None:
            raise ParityError("give --mutations or --clean-runs, not both")
        if level or fault or sample or listing:
            raise ParityError(
                "--mutations and --clean-runs inject no faults: leave out --level, --fault, "
                "--sample and --list"
            )
        raise typer.Exit(_prove(clean_runs, every, jobs, out_dir, golden_root, json))
    chosen = select_faults(levels=tuple(level or ()), patterns=tuple(fault or ()), sample=sample)
    if listing:
        _list(chosen, json)
        return
    mark_page(out_dir)
    run = _inject(chosen, golden_root, thorough=not sample)
    write_page(run, out_dir)
    rows = [plain(row) for row in run.faults]
    document = {"verdict": run.verdict.value, "sentence": run.sentence(), "faults": rows}
    answer(json, document, lambda: _print(run))
    raise typer.Exit(run.exit_code)


def _prove(
    clean_runs: int | None,
    every: int,
    jobs: int | None,
    out_dir: Path | None,
    golden_root: Path,
    json: bool,
) -> int:
    """Run what stands beside the faults, and return the exit code.

    Raises:
        NotEvaluatedError: this was installed without it.
    """
    if importlib.util.find_spec("harness.faults.mutation") is None:
        raise NotEvaluatedError(
            "--mutations and --clean-runs prove the harness itself and are not installed with it; "
            "run them in a clone of the project, with 'python -m pip install -e .[test]'"
        )
    from harness.cli import proofs
    from harness.faults import SUBJECT

    if clean_runs is not None:
        return proofs.clean_runs(SUBJECT, golden_root, runs=clean_runs, folder=out_dir, json=json)
    return proofs.mutations(SUBJECT, golden_root, jobs=jobs, every=every, folder=out_dir, json=json)


def _inject(chosen: Sequence[Fault], golden_root: Path, *, thorough: bool) -> Run:
    """Inject the faults and return the run.

    Raises:
        NotEvaluatedError: there is nothing to inject them into.
    """
    from harness.faults import SUBJECT, FaultInjector
    from harness.origin import provenance
    from harness.verdicts import Profile
    from harness.verdicts.collector import Collector
    from harness.workbench import Workbench

    recipes = golden_root / "recipes.toml"
    if not recipes.is_file():
        raise NotEvaluatedError(
            f"nothing was injected: {recipes} is not there, and faults are injected into {SUBJECT} "
            "on golden cases; give the folder that has it by --golden-root, or none"
        )
    profile = Profile("faults", layers=(), engines=(), subjects=(SUBJECT,), faults=True)
    collector = Collector(profile)
    with (
        tempfile.TemporaryDirectory(prefix="parity-faults-") as scratch,
        progress("injecting faults") as advance,
    ):
        injector = FaultInjector(Workbench(golden_root, Path(scratch)))
        for done, fault in enumerate(chosen):
            advance(done, len(chosen))
            collector.faults.append(injector.inject(fault, thorough=thorough))
        advance(len(chosen), len(chosen))
    return collector.finish(provenance())


def _list(chosen: Sequence[Fault], json: bool) -> None:
    names = ("name", "level", "bug", "source", "caught_by", "sample")
    document = {"faults": [{name: getattr(item, name) for name in names} for item in chosen]}
    rows = [(item.name, item.caught_by, "yes" if item.sample else "", item.bug) for item in chosen]
    columns = ("fault", "caught by", "in every run", "bug")
    answer(json, document, lambda: print_table(f"{len(chosen)} faults", columns, rows))


def _print(run: Run) -> None:
    rows = [
        (
            row.name,
            Text(row.outcome.value.replace("_", " "), style=COLOURS[row.verdict.value]),
            row.expected,
            row.caught_by.partition("/")[2] if row.caught else row.reason,
            decibels(row.headroom_db),
            f"{row.duration_s:.1f} s",
        )
        for row in run.faults
    ]
    columns = ("fault", "outcome", "expected", "caught by, or why not", "beyond the gate", "time")
    print_table("Faults", columns, rows, right=(4, 5))
    out.print(Text(run.sentence(), style=COLOURS[run.verdict.value]))
