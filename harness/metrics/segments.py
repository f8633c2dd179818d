"""SNR by channel, and the worst stretch of a signal.

A stem can be 70 dB over its whole length and 20 dB for one second. Signals are real arrays [...,
n]: the last axis is time in samples, every other axis (stems, channels) is looked at by itself.
Below the silence rule (``levels.SILENCE_DBFS``) no ratio is computed, and the error's own level
counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ParityError
from harness.metrics._arrays import real_pair
from harness.metrics.levels import SILENCE_DBFS, EnergySum, ratio_db_from_log10


@dataclass(frozen=True)
class StretchSnr:
    """One channel between two samples.

    Attributes:
        index: which channel: the indices of all axes but the last.
        start: first sample.
        stop: sample after the last.
        expected_rms_dbfs: level of the reference there.
        error_rms_dbfs: level of ``actual - expected`` there.
        snr_db: ratio there; None where the reference is silent; NaN where a sample is not finite.
    """

    index: tuple[int, ...]
    start: int
    stop: int
    expected_rms_dbfs: float
    error_rms_dbfs: float
    snr_db: float | None


@dataclass(frozen=True)
class SegmentalSnr:
    """The worst stretches of a signal.

    Attributes:
        segment: samples in each stretch.
        worst: the lowest SNR, NaN being lowest of all; None where every stretch is silent.
        worst_silent: the greatest error among silent stretches; None where none is silent.
        evaluated: how many stretches have an SNR.
        silent: how many stretches are silent in the reference.
    """

    segment: int
    worst: StretchSnr | None
    worst_silent: StretchSnr | None
    evaluated: int
    silent: int


def channel_snr_db(expected: npt.ArrayLike, actual: npt.ArrayLike) -> tuple[StretchSnr, ...]:
    """The SNR of each channel over its whole length.

    Args:
        expected: real [..., n].
        actual: real, the same shape.

    Returns:
        one :class:`StretchSnr` for each channel, in C order of the leading axes.

    Raises:
        ParityError: if the shapes differ, or a signal is empty, not real, or a single number.
    """
    return tuple(_stretches(expected, actual, None))


def stretch_snr_db(
    expected: npt.ArrayLike, actual: npt.ArrayLike, segment: int
) -> tuple[StretchSnr, ...]:
    """The SNR of each stretch of ``segment`` samples, channel by channel.

    Stretches and errors are those of :func:`segmental_snr_db`.
    """
    if segment < 1:
        raise ParityError(f"segment is {segment} samples, expected at least 1")
    return tuple(_stretches(expected, actual, segment))


def segmental_snr_db(expected: npt.ArrayLike, actual: npt.ArrayLike, segment: int) -> SegmentalSnr:
    """The worst stretch of ``segment`` samples, over all channels.

    Stretches follow each other without a gap; the last one is moved back so that it ends with the
    signal and is as long as the others. A signal shorter than ``segment`` is one stretch.

    Args:
        expected: real [..., n].
        actual: real, the same shape.
        segment: samples in a stretch.

    Raises:
        ParityError: if the shapes differ, or a signal is empty, not real, or a single number, or
            ``segment`` is not positive.
    """
    stretches = stretch_snr_db(expected, actual, segment)
    judged = [stretch for stretch in stretches if stretch.snr_db is not None]
    silent = [stretch for stretch in stretches if stretch.snr_db is None]
    return SegmentalSnr(
        segment=segment,
        worst=min(judged, key=_badness, default=None),
        worst_silent=max(silent, key=lambda stretch: stretch.error_rms_dbfs, default=None),
        evaluated=len(judged),
        silent=len(silent),
    )


def _badness(stretch: StretchSnr) -> float:
    """The SNR as a sort key; NaN sorts first, because a broken stretch is the worst there is."""
    ratio = stretch.snr_db
    return -math.inf if ratio is None or math.isnan(ratio) else ratio


def _stretches(
    expected: npt.ArrayLike, actual: npt.ArrayLike, segment: int | None
) -> list[StretchSnr]:
    reference, candidate = real_pair(expected, actual)
    if reference.ndim == 0:
        raise ParityError("expected is a single number, a signal has samples on its last axis")
    length = reference.shape[-1]
    size = length if segment is None else min(segment, length)
    starts = sorted({*range(0, length - size + 1, size), length - size})
    return [
        _measure(reference[index], candidate[index], index, start, start + size)
        for index in np.ndindex(reference.shape[:-1])
        for start in starts
    ]


def _measure(
    reference: npt.NDArray[Any],
    candidate: npt.NDArray[Any],
    index: tuple[int, ...],
    start: int,
    stop: int,
) -> StretchSnr:
    e = reference[start:stop].astype(np.float64)
    a = candidate[start:stop].astype(np.float64)
    reference_energy, error_energy = EnergySum(), EnergySum()
    with np.errstate(all="ignore"):
        reference_energy.add(e)
        error_energy.add(a - e)
    level = 10 * reference_energy.mean_log10(stop - start)
    ratio = math.nan
    if level != math.inf:
        ratio = ratio_db_from_log10(reference_energy.log10, error_energy.log10)
    return StretchSnr(
        index=index,
        start=start,
        stop=stop,
        expected_rms_dbfs=level,
        error_rms_dbfs=10 * error_energy.mean_log10(stop - start),
        snr_db=None if level < SILENCE_DBFS else ratio,
    )
