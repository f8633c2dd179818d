"""What ``parity compare PACK RESULTS`` and ``parity pack run`` share: the verdict on results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.console import (
    MOST_LISTED,
    answer,
    decibels,
    listed,
    log,
    mark_page,
    out,
    print_failures,
    print_table,
    progress,
    verdict_text,
    write_page,
)
from harness.errors import one_line

if TYPE_CHECKING:
    from harness.packs import Execution, Judgement, Pack, Request
    from harness.verdicts import Run


def judge_results(
    pack: Pack,
    results: Path,
    request: Request,
    execution: Execution | None,
    report: Path | None,
    *,
    json: bool,
) -> Run:
    """Hold results against a pack by its own tolerances, show the verdict, and return the run."""
    from harness.packs import judge as hold
    from harness.packs import read_results

    mark_page(report)
    with progress("judging") as advance:
        judgement = hold(pack, read_results(results, pack), request, advance)
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
    firsts = {f.case.name: f for f in reversed(judgement.of(Verdict.FAIL))}
    telling = (f for f in judgement.findings if firsts.get(f.case.name) is f)
    print_failures([f"{finding.name}: {finding.outcome.reason}" for finding in telling])
    for finding in judgement.findings:
        if finding.note:
            out.print(f"note: {finding.name}: {finding.note}")
    for what, names in (
        ("not evaluated", judgement.missing),
        ("extra, judged by nobody", judgement.extra),
    ):
        if names:
            out.print(f"{what}: {listed(names)}")
    if execution is not None:
        log_stderr(execution.stderr)
        if execution.complaint:
            out.print(verdict_text(Verdict.FAIL) + f": {execution.complaint}")
    word = run.verdict.value.replace("_", " ").upper()
    out.print(f"{word}: {run.headline()}.")


def log_stderr(text: str) -> None:
    """Print the last lines that a command wrote to stderr."""
    for line in text.splitlines()[-MOST_LISTED:]:
        log.print(f"stderr: {one_line(line)}", soft_wrap=True)


def _rows(judgement: Judgement) -> list[tuple[object, ...]]:
    from harness.verdicts import Verdict

    rows: list[tuple[object, ...]] = []
    for operation in dict.fromkeys(finding.case.operation for finding in judgement.findings):
        mine = [f.outcome for f in judgement.findings if f.case.operation == operation]
        counts = [sum(o.verdict is verdict for o in mine) or "-" for verdict in Verdict]
        headrooms = [o.headroom_db for o in mine if o.headroom_db is not None]
        rows.append((operation, *counts, decibels(min(headrooms, default=None))))
    return rows
