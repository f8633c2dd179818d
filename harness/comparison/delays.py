"""Hypotheses about time: a signal that is late or early, by whole samples or a fraction.

The whole number is the peak of the normalised cross-correlation. The fraction is the slope of the
phase of the cross-spectrum after that, by weighted least squares, repeated on the shifted signal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import oaconvolve

from harness.comparison.causes import FloatArray, Hypothesis, Region
from harness.comparison.signals import WaveProblem, with_gain

LONGEST_S: Final = 2.0
_HALF_WIDTH: Final = 96
"""Samples on each side of the kernel that shifts by a fraction."""
_KAISER_BETA: Final = 11.0


def delays(problem: WaveProblem) -> Iterator[Hypothesis]:
    """Yield the most likely shift: whole, whole with a gain, and fractional."""
    lag = _best_lag(problem)
    whole = _whole(problem, lag)
    if whole is None:
        return
    region, predicted = whole
    if lag:
        words = _words(lag, problem.rate)
        guess = Hypothesis("delay", words, 1, predicted, region)
        yield from with_gain(guess, problem.actual[region])
    yield from _fraction(problem, lag)


def _words(lag: float, rate: int) -> str:
    size = f"{abs(lag):.0f}" if float(lag).is_integer() else f"{abs(lag):.3f}"
    noun = "sample" if size == "1" else "samples"
    side = "late" if lag > 0 else "early"
    return f"{side} by {size} {noun} (delay {1000 * lag / rate:+.4g} ms)"


def _best_lag(problem: WaveProblem) -> int:
    """Return the shift with the greatest normalised correlation."""
    e = problem.expected[list(problem.channels)]
    length = e.shape[1]
    longest = min(int(LONGEST_S * problem.rate), (problem.stop - problem.start) // 2)
    if longest < 1:
        return 0
    a = np.zeros_like(e)
    a[:, problem.start : problem.stop] = problem.a
    size = next_fast_len(length + longest, real=True)
    spectrum = np.sum(rfft(a, size) * np.conj(rfft(e, size)), axis=0)
    correlation = irfft(spectrum, size)
    lags = np.arange(-longest, longest + 1)
    # The energy of the reference that a shift by `lag` brings into the wrong span.
    energy = np.concatenate([[0.0], np.cumsum(np.sum(e**2, axis=0))])
    low = np.clip(problem.start - lags, 0, length)
    high = np.clip(problem.stop - lags, 0, length)
    scale = np.sqrt(np.maximum(energy[high] - energy[low], 1e-6 * energy[-1]))
    values = np.divide(correlation[lags % size], scale, out=np.zeros(lags.size), where=scale > 0)
    return int(lags[int(np.argmax(values))])


def _whole(problem: WaveProblem, lag: int) -> tuple[Region, FloatArray] | None:
    """Return the part of the wrong span that a shift reaches, and the prediction there."""
    length = problem.expected.shape[1]
    start, stop = max(problem.start, lag), min(problem.stop, length + lag)
    if stop - start < (problem.stop - problem.start) // 4:
        return None
    return problem.part(start, stop), problem.expected[problem.part(start - lag, stop - lag)]


def _fraction(problem: WaveProblem, lag: int) -> Iterator[Hypothesis]:
    shift = float(lag)
    for _ in range(4):
        made = _shifted(problem, shift)
        if made is None:
            return
        region, predicted = made
        step = _phase_slope(predicted, problem.actual[region])
        shift += step
        if abs(step) < 1e-6:
            break
    if abs(shift - lag) > 1.5 or abs(shift - round(shift)) < 2e-3:
        return
    made = _shifted(problem, shift)
    if made is not None:
        region, predicted = made
        yield Hypothesis("delay", _words(shift, problem.rate), 1.5, predicted, region)


def _shifted(problem: WaveProblem, shift: float) -> tuple[Region, FloatArray] | None:
    """Return where nothing is missing, and the reference shifted by any number of samples."""
    whole = int(np.floor(shift))
    length = problem.expected.shape[1]
    start = max(problem.start, whole + _HALF_WIDTH)
    stop = min(problem.stop, length + whole - _HALF_WIDTH)
    if stop - start < max(4 * _HALF_WIDTH, (problem.stop - problem.start) // 4):
        return None
    taps = np.arange(-_HALF_WIDTH, _HALF_WIDTH + 1)
    kernel = np.sinc(taps - (shift - whole)) * np.kaiser(taps.size, _KAISER_BETA)
    source = problem.expected[problem.part(start - whole - _HALF_WIDTH, stop - whole + _HALF_WIDTH)]
    predicted = oaconvolve(source, kernel[None, :], mode="valid", axes=1)
    return problem.part(start, stop), np.asarray(predicted)


def _phase_slope(e: FloatArray, a: FloatArray) -> float:
    """Return by how many samples ``a`` is later than ``e``, if that is a fraction of one."""
    window = np.hanning(e.shape[1])
    cross = np.sum(rfft(a * window) * np.conj(rfft(e * window)), axis=0)
    omega = 2 * np.pi * rfftfreq(e.shape[1])
    weights = np.abs(cross) * omega
    total = float(np.sum(weights * omega))
    return -float(np.sum(weights * np.angle(cross))) / total if total > 0 else 0.0
