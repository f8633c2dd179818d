"""``parity verdict`` and ``parity inventory``: what a run says, and what it has to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import COLOURS, Json, answer, out
from harness.cli.outputs import file_option
from harness.cli.report import RunFile, read_run
from harness.errors import NotEvaluatedError, ParityError, RunError
from harness.places import INVENTORY

if TYPE_CHECKING:
    from harness.verdicts import Run
    from harness.verdicts.completeness import Expectation

inventories = typer.Typer(
    help="What a complete run must look at, listed apart from what pytest collected.",
    no_args_is_help=True,
    epilog="Examples: parity inventory accept reports/latest/run.json; "
    "parity inventory diff reports/latest/run.json",
)
InventoryFile = Annotated[Path, typer.Option("--inventory", help="The file of the inventory.")]


commands = typer.Typer()
commands.add_typer(inventories, name="inventory")


@commands.command(
    "verdict",
    epilog="Example: parity verdict reports/latest/run.json --since 2026-11-29T12:00:00+00:00",
)
def verdict(
    run_file: RunFile,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="The run must have begun then or later (ISO 8601).")
    ] = "",
    json: Json = False,
) -> None:
    """Say a run's verdict, why, and how complete it is; the exit code is the verdict's.

    Whoever starts a test runner can't trust that it came to its end: with --since a document that
    an earlier run left is not evaluated.
    """
    if not run_file.exists():
        raise NotEvaluatedError(f"there is no run at {run_file}: whatever was run wrote none")
    run = read_run(run_file)
    if since and _time(run.started, "the start of the run") < _time(since, "--since"):
        raise NotEvaluatedError(
            f"{run_file} is of {run.started}, which is before {since}: whatever was run since "
            "wrote no run"
        )
    document = {
        "verdict": run.verdict.value,
        "sentence": run.sentence(),
        "coverage": run.coverage,
        "reasons": list(run.red + run.missing),
    }
    answer(json, document, lambda: _print_verdict(run))
    raise typer.Exit(run.exit_code)


def _print_verdict(run: Run) -> None:
    for reason in run.red + run.missing:
        out.print(f"- {reason}")
    out.print(run.sentence(), style=COLOURS[run.verdict.value])
    if run.coverage:
        out.print(run.coverage)


@inventories.command()
def accept(
    run_file: RunFile,
    inventory: Annotated[
        Path, file_option("The file of the inventory.", option="--inventory")
    ] = INVENTORY,
    json: Json = False,
) -> None:
    """List what a run looked at as what complete runs look at; says what changes by it."""
    from harness.atomic import write_text
    from harness.verdicts.inventory import differences, inventory_text, read_inventory

    listed = _listed(run_file)
    before = read_inventory(inventory) if inventory.exists() else None
    changed = differences(before, listed) if before else ()
    write_text(inventory, inventory_text(listed))
    totals = {
        "gating checks": sum(row.gating for row in listed.checks),
        "exploratory checks": sum(row.exploratory for row in listed.checks),
        "faults": len(listed.faults),
    }
    counts = ", ".join(f"{number} {noun}" for noun, number in totals.items())
    document = {"inventory": str(inventory), "changed": list(changed), **totals}
    answer(json, document, lambda: _print_lines(changed, f"{inventory}: {counts} of {run_file}"))


@inventories.command()
def diff(run_file: RunFile, inventory: InventoryFile = INVENTORY, json: Json = False) -> None:
    """Say what a run looked at that the inventory counts differently; exit code 1 if anything."""
    from harness.verdicts import EXIT_CODES, Verdict
    from harness.verdicts.inventory import differences, read_inventory

    changed = differences(read_inventory(inventory), _listed(run_file))
    document = {"inventory": str(inventory), "changed": list(changed)}
    last = f"{len(changed)} counts of {inventory} differ from {run_file}"
    answer(json, document, lambda: _print_lines(changed, last))
    if changed:
        raise typer.Exit(EXIT_CODES[Verdict.FAIL])


def _print_lines(changed: Sequence[str], last: str) -> None:
    for line in (*changed, last):
        out.print(line)


def _listed(run_file: Path) -> Expectation:
    """Return the inventory of a run.

    Raises:
        RunError: it was narrowed, or did not pass for another reason than the inventory.
    """
    from harness.profiles import DEFAULT
    from harness.verdicts import Verdict
    from harness.verdicts.inventory import NO_INVENTORY, inventory_of

    run = read_run(run_file)
    if run.profile != DEFAULT:
        raise RunError(
            f"{run_file} is no run of the default profile: run 'nox -s parity' without --subject, "
            "--case, --recipe and --engine, and give that"
        )
    gaps = tuple(gap for gap in run.gaps if not gap.startswith(NO_INVENTORY))
    apart = replace(run, expected=None, gaps=gaps)
    if apart.verdict is not Verdict.PASS:
        raise RunError(
            f"{run_file} can't say what a complete run looks at: {apart.sentence()} Only a run in "
            "which nothing else is missing or red can"
        )
    return inventory_of(run.checks, run.faults)


def _time(text: str, noun: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ParityError(
            f"{noun} is {text!r}, expected a time like 2026-11-29T12:00:00+00:00"
        ) from error
    if found.tzinfo is None:
        raise ParityError(f"{noun} is {text!r}, expected a time with its zone, such as +00:00")
    return found
