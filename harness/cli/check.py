"""``parity check``: a verdict on a package."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from harness.cli.console import (
    Json,
    answer,
    decibels,
    out,
    print_table,
    progress,
    verdict_text,
    within_time,
    write_page,
)
from harness.cli.forms import Devices
from harness.cli.inspect import print_explanation
from harness.cli.settings import EXTREMES, SUBJECT_HELP, GoldenRoot, Numerics, Page, Settings
from harness.errors import ParityError, UnknownNameError
from harness.places import GOLDEN_ROOT

if TYPE_CHECKING:
    from harness.verdicts import Check, Gate, Run

MOST_TOLD = 5
"""Of the failures by one gate."""


commands = typer.Typer()


@commands.command(
    "check",
    epilog="Examples: parity check X.mlpackage --subject htdemucs_6s@seeded | parity check "
    "X.mlpackage --subject htdemucs@model.th --audio song.flac --report page --explain | "
    "parity check stranger.mlpackage --subject htdemucs@model.th --recipe fp16 | "
    "parity check X.mlpackage --subject mini --case song --device gpu --device ane-m1",
)
@within_time
def check(
    package: Annotated[Path, typer.Argument(metavar="X.mlpackage", help="The package to judge.")],
    subject: Annotated[
        str, typer.Option(help=f"The model that it was converted from: {SUBJECT_HELP}")
    ],
    settings: Settings = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="The recipe (name or TOML file) that it was made by, if it doesn't say."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(help=f"A golden case; repeat for several. Default: {', '.join(EXTREMES)}."),
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="An audio file instead of golden cases.")
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Only this layer: conversion or end_to_end.")
    ] = None,
    min_snr: Annotated[
        float | None, typer.Option(help="SNR in dB instead of 60, of branches and stems.")
    ] = None,
    rtol: Annotated[float | None, typer.Option(help="Of branches; needs --atol.")] = None,
    atol: Annotated[float | None, typer.Option(help="Of branches; needs --rtol.")] = None,
    waivers: Annotated[
        Path | None, typer.Option(help="Failures that are accepted for a while (TOML).")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="An accepted run that this one is held against.")
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="A folder that remembers runs, and gets this one.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Find the operation that is wrong, and say why.")
    ] = False,
    device: Devices = None,
    numerics: Numerics = "storage",
    report: Page = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
) -> None:
    """Judge a package as a run judges ours: papers, program, branches, taps, stems, quality."""
    from harness.conversion import load_recipe
    from harness.mil.numerics.device import device_of
    from harness.origin import provenance
    from harness.subjects.names import with_settings
    from harness.verdicts import Snapshot, applicable, read_waivers, record_of, remember
    from harness.verdicts.jsondata import plain
    from harness.workbench import Workbench, check_package
    from harness.workbench.check import Inquiry
    from harness.workbench.explaining import explain_package

    if audio is not None and case:
        raise ParityError("give --case or --audio, not both")
    known = () if waivers is None else read_waivers(waivers)
    record = record_of(baseline, history)
    inquiry = Inquiry(
        package=package,
        subject=with_settings(subject, settings or []),
        recipe=None if recipe is None else load_recipe(recipe),
        cases=tuple(case or EXTREMES),
        audio=audio,
        layers=_layers(layer or []),
        bounds=_bounds(min_snr, rtol, atol),
        devices=tuple(device or ()),
    )
    if device and audio is not None:
        raise ParityError(
            "devices are predicted on golden cases; give --device or --audio, not both"
        )
    for name in device or ():
        device_of(name)  # before anything takes time
    if report is not None:
        from harness.report import mark_overtaken

        mark_overtaken(report, record)
    with tempfile.TemporaryDirectory() as scratch, progress("checking") as advance:
        bench = Workbench(golden_root, Path(scratch), numerics=numerics)
        collector = check_package(bench, inquiry, lambda _, done, total: advance(done, total))
    collector.waivers = applicable(known, collector.checks)
    run = collector.finish(provenance())
    predicted = run.artefacts.explanation  # so far: what devices would make of it
    if explain:
        with progress("explaining") as bar:
            found = explain_package(run, package, golden_root, advance=bar)
        run = replace(run, artefacts=run.artefacts.plus([found]))
    write_page(run, report, record)
    if history is not None:
        remember(history, Snapshot.of(run))
    document = {
        "verdict": run.verdict.value,
        "sentence": run.sentence(),
        "missing": list(run.missing),
        "checks": [_row(check) for check in run.checks],
    }
    if device:
        document["devices"] = [plain(row) for row in predicted]
    answer(json, document, lambda: _print_run(run))
    for row in predicted if device and not json else ():
        print_explanation(row)
    if explain and not json:
        print_explanation(found)
    raise typer.Exit(run.exit_code)


def _layers(names: list[str]) -> tuple[str, ...]:
    from harness.workbench.check import LAYERS

    for name in names:
        if name not in LAYERS:
            raise UnknownNameError("layer of a package", name, LAYERS)
    return tuple(name for name in LAYERS if name in names) or LAYERS


def _bounds(min_snr: float | None, rtol: float | None, atol: float | None) -> dict[str, Gate]:
    """Return the gates that the command line replaces; what it leaves open stays as it is."""
    from harness.verdicts import gate

    found = {}
    given = (rtol, atol) != (None, None)
    if given or min_snr is not None:
        table = gate("conversion")
        found["conversion"] = replace(
            table,
            reason="given on the command line",
            rtol=rtol if given else table.rtol,
            atol=atol if given else table.atol,
            min_snr_db=table.min_snr_db if min_snr is None else min_snr,
        )
    if min_snr is not None:
        table = gate("end_to_end")
        found["end_to_end"] = replace(table, reason="given on the command line", min_snr_db=min_snr)
    return found


def _row(check: Check) -> dict[str, Any]:
    from harness.verdicts.jsondata import plain

    return {"id": check.id, "layer": check.layer, **check.labels, **plain(check.outcome)}


def _print_run(run: Run) -> None:
    """Print a row for each gate and case with its closest check, and every check that failed."""
    from harness.verdicts import Verdict

    groups: dict[tuple[str, str, str], list[Check]] = {}
    for check in run.checks:
        if check.gating:
            gate_name = check.gate.name if check.gate else ""
            case = check.labels.get("case", "")
            groups.setdefault((check.layer, gate_name, case), []).append(check)
    rows = []
    for key, checks in groups.items():
        counts = Counter(check.verdict for check in checks)
        closest = min(checks, key=_headroom)
        counted = Text(", ").join(
            Text(f"{number} ") + verdict_text(name) for name, number in counts.items()
        )
        rows.append((*key, counted, _place(closest), decibels(closest.outcome.headroom_db)))
    titles = ("layer", "gate", "case", "checks", "closest", "headroom")
    print_table("Checks", titles, rows, right=(5,))
    told: Counter[str] = Counter()
    for check in run.checks:
        if check.gating and check.verdict is not Verdict.PASS:
            name = check.gate.name if check.gate else ""
            told[name] += 1
            if told[name] <= MOST_TOLD:
                waived = " (waived)" if check.id in run.waived else ""
                word = check.verdict.value.replace("_", " ")
                out.print(f"{word}{waived}: {check.id}: {check.outcome.reason}", soft_wrap=True)
    for name, count in told.items():
        if count > MOST_TOLD:
            out.print(f"and {count - MOST_TOLD} more by {name}: --json and --report have them")
    out.print(run.sentence(), soft_wrap=True)


def _headroom(check: Check) -> float:
    """Return what sorts a check: those that failed without a distance come first."""
    found = check.outcome.headroom_db
    if found is None:
        return -math.inf if check.verdict.value != "pass" else math.inf
    return found


def _place(check: Check) -> str:
    names = ("tensor", "stem", "channel", "what")
    return " ".join(check.labels[name] for name in names if name in check.labels)
