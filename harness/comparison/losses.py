"""Hypotheses about what is missing: silence, gaps, and parts of the spectrum.

A filter is estimated from the two signals themselves (the ratio of the averaged cross-spectrum to
the spectrum of the reference), so it is the most complex hypothesis of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfft
from scipy.signal import csd, oaconvolve, welch

from harness.comparison.causes import FloatArray, Hypothesis
from harness.comparison.signals import WaveProblem, lost
from harness.metrics import SILENT_ERROR_DBFS

_SHORTEST_GAP_S: Final = 0.002
_NOTHING: Final = 10 ** (SILENT_ERROR_DBFS / 20)
"""A sample under -100 dBFS is none: where a reference is silent, that much error is."""
_FILTER_TAPS: Final = 4096
_TRACE_S: Final = 20.0
_AUDIBLE: Final = 1e-9
_LEFT: Final = 1e-2
"""Shares of power: what counts as part of the reference, and what as left of it."""


def losses(problem: WaveProblem) -> Iterator[Hypothesis]:
    """Yield silence, gaps, missing bands, and a filter."""
    everywhere = problem.part(0, problem.expected.shape[1])
    if lost(problem.actual[everywhere], problem.expected[everywhere]):
        # What hiss remains of it is no error of its own.
        words = "silent: the signal is lost"
        yield Hypothesis("silence", words, 0, problem.a.copy(), problem.region)
        return
    yield from _gaps(problem)
    yield from _bands(problem)
    yield from _filters(problem)


def is_nothing(samples: npt.NDArray[Any]) -> bool:
    """Return whether no sample is above -100 dBFS, without a copy."""
    return bool(samples.max() < _NOTHING and samples.min() > -_NOTHING)


def _gaps(problem: WaveProblem) -> Iterator[Hypothesis]:
    e, a = problem.e, problem.a
    runs = _runs(np.all(np.abs(a) < _NOTHING, axis=0), int(_SHORTEST_GAP_S * problem.rate))
    runs = [
        (start, stop) for start, stop in runs if np.abs(e[:, start:stop]).max() > 100 * _NOTHING
    ]
    if not runs:
        return
    predicted = e.copy()
    for start, stop in runs:
        predicted[:, start:stop] = a[:, start:stop]
    begin, end = ((problem.first + problem.start + place) / problem.rate for place in runs[0])
    to_the_end = problem.start + runs[0][1] == problem.expected.shape[1]
    until = f"to {'at least ' if to_the_end else ''}{end:.3f} s"
    words = f"lost from {begin:.3f} s {'on' if to_the_end and problem.ends else until}"
    if len(runs) > 1:
        words += f", and in {len(runs) - 1} more places"
    yield Hypothesis("dropout", words, 1, predicted, problem.region)


def _runs(mask: npt.NDArray[np.bool_], shortest: int) -> list[tuple[int, int]]:
    """Return start and stop of each stretch of True of at least ``shortest``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    pairs = edges.reshape(-1, 2)
    return [(int(start), int(stop)) for start, stop in pairs if stop - start >= max(shortest, 2)]


def _bands(problem: WaveProblem) -> Iterator[Hypothesis]:
    """Yield the cut-off that leaves the least error, from above and from below."""
    e, a = problem.e, problem.a
    length = e.shape[1]
    reference, candidate = rfft(e), rfft(a)
    kept = np.sum(np.abs(candidate - reference) ** 2, axis=0)
    gone = np.sum(np.abs(candidate) ** 2, axis=0)
    # remaining[k]: bins under k are kept, those from k on are gone; and the other way round
    low = np.concatenate([[0.0], np.cumsum(kept)])
    high = np.concatenate([[0.0], np.cumsum(gone)])
    for side, remaining in (
        ("above", low + (high[-1] - high)),
        ("below", high + (low[-1] - low)),
    ):
        bin_ = int(np.argmin(remaining))
        if not 2 < bin_ < reference.shape[1] - 2:
            continue
        spectrum = reference.copy()
        spectrum[:, bin_:] *= side == "below"
        spectrum[:, :bin_] *= side == "above"
        words = f"nothing is left {side} {_hertz(bin_ * problem.rate / length)}"
        yield Hypothesis("band loss", words, 1.5, irfft(spectrum, length), problem.region)


def missing_band(expected: npt.NDArray[Any], actual: npt.NDArray[Any], rate: int) -> str:
    """Return from where on nothing is left of a signal, in words; "" if something is everywhere.

    It looks at the middle of the signal.

    That is no cause where what remains is wrong, too, but a trace: lossy codecs leave it.

    Args:
        expected, actual: [channels, n] of one shape; finite.
        rate: samples per second.
    """
    if expected.shape[1] < 4 * _FILTER_TAPS:
        return ""
    start = max(0, (expected.shape[1] - int(_TRACE_S * rate)) // 2)
    part = (slice(None), slice(start, start + int(_TRACE_S * rate)))
    frequency, reference = welch(expected[part], rate, nperseg=_FILTER_TAPS, axis=1)
    candidate = welch(actual[part], rate, nperseg=_FILTER_TAPS, axis=1)[1]
    one, other = reference.sum(axis=0), candidate.sum(axis=0)
    heard = one > _AUDIBLE * one.max()
    kept = np.flatnonzero(heard & (other > _LEFT * one))
    heard_above = heard[kept[-1] + 1 :].sum() if kept.size else 0
    if heard_above < _FILTER_TAPS // 64:
        return ""
    return f"nothing is left above {_hertz(frequency[kept[-1]])}, as after a lossy codec"


def _filters(problem: WaveProblem) -> Iterator[Hypothesis]:
    e, a = problem.e, problem.a
    if e.shape[1] < 4 * _FILTER_TAPS:
        return
    frequency, cross = csd(e, a, problem.rate, nperseg=_FILTER_TAPS, axis=1)
    power = welch(e, problem.rate, nperseg=_FILTER_TAPS, axis=1)[1].sum(axis=0)
    response = cross.sum(axis=0) / np.maximum(power, 1e-9 * power.max())
    half = _FILTER_TAPS // 2
    taps = np.roll(irfft(response, _FILTER_TAPS), half) * np.hanning(_FILTER_TAPS)
    start, stop = problem.start + half, problem.stop - half
    predicted = oaconvolve(e, taps[None, :], mode="full", axes=1)[:, 2 * half : e.shape[1]]
    name, words = _shape_of(frequency, np.abs(response), power)
    yield Hypothesis(name, words, 4, predicted, problem.part(start, stop))


def _shape_of(frequency: FloatArray, gains: FloatArray, power: FloatArray) -> tuple[str, str]:
    """Return what a filter is, told from its gains where the reference has something."""
    used = np.flatnonzero(power > 1e-8 * power.max())
    passed = used[gains[used] > 0.5**0.5]
    if passed.size:
        top, bottom = passed[-1], passed[0]
        above, below = gains[used[used > top]], gains[used[used < bottom]]
        if above.size > 8 and above[-above.size // 2 :].max() < 0.1:
            return "band loss", f"a low-pass at {_hertz(frequency[top])}"
        if below.size > 4 and below[: below.size // 2].max() < 0.1:
            return "band loss", f"a high-pass at {_hertz(frequency[bottom])}"
    spread = 20 * np.log10(np.maximum(gains[used], 1e-6))
    return "filter", f"a filter of {spread.min():.1f} to {spread.max():+.1f} dB"


def _hertz(value: Any) -> str:
    return f"{value / 1000:.2f} kHz" if value >= 1000 else f"{value:.0f} Hz"
