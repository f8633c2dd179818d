"""One comparison of an actual tensor with an expected one, under a gate.

The order is fixed, and the first rule that is broken gives the reason: shape, dtype, finite values,
silence, elementwise tolerance, SNR. Nothing is broadcast, reshaped, permuted or cast to fit.
Comparing returns a value; asserting is the caller's business.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from harness.errors import ParityError
from harness.metrics import (
    SILENCE_DBFS,
    SILENT_ERROR_DBFS,
    ValidationMetrics,
    compute_numerical_diff,
)
from harness.verdicts.tolerances import LAYERS, Gate

LABELS = ("subject", "case", "recipe", "engine", "numerics", "tensor", "stem", "channel", "what")
"""What a check may be labelled with, in the order in which its identity is spelled."""


class Verdict(str, Enum):
    """Pass, fail, or not evaluated: what was not evaluated is never green."""

    PASS = "pass"
    FAIL = "fail"
    NOT_EVALUATED = "not_evaluated"


@dataclass(frozen=True)
class Outcome:
    """What a comparison found.

    Attributes:
        verdict: pass or fail.
        reason: the first rule that is broken, or how the gate was met.
        headroom_db: distance to the nearest bound in dB; negative if it is broken, ``inf`` if the
            tensors are identical, ``None`` where no distance exists (another shape, say).
        tolerance_ratio: the factor by which (rtol, atol) would have to be multiplied for the
            elementwise gate to be just met; ``None`` without such a gate.
        expected, observed: the two sides in words.
        metrics: the numbers behind it, by name.
    """

    verdict: Verdict
    reason: str
    expected: str
    observed: str
    headroom_db: float | None = None
    tolerance_ratio: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tolerance_ratio is not None and self.tolerance_ratio < 0:
            raise ParityError(f"tolerance ratio {self.tolerance_ratio:g} is negative; no factor is")
        if self.verdict is Verdict.PASS and (self.headroom_db or 0.0) < 0:
            raise ParityError(f"an outcome passes {-(self.headroom_db or 0):g} dB beyond its bound")


@dataclass(frozen=True)
class Check:
    """An outcome with its place in a run.

    Attributes:
        layer: the rung of the ladder.
        labels: what was compared; keys from `LABELS`.
        gating: whether the run's verdict depends on it; exploratory recipes are measured only.
        gate: the bounds.
        command: what reproduces this row.
    """

    layer: str
    labels: Mapping[str, str]
    gating: bool
    gate: Gate | None
    outcome: Outcome
    duration_s: float = 0.0
    command: str = ""

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise ParityError(f"layer {self.layer!r} is not one of {', '.join(LAYERS)}")
        strange = sorted(set(self.labels) - set(LABELS))
        if strange:
            raise ParityError(f"labels {strange} are not among {', '.join(LABELS)}")

    @property
    def verdict(self) -> Verdict:
        """The outcome's verdict."""
        return self.outcome.verdict

    @property
    def id(self) -> str:
        """The identity: layer, gate and labels; unique within a run."""
        parts = [self.layer, self.gate.name if self.gate else "-"]
        parts += [self.labels[name] for name in LABELS if name in self.labels]
        return "/".join(parts)

    @property
    def complaint(self) -> str:
        """Why a run with it is not green, in one line."""
        return f"{self.id}: {self.outcome.reason}"


def compare(expected: np.ndarray, actual: np.ndarray, gate: Gate) -> Outcome:
    """Compare ``actual`` with ``expected`` under ``gate``.

    Args:
        expected: the reference, any shape, floating point or integer.
        actual: the candidate; must have the same shape and dtype.
        gate: needs ``rtol`` and ``atol``, ``min_snr_db``, or both.

    Raises:
        ParityError: the gate has neither tolerance nor SNR.
    """
    if gate.rtol is None and gate.min_snr_db is None:
        raise ParityError(f"gate {gate.name!r} bounds a number, not a tensor; use `bound`")
    if expected.shape != actual.shape:
        return _misfit(gate, "shape", expected.shape, actual.shape)
    if expected.dtype != actual.dtype:
        return _misfit(gate, "dtype", expected.dtype, actual.dtype)
    if expected.size == 0:
        return _misfit(gate, "size", "at least one element", "none")
    metrics = compute_numerical_diff(expected, actual, rtol=gate.rtol or 0.0, atol=gate.atol or 0.0)
    not_finite = _not_finite(expected, actual)
    if not_finite:
        return replace(_misfit(gate, "values", "finite", not_finite), metrics=metrics.to_dict())
    return _judge(gate, metrics)


