"""Where in the range of magnitudes the errors lie: small tables for a report.

Bins are powers of two, 6.02 dB wide, taken from the exponents of float64, so that a walk over 16
million elements costs a few tenths of a second and the result is exact. A line of slope 1 in the
table is relative error (rounding in a floating-point type), a horizontal one is absolute error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.metrics._arrays import FloatArray, float64_chunks, real_pair

MAGNITUDE_EXPONENTS: Final = range(-40, 9)
"""Magnitudes from 2**-40 (-241 dB) to 2**9; the first and last bins take in what lies beyond."""
ERROR_EXPONENTS: Final = range(-64, 9)
"""Errors from 2**-64 (-385 dB) to 2**9; the first and last bins take in what lies beyond."""


@dataclass(frozen=True)
class ErrorTable:
    """How many elements have a magnitude in one bin and an error in another.

    A bin of exponent k holds values from 2**k up to, not including, 2**(k + 1); the outermost bins
    are open.

    Attributes:
        magnitude_exponents: one for each row.
        error_exponents: one for each column.
        counts: rows of columns; elements whose magnitude and error are not 0.
        exact: for each row, elements without any error.
        zero_exact: elements that are 0 in both tensors.
        zero_errors: for each column, elements that should be 0.
        non_finite: elements where a tensor, or the difference, is not finite.
    """

    magnitude_exponents: tuple[int, ...]
    error_exponents: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]
    exact: tuple[int, ...]
    zero_exact: int
    zero_errors: tuple[int, ...]
    non_finite: int

    @property
    def error_counts(self) -> tuple[int, ...]:
        """For each error bin, all elements: the histogram of the error alone."""
        return tuple(map(sum, zip(*self.counts, self.zero_errors, strict=True)))

    @property
    def exact_count(self) -> int:
        """All elements without any error."""
        return sum(self.exact) + self.zero_exact


def error_table(expected: npt.ArrayLike, actual: npt.ArrayLike) -> ErrorTable:
    """Counts the elements by magnitude of ``expected`` and by size of the error.

    Args:
        expected: real, any shape.
        actual: real, the same shape.

    Raises:
        ParityError: if the shapes differ, or a tensor is empty or not real.
    """
    reference, candidate = real_pair(expected, actual)
    # One more row and column in front for zero.
    rows, columns = len(MAGNITUDE_EXPONENTS) + 1, len(ERROR_EXPONENTS) + 1
    counts = np.zeros(rows * columns, dtype=np.int64)
    non_finite = 0
    with np.errstate(all="ignore"):
        for _, e, a in float64_chunks(reference, candidate):
            difference = a - e
            row = _bins(e, MAGNITUDE_EXPONENTS)
            column = _bins(difference, ERROR_EXPONENTS)
            broken = ~(np.isfinite(e) & np.isfinite(difference))
            cells = row * columns + column
            if broken.any():
                non_finite += int(np.count_nonzero(broken))
                cells = cells[~broken]
            counts += np.bincount(cells, minlength=rows * columns)
    table = counts.reshape(rows, columns).tolist()
    return ErrorTable(
        magnitude_exponents=tuple(MAGNITUDE_EXPONENTS),
        error_exponents=tuple(ERROR_EXPONENTS),
        counts=tuple(tuple(line[1:]) for line in table[1:]),
        exact=tuple(line[0] for line in table[1:]),
        zero_exact=table[0][0],
        zero_errors=tuple(table[0][1:]),
        non_finite=non_finite,
    )


def _bins(values: FloatArray, exponents: range) -> npt.NDArray[np.int64]:
    """0 for a value of 0, else 1 + the clipped place of its binary exponent in ``exponents``."""
    bits = np.ascontiguousarray(values).view(np.int64)
    bins = ((bits >> 52) & 0x7FF) - (1023 + exponents.start)
    np.clip(bins, 0, len(exponents) - 1, out=bins)
    bins += 1
    bins[values == 0] = 0
    return bins
