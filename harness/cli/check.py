"""``parity check`` and ``parity compare``: verdicts on a package, or on two sets of tensors."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from harness.cli.console import (
    Json,
    decibels,
    log,
    out,
    print_json,
    print_table,
    progress,
    verdict_text,
)
from harness.cli.tensors import pair_up
from harness.errors import ParityError
from harness.origin import provenance
from harness.profiles import GOLDEN_ROOT
from harness.verdicts import Check, Gate, Outcome, Run, Verdict, compare, failed, gate
from harness.workbench import Workbench, check_package


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "check",
        epilog="Examples: parity check X.mlpackage --subject htdemucs_6s@seeded --case song | "
        "parity check X.mlpackage --subject htdemucs@model.th --audio song.flac",
    )(check)
    app.command(
        "compare",
        epilog="Examples: parity compare golden.safetensors mine.safetensors | "
        "parity compare stems_pytorch/ stems_swift/ --min-snr 60",
    )(compare_files)


def check(
    package: Annotated[Path, typer.Argument(metavar="X.mlpackage", help="The package to judge.")],
    subject: Annotated[str, typer.Option(help="The model that it was converted from.")],
    case: Annotated[
        list[str] | None, typer.Option(help="A golden case (repeatable; default: song).")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="An audio file instead of a golden case.")
    ] = None,
    numerics: Annotated[
        str, typer.Option(help="How the executor computes; see docs/numerics.md.")
    ] = "storage",
    report: Annotated[
        Path | None, typer.Option(help="Also write run.json and the report to this folder.")
    ] = None,
    golden_root: Annotated[Path, typer.Option(help="The golden folder.")] = GOLDEN_ROOT,
    json: Json = False,
) -> None:
    """Judge a package against its model: both branches of each case, and every stem."""
    if audio is not None and case:
        raise ParityError("give --case or --audio, not both")
    if report is not None:
        from harness.report import mark_overtaken

        mark_overtaken(report)
    with tempfile.TemporaryDirectory() as scratch, progress("checking") as advance:
        bench = Workbench(golden_root, Path(scratch), numerics=numerics)
        collector = check_package(
            bench,
            package,
            subject,
            cases=() if audio else tuple(case or ("song",)),
            audio=audio,
            advance=advance,
        )
    run = collector.finish(provenance())
    if report is not None:
        from harness.report import write_report

        write_report(run, report)
        log.print(f"report: {report / 'index.html'}")
    if json:
        print_json(
            {
                "verdict": run.verdict.value,
                "sentence": run.sentence(),
                "checks": [_row(check) for check in run.checks],
            }
        )
    else:
        _print_run(run)
    raise typer.Exit(run.exit_code)


def compare_files(
    expected: Annotated[Path, typer.Argument(help="The reference: file or folder.")],
    actual: Annotated[Path, typer.Argument(help="The candidate: file or folder.")],
    rtol: Annotated[float | None, typer.Option(help="Relative tolerance; needs --atol.")] = None,
    atol: Annotated[float | None, typer.Option(help="Absolute tolerance; needs --rtol.")] = None,
    min_snr: Annotated[float | None, typer.Option(help="SNR in dB that must be exceeded.")] = None,
    json: Json = False,
) -> None:
    """Compare tensors, audio files, or folders of them, under the conversion gate by default."""
    bounds = gate("conversion")
    if (rtol, atol, min_snr) != (None, None, None):
        bounds = Gate("command line", "given by the user", rtol, atol, min_snr)
    left, right = pair_up(expected, actual)
    outcomes = {name: _compare_one(name, left, right, bounds) for name in sorted({*left, *right})}
    bad = any(outcome.verdict is not Verdict.PASS for outcome in outcomes.values())
    if json:
        rows = [{"tensor": name} | _outcome(outcome) for name, outcome in outcomes.items()]
        print_json({"verdict": "fail" if bad else "pass", "gate": vars(bounds), "checks": rows})
    else:
        table = [
            (
                name,
                verdict_text(outcome.verdict),
                outcome.observed,
                decibels(outcome.headroom_db),
                "" if outcome.verdict is Verdict.PASS else outcome.reason,
            )
            for name, outcome in outcomes.items()
        ]
        print_table(bounds.describe(), ("tensor", "verdict", "observed", "headroom", "why"), table)
    raise typer.Exit(1 if bad else 0)


def _compare_one(
    name: str, left: dict[str, np.ndarray], right: dict[str, np.ndarray], bounds: Gate
) -> Outcome:
    if name not in right:
        return failed("the candidate has no such tensor", expected=name, observed="nothing")
    if name not in left:
        return failed("the reference has no such tensor", expected="nothing", observed=name)
    return compare(left[name], right[name], bounds)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "verdict": outcome.verdict.value,
        "reason": outcome.reason,
        "expected": outcome.expected,
        "observed": outcome.observed,
        "headroom_db": outcome.headroom_db,
        "tolerance_ratio": outcome.tolerance_ratio,
        "metrics": dict(outcome.metrics),
    }


def _row(check: Check) -> dict[str, Any]:
    return {"id": check.id, "layer": check.layer} | dict(check.labels) | _outcome(check.outcome)


def _print_run(run: Run) -> None:
    rows = [
        (
            check.layer,
            " ".join(
                check.labels[name]
                for name in ("case", "tensor", "stem", "channel", "what")
                if name in check.labels
            ),
            verdict_text(check.verdict) if check.gating else "measured",
            check.outcome.observed,
            decibels(check.outcome.headroom_db),
        )
        for check in run.checks
    ]
    print_table("Checks", ("layer", "what", "verdict", "observed", "headroom"), rows, right=(4,))
    out.print(run.sentence())
