"""``parity pack``: goldens for implementations in any language, and a verdict on what they make."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.console import (
    Json,
    answer,
    decibels,
    log,
    out,
    print_table,
    progress,
    verdict_text,
    write_page,
)
from harness.cli.outputs import output_folder
from harness.cli.settings import SUBJECT_HELP, Page
from harness.errors import UnknownNameError, one_line

if TYPE_CHECKING:
    from harness.packs import Answered, Execution, Judgement, Manifest, Pack, Request
    from harness.verdicts import Run

commands = typer.Typer(
    name="pack",
    help="Goldens that any language can read, and a verdict on what an implementation makes.",
    no_args_is_help=True,
)

_SHOWN = 20
_NOTHING = "-"

PackFolder = Annotated[Path, typer.Argument(metavar="PACK", help="The folder of a pack.")]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Operations or cases to judge (repeatable)."),
]
Forward = Annotated[bool, typer.Option("--forward", help="Judge outputs alone, no gradients.")]


@commands.command(
    "build",
    epilog="Examples: parity pack build ops --out packs/ops | parity pack build dsp --out "
    "packs/dsp | parity pack build htdemucs --subject mini --out packs/mini",
)
def build(
    name: Annotated[str, typer.Argument(metavar="NAME", help="ops, dsp or htdemucs.")],
    target: Annotated[
        Path,
        typer.Option("--out", callback=output_folder(), help="The folder, which is replaced."),
    ],
    subject: Annotated[
        str, typer.Option(help=f"The network of the pack htdemucs: {SUBJECT_HELP}")
    ] = "mini",
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
        f"{size / 1e6:.1f} MB; look at it with 'parity pack show {target}'"
    )
    answer(json, document, lambda: out.print(words))


def _contents(name: str, subject: str) -> tuple[Iterator[Answered], dict[str, str], int]:
    """Return the cases of a pack, what its operations compute, and how many cases there are."""
    from harness.packs import BOOKS, NETWORK, answered

    if name == NETWORK:
        from harness.packs.htdemucs import SUMMARY, network_cases
        from harness.subjects import load_subject
        from harness.workbench.pack_values import subject_values

        return network_cases(subject_values(load_subject(subject))), {NETWORK: SUMMARY}, 2
    if name not in BOOKS:
        raise UnknownNameError("pack", name, [*BOOKS, NETWORK])
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
    "judge",
    epilog="Examples: parity pack judge packs/ops results/ | parity pack judge packs/ops "
    "mine.safetensors --only 'conv*' --forward. Exit codes: 0 pass, 1 a tensor is wrong, 2 bad "
    "input, 3 a required tensor is missing.",
)
def judge(
    folder: PackFolder,
    results: Annotated[
        Path, typer.Argument(help="A .safetensors file, or a folder with CASE/out/y.npy.")
    ],
    only: Only = None,
    forward: Forward = False,
    report: Page = None,
    json: Json = False,
) -> None:
    """Hold what an implementation wrote against a pack, by the pack's own tolerances."""
    from harness.packs import Request, open_pack

    pack = open_pack(folder)
    request = Request(tuple(only or ()), forward)
    raise typer.Exit(_judged(pack, results, request, None, report, json=json).exit_code)


