"""``parity sensitivity`` and ``parity tune``: what FP16 costs, and how little FP32 is enough."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import (
    Json,
    answer,
    decibels,
    json_text,
    log,
    note,
    out,
    print_table,
    progress,
    write_document,
)
from harness.cli.devices import Devices
from harness.cli.forms import tune_forms
from harness.cli.outputs import file_option, output_file
from harness.cli.settings import Fp32Package, GoldenRoot, Inputs, LabCases, Owner, number_option
from harness.errors import ParityError
from harness.places import GOLDEN_ROOT

if TYPE_CHECKING:
    from harness.precision.sensitivity import Sensitivity
    from harness.precision.tuning import Tuning

Model = Annotated[
    str,
    typer.Argument(
        metavar="S|X.mlpackage", help="NAME, NAME@seeded or NAME@PATH; or any FP32 package."
    ),
]
ComputeOn = Annotated[str, typer.Option("--compute-on", help="cpu or cuda.")]


commands = typer.Typer()


@commands.command(
    "sensitivity",
    epilog="Examples: parity sensitivity mini --precision mixed --case song --case noise; "
    "parity sensitivity mini --precision int8 --case song; "
    "parity sensitivity mini --precision fp16 --device ane-m1 --case song; "
    "parity sensitivity X.mlpackage --inputs in.safetensors --precision fp16",
)
def sensitivity(
    model: Model,
    precision: Annotated[
        str, typer.Option(help="Recipe whose FP16 and weights are looked at: a name or TOML file.")
    ] = "fp16",
    probes: Annotated[int, typer.Option(min=1, help="Probes for each measure.")] = 8,
    at_once: Annotated[
        int, typer.Option(min=1, help="Probes in one walk; more are faster and take memory.")
    ] = 6,
    case: LabCases = None,
    given: Inputs = None,
    subject: Owner = None,
    fp32_package: Fp32Package = None,
    device: Annotated[
        str | None,
        typer.Option(help="A device profile, such as ane-m1: shares of what it makes of FP16."),
    ] = None,
    target: Annotated[Path | None, file_option("Write the whole document here.")] = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    compute_on: ComputeOn = "cpu",
    json: Json = False,
) -> None:
    """Say what each operation adds to the error of all stems, of each stem, and of each branch."""
    from harness.allocation import keep_memory
    from harness.conversion import load_recipe
    from harness.mil.numerics.device import device_of
    from harness.precision.sensitivity import Probing
    from harness.workbench.sources import source_of

    keep_memory()
    recipe = load_recipe(precision)
    unit = None if device is None else device_of(device)
    source = source_of(
        model,
        golden_root=golden_root,
        cases=case,
        given=given,
        package=fp32_package,
        note=note,
        subject=subject,
    )
    inputs = source.inputs(compute_on)
    log.print(f"opening {model}")
    with source.lab() as lab, progress("probing") as advance:
        probing = Probing(probes=probes, at_once=at_once, advance=advance)
        found = source.sensitivity(lab, inputs, recipe, probing, unit)
    document = found.to_dict()
    write_document(target, document)
    answer(json, document, lambda: _print_sensitivity(found))


def _print_sensitivity(found: Sensitivity) -> None:
    measure = found.measures[0]
    total = sum(found.totals(measure, lambda share: share.type).values()) or 1.0
    rows = [
        (
            share.operation,
            share.type,
            share.module or "",
            share.error,
            _percent(share.mean[measure], total),
            _level(share.mean[measure]),
            f"{share.deviation_db[measure]:.1f}",
        )
        for share in found.ranked(measure)[:20]
    ]
    columns = ("operation", "type", "module", "error", "share", "SNR alone", "± dB")
    print_table(f"{found.subject} in {found.precision}: error of {measure}", columns, rows)
    keys = {"type": lambda s: s.type, "module": lambda s: ".".join((s.module or "").split(".")[:2])}
    for title, key in keys.items():
        sums = [
            (name or "-", _percent(value, total), _level(value))
            for name, value in list(found.totals(measure, key).items())[:12]
        ]
        print_table(f"by {title}", (title, "share", "SNR alone"), sums, right=(1, 2))
    levels = [
        (name, decibels(predicted), decibels(found.measured_db.get(name)))
        for name, predicted in found.predicted_db.items()
    ]
    print_table("the whole recipe", ("case/measure", "predicted", "virtual run"), levels)


def _percent(share: float, total: float) -> str:
    return f"{100 * share / total:.2f} %" if math.isfinite(share) else "unknown"


def _level(share: float) -> str:
    if not math.isfinite(share):
        return "unknown"
    return decibels(-10 * math.log10(share)) if share > 0 else "exact"


@commands.command(
    "tune",
    epilog="Examples: parity tune mini --min-snr 60 --case song --case noise --out mine.toml; "
    "parity tune X.mlpackage --inputs in.safetensors --min-snr 60 --out mine.toml; "
    "parity tune mini --device ane-m1 --approximate --case song --out mini_ane.toml",
)
def tune(
    model: Model,
    target: Annotated[Path, file_option("The recipe to write (.toml).", ".toml")],
    min_snr: Annotated[
        float, number_option("dB, for every stem, or every output of a package.")
    ] = 60.0,
    rtol: Annotated[float | None, number_option("Of every element of each output.")] = None,
    atol: Annotated[float | None, number_option("Likewise; give both or neither.")] = None,
    every_second: Annotated[
        bool, typer.Option("--every-second", help="Demand each channel's SNR of every second.")
    ] = False,
    margin: Annotated[float, number_option("dB above --min-snr, for inputs unseen.")] = 1.0,
    max_fp32_share: Annotated[
        float, number_option("Of the cost, at most in FP32.", min=0.0, max=1.0, metavar="PART")
    ] = 1.0,
    cost: Annotated[str, typer.Option(help="What FP32 costs: bytes or flops.")] = "flops",
    probes: Annotated[int, typer.Option(min=1, help="Random probes for each measure.")] = 2,
    case: LabCases = None,
    given: Inputs = None,
    subject: Owner = None,
    fp32_package: Fp32Package = None,
    package: Annotated[
        Path | None,
        file_option(
            "Keep the package that confirms the recipe here.",
            ".mlpackage",
            package=True,
            option="--package",
        ),
    ] = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    device: Devices = None,
    max_more_operations: Annotated[
        float, number_option("With --device: how many, of them all.", min=0.0, metavar="PART")
    ] = 0.05,
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="With --device: take shorter forms, too, that are not the same in FP32.",
        ),
    ] = False,
    compute_on: ComputeOn = "cpu",
    json: Json = False,
) -> None:
    """Find the cheapest set of FP32 operations that reaches a target, and write it as a recipe.

    The winner is converted, executed, and held against what was promised of it. Beside the recipe
    X.toml lie X.py, an op_selector that needs nothing but coremltools, and X.json, everything that
    was tried. Of a package nothing can be converted: the winner is written from its own program.
    The exit status is 1 if the target can't be reached, or the package misses it.

    With --device nothing is promoted, since FP32 operations never run on a Neural Engine: all stays
    in FP16, and the network is written in forms that the device computes with less error. X.py then
    has these graph passes, too.
    """
    from harness.allocation import keep_memory
    from harness.atomic import write_texts
    from harness.conversion.recipes import check_recipe_name
    from harness.errors import UnknownNameError
    from harness.precision.tuning import COST_KINDS, Goal, Tuner, selector_source, tuned_recipe
    from harness.precision.tuning import tune as find_cheapest
    from harness.verdicts import EXIT_CODES, Verdict
    from harness.workbench.sources import source_of

    check_recipe_name(target.stem)
    for suffix in (".py", ".json"):  # they lie beside the recipe
        output_file()(target.with_suffix(suffix))
    if (rtol is None) != (atol is None):
        raise ParityError("give both --rtol and --atol, or neither")
    kind = next((known for known in COST_KINDS if known == cost), None)
    if kind is None:
        raise UnknownNameError("cost", cost, COST_KINDS)
    goal = Goal(min_snr, rtol, atol, margin, max_fp32_share, kind, every_second)
    keep_memory()
    source = source_of(
        model,
        golden_root=golden_root,
        cases=case,
        given=given,
        default=("song", "noise"),
        package=fp32_package,
        note=note,
        subject=subject,
    )
    if package is not None:
        source.check_kept(package)
    inputs = source.inputs(compute_on)
    if device:
        asked = (min_snr, max_more_operations, approximate, json)
        tune_forms(model, device, inputs, target, package, *asked)
    log.print(f"opening {model}")
    with source.lab() as lab:
        tuner = Tuner(lab, inputs, goal, source.stems, probes, report=log.print)
        found = find_cheapest(tuner)
        written = {}
        if found.best is not None:
            recipe = tuned_recipe(lab, found, name=target.stem, subject=model, cases=source.cases)
            log.print("making the winner's package")
            confirmation = source.confirm(recipe, tuner, found.best, package)
            found = replace(found, confirmation=confirmation)
            written = {target.name: recipe.to_toml(), f"{target.stem}.py": selector_source(recipe)}
        document = {"subject": model, "cases": list(source.cases), **found.to_dict()}
        document["confirmed_by"] = source.confirmed_by
        written[f"{target.stem}.json"] = json_text(document) + "\n"
        write_texts(target.parent, written)
    answer(json, document, lambda: _print_tuning(found, target, source.confirmed_by))
    holds = found.confirmation is not None and found.confirmation.holds
    verdict = Verdict.PASS if holds else Verdict.FAIL
    raise typer.Exit(EXIT_CODES[verdict])


def _print_tuning(found: Tuning, target: Path, by: str) -> None:
    rows = [
        (
            len(trial.fp32),
            f"{100 * trial.fp32_share:.2f} %",
            decibels(min(trial.predicted_db.values(), default=math.inf)),
            decibels(trial.worst_db),
            f"{max(trial.worst_tolerance.values(), default=0.0):.2f}",
            "yes" if trial.holds else "no",
        )
        for trial in sorted(found.trials, key=lambda trial: trial.fp32_share)
    ]
    columns = ("in FP32", "share", "predicted", "virtual run", "of tolerance", "holds")
    print_table(f"sets that were tried ({found.goal.cost})", columns, rows)
    if found.best is None:
        out.print(f"not reached: {found.limit}")
    else:
        out.print(f"recipe {target}, selector {target.with_suffix('.py')}")
    made = found.confirmation
    if made is not None:
        worst = min(made.measured_db.values(), default=math.inf)
        out.print(
            f"{by}: worst {decibels(worst)}, at most {made.furthest_db:.3f} dB from its "
            f"virtual run, audit {made.audit}: {'holds' if made.holds else 'does not hold'}",
        )