def bound(value: float, gate: Gate, *, what: str) -> Outcome:
    """Judge one number against ``at_most`` and ``at_least`` of ``gate``.

    The headroom is the distance in dB: of numbers that are in dB their difference, of others
    20 log10 of their ratio.
    """
    distance = operator.sub if gate.unit == "dB" else _ratio_db
    value = float(value)
    broken, headrooms = [], []
    if gate.at_most is not None:
        headrooms.append(distance(gate.at_most, value))
        broken += [] if value <= gate.at_most else [f"{what} is above {gate.at_most:g}"]
    if gate.at_least is not None:
        headrooms.append(distance(value, gate.at_least))
        broken += [] if value >= gate.at_least else [f"{what} is below {gate.at_least:g}"]
    if not headrooms:
        raise ParityError(f"gate {gate.name!r} bounds a tensor, not a number; use `compare`")
    if math.isnan(value):
        broken, headrooms = [f"{what} is not a number"], [-math.inf]
    return Outcome(
        verdict=Verdict.FAIL if broken else Verdict.PASS,
        reason=broken[0] if broken else f"{what} is within its bound",
        expected=gate.describe(),
        observed=f"{value:.6g} {gate.unit}".rstrip(),
        headroom_db=min(headrooms),
        metrics={"value": value},
    )


def sortable(value: float | None) -> float:
    """Return a number to sort by: what is unknown or no number comes before everything."""
    return -math.inf if value is None or math.isnan(value) else value


def not_evaluated(reason: str) -> Outcome:
    """Return the outcome of something that was not looked at, with the reason."""
    return Outcome(Verdict.NOT_EVALUATED, reason, expected="", observed="not evaluated")


def failed(reason: str, *, expected: str = "", observed: str = "") -> Outcome:
    """Return the outcome of something that broke before anything could be compared."""
    return Outcome(Verdict.FAIL, reason, expected=expected, observed=observed)


def _misfit(gate: Gate, what: str, expected: object, actual: object) -> Outcome:
    return failed(
        f"{what}: expected {expected}, got {actual}",
        expected=f"{what} {expected}; {gate.describe()}",
        observed=f"{what} {actual}",
    )


def _not_finite(expected: np.ndarray, actual: np.ndarray) -> str:
    for side, tensor in (("the reference", expected), ("the candidate", actual)):
        if not np.issubdtype(tensor.dtype, np.inexact):
            continue
        finite = np.isfinite(tensor)
        if not finite.all():
            first = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), tensor.shape))
            count = int(finite.size - np.count_nonzero(finite))
            return f"{count} NaN or Inf in {side}, first at {first}"
    return ""


def _judge(gate: Gate, metrics: ValidationMetrics) -> Outcome:
    broken: list[str] = []
    headrooms: list[float] = []
    loudness = metrics.expected_rms_dbfs
    silent = loudness < SILENCE_DBFS if gate.audio else loudness == -math.inf
    if silent:
        headrooms.append(SILENT_ERROR_DBFS - metrics.error_rms_dbfs)
        if not metrics.error_rms_dbfs <= SILENT_ERROR_DBFS:
            broken.append(
                f"the reference is silent ({metrics.expected_rms_dbfs:.1f} dBFS) and the error is "
                f"{metrics.error_rms_dbfs:.1f} dBFS, above {SILENT_ERROR_DBFS:g}"
            )
    if gate.rtol is not None:
        headrooms.append(_ratio_db(1.0, metrics.tolerance_ratio))
        if metrics.mismatched:
            broken.append(_mismatch_message(gate, metrics))
    if gate.min_snr_db is not None and not silent:
        headrooms.append(metrics.snr_db - gate.min_snr_db)
        if not metrics.snr_db > gate.min_snr_db:
            broken.append(f"SNR {metrics.snr_db:.2f} dB, not above {gate.min_snr_db:g} dB")
    praise, observed = _in_words(metrics, silent)
    return Outcome(
        verdict=Verdict.FAIL if broken else Verdict.PASS,
        reason="; ".join(broken) or praise,
        expected="silence: error at most -100 dBFS" if silent else gate.describe(),
        observed=observed,
        headroom_db=min(headrooms),
        tolerance_ratio=None if gate.rtol is None else metrics.tolerance_ratio,
        metrics=metrics.to_dict() | {"silent": silent},
    )


def _mismatch_message(gate: Gate, metrics: ValidationMetrics) -> str:
    share = 100.0 * metrics.mismatched / metrics.size
    return (
        f"mismatched elements: {metrics.mismatched} / {metrics.size} ({share:.3g} %); greatest "
        f"absolute difference {metrics.max_abs_error:.6g} at index {metrics.max_abs_error_index} "
        f"(up to {gate.atol:g} allowed); greatest relative difference {metrics.max_rel_error:.6g} "
        f"at index {metrics.max_rel_error_index} (up to {gate.rtol:g} allowed); would pass with "
        f"{metrics.tolerance_ratio:.3g} times these tolerances"
    )


def _in_words(metrics: ValidationMetrics, silent: bool) -> tuple[str, str]:
    """Return what there is to praise where the gate is met, and what was observed."""
    if metrics.max_abs_error == 0.0:
        return "identical", "exact"
    if silent:
        observed = f"error {metrics.error_rms_dbfs:.1f} dBFS"
        return "the reference is silent and so is the error", observed
    observed = f"{metrics.snr_db:.2f} dB, max difference {metrics.max_abs_error:.3g}"
    return "within the gate", observed


def _ratio_db(numerator: float, denominator: float) -> float:
    """Return 20 log10(numerator / denominator) with the limits for zeros; both non-negative."""
    if denominator == 0.0:
        return math.inf
    if numerator == 0.0 or math.isinf(denominator):
        return -math.inf
    return 20.0 * math.log10(abs(numerator / denominator))
