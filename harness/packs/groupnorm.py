"""Group normalisation by three ways to add in FP32, and what error each makes.

Over a long group the result is as good as its mean and variance, and they are as good as the way in
which they are summed. So an implementation that is 1e-4 off may be right, and its sums simple; or
its sums may be compensated, and then 1e-4 is a bug. `predicted_errors` says which.

==========  =======================================================================================
standard    two passes, each a running sum in FP32
kahan       two passes, each a running sum with Kahan's compensation
welford     one pass: mean and sum of squared deviations are updated by each element
==========  =======================================================================================

Everything here is sequential and in float32, as a loop in C++ or a naive shader is. Sources: Kahan,
"Further remarks on reducing truncation errors", 1965; Welford, "Note on a method for calculating
corrected sums of squares and products", 1962.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Statistics = Callable[[Array], "tuple[np.float32, np.float32]"]

EPS: Final = 1e-5
_ZERO: Final = np.float32(0)


def standard(x: Array) -> tuple[np.float32, np.float32]:
    """Return mean and biased variance of ``x`` [n] float32 by running sums."""
    count = np.float32(x.size)
    # accumulate adds one by one; sum would add in pairs.
    mean = np.float32(np.add.accumulate(x, dtype=np.float32)[-1] / count)
    squares = np.square(x - mean, dtype=np.float32)
    return mean, np.float32(np.add.accumulate(squares, dtype=np.float32)[-1] / count)


def kahan(x: Array) -> tuple[np.float32, np.float32]:
    """Return mean and biased variance of ``x`` [n] float32 by compensated sums."""
    count = np.float32(x.size)
    mean = np.float32(_kahan_sum(x) / count)
    return mean, np.float32(_kahan_sum(np.square(x - mean, dtype=np.float32)) / count)


def welford(x: Array) -> tuple[np.float32, np.float32]:
    """Return mean and biased variance of ``x`` [n] float32 by updates with each element."""
    mean, squares = _ZERO, _ZERO
    counts = np.arange(1, x.size + 1, dtype=np.float32)
    for value, count in zip(x, counts, strict=True):
        difference = value - mean
        mean = mean + difference / count
        squares = squares + difference * (value - mean)
    return mean, np.float32(squares / np.float32(x.size))


ALGORITHMS: Final[dict[str, Statistics]] = {
    "standard": standard,
    "kahan": kahan,
    "welford": welford,
}


def normalised(x: Array, weight: float, bias: float, statistics: Statistics) -> Array:
    """Return the normalised ``x`` [n], float32 throughout.

    Args:
        x: one group, float32.
        weight, bias: of the group's only channel.
        statistics: one of `ALGORITHMS`.
    """
    mean, variance = statistics(x)
    scale = np.float32(1) / np.sqrt(variance + np.float32(EPS))
    return np.asarray((x - mean) * scale * np.float32(weight) + np.float32(bias))


def predicted_errors(x: Array, weight: float, bias: float) -> dict[str, float]:
    """Return the greatest error of `normalised` against float64, by algorithm."""
    wide = x.astype(np.float64)
    exact = (wide - wide.mean()) / np.sqrt(wide.var() + EPS) * float(weight) + float(bias)
    return {
        name: float(f"{np.max(np.abs(normalised(x, weight, bias, way) - exact)):.3e}")
        for name, way in ALGORITHMS.items()
    }


def _kahan_sum(x: Array) -> np.float32:
    total, lost = _ZERO, _ZERO
    for value in x:
        corrected = value - lost
        longer = total + corrected
        lost = (longer - total) - corrected
        total = longer
    return np.float32(total)
