"""Levels in dBFS, ratios in dB, and the rule for silence.

0 dBFS is an RMS of 1.0, so a full-scale sine reads -3.01 dBFS. A ratio against a reference that is
all but silent says nothing about a conversion, and an epsilon in the division makes a lost stem
look perfect. So under ``SILENCE_DBFS`` no ratio is computed, and the error is judged by its own
level.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.errors import ParityError
from harness.metrics._arrays import FloatArray, float64_chunks, real_array

SILENCE_DBFS: Final = -80.0
"""A reference whose RMS is under this level is silent: no ratio is computed."""
SILENT_ERROR_DBFS: Final = -100.0
"""Where the reference is silent, the RMS of the error must not be above this level."""

# Between these peaks no square of a chunk's greatest values leaves the range of float64.
_SAFE_PEAKS: Final = (1e-140, 1e140)


def dbfs(rms_value: float) -> float:
    """The level of an RMS in dB relative to 1.0: ``-inf`` for 0, NaN for NaN.

    Raises:
        ParityError: if ``rms_value`` is negative.
    """
    if rms_value < 0:
        raise ParityError(f"an RMS can't be negative, got {rms_value!r}; pass rms(signal)")
    return 20 * _log10(rms_value)


def is_silent(rms_value: float) -> bool:
    """Whether a reference of this RMS is under ``SILENCE_DBFS``. NaN is not silent, it is broken.

    Raises:
        ParityError: if ``rms_value`` is negative.
    """
    return dbfs(rms_value) < SILENCE_DBFS


def rms(signal: npt.ArrayLike) -> float:
    """The root of the mean square of all elements, in float64.

    Args:
        signal: real, any shape, at least one element.

    Raises:
        ParityError: if ``signal`` is empty or not real.
    """
    array = real_array(signal, "signal")
    total = EnergySum()
    with np.errstate(all="ignore"):
        for _, chunk, _ in float64_chunks(array, array):
            total.add(chunk)
    return float(np.power(10.0, total.mean_log10(array.size) / 2))


def ratio_db(numerator: float, denominator: float) -> float:
    """``10 log10(numerator / denominator)`` of two energies, with nothing added to either.

    Dividing by 0 gives ``inf``, even from 0: an error of nothing is no error.
    """
    return ratio_db_from_log10(_log10(numerator), _log10(denominator))


def ratio_db_from_log10(numerator: float, denominator: float) -> float:
    """As :func:`ratio_db`, of two energies that are given as base-10 logarithms."""
    if math.isnan(numerator) or math.isnan(denominator):
        return math.nan
    return math.inf if denominator == -math.inf else 10 * (numerator - denominator)


def energy(signal: FloatArray) -> float:
    """The sum of squares of a float64 array, added pairwise."""
    return float(np.sum(np.square(signal)))


class EnergySum:
    """A sum of squares over chunks, added with one rounding, whatever the magnitude.

    Squares of float64 values beyond about 1e154 overflow, those under 1e-162 vanish: a tiny error
    would read as no error at all. Such chunks are scaled by a power of two, which is exact, before
    they are squared.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[float, int]] = []

    def add(self, values: FloatArray, peak: float | None = None) -> None:
        """Adds the squares of ``values``; ``peak`` is their greatest magnitude, if known."""
        peak = float(np.max(np.abs(values))) if peak is None else peak
        if _SAFE_PEAKS[0] < peak < _SAFE_PEAKS[1] or peak == 0 or not math.isfinite(peak):
            self._parts.append((energy(values), 0))
        else:
            exponent = math.frexp(peak)[1]
            self._parts.append((energy(np.ldexp(values, -exponent)), exponent))

    @property
    def value(self) -> float:
        """The sum, as far as float64 can hold it; NaN or ``inf`` where a value was."""
        total, top = self._scaled()
        with np.errstate(over="ignore", under="ignore"):
            return float(np.ldexp(total, 2 * top))

    @property
    def log10(self) -> float:
        """The base-10 logarithm of the sum, beyond the range of float64, too; ``-inf`` for 0."""
        total, top = self._scaled()
        return _log10(total) + 2 * top * math.log10(2)

    def _scaled(self) -> tuple[float, int]:
        """The sum divided by ``4 ** exponent``, and that exponent."""
        top = max((exponent for part, exponent in self._parts if part), default=0)
        return precise_sum([math.ldexp(part, 2 * (exp - top)) for part, exp in self._parts]), top

    def mean_log10(self, count: int) -> float:
        """The base-10 logarithm of the sum divided by ``count``."""
        return self.log10 - math.log10(count)


def precise_sum(parts: list[float]) -> float:
    """The correctly rounded sum; NaN or infinite where a part is, or where the sum overflows."""
    total = sum(parts)
    return math.fsum(parts) if math.isfinite(total) else total


def _log10(value: float) -> float:
    return math.log10(value) if value != 0 else -math.inf
