"""Conversion: the saved package, executed as it declares, computes what PyTorch computes.

Each recipe is converted from one trace, saved, opened from disk and executed by our own executor.
Gating recipes must pass; exploratory ones are measured.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.conversion import audit_package, check_contract, load_recipe
from harness.errors import ContractError
from harness.golden import Golden
from harness.metrics import dbfs, rms, snr_db
from harness.pytest_plugin import Recorder
from harness.verdicts import Verdict, bound, failed, gate
from harness.verdicts.artefacts import OperationSeries
from harness.workbench import (
    Prediction,
    Workbench,
    beside_prediction_db,
    describe_package,
    judge_weights,
    subject_sources,
    worst_tap_beside_prediction,
)
from harness.workbench.operations import operation_series

pytestmark = pytest.mark.layer("conversion")

FP32 = "fp32"


@pytest.fixture
def labels(bench: Workbench, subject: str, case: str, recipe: str) -> dict[str, str]:
    where = {"subject": subject, "case": case, "recipe": recipe}
    return where | {"engine": "mil", "numerics": bench.numerics}


@pytest.fixture
def prediction(
    parity: Recorder, bench: Workbench, subject: str, case: str, recipe: str
) -> Prediction:
    made = bench.prediction(subject, case, bench.package(subject, recipe))
    parity.executed("mil")
    return made


def test_contract(parity: Recorder, bench: Workbench, subject: str, recipe: str) -> None:
    """The package's inputs and outputs are those of the model contract."""
    outcome = bound(0, gate("contract"), what="contract")
    try:
        check_contract(bench.package(subject, recipe), len(subject_sources(subject)))
    except ContractError as error:
        outcome = failed(str(error), expected="the model contract", observed="another")
    parity.record(outcome, "contract", subject=subject, recipe=recipe, what="contract")


def test_audit(parity: Recorder, bench: Workbench, subject: str, recipe: str) -> None:
    """Every operation of the package has the precision that the recipe gives it."""
    package = bench.package(subject, recipe)
    audit = audit_package(package, load_recipe(recipe))
    parity.artefact("precision_map", describe_package(subject, audit))
    labels = {"subject": subject, "recipe": recipe, "what": "operations of another precision"}
    if audit.verdict == Verdict.NOT_EVALUATED.value:
        parity.not_evaluated(audit.reason, "audit", **labels)
    parity.bound(len(audit.differences), "audit", **labels)


def test_weights(parity: Recorder, bench: Workbench, subject: str, recipe: str) -> None:
    """Every constant of the package is a tensor of the model, or its rounding to FP16."""
    outcome = judge_weights(bench.package(subject, recipe), bench.subject(subject))
    parity.record(outcome, "weights", subject=subject, recipe=recipe, what="constants")


@pytest.mark.cases("segment")
def test_branch(
    parity: Recorder, golden: Golden, prediction: Prediction, labels: dict[str, str], branch: str
) -> None:
    actual = prediction.outputs[branch]
    gating = load_recipe(labels["recipe"]).must_pass("conversion")
    parity.compare(golden[branch], actual, "conversion", gating=gating, tensor=branch, **labels)


@pytest.mark.cases("segment")
@pytest.mark.recipes(FP32)
def test_branch_reaches_fp32(
    parity: Recorder, golden: Golden, prediction: Prediction, labels: dict[str, str], branch: str
) -> None:
    """An FP32 package must be as good as FP32 allows: single defects hide under 60 dB."""
    actual = prediction.outputs[branch]
    parity.compare(golden[branch], actual, "expected_precision_fp32", tensor=branch, **labels)


@pytest.mark.cases("taps")
@pytest.mark.recipes(FP32)
def test_tap_reaches_fp32(
    parity: Recorder, golden: Golden, prediction: Prediction, labels: dict[str, str], tap: str
) -> None:
    """The same behind every block: what one block gets wrong, the next may hide."""
    labels |= {"tensor": f"tap {tap}"}
    if tap not in prediction.taps:
        reason = "the value that is this tap was not found in the program"
        parity.not_evaluated(reason, "expected_precision_fp32", **labels)
    actual = np.ascontiguousarray(prediction.taps[tap])
    parity.compare(golden[f"tap.{tap}"], actual, "expected_precision_fp32", **labels)


@pytest.fixture
def predicted(bench: Workbench, subject: str, case: str, recipe: str) -> Prediction:
    return bench.virtual(subject, case, recipe)


@pytest.mark.cases("taps")
@pytest.mark.recipes(but=FP32)
def test_branch_reaches_its_prediction(
    parity: Recorder,
    golden: Golden,
    prediction: Prediction,
    predicted: Prediction,
    labels: dict[str, str],
    branch: str,
) -> None:
    """What a recipe costs is known before a package is made of it; more than that is a defect."""
    tensors = golden[branch], prediction.outputs[branch], predicted.outputs[branch]
    labels |= {"tensor": branch, "what": "SNR beside its prediction"}
    parity.bound(beside_prediction_db(*tensors), "expected_precision", **labels)


@pytest.mark.cases("taps")
@pytest.mark.recipes(but=FP32)
def test_taps_reach_their_prediction(
    parity: Recorder,
    golden: Golden,
    prediction: Prediction,
    predicted: Prediction,
    labels: dict[str, str],
) -> None:
    """The same behind every block; the worst is recorded."""
    tap, gap = worst_tap_beside_prediction(golden, prediction, predicted)
    outcome = bound(gap, gate("expected_precision"), what=f"SNR of tap {tap} beside its prediction")
    parity.record(outcome, "expected_precision", tensor="worst tap", **labels)


@pytest.mark.cases("taps")
def test_error_along_the_network(
    parity: Recorder, golden: Golden, prediction: Prediction, labels: dict[str, str]
) -> None:
    """Where the error is born: the SNR of every tap in program order; the worst is recorded."""
    points = []
    for index, (tap, actual) in enumerate(prediction.taps.items()):
        expected = golden[f"tap.{tap}"]
        points.append(
            {
                "index": index,
                "op": tap,
                "type": "tap",
                "module": tap,
                "precision": prediction.precisions[tap],
                "snr_db": snr_db(expected, actual),
                "rms_dbfs": dbfs(rms(expected)),
            }
        )
    series = labels | {"points": points, "reference": "taps of the original in PyTorch"}
    parity.artefact("error_along_network", series)
    worst = min(point["snr_db"] for point in points)
    parity.bound(worst, "worst_tap", gating=False, what="SNR of the worst tap", **labels)


@pytest.mark.cases("figures")
@pytest.mark.subjects("small")
def test_error_of_every_operation(
    parity: Recorder, bench: Workbench, golden: Golden, labels: dict[str, str]
) -> None:
    """Where the error is born, operation by operation, and what each one adds itself."""
    _keep_operations(parity, operation_series(bench, labels), labels)


@pytest.mark.cases("figures")
@pytest.mark.subjects("published")
@pytest.mark.recipes("mixed")
def test_error_of_every_operation_of_the_published_size(
    parity: Recorder, bench: Workbench, golden: Golden, labels: dict[str, str]
) -> None:
    """The same where one run takes seconds: the accumulated error of the published list alone."""
    _keep_operations(parity, operation_series(bench, labels, local=False), labels)


def _keep_operations(parity: Recorder, series: OperationSeries, labels: dict[str, str]) -> None:
    parity.keep(series)
    parity.executed("mil")
    worst = min(level for level in series.snr_db if level is not None)
    what = "SNR of the worst operation"
    parity.bound(worst, "worst_operation", gating=False, what=what, **labels)
