"""What a run keeps of a package operation by operation, and of the precision lab.

In: a workbench, a subject, a case and a recipe. Out: rows of `harness.verdicts.rows`, small
enough for a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch

from harness import mil
from harness.conversion import load_recipe
from harness.diagnosis import audit_headroom
from harness.diagnosis.profile import profile_operations
from harness.layers import Tensors
from harness.metrics import snr_db
from harness.precision.sensitivity import Probing, measure_sensitivity
from harness.subjects.calls import first_call
from harness.verdicts.rows.documents import HeadroomRow, SensitivityRow, attachment
from harness.verdicts.rows.labelled import labels_of
from harness.verdicts.rows.operations import OperationProfile, OperationSeries, TapSeries
from harness.workbench.bench import Workbench
from harness.workbench.predictions import Prediction
from harness.workbench.sources import SubjectSource

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
    reference = mil.functional(mil.load(bench.packages.path(subject, FP32)))
    inputs = first_call(bench.goldens.inputs(subject, labels["case"]))
    path = bench.packages.path(subject, recipe)
    candidate = reference if wide else mil.functional(mil.load(path))
    found = profile_operations(
        reference,
        candidate,
        {name: torch.from_numpy(value) for name, value in inputs.items()},
        reference_numerics="float64" if wide else "storage",
        numerics=labels["numerics"],
        local=local,
    )
    return OperationSeries(
        **labels_of(labels),
        reference="the same program in float64" if wide else "the FP32 program",
        operations=tuple(operation.rounded() for operation in found),
    )


def tap_series(expected: Tensors, prediction: Prediction, labels: Mapping[str, str]) -> TapSeries:
    """Return the SNR of every tap in program order.

    Args:
        expected: what PyTorch makes, taps included.
        prediction: what the package made.
        labels: subject, case, recipe, engine and numerics.
    """
    return TapSeries(
        **labels_of(labels),
        reference="taps of the original in PyTorch",
        operations=tuple(
            OperationProfile(
                index=index,
                operation=tap,
                type="tap",
                module=tap,
                precision="fp16" if prediction.precisions[tap] == "fp16" else "fp32",
                metrics={"snr_db": snr_db(expected[f"tap.{tap}"], actual)},
            )
            for index, (tap, actual) in enumerate(prediction.taps.items())
        ),
    )


def headroom_attachment(bench: Workbench, subject: str, cases: tuple[str, ...]) -> HeadroomRow:
    """Return how near the FP32 program comes to FP16's ends, on the signals of golden cases."""
    model = mil.functional(mil.load(bench.packages.path(subject, FP32)))
    found = audit_headroom(model, _source(bench, subject, cases).inputs())
    row = attachment(subject, {"subject": subject, **found.to_dict()})
    assert isinstance(row, HeadroomRow)  # by the kind of its document
    return row


def sensitivity_attachment(
    bench: Workbench, subject: str, recipe: str, cases: tuple[str, ...]
) -> SensitivityRow:
    """Return what each operation adds to the error of all stems, on golden signals."""
    lab, wanted = bench.packages.lab(subject), load_recipe(recipe)
    source = _source(bench, subject, cases)
    found = measure_sensitivity(
        lab,
        source.inputs(),
        source.measures(lab)[:1],
        choice=lab.by_recipe(wanted),
        weights=lab.weights_by_recipe(wanted),
        subject=subject,
        precision=wanted.name,
        probing=Probing(PROBES),
    )
    row = attachment(f"sensitivity of {subject} in {recipe}", found.to_dict())
    assert isinstance(row, SensitivityRow)  # by the kind of its document
    return row


def _source(bench: Workbench, subject: str, cases: tuple[str, ...]) -> SubjectSource:
    return SubjectSource(subject, cases, bench.goldens.store.layout.root)