@commands.command(
    "run",
    epilog="Example: parity pack run packs/ops --command './reader {pack} {out}' --timeout 60. "
    "Exit codes as of 'judge'; a command that does not end with 0 is a fail, one that hangs or "
    "floods its output is bad input.",
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
        float, typer.Option(min=0.1, metavar="SECONDS", help="End it after so long.")
    ] = 600.0,
    results: Annotated[
        Path | None,
        typer.Option("--out", callback=output_folder(), help="Keep the results in this folder."),
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
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        given, made = scratch / "pack", scratch / "results"
        given.mkdir()
        question_copy(pack, given)
        if results is None:
            made.mkdir()
        else:
            made = stack.enter_context(atomic_folder(results))
        try:
            execution = execute(command, pack, given, made, timeout)
        except ProcessError as error:
            _log_stderr(error.stderr)
            raise
        judged = _judged(pack, made, request, execution, report, json=json)
    raise typer.Exit(judged.exit_code)  # outside: what was written stays, whatever the verdict


def _judged(
    pack: Pack,
    results: Path,
    request: Request,
    execution: Execution | None,
    report: Path | None,
    *,
    json: bool,
) -> Run:
    """Judge, show, and return the run."""
    from harness.packs import judge as hold
    from harness.packs import read_results

    with progress("judging") as advance:
        judgement = hold(pack, read_results(results), request, advance)
    run = judgement.run(execution)
    write_page(run, report)
    document = _document(judgement, run, execution)
    answer(json, document, lambda: _print(judgement, run, execution))
    return run


def _document(judgement: Judgement, run: Run, execution: Execution | None) -> dict[str, Any]:
    from harness.verdicts import Verdict
    from harness.verdicts.jsondata import plain

    checks = [
        {
            "case": f.case.name,
            "operation": f.case.operation,
            "tensor": f.tensor.name,
            "note": f.note,
        }
        | plain(f.outcome)
        for f in judgement.findings
    ]
    return {
        "verdict": run.verdict.value,
        "pack": judgement.pack.manifest.name,
        "narrowed": judgement.narrowed,
        "failed_operations": judgement.operations(Verdict.FAIL),
        "missing": judgement.missing,
        "extra": list(judgement.extra),
        "process": None if execution is None else vars(execution),
        "checks": checks,
    }


def _print(judgement: Judgement, run: Run, execution: Execution | None) -> None:
    from harness.verdicts import Verdict

    columns = ("operation", "pass", "fail", "not evaluated", "worst headroom")
    print_table("By operation", columns, _rows(judgement), right=(1, 2, 3, 4))
    for finding in _telling(judgement):
        out.print(verdict_text(Verdict.FAIL) + f": {finding.name}: {finding.outcome.reason}")
    for finding in judgement.findings:
        if finding.note:
            out.print(f"note: {finding.name}: {finding.note}")
    _list("not evaluated", judgement.missing)
    _list("extra, judged by nobody", judgement.extra)
    if execution is not None:
        _log_stderr(execution.stderr)
        if execution.complaint:
            out.print(verdict_text(Verdict.FAIL) + f": {execution.complaint}")
    narrowed = f" (narrowed to {judgement.narrowed})" if judgement.narrowed else ""
    held = len(judgement.of(Verdict.PASS))
    word = run.verdict.value.replace("_", " ").upper()
    out.print(f"{word}: {held} of {len(judgement.findings)} tensors hold{narrowed}.")


def _log_stderr(text: str) -> None:
    for line in text.splitlines()[-_SHOWN:]:
        log.print(f"stderr: {one_line(line)}", soft_wrap=True)


def _rows(judgement: Judgement) -> list[tuple[object, ...]]:
    from harness.verdicts import Verdict

    rows: list[tuple[object, ...]] = []
    for operation in dict.fromkeys(finding.case.operation for finding in judgement.findings):
        mine = [f.outcome for f in judgement.findings if f.case.operation == operation]
        counts = [sum(o.verdict is verdict for o in mine) or _NOTHING for verdict in Verdict]
        headrooms = [o.headroom_db for o in mine if o.headroom_db is not None]
        rows.append((operation, *counts, decibels(min(headrooms, default=None))))
    return rows


def _telling(judgement: Judgement) -> list[Any]:
    """Return the first failing tensor of each case, as many as are shown."""
    from harness.verdicts import Verdict

    firsts = {f.case.name: f for f in reversed(judgement.of(Verdict.FAIL))}
    return [f for f in judgement.findings if firsts.get(f.case.name) is f][:_SHOWN]


def _list(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        out.print(f"{what}: {', '.join(names[:_SHOWN])}{more}")
