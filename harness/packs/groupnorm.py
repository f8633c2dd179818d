"""Group normalisation by seven ways to add in FP32, and what error each makes.

Over a long group the result is as good as its mean and variance, and they are as good as the way in
which they are summed. So an implementation that is 1e-4 off may be right, and its sums simple; or
its sums may be compensated, and then 1e-4 is a bug. `predicted_errors` says which.

=================  ================================================================================
standard           two passes, each a running sum
kahan              two passes, each a running sum with Kahan's compensation
welford            one pass: mean and sum of squared deviations are updated by each element
standard_lanes     as standard, by 256 threads, each with every 256th element; then their sums
welford_lanes      as welford, by 256 threads, whose results are merged
one_pass_lanes     one pass: sum and sum of squares, by 32 threads; variance = E[x^2] - E[x]^2
kahan_one_pass     the same by one running sum each, with Kahan's compensation
=================  ================================================================================

Everything is in float32; what has no lanes is a loop, as in plain C++, the others a GPU's way.
The difference of the one-pass variance loses as many digits as the mean's square is greater than
the variance, and no compensation of the sums gives them back.
Sources: Kahan, "Further remarks on reducing truncation errors", 1965; Welford, "Note on a method
for calculating corrected sums of squares and products", 1962; Chan, Golub, LeVeque, "Updating
formulae and a pairwise algorithm for computing sample variances", 1979 (the merging).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Statistics = Callable[[Array], "tuple[np.float32, np.float32]"]
Sum = Callable[[Array], np.float32]

EPS: Final = 1e-5
_ZERO: Final = np.float32(0)
_LANES: Final = 256
_SIMD_LANES: Final = 32


def _two_passes(x: Array, add: Sum) -> tuple[np.float32, np.float32]:
    count = np.float32(x.size)
    mean = np.float32(add(x) / count)
    return mean, np.float32(add(np.square(x - mean, dtype=np.float32)) / count)


def _one_pass(x: Array, add: Sum) -> tuple[np.float32, np.float32]:
    count = np.float32(x.size)
    mean = np.float32(add(x) / count)
    of_squares = np.float32(add(np.square(x, dtype=np.float32)) / count)
    return mean, max(np.float32(of_squares - mean * mean), _ZERO)  # rounding may make it negative


def _welford(x: Array) -> tuple[np.float32, np.float32]:
    mean, squares = _ZERO, _ZERO
    counts = np.arange(1, x.size + 1, dtype=np.float32)
    for value, count in zip(x, counts, strict=True):
        difference = value - mean
        mean = mean + difference / count
        squares = squares + difference * (value - mean)
    return mean, np.float32(squares / np.float32(x.size))


def _welford_lanes(x: Array) -> tuple[np.float32, np.float32]:
    rows = x.reshape(-1, _LANES)
    means: Array = np.zeros(_LANES, np.float32)
    squares = means
    for count, row in enumerate(rows, 1):
        difference = row - means
        means = means + difference / np.float32(count)
        squares = squares + difference * (row - means)
    length = np.float32(len(rows))
    mean, total = means[0], squares[0]
    for lane in range(1, _LANES):
        seen = np.float32(lane) * length
        difference = means[lane] - mean
        share = length / (seen + length)
        mean = mean + difference * share
        total = total + squares[lane] + difference * difference * seen * share
    return mean, np.float32(total / np.float32(x.size))


def _running_sum(x: Array) -> np.float32:
    # accumulate adds one by one; sum would add in pairs.
    return np.float32(np.add.accumulate(x, dtype=np.float32)[-1])


def _lanes_sum(x: Array, count: int = _LANES) -> np.float32:
    lanes = np.add.accumulate(x.reshape(-1, count), axis=0, dtype=np.float32)[-1]
    return np.float32(np.add.accumulate(lanes, dtype=np.float32)[-1])


def _kahan_sum(x: Array) -> np.float32:
    total, lost = _ZERO, _ZERO
    for value in x:
        corrected = value - lost
        longer = total + corrected
        lost = (longer - total) - corrected
        total = longer
    return np.float32(total)


ALGORITHMS: Final[dict[str, Statistics]] = {
    "standard": partial(_two_passes, add=_running_sum),
    "kahan": partial(_two_passes, add=_kahan_sum),
    "welford": _welford,
    "standard_lanes": partial(_two_passes, add=_lanes_sum),
    "welford_lanes": _welford_lanes,
    "one_pass_lanes": partial(_one_pass, add=partial(_lanes_sum, count=_SIMD_LANES)),
    "kahan_one_pass": partial(_one_pass, add=_kahan_sum),
}
"""From a group [n] in float32 to its mean and biased variance, by name; where threads share the
work, n is a multiple of their number."""


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


def table(
    lengths: Iterable[int], mean: float, draws: int = 1
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the median errors of some draws of normal noise about ``mean``, for each length, as
    ``docs/packs.md`` has them:
    ``python -c "from harness.packs.groupnorm import table; print(*table([1 << 18], 4))"``.
    """
    for length in lengths:
        rows = []
        for seed in range(draws):
            generator = np.random.Generator(np.random.PCG64(seed))
            x = np.asarray(generator.standard_normal(length) + mean, np.float32)
            rows.append(predicted_errors(x, 1.0, 0.0))
        yield length, {name: float(np.median([row[name] for row in rows])) for name in ALGORITHMS}
