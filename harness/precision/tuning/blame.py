"""Who makes a set of operations worse than predicted: halves of it in FP16, all else in FP32.

Where roundings agree, an operation alone may do what a thousand others are predicted to do
together. Its error is then in one half of the set and hardly in the other, in one quarter and
hardly in the rest, and a dozen runs find it. Where the error is above its prediction everywhere,
no half stands out, and the search ends after a few runs: that is for a common factor to correct.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.precision.tuning.parts import Parts

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Alone = Callable[[Mask], Array]
"""Gives the error by measure of a run with some operations in FP16 and all others in FP32; a
measure that the run doesn't know is not a number."""

_LEAST_PART = 0.25
"""A region that explains less than this of what a set has too much explains nothing."""
_STANDS_OUT = 2.0
"""How far a region's error by its prediction is above that of the whole set."""


@dataclass(frozen=True, eq=False)
class Region:
    """Operations whose error is not what was predicted.

    Attributes:
        operations: which.
        ratios: measured error by predicted error, by measure; 1 where that wasn't measured.
    """

    operations: Mask
    ratios: Array


def region_to_blame(
    parts: Parts, narrow: Mask, measure: int, measured: float, alone: Alone
) -> Region | None:
    """Return the operations that explain most of an error beyond its prediction, few as can be.

    Args:
        parts: predict.
        narrow: the operations that are in FP16.
        measure: index of the measure that has too much.
        measured: its error.
        alone: makes a run.
    """
    predicted = float(parts.error(~narrow)[measure])
    excess, ratio = measured - predicted, measured / max(predicted, 1e-300)
    best = None
    inside = np.flatnonzero(narrow)
    while len(inside) > 1:
        halves = []
        for half in np.array_split(inside, 2):
            chosen = np.zeros(len(narrow), bool)
            chosen[half] = True
            halves.append((half, alone(chosen), parts.error(~chosen)))
        inside, found, expected = max(halves, key=lambda h: float(h[1][measure] - h[2][measure]))
        if found[measure] - expected[measure] < _LEAST_PART * excess:
            break
        if found[measure] > _STANDS_OUT * ratio * expected[measure]:
            chosen = np.zeros(len(narrow), bool)
            chosen[inside] = True
            known = np.isfinite(found) & (expected > 0)
            ratios = np.divide(found, expected, out=np.ones(len(found)), where=known)
            best = Region(chosen, ratios)
    return best
