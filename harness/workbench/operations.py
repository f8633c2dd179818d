"""What a run keeps of a package operation by operation, and of the precision lab.

In: a workbench, a subject, a case and a recipe. Out: rows of `harness.verdicts.artefacts`, small
enough for a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch

from harness import mil
from harness.conversion import load_recipe
from harness.diagnosis import audit_headroom
from harness.diagnosis.profile import profile_operations
from harness.layers import Tensors
from harness.metrics import dbfs, rms, snr_db
from harness.precision.sensitivity import Probing, measure_sensitivity
from harness.precision.virtual import VirtualPrecision
from harness.verdicts.artefacts import Attachment, OperationSeries
from harness.verdicts.attachments import attachment
from harness.workbench.bench import Prediction, Workbench
from harness.workbench.lab import lab_inputs, lab_measures

FP32: Final = "fp32"
PROBES: Final = 8
"""For one measure: two directions, and four random ones beside them."""


def operation_series(
    bench: Workbench, labels: Mapping[str, str], *, local: bool = True
) -> OperationSeries:
    """Return the errors of a package along a golden's signal, beside its FP32 package.

    Args:
        bench: where packages and goldens come from.
        labels: subject, case, recipe, engine and numerics.
        local: whether the error that each operation adds itself is measured.
    """
    subject, recipe = labels["subject"], labels["recipe"]
    wide = recipe == FP32
    reference = mil.load(bench.package(subject, FP32))
    candidate = reference if wide else mil.load(bench.package(subject, recipe))
    found = profile_operations(
        reference,
        candidate,
        _inputs(bench, subject, labels["case"]),
        reference_numerics="float64" if wide else "storage",
        numerics=labels["numerics"],
        local=local,
    )
    types = list(dict.fromkeys(profile.type for profile in found))
    modules = list(dict.fromkeys(profile.module for profile in found))
    return OperationSeries(
        subject=subject,
        case=labels["case"],
        recipe=recipe,
        engine=labels["engine"],
        numerics=labels["numerics"],
        reference="the same program in float64" if wide else "the FP32 program",
        types=tuple(types),
        modules=tuple(modules),
        index=tuple(profile.index for profile in found),
        operation=tuple(profile.operation for profile in found),
        type=tuple(types.index(profile.type) for profile in found),
        module=tuple(modules.index(profile.module) for profile in found),
        precision=tuple(profile.precision for profile in found),
        snr_db=tuple(_rounded(profile.snr_db) for profile in found),
        local_db=tuple(_rounded(profile.local_db) for profile in found),
        max_abs_error=tuple(_short(profile.max_abs_error) for profile in found),
        peak=tuple(float(f"{profile.peak:.4g}") for profile in found),
        ulp_p50=tuple(profile.ulp_p50 for profile in found),
        ulp_p99=tuple(profile.ulp_p99 for profile in found),
        subnormal_share=tuple(round(profile.subnormal_share, 5) for profile in found),
    )


def tap_series(
    expected: Tensors, prediction: Prediction, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return the SNR of every tap in program order; plain JSON data.

    Args:
        expected: what PyTorch makes, taps included.
        prediction: what the package made.
        labels: subject, case, recipe, engine and numerics.
    """
    points = [
        {
            "index": index,
            "op": tap,
            "type": "tap",
            "module": tap,
            "precision": prediction.precisions[tap],
            "snr_db": snr_db(expected[f"tap.{tap}"], actual),
            "rms_dbfs": dbfs(rms(expected[f"tap.{tap}"])),
        }
        for index, (tap, actual) in enumerate(prediction.taps.items())
    ]
    return {**labels, "points": points, "reference": "taps of the original in PyTorch"}


def headroom_attachment(bench: Workbench, subject: str, cases: tuple[str, ...]) -> Attachment:
    """Return how near the FP32 program comes to FP16's ends, on the signals of golden cases."""
    model = mil.load(bench.package(subject, FP32))
    found = audit_headroom(model, lab_inputs(subject, cases, bench.goldens.layout.root))
    return attachment(f"headroom of {subject}", {"subject": subject, **found.to_dict()})


def sensitivity_attachment(
    bench: Workbench, subject: str, recipe: str, cases: tuple[str, ...]
) -> Attachment:
    """Return what each operation adds to the error of all stems, on golden signals."""
    lab, wanted = VirtualPrecision(mil.load(bench.package(subject, FP32))), load_recipe(recipe)
    found = measure_sensitivity(
        lab,
        lab_inputs(subject, cases, bench.goldens.layout.root),
        lab_measures(subject, lab)[:1],
        choice=lab.by_recipe(wanted),
        weights=lab.weights_by_recipe(wanted),
        subject=subject,
        precision=wanted.name,
        probing=Probing(PROBES),
    )
    return attachment(f"sensitivity of {subject} in {recipe}", found.to_dict())


def _inputs(bench: Workbench, subject: str, case: str) -> dict[str, Any]:
    golden = bench.golden(subject, case).require()
    return {name: torch.from_numpy(golden[name]) for name in ("spectrogram", "audio")}


def _rounded(level: float | None) -> float | None:
    return None if level is None else round(level, 2)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
