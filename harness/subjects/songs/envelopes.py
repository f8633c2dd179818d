"""Curves in time: envelopes, breakpoints and slow random motion. All float64 [n], times in s."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from harness.audio.contract import SAMPLE_RATE


def adsr(
    length: int, gate: int, *, attack_s: float, decay_s: float, sustain: float, release_s: float
) -> np.ndarray:
    """Attack to 1, exponential decay to ``sustain``, and release from sample ``gate`` on."""
    times = np.arange(length) / SAMPLE_RATE
    rise = np.minimum(times / max(attack_s, 1e-4), 1.0)
    fall = sustain + (1 - sustain) * np.exp(-np.maximum(times - attack_s, 0.0) / decay_s)
    after = np.maximum(times - gate / SAMPLE_RATE, 0.0)
    return np.asarray(rise * fall * np.exp(-after / max(release_s, 1e-4)))


def faded(signal: np.ndarray, fade_in_s: float, fade_out_s: float) -> np.ndarray:
    """``signal`` with raised-cosine ends, so that it starts and stops without a click."""
    result = signal.copy()
    for seconds, at_end in ((fade_in_s, False), (fade_out_s, True)):
        count = min(int(seconds * SAMPLE_RATE), signal.size)
        if count:
            ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
            edge = slice(signal.size - count, None) if at_end else slice(0, count)
            result[edge] *= ramp[::-1] if at_end else ramp
    return result


def smoothed(curve: np.ndarray, time_constant_s: float) -> np.ndarray:
    """``curve`` through a one-pole low-pass that starts at the curve's first value."""
    pole = np.exp(-1.0 / (max(time_constant_s, 1e-5) * SAMPLE_RATE))
    result, _ = lfilter([1 - pole], [1, -pole], curve, zi=[pole * curve[0]])
    return np.asarray(result)


def wander(length: int, rate_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Slow random motion within about -1..1 that turns around ``rate_hz`` times a second."""
    knots = int(length / SAMPLE_RATE * rate_hz) + 3
    values = rng.uniform(-1.0, 1.0, knots)
    return np.asarray(
        np.interp(np.arange(length) * (rate_hz / SAMPLE_RATE), np.arange(knots), values)
    )


def sine_motion(length: int, rate_hz: float, phase: float) -> np.ndarray:
    """A sine of ``rate_hz`` that starts at ``phase`` cycles."""
    cycles: np.ndarray = np.arange(length) * (rate_hz / SAMPLE_RATE) + phase
    return np.asarray(np.sin(2 * np.pi * cycles))
