"""Hypotheses about signals that need no search: level, sign, offset, clipping, rounding, routing.

Each function yields `Hypothesis` values for a `WaveProblem`, which are judged by `causes.select`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.comparison.causes import FloatArray, Hypothesis, Region
from harness.layers import channel_names
from harness.metrics import dbfs, is_silent, rms

_GRIDS: Final = (8, 12, 16, 20, 24)
_ROUNDINGS: Final = (("rounded", np.rint), ("rounded down", np.floor), ("truncated", np.trunc))


@dataclass(frozen=True)
class WaveProblem:
    """An error whose cause is sought.

    Attributes:
        expected, actual: [all channels, n], float64, finite.
        channels: those that are wrong.
        start, stop: the samples between which they are.
        rate: samples per second.
        first: where sample 0 is in the whole signal.
        ends: whether the candidate has nothing after the last sample.
    """

    expected: FloatArray
    actual: FloatArray
    channels: tuple[int, ...]
    start: int
    stop: int
    rate: int
    first: int = 0
    ends: bool = True

    @property
    def region(self) -> Region:
        """The wrong channels and samples, as an index."""
        return self.part(self.start, self.stop)

    @property
    def e(self) -> FloatArray:
        """The reference there."""
        return self.expected[self.region]

    @property
    def a(self) -> FloatArray:
        """The candidate there."""
        return self.actual[self.region]

    def part(self, start: int, stop: int) -> Region:
        """Return the index of the wrong channels between two samples."""
        return (np.array(self.channels, dtype=np.intp), slice(start, stop))


def levels(problem: WaveProblem) -> Iterator[Hypothesis]:
    """Yield sign, gain, offset, clipping and rounding."""
    e, a, region = problem.e, problem.a, problem.region
    yield Hypothesis("polarity", "the polarity is inverted", 0, -e, region)
    factor = fitted_gain(e, a)
    if factor > 0:
        words = f"{gain_words(factor)} (gain {factor:.6g})"
        yield Hypothesis("gain", words, 1, factor * e, region)
    offsets = np.mean(a - e, axis=1, keepdims=True)
    largest = float(offsets.flat[int(np.argmax(np.abs(offsets)))])
    yield Hypothesis("offset", f"a DC offset of {largest:.4g} is added", 1, e + offsets, region)
    low, high = float(a.min()), float(a.max())
    if low < 0 < high and (e.max() > high or e.min() < low):
        level = max(high, -low)
        words = f"clipped at {level:.4g} ({dbfs(level):.2f} dBFS)"
        yield Hypothesis("clipping", words, 1, np.clip(e, low, high), region)
    yield from roundings(e, a, region)


def routings(problem: WaveProblem) -> Iterator[Hypothesis]:
    """Yield channels that are exchanged, copied or mixed down."""
    count = problem.expected.shape[0]
    if count < 2:
        return
    names = channel_names(count)
    span = slice(problem.start, problem.stop)
    e, a, region = problem.expected[:, span], problem.a, problem.region
    sources = [int(source) for source in np.argmax(np.abs(likeness(a, e)), axis=1)]
    if sources != list(problem.channels):
        moved = [
            f"{names[channel]} holds {names[source]}"
            for channel, source in zip(problem.channels, sources, strict=True)
            if channel != source
        ]
        exchanged = sources == [1, 0] and problem.channels == (0, 1)
        words = "left and right are exchanged" if exchanged else ", ".join(moved)
        yield from with_gain(Hypothesis("channels", words, 0, e[sources], region), a)
    middle = np.broadcast_to(e.mean(axis=0), a.shape)
    yield Hypothesis("channels", "every channel is the mean of all (mono)", 0.5, middle, region)


def others_instead(
    problem: WaveProblem, others: Iterable[tuple[str, npt.NDArray[Any]]]
) -> Iterator[Hypothesis]:
    """Yield the other stems that may stand here."""
    for name, stem in others:
        if stem.shape != problem.expected.shape:
            continue
        predicted = stem[problem.region].astype(np.float64)
        words = f"another stem stands here: {name}"
        guess = Hypothesis("another stem", words, 0, predicted, problem.region)
        yield from with_gain(guess, problem.a)


def with_gain(guess: Hypothesis, a: FloatArray) -> Iterator[Hypothesis]:
    """Yield what ``a`` may be in its region, and that with a gain: two causes together."""
    yield guess
    factor = fitted_gain(guess.predicted, a)
    if factor == 0 or abs(factor - 1) < 1e-4:
        return
    more = gain_words(abs(factor))
    if factor < 0:
        near = abs(factor + 1) < 1e-4
        more = "the polarity is inverted" if near else f"the polarity is inverted, {more}"
    words, predicted = f"{guess.words}, and {more}", factor * guess.predicted
    yield Hypothesis("combination", words, 3, predicted, guess.region)


def fitted_gain(e: FloatArray, a: FloatArray) -> float:
    """Return the factor that brings ``e`` nearest to ``a``; 0 where ``e`` is zero."""
    energy = float(np.vdot(e, e))
    return float(np.vdot(e, a)) / energy if energy > 0 else 0.0


def gain_words(factor: float) -> str:
    """Return a factor in dB."""
    gain_db = 20 * math.log10(factor) if factor > 0 else -math.inf
    return f"{abs(gain_db):.3g} dB too {'loud' if gain_db > 0 else 'soft'}"


def roundings(e: FloatArray, a: FloatArray, region: Region = (...,)) -> Iterator[Hypothesis]:
    """Yield each rounding whose grid the candidate is on; what a grid has no place for is clipped,
    and then that is said, too."""
    if np.array_equal(a, half := _as_fp16(a)) and not np.array_equal(e, half):
        yield Hypothesis("quantisation", "rounded to FP16", 0, _as_fp16(e), region)
    if np.array_equal(a, _as_bf16(a)):
        yield Hypothesis("quantisation", "rounded to BF16", 0, _as_bf16(e), region)
    name, more, further = "quantisation", "", 0.0
    if np.abs(e).max() > 1:
        name, more, further = "combination", "clipped at full scale (0 dBFS), and ", 1.0
    for bits in _GRIDS:
        for scale in (2.0 ** (bits - 1), 2.0 ** (bits - 1) - 1):
            if not _on_grid(a, scale):
                continue
            for how, rounding in _ROUNDINGS:
                words = f"{more}{how} to {bits} bits (PCM)"
                codes = np.clip(rounding(e * scale), -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
                yield Hypothesis(name, words, 0.5 + further, codes / scale, region)
            if np.abs(a - np.clip(e, -1, 1)).max() <= 1.5 / scale:
                # Dither is random: what it does can be bounded, not predicted.
                words = f"{more}rounded to {bits} bits (PCM), dithered"
                yield Hypothesis(name, words, 2 + further, a, region)
            return


def likeness(rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Return the normalised correlation of each row with each row of another array; 0 of zeros."""
    norms = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(columns, axis=1)
    found: FloatArray = np.zeros(norms.shape)
    np.divide(rows @ columns.T, norms, out=found, where=norms > 0)
    return found


def overlap(axis: int, shift: int) -> tuple[slice, ...]:
    """Return the part of an array that its copy, moved by ``shift``, covers."""
    part = slice(shift, None) if shift >= 0 else slice(None, shift)
    return (slice(None),) * axis + (part,)


def _on_grid(a: FloatArray, scale: float) -> bool:
    codes = a * scale
    return bool(np.abs(codes - np.rint(codes)).max() < 1e-6 * max(1.0, scale / 2**15))


def _as_fp16(values: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float16).astype(np.float64)


def _as_bf16(values: FloatArray) -> FloatArray:
    """Round to eight significant bits, ties to even, as BF16 keeps them."""
    with np.errstate(over="ignore", under="ignore"):
        bits = values.astype(np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    whole = (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    return np.asarray(whole.astype(np.float64))


def lost(a: FloatArray, e: FloatArray) -> bool:
    """Return whether the candidate is silent where the reference is not."""
    return is_silent(rms(a)) and not is_silent(rms(e))
