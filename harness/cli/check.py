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
    mark_page,
    note,
    out,
    print_table,
    progress,
    verdict_text,
    write_page,
)
from harness.cli.devices import Devices, print_devices, ready_for
from harness.cli.inspect import print_explanation
from harness.cli.outputs import folder_option
from harness.cli.settings import (
    SUBJECT_HELP,
    GoldenRoot,
    Inputs,
    Like,
    Numerics,
    Page,
    Reference,
    Settings,
    TimeLimit,
    number_option,
)
from harness.defaults import EXTREMES
from harness.errors import ParityError, UnknownNameError
from harness.places import GOLDEN_ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.captures import Capture
    from harness.verdicts import Check, Gate, Run
    from harness.workbench.sources import PackageSource

MOST_TOLD = 5
"""Of the failures by one gate."""


commands = typer.Typer()


@commands.command(
    "check",
    epilog="Examples: parity check X.mlpackage --subject htdemucs_6s@seeded; parity check "
    "X.mlpackage --weights model.th --audio song.flac --like demucs --report page --explain; "
    "parity check stranger.mlpackage --subject htdemucs@model.th --recipe fp16; "
    "parity check X16.mlpackage --reference X32.mlpackage --inputs in.safetensors; "
    "parity check X.mlpackage --subject mini --case song --device gpu --device ane-m1",
)
def check(
    package: Annotated[Path, typer.Argument(metavar="X.mlpackage", help="The package to judge.")],
    subject: Annotated[
        str | None, typer.Option(help=f"The model that it was converted from: {SUBJECT_HELP}")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The same by its checkpoint alone: any HTDemucs's.")
    ] = None,
    reference: Reference = None,
    given: Inputs = None,
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
    like: Like = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="Only this layer: conversion or end_to_end.")
    ] = None,
    min_snr: Annotated[
        float | None, number_option("SNR in dB instead of 60, of branches and stems.")
    ] = None,
    rtol: Annotated[float | None, number_option("Of branches; needs --atol.")] = None,
    atol: Annotated[float | None, number_option("Of branches; needs --rtol.")] = None,
    waivers: Annotated[
        Path | None, typer.Option(help="Failures that are accepted for a while (TOML).")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="A file of 'parity baseline accept', to hold the run against."),
    ] = None,
    history: Annotated[
        Path | None,
        folder_option("A folder that remembers runs, and gets this one.", option="--history"),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Find the operation that is wrong, and say why.")
    ] = False,
    device: Devices = None,
    placement: Annotated[
        str,
        typer.Option(
            help="With --device: where operations run, as far as they can: ane, gpu or cpu; or "
            "worst, a floor over every split."
        ),
    ] = "",
    capture: Annotated[
        Path | None,
        typer.Option(help="With one --device and --case: what it made, held to its prediction."),
    ] = None,
    numerics: Numerics = "storage",
    report: Page = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
    time_limit: TimeLimit = None,
) -> None:
    """Judge a package as a run judges ours: papers, program, branches, taps, stems, quality.

    Or beside the same network in FP32, which anybody converted: papers, program, outputs and inner
    values, on inputs from files.
    """
    from harness.conversion import load_recipe
    from harness.origin import provenance
    from harness.profiles import home_of, usual_cases
    from harness.subjects.names import with_settings
    from harness.verdicts import Snapshot, applicable, read_waivers, record_of, remember
    from harness.verdicts.jsondata import plain
    from harness.workbench import Workbench, check_package
    from harness.workbench.adapting import adapter_words
    from harness.workbench.check import Inquiry
    from harness.workbench.check_pair import PairInquiry, check_pair
    from harness.workbench.explaining import explain_package, reference_of
    from harness.workbench.sources import adapter_of, elsewhere

    if audio is not None and case:
        raise ParityError("give --case or --audio, not both")
    if like is not None and audio is None:
        raise ParityError(f"--like {like} is a way through a file: give one with --audio")
    if explain and adapter_of(package) is not None:
        raise elsewhere(package)
    known = () if waivers is None else read_waivers(waivers)
    record = record_of(baseline, history)
    rules = None if recipe is None else load_recipe(recipe)
    bounds = _bounds(min_snr, rtol, atol)
    pair = None
    if reference is not None or given or (subject, weights) == (None, None):
        alone = (subject, weights, audio, case, layer, settings)
        pair = PairInquiry(
            package, _counterpart(reference, given, alone), rules, bounds, numerics, note
        )
    if device and (audio is not None or pair is not None):
        raise ParityError(
            "devices are predicted on golden cases of a subject: --device goes without --audio and "
            "--reference"
        )
    ready_for(device)
    taken = _device_words(device or [], placement, capture, case or [])
    name = "" if pair else with_settings(_subject(subject, weights), settings or [])
    mark_page(report, record)
    with tempfile.TemporaryDirectory() as scratch, progress("checking") as advance:

        def told(_: str, done: int, total: int) -> None:
            advance(done, total)

        if pair is not None:
            collector, more = check_pair(pair, told), pair.provenance
        else:
            inquiry = Inquiry(
                package=package,
                subject=name,
                recipe=rules,
                cases=tuple(case or usual_cases(name, EXTREMES)),
                audio=audio,
                like=like,
                layers=_layers(layer or []),
                bounds=bounds,
                devices=tuple(device or ()),
                placement=placement,
                capture=taken,
            )
            root = home_of(name, golden_root)
            bench = Workbench(root, Path(scratch), numerics=numerics)
            collector, more = check_package(bench, inquiry, told), {}
            if (adapter := adapter_of(package)) is not None:
                more = {"adapter": str(adapter)}
    collector.waivers = applicable(known, collector.checks)
    run = collector.finish(provenance(**more))
    predicted = run.artefacts.devices
    if explain:
        with progress("explaining") as bar:
            source = reference_of(run, golden_root)
            found = explain_package(run, package, source, advance=bar)
        run = replace(run, artefacts=run.artefacts.plus([found]))
    write_page(run, report, record)
    if history is not None:
        remember(history, Snapshot.of(run))
    document = {
        "verdict": run.verdict.value,
        "sentence": run.sentence(),
        "missing": list(run.missing),
        "adapter": list(adapter_words(package)),
        "checks": [
            {"id": check.id, "layer": check.layer, **check.labels, **plain(check.outcome)}
            for check in run.checks
        ],
    }
    if device:
        document["devices"] = [plain(row) for row in predicted]
    answer(json, document, lambda: _print_run(run, adapter_words(package)))
    if not json:
        print_devices(predicted)
    if explain and not json:
        print_explanation(found)
    raise typer.Exit(run.exit_code)


