"""Pictures of signals, small enough for a run: levels as pixels.

In: signals [channels, n] or levels, float. Out: rasters and outlines for a run's artefacts. What is
drawn is decided here, how it looks by the report.
"""

from __future__ import annotations

import base64
import itertools
import math
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.signal import get_window

from harness.verdicts.rows.signals import Raster

Array = npt.NDArray[np.floating[Any]]

LEVELS: Final = 64
COLUMNS: Final = 300
ROWS: Final = 80
LOW_HZ, HIGH_HZ = 40.0, 20_000.0
_N_FFT: Final = 4096
_FLOOR_DB: Final = -300.0


def raster(level_db: Array, low_db: float, high_db: float) -> Raster:
    """Return levels [rows, columns] in dB as a picture, the first row at the top."""
    scaled = (np.nan_to_num(level_db, nan=low_db) - low_db) / max(high_db - low_db, 1e-9)
    codes = np.clip(np.rint(scaled * (LEVELS - 1)), 0, LEVELS - 1).astype(np.uint8)
    pixels = base64.b64encode(zlib.compress(codes.tobytes(), 9)).decode("ascii")
    rows, columns = codes.shape
    return Raster(rows, columns, float(low_db), float(high_db), LEVELS, pixels)


def high_hz(rate: int) -> float:
    """Return where the spectrogram of a signal at a sample rate ends: at `HIGH_HZ`, or Nyquist."""
    return min(HIGH_HZ, rate / 2)


def spectrogram_db(signal: Array, rate: int) -> Array:
    """Return the levels [ROWS, COLUMNS] of a signal [channels, n], the highest band at the top.

    Bands are spaced logarithmically from `LOW_HZ` to `high_hz` and show their loudest bin; 0 dB is
    a sine of full scale.
    """
    length = signal.shape[-1]
    window = get_window("hann", _N_FFT)
    padded = np.pad(signal.astype(np.float64), ((0, 0), (_N_FFT // 2, _N_FFT // 2)))
    starts = np.linspace(0, max(length - 1, 0), COLUMNS).astype(int)
    power = np.zeros((_N_FFT // 2 + 1, COLUMNS))
    for channel in padded:
        frames = np.stack([channel[start : start + _N_FFT] for start in starts])
        power += np.abs(np.fft.rfft(frames * window)).T ** 2
    power *= (2 / window.sum()) ** 2 / signal.shape[0]
    edges = np.geomspace(LOW_HZ, high_hz(rate), ROWS + 1) * _N_FFT / rate
    bands = [
        power[int(low) : max(int(high), int(low) + 1)].max(axis=0)
        for low, high in itertools.pairwise(edges)
    ]
    return decibels(np.stack(bands[::-1]))


def decibels(power: Array) -> Array:
    """Return powers in dB; zero is at -300 dB."""
    with np.errstate(divide="ignore"):
        level: Array = np.maximum(10 * np.log10(power), _FLOOR_DB)
    return level


def envelope(signal: Array, peak: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the least and greatest of all channels in each column, in thousandths of ``peak``."""
    if not peak > 0 or not math.isfinite(peak):
        return (0,) * COLUMNS, (0,) * COLUMNS
    edges = np.linspace(0, signal.shape[-1], COLUMNS, endpoint=False).astype(int)
    low = np.minimum.reduceat(np.nan_to_num(signal).min(axis=0), edges)
    high = np.maximum.reduceat(np.nan_to_num(signal).max(axis=0), edges)
    return _thousandths(low, peak), _thousandths(high, peak)


def _thousandths(values: Array, peak: float) -> tuple[int, ...]:
    return tuple(int(value) for value in np.clip(np.rint(1000 * values / peak), -1000, 1000))
