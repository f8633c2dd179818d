"""Conversion: the saved package, executed as it declares, computes what PyTorch computes.

Each recipe is converted from one trace, saved, opened from disk and executed by our own executor.
Gating recipes must pass; exploratory ones are measured.
"""

from __future__ import annotations

import pytest

from harness.conversion import audit_package, load_recipe
from harness.golden import Golden
from harness.layers import branch_checks, precision_checks
from harness.pytest_plugin import Recorder
from harness.verdicts.rows.operations import OperationSeries
from harness.workbench import Prediction, Workbench, describe_package, paper_checks
from harness.workbench.operations import operation_series, tap_series
from harness.workbench.outlines import outline_of

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


def test_papers(parity: Recorder, bench: Workbench, subject: str, recipe: str) -> None:
    """Contract, precision of every operation, and constants are what they are said to be."""
    package, rules = bench.package(subject, recipe), load_recipe(recipe)
    audit = audit_package(package, rules)
    parity.keep(describe_package(subject, audit, rules))
    parity.keep(outline_of(subject))
    labels = {"subject": subject, "recipe": recipe}
    parity.add(paper_checks(package, bench.subject(subject), audit, labels))


@pytest.mark.cases("segment")
def test_branches(
    parity: Recorder, golden: Golden, prediction: Prediction, labels: dict[str, str]
) -> None:
    recipe = load_recipe(labels["recipe"])
    parity.add(branch_checks(golden, prediction.tensors, recipe, labels))


@pytest.mark.cases("segment")
@pytest.mark.recipes(FP32)
def test_fp32_reaches_what_fp32_allows(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    prediction: Prediction,
    labels: dict[str, str],
) -> None:
    """Single defects hide under 60 dB, and what one block gets wrong the next may hide."""
    taps = bench.taps_of(labels["subject"], labels["case"])
    recipe = load_recipe(labels["recipe"])
    parity.add(precision_checks(golden, prediction.tensors, None, recipe, taps, labels))


@pytest.mark.cases("taps")
@pytest.mark.recipes(but=FP32)
def test_recipe_reaches_its_prediction(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    prediction: Prediction,
    labels: dict[str, str],
) -> None:
    """What a recipe costs is known before a package is made of it; more than that is a defect."""
    subject, case, recipe = (labels[name] for name in ("subject", "case", "recipe"))
    predicted = bench.virtual(subject, case, recipe).tensors
    taps = bench.taps_of(subject, case)
    rules = load_recipe(recipe)
    parity.add(precision_checks(golden, prediction.tensors, predicted, rules, taps, labels))


@pytest.mark.cases("taps")
def test_error_along_the_network(
    parity: Recorder, golden: Golden, prediction: Prediction, labels: dict[str, str]
) -> None:
    """Where the error is born: the SNR of every tap in program order; the worst is recorded."""
    series = tap_series(golden, prediction, labels)
    parity.keep(series)
    worst = min(point.snr_db for point in series.operations if point.snr_db is not None)
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
    worst = min(o.snr_db for o in series.operations if o.snr_db is not None)
    what = "SNR of the worst operation"
    parity.bound(worst, "worst_operation", gating=False, what=what, **labels)
