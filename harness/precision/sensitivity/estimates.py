"""Shares of operations over several cases and measures, estimated a few probes at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch

from harness.mil import Model
from harness.precision.sensitivity.measures import AllStemsMeasure, Measure, audible
from harness.precision.sensitivity.shares import ShareEstimator, Shares, directions_of
from harness.precision.sensitivity.superposition import ErrorOf

Inputs: TypeAlias = Mapping[str, torch.Tensor]
Advance: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Probing:
    """How shares are estimated.

    Attributes:
        probes: for each measure and case.
        seed: of the probes; cases have signs of their own.
        at_once: probes that are carried together: more takes memory.
        advance: called as ``advance(done, total)`` with walks.
    """

    probes: int = 8
    seed: int = 0
    at_once: int = 6
    advance: Advance | None = None


class Estimate(NamedTuple):
    """The share of one operation in one case, and how far off its natural logarithm is.

    Attributes:
        value: noise-to-signal ratio.
        deviation: standard deviation, independent of other cases.
        bias: standard deviation of what is off in every case alike.
    """

    value: float
    deviation: float
    bias: float


@dataclass(frozen=True)
class Estimates:
    """Estimates by operation, each by ``CASE/MEASURE``, and the sums of all.

    Attributes:
        shares: of the operations that have any, by their names in the plan.
        predicted_db: SNR that the sum of the shares gives.
        measured_db: the same as measured.
    """

    shares: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    predicted_db: dict[str, float] = field(default_factory=dict)
    measured_db: dict[str, float] = field(default_factory=dict)


def estimate_cases(
    model: Model,
    error_of: ErrorOf,
    cases: Mapping[str, Inputs],
    measures: Sequence[Measure],
    probing: Probing,
    *,
    changed: Model | None = None,
) -> Estimates:
    """Return what errors add to each measure in each case.

    Args:
        model: in FP32.
        error_of: gives the error of each operation that has a share.
        cases: inputs by name, all on one device.
        measures: of the error; those of which a case is silent are left out for it.
        probing: how.
        changed: the model with all those errors, to be measured; None for none.
    """
    found = Estimates()
    together = max(1, probing.at_once // (probing.probes - directions_of(probing.probes)))
    walks = math.ceil(len(_probed(measures)) / together)  # fewer where a case is silent
    generator = torch.Generator().manual_seed(probing.seed)
    for index, (case, given) in enumerate(cases.items()):
        estimator = ShareEstimator(model, error_of, given)
        expected = estimator.outputs
        chosen = audible(measures, expected)
        actual = None if changed is None else changed.run(given)
        probed = _probed(chosen)
        rows: dict[Measure, dict[str, Estimate]] = {}
        for first in range(0, len(probed), together):
            some = probed[first : first + together]
            shares = estimator.estimate(some, probing.probes, generator)
            rows |= {measure: _column(shares, column) for column, measure in enumerate(some)}
            if probing.advance is not None:
                done = first // together + 1 if first + together < len(probed) else walks
                probing.advance(index * walks + done, len(cases) * walks)
        for measure in chosen:
            key = f"{case}/{measure.name}"
            if isinstance(measure, AllStemsMeasure) and measure not in rows:
                parts = [(part.weight(expected), rows[part]) for part in measure.parts()]
                rows[measure] = _added(parts)
            for name, estimate in rows[measure].items():
                found.shares.setdefault(name, {})[key] = estimate
            found.predicted_db[key] = snr_of(sum(e.value for e in rows[measure].values()))
            if actual is not None:
                found.measured_db[key] = snr_of(measure.of(expected, actual))
    return found


def _probed(measures: Sequence[Measure]) -> list[Measure]:
    """Return the measures that need probes: that of all stems doesn't, beside each of them."""
    return [
        measure
        for measure in measures
        if not isinstance(measure, AllStemsMeasure)
        or any(part not in measures for part in measure.parts())
    ]


def _column(shares: Shares, column: int) -> dict[str, Estimate]:
    table = (shares.values, shares.deviations, shares.biases)
    rows = zip(shares.names, *(part[:, column].tolist() for part in table), strict=True)
    return {name: Estimate(*numbers) for name, *numbers in rows}


def _added(parts: Sequence[tuple[float, Mapping[str, Estimate]]]) -> dict[str, Estimate]:
    """Return shares of a measure whose error is the sum of its parts', each times its weight."""
    total = sum(weight for weight, _ in parts)
    found = {}
    for name in dict.fromkeys(name for _, rows in parts for name in rows):
        some = [(weight / total, rows[name]) for weight, rows in parts if name in rows]
        value = sum(weight * e.value for weight, e in some)
        apart = math.hypot(*(weight * e.value * e.deviation for weight, e in some))
        alike = sum(weight * e.value * e.bias for weight, e in some)
        relative = (apart / value, alike / value) if value else (0.0, 0.0)
        found[name] = Estimate(value, *relative)
    return found


def snr_of(ratio: float) -> float:
    """Return a noise-to-signal ratio as SNR in dB."""
    return math.inf if ratio == 0 else -10 * math.log10(ratio)
