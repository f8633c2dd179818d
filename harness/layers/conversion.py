"""The layer ``conversion``: a package makes what PyTorch makes, as exactly as its precision allows.

Ratios forgive single defects, so a package is held to two things: the published gate on its
outputs, and what its precision can reach. In FP32 that is one bound, on outputs and behind every
block; for any other recipe it is a virtual run of it: the FP32 program with the recipe's roundings,
executed by the same executor. A package that is worse by more than the gate's margin computes
something else than it declares, even where it passes 60 dB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.layers.tensors import Tensors, compared, tensor_label
from harness.metrics import snr_db
from harness.verdicts import Check, Gate, Outcome, bound, gate, not_evaluated

if TYPE_CHECKING:
    from harness.conversion import PrecisionRecipe

STATE, CALL = "state.", "call."
"""How the names begin of what calls leave in states (`harness.subjects.protocol.state_output`), and
of what calls behind the first make (`harness.subjects.calls`)."""
_NAMED = 3
_NOT_FOUND = "the value that is this tap was not found in the program"


def branch_checks(
    expected: Tensors,
    actual: Tensors,
    recipe: PrecisionRecipe,
    labels: Mapping[str, str],
    *,
    outputs: Iterable[str],
    bounds: Gate | None = None,
) -> Iterator[Check]:
    """Compare the outputs of the program, elementwise and by SNR; ``bounds`` for other ones."""
    gating = recipe.must_pass("conversion")
    for name in outputs:
        where = {**labels, "tensor": name}
        pair = expected[name], actual[name]
        yield compared("conversion", "conversion", *pair, where, gating=gating, bounds=bounds)


def integer_checks(
    expected: Tensors, actual: Tensors, labels: Mapping[str, str], *, outputs: Iterable[str]
) -> Iterator[Check]:
    """Compare outputs that are integers or truth values: they are the same, or they are wrong."""
    for name in outputs:
        where = {**labels, "tensor": name}
        yield compared("conversion", "integers", expected[name], actual[name], where)


def worst_value_check(
    worst: Outcome | None, recipe: PrecisionRecipe, labels: Mapping[str, str]
) -> Check:
    """Hold the inner value that is furthest from where it may be to what its precision allows.

    Args:
        worst: its outcome; None if no value has a counterpart.
        recipe: of the package.
        labels: of the check.
    """
    name = "expected_precision_fp32" if recipe.is_fp32 else "expected_precision"
    outcome = worst or not_evaluated("no inner value of the package has a counterpart")
    return Check("conversion", {**labels, "tensor": "worst tap"}, True, gate(name), outcome)


def precision_checks(
    expected: Tensors,
    actual: Tensors,
    predicted: Tensors | None,
    recipe: PrecisionRecipe,
    taps: Sequence[str],
    labels: Mapping[str, str],
    *,
    outputs: Iterable[str],
    exact: bool = True,
) -> Iterator[Check]:
    """Hold a package to what its recipe can reach, on its outputs and behind every block.

    Args:
        expected: what PyTorch makes.
        actual: what the package makes; a tap that it lacks is not evaluated.
        predicted: what a virtual run of the recipe makes; not looked at for FP32, and None for
            another recipe leaves everything not evaluated.
        recipe: of the package.
        taps: names of the inner values that are asked for; of all but FP32 the worst is told.
        labels: of every check.
        outputs: of the program.
        exact: whether what made it adds up in the order of what predicted it.
    """
    if recipe.is_fp32:
        for name in (*outputs, *(f"tap.{tap}" for tap in taps)):
            yield reaches_fp32_check(expected, actual, name, labels)
        return
    for name in outputs:
        where = {**labels, "tensor": name, "what": "SNR beside its prediction"}
        limits, outcome = gate("expected_precision"), _no_prediction()
        if predicted is not None:
            gap = beside_prediction_db(expected[name], actual[name], predicted[name], exact)
            outcome = bound(gap, limits, what=where["what"])
        yield Check("conversion", where, True, limits, outcome)
    if taps:
        worst = _worst_tap(expected, actual, predicted, taps, exact)
        yield worst_value_check(worst, recipe, labels)


def reaches_fp32_check(
    expected: Tensors, actual: Tensors, name: str, labels: Mapping[str, str]
) -> Check:
    """Hold one tensor of an FP32 package, by its golden's name, to what FP32 allows.

    What a call leaves in a state is rounded to FP16 in every package, and later calls read that.
    """
    where = {**labels, "tensor": tensor_label(name)}
    gate_name = f"expected_precision_{_held_to(name)}"
    if name not in actual:
        return Check("conversion", where, True, gate(gate_name), not_evaluated(_NOT_FOUND))
    value = np.ascontiguousarray(actual[name])
    return compared("conversion", gate_name, expected[name], value, where)


def _held_to(name: str) -> str:
    inner = name.removeprefix(CALL).partition(".")[2] if name.startswith(CALL) else name
    if inner.startswith(STATE):
        return "state"
    return "fp32" if inner == name else "carried"


def agreement_check(disagreeing: Sequence[str], labels: Mapping[str, str]) -> Check:
    """Judge that two executors make the same of every operation.

    Args:
        disagreeing: the operations of which they don't, in words.
        labels: of the check.
    """
    what = "operations of which the executors make something else"
    outcome = bound(len(disagreeing), gate("second_opinion"), what=what)
    if disagreeing:
        outcome = replace(outcome, reason=f"{what}: {', '.join(disagreeing[:_NAMED])}")
    return Check("conversion", {**labels, "what": what}, True, gate("second_opinion"), outcome)


def second_opinion_check(
    expected: Tensors,
    first: Tensors,
    second: Tensors,
    recipe: PrecisionRecipe,
    labels: Mapping[str, str],
    *,
    names: Sequence[str],
) -> Check:
    """Judge that two executors are as far from PyTorch, on the tensor where they differ most.

    Args:
        expected: what PyTorch makes.
        first, second: what the executors make; in FP32 they are compared with each other.
        recipe: of the package.
        labels: of the check.
        names: of the tensors, at least one.
    """
    if recipe.is_fp32:
        limits, what = gate("second_opinion_fp32"), "SNR of one executor beside the other"
        found = {name: snr_db(first[name], second[name]) for name in names}
        worst = min(names, key=lambda name: found[name])
    else:
        limits, what = gate("second_opinion_rounded"), "difference of the executors' SNR"
        gaps = {n: beside_prediction_db(expected[n], second[n], first[n]) for n in names}
        found = {name: abs(gap) for name, gap in gaps.items()}
        worst = max(names, key=lambda name: found[name])
    outcome = bound(found[worst], limits, what=f"{what} on {tensor_label(worst)}")
    return Check("conversion", {**labels, "what": what}, True, limits, outcome)


def repeat_check(
    first: Mapping[str, npt.NDArray[Any]],
    second: Mapping[str, npt.NDArray[Any]],
    labels: Mapping[str, str],
) -> Check:
    """Judge that two runs of a package on one input make the same bits."""
    apart = sum(
        int(np.count_nonzero(_bits(one) != _bits(second[name]))) for name, one in first.items()
    )
    what = "elements that differ in a second run"
    outcome = bound(apart, gate("repeat"), what=what)
    return Check("conversion", {**labels, "what": what}, True, gate("repeat"), outcome)


def _bits(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as integers, so that a NaN equals itself."""
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def beside_prediction_db(
    expected: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    predicted: npt.NDArray[Any],
    exact: bool = True,
) -> float:
    """Return by how many dB the SNR of ``actual`` is above that of ``predicted``; -inf for NaN.

    Unless ``exact``, equal bits promise what FP32 has to reach. Other shapes: -inf.
    """
    if expected.shape != actual.shape:
        return -math.inf
    reached, promised = snr_db(expected, actual), snr_db(expected, predicted)
    if reached == promised:
        return 0.0
    if promised == math.inf and not exact:
        promised = gate("expected_precision_fp32").min_snr_db or promised
    gap = reached - promised
    return -math.inf if math.isnan(gap) else gap


def _worst_tap(
    expected: Tensors, actual: Tensors, predicted: Tensors | None, taps: Sequence[str], exact: bool
) -> Outcome:
    """Judge the tap that is furthest under its prediction."""
    if predicted is None:
        return _no_prediction()
    names = [f"tap.{tap}" for tap in taps]
    lacking = [tensor_label(n) for n in names if n not in actual or n not in predicted]
    if lacking:
        return not_evaluated(f"{_NOT_FOUND}: {', '.join(lacking)}")
    gaps = {n: beside_prediction_db(expected[n], actual[n], predicted[n], exact) for n in names}
    worst = min(names, key=lambda name: gaps[name])
    what = f"SNR of {tensor_label(worst)} beside its prediction"
    return bound(gaps[worst], gate("expected_precision"), what=what)


def _no_prediction() -> Outcome:
    return not_evaluated("what its precision allows is not known without a recipe")
