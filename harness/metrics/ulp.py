"""Distances between tensors in units in the last place (ulp) of a storage type.

The distance of two numbers is how many steps of ``nextafter`` lie between them in the chosen type;
0.0 and -0.0 are the same point. It is the natural scale of one operation's rounding: a correctly
rounded result is at most 1 ulp from any other faithful one, whatever its magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ParityError
from harness.metrics._arrays import float64_chunks, real_pair

_INTEGERS: Final = {"float16": "int16", "float32": "int32", "float64": "int64"}
_EXACT_BINS: Final = 4096  # distances below are counted one by one, those above by powers of two
_BINS: Final = _EXACT_BINS + 64 - _EXACT_BINS.bit_length() + 2


@dataclass(frozen=True)
class UlpStatistics:
    """How far apart the elements are, in ulp of ``dtype``.

    Attributes:
        dtype: the type whose steps are counted; both tensors were rounded to it.
        maximum: greatest distance.
        p50: distance that half of the elements do not exceed.
        p99: distance that 99 % do not exceed.
        p999: distance that 99.9 % do not exceed.
        skipped: elements left out because one side is not finite in ``dtype``.

    Percentiles are exact below 4096 ulp; above, they are the upper end of a factor of two.
    """

    dtype: str
    maximum: int
    p50: int
    p99: int
    p999: int
    skipped: int


def ulp_statistics(
    expected: npt.ArrayLike, actual: npt.ArrayLike, *, dtype: npt.DTypeLike = np.float32
) -> UlpStatistics:
    """Counts the distances in ulp of ``dtype``, after rounding both tensors to it.

    Args:
        expected: real, any shape.
        actual: real, the same shape.
        dtype: float16, float32 or float64.

    Raises:
        ParityError: if the shapes differ, a tensor is empty or not real, or ``dtype`` is another
            type.
    """
    kind = np.dtype(dtype)
    if kind.name not in _INTEGERS:
        raise ParityError(f"ulp of {kind.name} are unknown, expected one of {', '.join(_INTEGERS)}")
    reference, candidate = real_pair(expected, actual)
    counts = np.zeros(_BINS, dtype=np.int64)
    maximum = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for _, e, a in float64_chunks(reference, candidate):
            distances = _distances(e.astype(kind), a.astype(kind))
            if distances.size:
                maximum = max(maximum, int(distances.max()))
                counts += np.bincount(_bins(distances), minlength=_BINS)
    p50, p99, p999 = (_percentile(counts, share, maximum) for share in (0.5, 0.99, 0.999))
    skipped = reference.size - int(counts.sum())
    return UlpStatistics(kind.name, maximum, p50, p99, p999, skipped)


def _distances(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Steps between the finite pairs of two arrays of one floating type."""
    finite = np.isfinite(left) & np.isfinite(right)
    first, second = _ordered(left[finite]), _ordered(right[finite])
    # Wrapping subtraction of the larger and the smaller is right even where int64 would overflow.
    larger, smaller = np.maximum(first, second), np.minimum(first, second)
    return larger.view(np.uint64) - smaller.view(np.uint64)


def _ordered(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The place of each number on the line of all numbers of its type; both zeros are at 0."""
    integer = np.dtype(_INTEGERS[values.dtype.name])
    bits = values.view(integer).astype(np.int64)
    return np.where(bits < 0, np.int64(np.iinfo(integer).min) - bits, bits)


def _bins(distances: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    bins = np.minimum(distances, _EXACT_BINS).astype(np.int64)
    large = distances >= _EXACT_BINS
    if large.any():
        exponents = np.frexp(distances[large].astype(np.float64))[1]
        bins[large] = _EXACT_BINS + exponents - _EXACT_BINS.bit_length()
    return bins


def _percentile(counts: npt.NDArray[np.int64], share: float, maximum: int) -> int:
    total = int(counts.sum())
    if total == 0:
        return 0
    place = int(np.searchsorted(np.cumsum(counts), share * total))
    if place < _EXACT_BINS:
        return place
    return min(maximum, (1 << (place - _EXACT_BINS + _EXACT_BINS.bit_length())) - 1)