def _counterpart(
    reference: Path | None, given: list[str] | None, alone: Sequence[object]
) -> PackageSource:
    """Return the reference of a package, and what it is looked at on.

    Args:
        reference, given: as on the command line.
        alone: what was given that belongs to a subject alone.
    """
    from harness.workbench.sources import PackageSource, reference_source

    if any(alone):
        raise ParityError(
            "--reference with --inputs stands in the place of --subject with --case, --audio, "
            "--layer and --set: give the one or the other"
        )
    if not given:
        raise ParityError(
            "say what the package should compute: --subject NAME, its checkpoint with --weights "
            "model.th, or the same network in FP32 with its inputs, --reference X.mlpackage "
            "--inputs in.safetensors"
        )
    source = reference_source(None, reference, golden_root=GOLDEN_ROOT, given=given)
    assert isinstance(source, PackageSource)  # there is no subject
    return source


def _device_words(
    devices: list[str], placement: str, capture: Path | None, cases: list[str]
) -> Capture | None:
    """Return the capture, and refuse what does not go together before anything takes time."""
    from harness.captures import read_capture
    from harness.workbench.on_devices import check_placement

    if placement:
        check_placement(placement)
    if (placement or capture) and not devices:
        raise ParityError("--placement and --capture are about a device: give one with --device")
    if capture is None:
        return None
    if placement or len(devices) != 1 or len(cases) != 1:
        raise ParityError(
            f"--capture {capture} was made by one device of one signal: give one --device and one "
            "--case, and no --placement"
        )
    return read_capture(capture)


def _subject(subject: str | None, weights: Path | None) -> str:
    if subject is not None and weights is not None:
        raise ParityError(
            "say what the package was converted from: --subject htdemucs_6s, or --weights "
            "model.th, and not both"
        )
    return subject or f"htdemucs@{weights}"


def _layers(names: list[str]) -> tuple[str, ...]:
    from harness.workbench.check import LAYERS

    for name in names:
        if name not in LAYERS:
            raise UnknownNameError("layer of a package", name, LAYERS)
    return tuple(name for name in LAYERS if name in names) or LAYERS


def _bounds(min_snr: float | None, rtol: float | None, atol: float | None) -> dict[str, Gate]:
    """Return the gates that the command line replaces; what it leaves open stays as it is."""
    from harness.verdicts import ON_REQUEST, gate

    tolerances = {} if (rtol, atol) == (None, None) else {"rtol": rtol, "atol": atol}
    ratio = {} if min_snr is None else {"min_snr_db": min_snr}
    changes: dict[str, dict[str, Any]] = {"conversion": tolerances | ratio, "end_to_end": ratio}
    return {
        name: replace(gate(name), reason=ON_REQUEST, **changed)
        for name, changed in changes.items()
        if changed
    }


def _print_run(run: Run, adapter: tuple[str, ...]) -> None:
    """Print a row for each gate and case with its closest check, and every check that failed."""
    from harness.verdicts import Verdict

    for sentence in adapter:
        out.print(f"adapter: {sentence}", soft_wrap=True)
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
