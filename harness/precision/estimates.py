"""Shares of operations over several cases and measures, estimated a few probes at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch

from harness.mil import Model
from harness.precision.measures import Measure, audible
from harness.precision.shares import ShareEstimator, directions_of
from harness.precision.superposition import ErrorOf

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
    done, walks = 0, len(cases) * math.ceil(len(measures) / together)
    generator = torch.Generator().manual_seed(probing.seed)
    for case, given in cases.items():
        estimator = ShareEstimator(model, error_of, given)
        expected = estimator.outputs
        chosen = audible(measures, expected)
        actual = None if changed is None else changed.run(given)
        for first in range(0, len(chosen), together):
            some = chosen[first : first + together]
            shares = estimator.estimate(some, probing.probes, generator)
            for column, measure in enumerate(some):
                key = f"{case}/{measure.name}"
                found.predicted_db[key] = snr_of(float(shares.values[:, column].sum()))
                if actual is not None:
                    found.measured_db[key] = snr_of(measure.of(expected, actual))
                table = (shares.values, shares.deviations, shares.biases)
                for name, *numbers in zip(
                    shares.names, *(part[:, column].tolist() for part in table), strict=True
                ):
                    found.shares.setdefault(name, {})[key] = Estimate(*numbers)
            done += 1
            if probing.advance is not None:
                probing.advance(done, walks)
    return found


def snr_of(ratio: float) -> float:
    """Return a noise-to-signal ratio as SNR in dB."""
    return math.inf if ratio == 0 else -10 * math.log10(ratio)
