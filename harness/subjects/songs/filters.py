"""Second-order filters, fixed and moving.

Designs follow R. Bristow-Johnson's "Audio EQ Cookbook". A section is float64 [6] in SciPy's order
(b0 b1 b2 a0 a1 a2) with a0 = 1; frequencies are in Hz and are kept under 0.45 of the sample rate;
gains are in dB. Signals are float64 [..., n], filtered along the last axis.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter, sosfilt

from harness.audio.contract import SAMPLE_RATE

_MOVING_BLOCK = 128


def _prewarp(frequency_hz: float, q: float) -> tuple[float, float]:
    omega = 2 * np.pi * min(max(frequency_hz, 5.0), 0.45 * SAMPLE_RATE) / SAMPLE_RATE
    return float(np.cos(omega)), float(np.sin(omega) / (2 * q))


def _section(b: tuple[float, float, float], a: tuple[float, float, float]) -> np.ndarray:
    return np.array([*b, *a], dtype=np.float64) / a[0]


def lowpass(frequency_hz: float, q: float = 0.7071) -> np.ndarray:
    """A low-pass of 12 dB an octave."""
    cos, alpha = _prewarp(frequency_hz, q)
    half = (1 - cos) / 2
    return _section((half, 1 - cos, half), (1 + alpha, -2 * cos, 1 - alpha))


def highpass(frequency_hz: float, q: float = 0.7071) -> np.ndarray:
    """A high-pass of 12 dB an octave with a zero at DC."""
    cos, alpha = _prewarp(frequency_hz, q)
    half = (1 + cos) / 2
    return _section((half, -(1 + cos), half), (1 + alpha, -2 * cos, 1 - alpha))


def bandpass(frequency_hz: float, q: float) -> np.ndarray:
    """A band-pass with unit gain at its centre."""
    cos, alpha = _prewarp(frequency_hz, q)
    return _section((alpha, 0.0, -alpha), (1 + alpha, -2 * cos, 1 - alpha))


def peaking(frequency_hz: float, gain_db: float, q: float = 1.0) -> np.ndarray:
    """A bell of ``gain_db`` at ``frequency_hz``."""
    cos, alpha = _prewarp(frequency_hz, q)
    a = 10 ** (gain_db / 40)
    return _section(
        (1 + alpha * a, -2 * cos, 1 - alpha * a), (1 + alpha / a, -2 * cos, 1 - alpha / a)
    )


def high_shelf(frequency_hz: float, gain_db: float) -> np.ndarray:
    """A shelf that lifts everything above ``frequency_hz`` by ``gain_db``."""
    cos, alpha = _prewarp(frequency_hz, 0.7071)
    a = 10 ** (gain_db / 40)
    root = 2 * np.sqrt(a) * alpha
    return _section(
        (
            a * ((a + 1) + (a - 1) * cos + root),
            -2 * a * ((a - 1) + (a + 1) * cos),
            a * ((a + 1) + (a - 1) * cos - root),
        ),
        (
            (a + 1) - (a - 1) * cos + root,
            2 * ((a - 1) - (a + 1) * cos),
            (a + 1) - (a - 1) * cos - root,
        ),
    )


def apply(signal: np.ndarray, *sections: np.ndarray) -> np.ndarray:
    """``signal`` through the sections in series, from rest."""
    return np.asarray(sosfilt(np.stack(sections), signal, axis=-1))


def moving_lowpass(signal: np.ndarray, cutoff_hz: np.ndarray, q: float) -> np.ndarray:
    """A low-pass whose cutoff follows a curve, float64 [n].

    Coefficients change every 128 samples (3 ms at 44.1 kHz) and the state is kept.

    Args:
        signal: [n].
        cutoff_hz: [n].
    """
    cutoffs = np.clip(cutoff_hz[::_MOVING_BLOCK], 20.0, 0.45 * SAMPLE_RATE)
    omega = 2 * np.pi * cutoffs / SAMPLE_RATE
    cos, alpha = np.cos(omega), np.sin(omega) / (2 * q)
    scale = 1 / (1 + alpha)
    b = (np.stack([(1 - cos) / 2, 1 - cos, (1 - cos) / 2]) * scale).T
    a = np.stack([np.ones_like(cos), -2 * cos * scale, (1 - alpha) * scale]).T
    return _filter_by_block(signal, b, a, _MOVING_BLOCK)


def moving_resonators(
    signal: np.ndarray,
    centres_hz: np.ndarray,
    bandwidths_hz: np.ndarray,
    gains: np.ndarray,
    block: int,
) -> np.ndarray:
    """Parallel band-passes (formants) whose parameters change once a block, float64 [n].

    Args:
        signal: [n].
        centres_hz, bandwidths_hz, gains: [formants, blocks], blocks = ceil(n / block).
    """
    centres = np.clip(centres_hz, 20.0, 0.45 * SAMPLE_RATE)
    omega = 2 * np.pi * centres / SAMPLE_RATE
    cos, alpha = np.cos(omega), np.sin(omega) * bandwidths_hz / (2 * centres)
    scale = 1 / (1 + alpha)
    b = np.stack([gains * alpha * scale, np.zeros_like(cos), -gains * alpha * scale], axis=-1)
    a = np.stack([np.ones_like(cos), -2 * cos * scale, (1 - alpha) * scale], axis=-1)
    total = np.zeros(signal.size)
    for numerator, denominator in zip(b, a, strict=True):
        total += _filter_by_block(signal, numerator, denominator, block)
    return total


def _filter_by_block(signal: np.ndarray, b: np.ndarray, a: np.ndarray, block: int) -> np.ndarray:
    result = np.empty(signal.size)
    state = np.zeros(2)
    for index, start in enumerate(range(0, signal.size, block)):
        piece = slice(start, start + block)
        result[piece], state = lfilter(b[index], a[index], signal[piece], zi=state)
    return result
