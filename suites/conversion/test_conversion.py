"""Conversion: the saved package, executed as it declares, computes what PyTorch computes.

Each recipe is converted from one trace, saved, opened from disk and executed by our own executor.
Gating recipes must pass; exploratory ones are measured.
"""

from __future__ import annotations

import math

import pytest

from harness.conversion import audit_package, load_recipe
from harness.golden import Golden
from harness.layers import branch_checks, precision_checks
from harness.mil import load
from harness.profiles import PACKAGE_ENGINE
from harness.pytest_plugin import Recorder
from harness.verdicts import Check
from harness.verdicts.rows.operations import OperationSeries
from harness.workbench import Prediction, Workbench, describe_package, paper_checks
from harness.workbench.on_devices import Question, device_rows
from harness.workbench.operations import operation_series, tap_series
from harness.workbench.pictures import outline_of

pytestmark = [pytest.mark.layer("conversion"), pytest.mark.engines("package")]

FP32 = "fp32"


@pytest.fixture
def labels(bench: Workbench, subject: str, case: str, recipe: str, engine: str) -> dict[str, str]:
    where = {"subject": subject, "case": case, "recipe": recipe}
    return where | bench.predictions.labels(engine)


@pytest.fixture
def prediction(
    parity: Recorder, bench: Workbench, subject: str, case: str, recipe: str, engine: str
) -> Prediction:
    package = bench.packages.path(subject, recipe)
    made = bench.predictions.of(subject, case, package, engine)
    parity.executed(engine)
    return made


def test_papers(parity: Recorder, bench: Workbench, subject: str, recipe: str) -> None:
    """Contract, precision of every operation, and constants are what they are said to be."""
    package, rules = bench.packages.path(subject, recipe), load_recipe(recipe)
    audit = audit_package(package, rules)
    reused = bench.packages.is_reused(package)
    parity.keep(describe_package(subject, audit, rules, reused=reused))
    parity.keep(outline_of(subject))
    labels = {"subject": subject, "recipe": recipe}
    parity.add(paper_checks(package, bench.goldens.subject(subject), audit, labels))


@pytest.mark.cases("segment")
def test_branches(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    prediction: Prediction,
    labels: dict[str, str],
) -> None:
    recipe, outputs = load_recipe(labels["recipe"]), prediction.outputs
    bounds, pair = bench.goldens.bounds(labels["subject"], "conversion"), prediction.tensors
    parity.add(branch_checks(golden, pair, recipe, labels, outputs=outputs, bounds=bounds))


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
    asked = bench.predictions.taps(labels["subject"], labels["case"], labels["engine"])
    taps = prediction.judged(asked)
    recipe, pair = load_recipe(labels["recipe"]), (golden, prediction.tensors)
    outputs = prediction.outputs
    parity.add(precision_checks(*pair, None, recipe, taps, labels, outputs=outputs))


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
    predicted = bench.virtual.of(subject, case, recipe)
    asked = bench.predictions.taps(subject, case, labels["engine"])
    taps = predicted.judged(prediction.judged(asked))
    tensors, outputs, rules = prediction.tensors, prediction.outputs, load_recipe(recipe)
    given = (golden, tensors, predicted.tensors, rules, taps, labels)
    exact = labels["engine"] == PACKAGE_ENGINE  # which makes the prediction, too
    parity.add(precision_checks(*given, outputs=outputs, exact=exact))


@pytest.mark.cases("taps")
@pytest.mark.engines("package", taps=True)
def test_error_along_the_network(
    parity: Recorder, golden: Golden, prediction: Prediction, labels: dict[str, str]
) -> None:
    """Where the error is born: the SNR of every tap in program order; the worst is recorded."""
    series = tap_series(golden, prediction, labels)
    parity.keep(series)
    levels = [point.snr_db for point in series.operations if point.snr_db is not None]
    worst = min(levels, default=math.inf)  # a network of one block has none
    parity.bound(worst, "worst_tap", gating=False, what="SNR of the worst tap", **labels)


@pytest.fixture
def executor_labels(bench: Workbench, subject: str, case: str, recipe: str) -> dict[str, str]:
    """Operation by operation, only our own executor shows a program."""
    where = {"subject": subject, "case": case, "recipe": recipe}
    return where | bench.predictions.labels(PACKAGE_ENGINE)


@pytest.mark.cases("figures")
@pytest.mark.subjects("small")
def test_error_of_every_operation(
    parity: Recorder, bench: Workbench, golden: Golden, executor_labels: dict[str, str]
) -> None:
    """Where the error is born, operation by operation, and what each one adds itself."""
    _keep_operations(parity, operation_series(bench, executor_labels), executor_labels)


@pytest.mark.cases("figures")
@pytest.mark.subjects("published")
@pytest.mark.recipes("mixed")
def test_error_of_every_operation_of_the_published_size(
    parity: Recorder, bench: Workbench, golden: Golden, executor_labels: dict[str, str]
) -> None:
    """The same where one run takes seconds: the accumulated error of the published list alone."""
    _keep_operations(parity, operation_series(bench, executor_labels, local=False), executor_labels)


@pytest.mark.cases("segment")
@pytest.mark.recipes(but=FP32)
def test_what_devices_would_make_of_it(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    executor_labels: dict[str, str],
    device: str,
) -> None:
    """Predicted on the devices that are asked for, as far as is published of them; no verdict."""
    subject, case, recipe = (executor_labels[name] for name in ("subject", "case", "recipe"))
    model = load(bench.packages.path(subject, recipe))
    network = bench.goldens.subject(subject).network
    inputs = bench.goldens.inputs(subject, case)
    for row in device_rows(Question(model, network, golden, inputs, executor_labels), device):
        if isinstance(row, Check):
            parity.add([row])
        else:
            parity.keep(row)


def _keep_operations(parity: Recorder, series: OperationSeries, labels: dict[str, str]) -> None:
    parity.keep(series)
    parity.executed(labels["engine"])
    worst = min(o.snr_db for o in series.operations if o.snr_db is not None)
    what = "SNR of the worst operation"
    parity.bound(worst, "worst_operation", gating=False, what=what, **labels)
