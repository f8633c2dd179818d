"""``parity pack``: goldens for implementations in any language, and a verdict on what they make."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.atomic.products import PACK, RESULTS
from harness.cli.console import Json, answer, out, print_table, progress
from harness.cli.judged import judge_results, log_stderr
from harness.cli.outputs import folder_option
from harness.cli.settings import SUBJECT_HELP, Page, number_option
from harness.errors import UnknownNameError, command_line

if TYPE_CHECKING:
    from harness.packs import Answered, Manifest

commands = typer.Typer(
    name="pack",
    help="Goldens that any language can read, and a verdict on what an implementation makes.",
    no_args_is_help=True,
)

PackFolder = Annotated[Path, typer.Argument(metavar="PACK", help="The folder of a pack.")]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Operations or cases to judge (repeatable)."),
]
Forward = Annotated[bool, typer.Option("--forward", help="Judge outputs alone, no gradients.")]


@commands.command(
    "build",
    epilog="Examples: parity pack build ops --out packs/ops; parity pack build dsp --out "
    "packs/dsp; parity pack build htdemucs --subject mini --out packs/mini",
)
def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="ops, dsp or htdemucs.")],
    target: Annotated[Path, folder_option("The folder; an earlier pack is replaced.", kind=PACK)],
    subject: Annotated[
        str | None,
        typer.Option(help=f"The network of the pack htdemucs, mini by default: {SUBJECT_HELP}"),
    ] = None,
    json: Json = False,
) -> None:
    """Make a pack: values in float64, cast once, with gradients and tolerances.

    ops: single operations, forward and backward. dsp: transforms, convolutions, filters. htdemucs:
    every block of a network on one segment, weights included.
    """
    from harness.packs import write_pack

    cases, operations, total = _contents(name, subject)
    with progress(f"building {name}") as advance:
        manifest = write_pack(target, name, cases, operations, lambda done: advance(done, total))
    size = sum(file.bytes for file in manifest.files.values())
    document = {"pack": str(target), "name": name, "cases": manifest.required, "bytes": size}
    words = (
        f"{target}: {manifest.required} cases of {len(operations)} operations, "
        f"{size / 1e6:.1f} MB; look at it with: {command_line('pack', 'show', target)}"
    )
    answer(json, document, lambda: out.print(words))


def _contents(name: str, subject: str | None) -> tuple[Iterator[Answered], dict[str, str], int]:
    """Return the cases of a pack, what its operations compute, and how many cases there are."""
    from harness.packs import BOOKS, NETWORK, answered

    if name == NETWORK:
        from harness.packs.htdemucs import SUMMARY, network_cases
        from harness.subjects import load_subject
        from harness.workbench.pack_values import subject_values

        return network_cases(subject_values(load_subject(subject or "mini"))), {NETWORK: SUMMARY}, 2
    if name not in BOOKS:
        raise UnknownNameError("pack", name, [*BOOKS, NETWORK])
    if subject is not None:
        raise typer.BadParameter(f"--subject is for the pack {NETWORK}; {name} has no network")
    operations = BOOKS[name].operations
    total = sum(1 for operation in operations.values() for _ in operation.cases())
    summaries = {operation.name: operation.summary for operation in operations.values()}
    return answered(BOOKS[name]), summaries, total


@commands.command("show", epilog="Example: parity pack show packs/ops")
def show(folder: PackFolder, json: Json = False) -> None:
    """Say what a pack asks, after its files were checked."""
    from harness.packs import open_pack

    pack = open_pack(folder)
    manifest = pack.manifest
    rows = []
    for name, summary in manifest.operations.items():
        mine = [case for case in manifest.cases if case.operation == name]
        tensors = sum(len(case.expected) for case in mine)
        rows.append((name, len(mine), tensors, summary))
    keys = ("operation", "cases", "tensors", "summary")
    document = {
        "name": manifest.name,
        "version": manifest.version,
        "required": manifest.required,
        "rules": dict(manifest.rules),
        "operations": [dict(zip(keys, row, strict=True)) for row in rows],
    }
    answer(json, document, lambda: _print_manifest(manifest, rows))


def _print_manifest(manifest: Manifest, rows: Sequence[Sequence[object]]) -> None:
    columns = ("operation", "cases", "tensors", "what it computes")
    print_table(f"Pack {manifest.name}, version {manifest.version}", columns, rows, right=(1, 2))
    for rule, words in manifest.rules.items():
        out.print(f"{rule}: {words}")
    out.print(f"{manifest.required} cases must be run for a pass.")


@commands.command(
    "run",
    epilog="Example: parity pack run packs/ops --command './reader {pack} {out}' --timeout 60. "
    "Exit codes as of 'parity compare PACK RESULTS'; a command that does not end with 0 is a fail, "
    "one that hangs or floods its output is bad input.",
)
def run(
    folder: PackFolder,
    command: Annotated[
        str,
        typer.Option(
            help="Reads the folder {pack}, writes to the folder {out}. The command is yours: it is "
            "run as you are, without a shell. It gets a copy of the pack without the answers."
        ),
    ],
    timeout: Annotated[
        float, number_option("End it after so long.", min=0.1, metavar="SECONDS")
    ] = 600.0,
    results: Annotated[
        Path | None,
        folder_option("Keep the results in this folder; earlier ones are replaced.", kind=RESULTS),
    ] = None,
    only: Only = None,
    forward: Forward = False,
    report: Page = None,
    json: Json = False,
) -> None:
    """Run a command on a pack and judge what it writes."""
    from harness.atomic import atomic_folder
    from harness.packs import ProcessError, Request, execute, open_pack, question_copy

    pack = open_pack(folder)
    request = Request(tuple(only or ()), forward)
    request.chosen(pack)  # what it would refuse, before the command has run for an hour
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        given, made = scratch / "pack", scratch / "results"
        given.mkdir()
        question_copy(pack, given)
        if results is None:
            made.mkdir()
        else:
            made = stack.enter_context(atomic_folder(results, RESULTS))
        try:
            execution = execute(command, pack, given, made, timeout)
        except ProcessError as error:
            log_stderr(error.stderr)
            raise
        judged = judge_results(pack, made, request, execution, report, json=json)
    raise typer.Exit(judged.exit_code)  # outside: what was written stays, whatever the verdict
