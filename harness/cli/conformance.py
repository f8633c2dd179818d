"""``parity conformance``: coremltools' own operation tests, judged through the executor."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import Json, answer, log, out, print_table, verdict_text
from harness.cli.outputs import folder_option
from harness.errors import UnknownNameError

if TYPE_CHECKING:
    from harness.conformance import Conformance

EPILOG = (
    "Examples: parity conformance --sample 1; parity conformance -k TestSoftmax; "
    "parity conformance --front-end torch --sample 1; "
    "parity conformance --engine onnx --sample 1; "
    "exit codes: 0 pass, 1 a test failed or a waiver is stale, 3 nothing was executed."
)


commands = typer.Typer()


@commands.command("conformance", epilog=EPILOG)
def conformance(
    folder: Annotated[Path, folder_option("Gets conformance.json and conformance.md.")] = Path(
        "reports", "conformance"
    ),
    sample: Annotated[
        int, typer.Option(min=0, help="So many tests of each test function; 0 for all.")
    ] = 0,
    keyword: Annotated[
        str, typer.Option("-k", help="Only tests whose name matches; as in pytest.")
    ] = "",
    front_end: Annotated[
        str,
        typer.Option(
            metavar="torch",
            help="Instead: the tests of this front end, which convert a model of its framework.",
        ),
    ] = "",
    engine: Annotated[
        str, typer.Option(help="What executes the programs: mil, or onnx by ONNX Runtime.")
    ] = "mil",
    workers: Annotated[
        int, typer.Option("-n", "--workers", min=0, help="Test processes; 0: one on each core.")
    ] = 0,
    json: Json = False,
) -> None:
    """Run coremltools' tests of MIL operations through the executor; a table by operation type.

    With --front-end torch, its tests of converted PyTorch models instead.
    """
    from harness.conformance import Selection, run
    from harness.conformance.executors import EXECUTORS

    if front_end not in ("", "torch"):
        raise UnknownNameError("front end", front_end, ["torch"])
    if engine not in EXECUTORS:
        raise UnknownNameError("engine", engine, EXECUTORS)
    selection = Selection(sample, keyword, front_end or "operations", engine)
    document = run(folder, selection, workers=workers)
    answer(json, json_module.loads(document.to_json()), lambda: _print(document, folder))
    raise typer.Exit(document.exit_code)


def _print(document: Conformance, folder: Path) -> None:
    from harness.verdicts.rows.documents import failures_first

    tested = failures_first(document.operations)
    rows = [(row.operation, row.passed, row.failed, row.waived) for row in tested]
    columns = ("operation", "passed", "failed", "waived")
    print_table("Tests by operation type", columns, rows, right=(1, 2, 3))
    counts = [(name.replace("_", " "), number) for name, number in document.counts.items()]
    print_table("Tests", ("outcome", "tests"), counts, right=(1,))
    for reason in document.red[:20]:
        out.print(reason)
    out.print(verdict_text(document.verdict) + f"  {document.sentence()}")
    log.print(f"written: {folder / 'conformance.json'} and conformance.md")
