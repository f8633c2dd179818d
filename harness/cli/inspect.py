"""``parity headroom``, ``parity diagnose``, ``parity explain``: what is wrong, where, and why."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import (
    Json,
    answer,
    decibels,
    log,
    note,
    out,
    print_table,
    progress,
)
from harness.cli.devices import Devices, ready_for
from harness.cli.report import read_run
from harness.cli.settings import (
    Fp32Package,
    GoldenRoot,
    Inputs,
    LabCases,
    Numerics,
    Owner,
    Package,
    Reference,
    TimeLimit,
)
from harness.defaults import EXTREMES
from harness.errors import ParityError
from harness.places import GOLDEN_ROOT

if TYPE_CHECKING:
    from harness.diagnosis import HeadroomAudit, OperationError, OperationHeadroom, ThreeWay
    from harness.verdicts.rows.packages import Explanation

_SHOWN = 20


commands = typer.Typer()


@commands.command(
    "headroom",
    epilog="Examples: parity headroom mini; parity headroom X.mlpackage --case hot "
    "--case silence; parity headroom X.mlpackage --inputs loud.npz --inputs quiet.npz; "
    "parity headroom stranger.mlpackage --subject htdemucs@model.th",
)
def headroom(
    model: Annotated[
        str, typer.Argument(metavar="S|X.mlpackage", help="A subject, or any package.")
    ],
    case: LabCases = None,
    given: Inputs = None,
    subject: Owner = None,
    numerics: Numerics = "storage",
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
    time_limit: TimeLimit = None,
) -> None:
    """Say how near each operation comes to the limits of FP16, over loud and quiet signals.

    A subject is audited in FP32, as if all of it ran in FP16; of a package with FP16 in it, the
    operations in FP16. The command reports and judges nothing: it exits with 0.
    """
    from harness.diagnosis import audit_headroom
    from harness.workbench.sources import source_of

    source = source_of(
        model,
        golden_root=golden_root,
        cases=case,
        given=given,
        default=EXTREMES,
        note=note,
        subject=subject,
    )
    inputs = source.inputs()
    log.print(f"opening {model}")
    with source.program() as program, progress("running") as advance:
        found = audit_headroom(program, inputs, numerics=numerics, advance=advance)
    answer(json, found.to_dict(), lambda: _print_headroom(model, found))


def _print_headroom(model: str, found: HeadroomAudit) -> None:
    out.print(f"{model}: operations at risk, in program order", style="bold")
    for operation in found.at_risk[:_SHOWN]:
        out.print(f"{_title(operation)}: {operation.headroom_db:.1f} dB of headroom")
        for risk in operation.risks:
            out.print(f"   {risk.kind} ({risk.case}): {risk.reason}")
    if len(found.at_risk) > _SHOWN:
        out.print(f"and {len(found.at_risk) - _SHOWN} more; --json has them all")
    loudest = min(found.operations, key=lambda o: o.headroom_db, default=None)
    if loudest is not None:
        out.print(
            f"least headroom: {loudest.headroom_db:.1f} dB, {loudest.type} {loudest.operation!r} "
            f"reaches {loudest.peak:.4g} on {loudest.peak_case}",
        )
    manner = "all in FP16, supposedly" if found.as_fp16 else "those in FP16 judged"
    out.print(
        f"at risk: {found.counted}; {manner}; numerics {found.numerics}; "
        f"cases {', '.join(found.cases)}",
    )


def _title(operation: OperationHeadroom | OperationError) -> str:
    module = f" in {operation.module}" if operation.module else ""
    return f"{operation.type} {operation.operation!r}{module}"


@commands.command(
    "diagnose",
    epilog="Examples: parity diagnose X.mlpackage --subject mini --case song --numerics native; "
    "parity diagnose X.mlpackage --subject mini --capture mac.safetensors; parity diagnose "
    "X16.mlpackage --reference X32.mlpackage --inputs in.safetensors; parity diagnose "
    "X.mlpackage --subject mini --capture mac.safetensors --device ane-m1; parity diagnose "
    "stranger16.mlpackage --reference stranger32.mlpackage --subject htdemucs@model.th",
)
def diagnose(
    package: Package,
    subject: Annotated[
        str | None, typer.Option(help="The model that it was converted from.")
    ] = None,
    case: Annotated[
        str | None, typer.Option(help="A golden case, or song:SEED. Default: song.")
    ] = None,
    given: Inputs = None,
    numerics: Numerics = "storage",
    capture: Annotated[
        Path | None,
        typer.Option(help="What was recorded elsewhere: values by name, .safetensors or .npz."),
    ] = None,
    device: Devices = None,
    reference: Reference = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
    time_limit: TimeLimit = None,
) -> None:
    """Say whether a target is worse than FP16 has to be, and at which operation that begins.

    The target is the package in --numerics, or a --capture of it. A capture is made of the inputs
    of the same case; its names are those that 'parity predict --taps all' writes. With --device
    each device is a target, as its profile predicts; a capture is then held to what its device is
    predicted to make, instead of to one rounding for each operation.
    """
    import torch

    from harness.verdicts import EXIT_CODES, Verdict
    from harness.workbench.explaining import diagnose_package
    from harness.workbench.given import read_tensors
    from harness.workbench.sources import reference_source

    ready_for(device)
    if len(given or ()) > 1:
        raise ParityError("diagnose looks at one case: give --inputs once")
    source = reference_source(
        subject,
        reference,
        golden_root=golden_root,
        cases=None if case is None else [case],
        given=given,
        note=note,
        judged=package,
    )
    recorded = None
    if capture is not None:
        arrays = read_tensors(capture)
        recorded = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if device and (numerics != "storage" or (recorded is not None and len(device) > 1)):
        raise ParityError(
            "--device says how the target computes: leave --numerics out, and give one with "
            "--capture, that which it was made on"
        )
    log.print(f"opening {source.name}")
    results = {}
    for name in device or [""]:
        with progress(f"comparing {name}".strip()) as advance:
            results[name] = diagnose_package(
                package,
                source,
                numerics=name if name and recorded is None else numerics,
                recorded=recorded,
                expected=name if name and recorded is not None else "storage",
                advance=advance,
            )
    documents = {name: found.to_dict() for name, found in results.items()}
    document = {"devices": documents} if device else documents[""]

    def show() -> None:
        for found in results.values():
            _print_diagnosis(found)

    answer(json, document, show)
    codes = [EXIT_CODES[Verdict(_VERDICTS.get(f.conclusion, "fail"))] for f in results.values()]
    raise typer.Exit(min(codes, key=_SEVEREST_FIRST.index))


_SEVEREST_FIRST = (1, 3, 0)
"""Exit codes of several devices: a failure before what was not evaluated, and that before 0."""


_VERDICTS = {"as good as it has to be": "pass", "not evaluated": "not_evaluated"}


def _print_diagnosis(found: ThreeWay) -> None:
    levels = [
        (name, decibels(expected), decibels(target))
        for name, (expected, target) in found.outputs.items()
    ]
    print_table(
        "beside the reference in FP32",
        ("output", "rounded ideally", found.target),
        levels,
        right=(1, 2),
    )
    if found.culprits:
        out.print(
            "wrong by themselves, in program order: those that matter, then harmless ones",
            style="bold",
        )
    for operation in found.culprits[:_SHOWN]:
        harmless = "" if operation.matters else " (harmless: what reads it is right)"
        out.print(f"{_title(operation)}{harmless}")
        out.print(f"   {operation.cause}: {operation.words}")
        out.print(
            f"   inputs {decibels(operation.inputs_db)}, local {decibels(operation.local_db)}, "
            f"deviation {decibels(operation.deviation_db)}, result "
            f"{decibels(operation.target_db)}, its readers {decibels(operation.readers_db)}",
        )
    inherited = sum(o.cause is None for o in found.operations)
    out.print(
        f"{len(found.culprits)} operations are wrong by themselves, {inherited} are not; "
        f"{len(found.unmatched)} values have no counterpart",
    )
    out.print(f"{found.target}: {found.conclusion}")


@commands.command(
    "explain",
    epilog="Examples: parity explain reports/latest/run.json; parity explain run.json "
    "--package X.mlpackage",
)
def explain(
    document: Annotated[Path, typer.Argument(metavar="RUN.json", help="What 'parity' wrote.")],
    package: Annotated[
        Path | None,
        typer.Option(help="The package that failed: it is executed again, to find the operation."),
    ] = None,
    reference: Fp32Package = None,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
) -> None:
    """Say in words which layer fails first, where in it, why, and what to try next."""
    from harness.diagnosis import explain as explain_run
    from harness.workbench.explaining import explain_package, reference_of

    run = read_run(document)
    if package is None:
        found = explain_run(run)
    else:
        source = reference_of(run, golden_root, reference, judged=package)
        with progress("comparing") as advance:
            found = explain_package(run, package, source, advance=advance)
    answer(json, asdict(found), lambda: print_explanation(found))


def print_explanation(found: Explanation) -> None:
    """Print each step with its evidence, and the commands to go on with."""
    for number, step in enumerate(found.steps, 1):
        out.print(f"{number}. {step.question}", style="bold")
        out.print(f"   {step.answer}")
        for line in step.evidence:
            out.print(f"   - {line}")
    if found.commands:
        out.print("Next:", style="bold")
    for command in found.commands:
        out.print(f"   {command}")
