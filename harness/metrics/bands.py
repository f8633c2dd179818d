"""Where in frequency an error lies: SNR by octave band, and the log-spectral distance.

Signals are real [..., n] at ``rate`` Hz; all leading axes count together. Both look at frames under
a periodic Hann window.

Octave bands
------------
The bands of IEC 61260-1, base ten: the centre of band x is 1000 * 10^(3x/10) Hz, its edges lie a
factor of 10^(3/20) around it. The energy of a band is the sum of the squared bins whose frequency
lies in it, over frames a quarter of a window apart, which weigh every sample alike: all bands, with
what is under the lowest and over the highest, hold the signal's whole energy. A bin belongs to one
band. In a band where the reference is silent (``levels.is_silent``) there is no ratio.

Log-spectral distance
---------------------
For each frame the root of the mean over bins of (20 log10 |X| / |Y|)^2, in dB, and the mean of
that over frames [1]_. Levels are taken ``RANGE_DB`` deep: what lies further under the greatest bin
of the reference's frame counts as that deep, in both signals, so that nothing is added to a
spectrum and silence has a distance. Frames in which the reference is silent don't count.

.. [1] A. H. Gray, J. D. Markel, "Distance measures for speech processing", IEEE Transactions on
   Acoustics, Speech and Signal Processing 24(5), 1976.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.fft

from harness.errors import ParityError
from harness.metrics._arrays import FloatArray, real_pair
from harness.metrics.levels import dbfs, is_silent, ratio_db

RANGE_DB: Final = 100.0
"""How far under the loudest bin of a frame the log-spectral distance looks."""

_BAND_FFT: Final = 16_384
_DISTANCE_FFT: Final = 2048
_OVERLAP: Final = 4
_LOWEST_BAND, _HIGHEST_BAND = -5, 4  # 31.6 Hz to 15.8 kHz, nominally 31.5 and 16,000
_FRAMES_AT_ONCE: Final = 64


@dataclass(frozen=True)
class BandSnr:
    """One octave band.

    Attributes:
        low_hz, high_hz: its edges; 0 and half the rate below and above all octaves.
        expected_rms_dbfs: level of the reference in it.
        error_rms_dbfs: level of ``estimate - reference`` in it.
        snr_db: ratio; None where the reference is silent; ``inf`` without an error.
    """

    low_hz: float
    high_hz: float
    expected_rms_dbfs: float
    error_rms_dbfs: float
    snr_db: float | None


def octave_snr_db(
    reference: npt.ArrayLike, estimate: npt.ArrayLike, rate: int
) -> tuple[BandSnr, ...]:
    """The SNR in each octave band, and in what lies below and above all octaves.

    Args:
        reference: real [..., n], finite.
        estimate: real, the same shape, finite.
        rate: samples a second; bands beyond half of it are left out.

    Raises:
        ParityError: the shapes differ, a signal is empty, not real, not finite or a single number,
            or ``rate`` is not positive.
    """
    rows = _checked(reference, estimate)
    if rate < 1:
        raise ParityError(f"rate is {rate} Hz, expected at least 1")
    edges = _edges(rate)
    places = np.digitize(np.fft.rfftfreq(_BAND_FFT, 1 / rate), edges[1:-1])
    weights = np.full(_BAND_FFT // 2 + 1, 2.0)
    weights[0] = weights[-1] = 1.0
    energies = np.zeros((2, len(edges) - 1))
    for frames in _frames([rows[0], rows[1] - rows[0]], _BAND_FFT):
        for side, spectrum in enumerate(frames):
            power = np.sum(np.abs(spectrum) ** 2, axis=(0, 1)) * weights
            energies[side] += np.bincount(places, power, minlength=len(edges) - 1)
    # The squared windows of a hop of a quarter add up to 3/2; the transform scales by its length.
    levels = np.sqrt(energies / (1.5 * _BAND_FFT * rows[0].size))
    pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), *levels.tolist(), strict=True)
    return tuple(_band(*numbers) for numbers in pairs)


def _band(low_hz: float, high_hz: float, expected: float, error: float) -> BandSnr:
    ratio = None if is_silent(expected) else ratio_db(expected**2, error**2)
    return BandSnr(low_hz, high_hz, dbfs(expected), dbfs(error), ratio)


def log_spectral_distance_db(reference: npt.ArrayLike, estimate: npt.ArrayLike) -> float | None:
    """The log-spectral distance in dB; 0 on identical input, None where the reference is silent.

    Args:
        reference: real [..., n], finite.
        estimate: real, the same shape, finite.

    Raises:
        ParityError: as of :func:`octave_snr_db`.
    """
    rows = _checked(reference, estimate)
    distances: list[float] = []
    for pair in _frames([rows[0], rows[1]], _DISTANCE_FFT):
        expected, actual = (np.abs(side).reshape(-1, side.shape[-1]) for side in pair)
        # From the energy of bins under the window to the RMS of the samples.
        squares = np.sum(expected**2, axis=-1) / (0.375 * _DISTANCE_FFT**2 / 2)
        loud = [not is_silent(float(level)) for level in np.sqrt(squares)]
        floor = expected[loud].max(axis=-1, keepdims=True) * 10 ** (-RANGE_DB / 20)
        one, other = (20 * np.log10(np.maximum(side[loud], floor)) for side in (expected, actual))
        distances += np.sqrt(np.mean((one - other) ** 2, axis=-1)).tolist()
    return float(np.mean(distances)) if distances else None


def _edges(rate: int) -> FloatArray:
    """The edges of the bands in Hz, from 0 to half the rate."""
    octaves = 1000 * 10 ** (0.3 * np.arange(_LOWEST_BAND, _HIGHEST_BAND + 2) - 0.15)
    inside = octaves[octaves < rate / 2]
    return np.concatenate([[0.0], inside, [rate / 2]])


def _checked(reference: npt.ArrayLike, estimate: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both signals as float64 [rows, n]."""
    pair = real_pair(reference, estimate)
    if pair[0].ndim == 0:
        raise ParityError("reference is a single number, a signal has samples on its last axis")
    for name, signal in zip(("reference", "estimate"), pair, strict=True):
        if not np.isfinite(signal).all():
            raise ParityError(f"{name} holds samples that are not finite, so it has no spectrum")
    one, other = (np.reshape(side.astype(np.float64), (-1, side.shape[-1])) for side in pair)
    return one, other


def _frames(signals: list[FloatArray], size: int) -> Iterator[list[npt.NDArray[np.complex128]]]:
    """The spectra [rows, frames, bins] of each of the signals [rows, n], some frames at a time.

    Signals are padded so that every sample lies in as many frames as any other.
    """
    hop = size // _OVERLAP
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    length = signals[0].shape[-1]
    count = -(-(length + size - hop) // hop)
    padded = [np.zeros((rows.shape[0], (count - 1) * hop + size)) for rows in signals]
    for row, signal in zip(padded, signals, strict=True):
        row[:, size - hop : size - hop + length] = signal
    views = [
        np.lib.stride_tricks.sliding_window_view(row, size, axis=1)[:, ::hop] for row in padded
    ]
    for first in range(0, count, _FRAMES_AT_ONCE):
        some = slice(first, first + _FRAMES_AT_ONCE)
        yield [scipy.fft.rfft(view[:, some] * window, axis=-1) for view in views]
