"""``parity attest``: what a run says of a package, bound to the package's bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import Json, answer, out
from harness.cli.outputs import file_option
from harness.cli.report import read_run

if TYPE_CHECKING:
    from harness.records import Attestation

commands = typer.Typer(
    name="attest",
    help="Attest what a run found of a package, and verify that offline.",
    no_args_is_help=True,
    epilog="Examples: parity attest make page/run.json X.mlpackage --out X.intoto.json; "
    "parity attest verify X.intoto.json X.mlpackage",
)

Package = Annotated[
    Path, typer.Argument(metavar="X.mlpackage", help="The package that it is about.")
]


@commands.command(
    epilog="Example: parity attest make page/run.json X.mlpackage --out X.intoto.json"
)
def make(
    run_file: Annotated[
        Path, typer.Argument(metavar="RUN.json", help="A run of parity check --report.")
    ],
    package: Package,
    target: Annotated[Path, file_option("The statement (JSON).")],
    json: Json = False,
) -> None:
    """Write an in-toto statement over the package's digest: what was judged, how, with what result.

    The result is that of the run: a failed run is attested as FAILED, and so is one that was not
    evaluated. The run has to be of this very package.
    """
    from harness.atomic import write_text
    from harness.records import attest, read_attestation

    run = read_run(run_file)
    write_text(target, attest(run, run_file.read_bytes(), package))
    made = read_attestation(target)
    document = {"attestation": str(target), "result": made.result, "sentence": made.sentence}
    answer(json, document, lambda: out.print(f"{target}: {made.result}\n{made.sentence}"))


@commands.command(
    epilog="Examples: parity attest verify X.intoto.json X.mlpackage; "
    "parity attest verify X.intoto.json X.mlpackage --run page/run.json"
)
def verify(
    statement: Annotated[
        Path, typer.Argument(metavar="STATEMENT.json", help="What parity attest make wrote.")
    ],
    package: Package,
    run_file: Annotated[
        Path | None, typer.Option("--run", help="The run document that it should be of.")
    ] = None,
    json: Json = False,
) -> None:
    """Verify a statement without any network: that the package is the one, and what was found.

    Exit code 0 if it holds and the package passed; 1 if it does not hold, or the package failed; 3
    if it holds and the package was not evaluated. Whether the statement itself is genuine, a
    signature tells, which is made and verified by other tools.
    """
    from harness.records import read_attestation
    from harness.verdicts import EXIT_CODES, Verdict

    found = read_attestation(statement)
    complaint = found.complaint(package, run_file)
    document = {
        "verified": not complaint,
        "result": found.result,
        "verdict": found.verdict.value,
        "reason": complaint or found.sentence,
    }
    answer(json, document, lambda: _print(found, package, complaint))
    raise typer.Exit(EXIT_CODES[Verdict.FAIL if complaint else found.verdict])


def _print(found: Attestation, package: Path, complaint: str) -> None:
    if complaint:
        out.print(f"NOT VERIFIED: {complaint}")
        return
    passed, warned, failed = found.tests
    out.print(f"verified: {package} is the package that was judged")
    out.print(f"{found.result}: {passed} checks passed, {warned} warned, {failed} failed")
    out.print(found.sentence)
