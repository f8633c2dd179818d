"""Where the error of a transform is: rows of a run for its figures.

In: spectrograms [1, 4, bins, frames], complex as channels, and waveforms [1, 2, n]; the expected
ones in float64. Out: rows of `harness.verdicts.rows`, in dB relative to the expected RMS.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from harness.audio import HOP_LENGTH, N_FFT, SAMPLE_RATE
from harness.audio.windows import overlap_sum, relative_ripple
from harness.metrics import rms, snr_db
from harness.verdicts.rows.signals import TransformError, WindowSums
from harness.workbench.rasters import Array, decibels, raster

EDGE_FRAMES: Final = 2
"""Frames at each end that reach beyond the signal."""
_BANDS: Final = 128
_COLUMNS: Final = 168
_POINTS: Final = 128
_RANGE_DB: Final = 15.0


def forward_error(
    expected: Array, actual: Array, implementation: str, signal: str
) -> TransformError:
    """Return the error of a spectrogram over frequency and frames."""
    level = rms(expected)
    squares = np.square(actual.astype(np.float64) - expected).mean(axis=(0, 1))
    bands = _pooled(squares, _BANDS, axis=0)
    shown = decibels(_pooled(bands, _COLUMNS, axis=1) / level**2)[::-1]
    top = float(shown.max())
    return TransformError(
        direction="forward",
        implementation=implementation,
        reference="the same transform in float64",
        signal=signal,
        snr_db=round(snr_db(expected, actual), 3),
        picture=raster(shown, top - _RANGE_DB, top),
        high_hz=SAMPLE_RATE / 2,
        by_frequency_hz=tuple(
            round((band + 0.5) * SAMPLE_RATE / 2 / _BANDS, 1) for band in range(_BANDS)
        ),
        by_frequency_db=_relative(bands.mean(axis=1), level),
        by_time_s=tuple(
            round(frame * HOP_LENGTH / SAMPLE_RATE, 4) for frame in range(squares.shape[1])
        ),
        by_time_db=_relative(squares.mean(axis=0), level),
        edge=EDGE_FRAMES,
    )


def round_trip_error(expected: Array, actual: Array, implementation: str) -> TransformError:
    """Return the error of a waveform, hop by hop."""
    level = rms(expected)
    squares = np.square(actual.astype(np.float64) - expected).mean(axis=(0, 1))
    blocks = _pooled(squares, math.ceil(squares.size / HOP_LENGTH), axis=0)
    return TransformError(
        direction="round trip",
        implementation=implementation,
        reference="the closed form in float64",
        signal="white noise",
        snr_db=round(snr_db(expected, actual), 3),
        picture=None,
        high_hz=SAMPLE_RATE / 2,
        by_frequency_hz=(),
        by_frequency_db=(),
        by_time_s=tuple(round(place * HOP_LENGTH / SAMPLE_RATE, 4) for place in range(blocks.size)),
        by_time_db=_relative(blocks, level),
        edge=EDGE_FRAMES,
    )


def window_sums(window: Array, expected: Array, actual: Array) -> WindowSums:
    """Return whether a window adds up over its hop, and whether frames keep their energy.

    Args:
        window: float64 [`N_FFT`].
        expected, actual: energy of frames [1, 2, frames], of samples and of bins.
    """
    sums = {power: overlap_sum(window**power, HOP_LENGTH) for power in (1, 2)}
    ripples = {power: relative_ripple(window**power, HOP_LENGTH) for power in (1, 2)}
    exact = {power: N_FFT / HOP_LENGTH * share for power, share in ((1, 0.5), (2, 0.375))}
    errors = {power: _picked(sums[power] / exact[power] - 1, _POINTS) for power in (1, 2)}
    apart = np.abs(actual - expected)[0].max(axis=0)
    energy = expected[0].max(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = 10 * np.log10(apart / energy)
    return WindowSums(
        window="periodic Hann, float32 as Demucs makes it",
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        cola_sum=float(sums[1].mean()),
        cola_ripple=float(ripples[1]),
        square_sum=float(sums[2].mean()),
        square_ripple=float(ripples[2]),
        cola_error=errors[1],
        square_error=errors[2],
        parseval_signal="white noise, float32",
        parseval_db=tuple(
            round(float(level), 2) if math.isfinite(level) else None for level in levels
        ),
    )


def _pooled(values: Array, parts: int, axis: int) -> Array:
    """Return means over ``parts`` even stretches of an axis, or its elements if they are fewer."""
    parts = min(parts, values.shape[axis])
    edges = np.linspace(0, values.shape[axis], parts, endpoint=False).astype(int)
    sizes = np.diff([*edges, values.shape[axis]])
    shape = [-1 if place == axis else 1 for place in range(values.ndim)]
    pooled: Array = np.add.reduceat(values, edges, axis=axis) / sizes.reshape(shape)
    return pooled


def _picked(values: Array, count: int) -> tuple[float, ...]:
    places = np.linspace(0, values.size - 1, count).astype(int)
    return tuple(float(f"{values[place]:.3g}") for place in places)


def _relative(squares: Array, level: float) -> tuple[float, ...]:
    return tuple(round(float(value), 2) for value in decibels(squares / level**2))
