"""Conversion: ONNX Runtime makes of a package what the executor makes of it.

Every verdict on a package rests on the executor, so a second one that shares none of its arithmetic
is asked about each, on music: in FP32 every tap is compared. Where a recipe rounds, a tap that few
roundings have reached says how the last bit of a sum fell, so the outputs are. A narrow network is
compared operation by operation as well, each on the executor's own values; the published size would
be executed dozens of times for that. Part of a run that asks for ``--engine onnx``.
"""

from __future__ import annotations

import pytest

from harness import mil
from harness.conversion import load_recipe
from harness.errors import UnsupportedOperationError
from harness.golden import Golden
from harness.layers import agreement_check, second_opinion_check
from harness.onnx_export import export_model
from harness.profiles import PACKAGE_ENGINE
from harness.pytest_plugin import Recorder
from harness.verdicts import not_evaluated
from harness.workbench import Workbench
from harness.workbench.second_opinion import ENGINE, operations_apart

pytestmark = [pytest.mark.layer("conversion"), pytest.mark.cases("figures")]


@pytest.fixture
def labels(subject: str, case: str, recipe: str) -> dict[str, str]:
    return {"subject": subject, "case": case, "recipe": recipe, "engine": ENGINE}


@pytest.mark.subjects("small")
@pytest.mark.recipes("fp32", "fp16")  # between them, every operation in both types
def test_every_operation(
    parity: Recorder, bench: Workbench, golden: Golden, labels: dict[str, str]
) -> None:
    subject, case, recipe = (labels[name] for name in ("subject", "case", "recipe"))
    model = mil.load(bench.packages.path(subject, recipe))
    try:
        exported = export_model(model)
    except UnsupportedOperationError as error:  # of a network of one's own: there is no opinion
        parity.record(not_evaluated(str(error)), "second_opinion", gating=False, **labels)
        return
    found = operations_apart(model, exported, bench.goldens.inputs(subject, case))
    parity.executed(ENGINE)
    names = [f"{row.operation.type} {row.value} at {row.snr_db:.1f} dB" for row in found]
    parity.add([agreement_check(names, labels)])


def test_the_whole(
    parity: Recorder, bench: Workbench, golden: Golden, labels: dict[str, str]
) -> None:
    subject, case, recipe = (labels[name] for name in ("subject", "case", "recipe"))
    package, rules = bench.packages.path(subject, recipe), load_recipe(recipe)
    first = bench.predictions.of(subject, case, package, PACKAGE_ENGINE)
    try:
        second = bench.predictions.of(subject, case, package, ENGINE)
    except UnsupportedOperationError as error:  # of a network of one's own: there is no opinion
        parity.record(not_evaluated(str(error)), "second_opinion", gating=False, **labels)
        return
    parity.executed(ENGINE)
    names = [*first.outputs, *(f"tap.{tap}" for tap in first.taps if rules.is_fp32)]
    pair = first.tensors, second.tensors
    parity.add([second_opinion_check(golden, *pair, rules, labels, names=names)])
