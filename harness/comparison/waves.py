"""Causes in signals: [channels, n], real, at a known rate.

First the place: which channels break the gate, and from when to when. Then one number for all of
these channels explains the error there, or one for each channel, or none does. The hypotheses are
in `signals`, `delays` and `losses`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.comparison.causes import Cause, FloatArray, located, select, wanted_db
from harness.comparison.delays import delays
from harness.comparison.losses import is_nothing, losses
from harness.comparison.signals import WaveProblem, levels, others_instead, routings
from harness.layers import channel_names
from harness.metrics import SILENT_ERROR_DBFS, StretchSnr, segmental_snr_db, stretch_snr_db
from harness.verdicts import Gate

LONGEST_S: Final = 20.0
"""How much of a signal is searched for a cause, around its worst second."""
_BLOCKS_PER_S: Final = 50
_WHOLE: Final = 0.9
"""A place that is longer than this share of the signal is not mentioned."""

Others = Callable[[int, int], Iterable[tuple[str, npt.NDArray[Any]]]]
"""The other expected stems from one sample to another, [channels, n], by name."""


def explain_wave(
    expected: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    gate: Gate,
    *,
    rate: int,
    others: Others = lambda start, stop: (),
) -> Cause | None:
    """Return why ``actual`` breaks ``gate``, None if no single cause explains it.

    Args:
        expected, actual: [channels, n] of one shape, any real type; finite.
        gate: what is broken.
        rate: samples per second.
        others: what may stand in its place.
    """
    start, stop = _excerpt(expected, actual, rate)
    e = expected[:, start:stop].astype(np.float64)
    a = actual[:, start:stop].astype(np.float64)
    ends = stop == expected.shape[1] or is_nothing(actual[:, stop:])
    whole = WaveProblem(e, a, tuple(range(e.shape[0])), 0, e.shape[1], rate, start, ends)
    instead = list(others(start, stop))
    for problem in _narrowed(whole, gate):
        cause = _explained(problem, gate, instead)
        if cause is None and len(problem.channels) > 1:
            cause = _channel_by_channel(problem, gate)
        if cause is not None:
            return located(cause, _where(problem, cause.name))
    return None


def _explained(
    problem: WaveProblem, gate: Gate, others: list[tuple[str, npt.NDArray[Any]]]
) -> Cause | None:
    guesses = itertools.chain(
        routings(problem),
        levels(problem),
        others_instead(problem, others),
        losses(problem),
        delays(problem),
    )
    return select(guesses, problem.expected, problem.actual, gate)


def _channel_by_channel(problem: WaveProblem, gate: Gate) -> Cause | None:
    """Return one cause for each channel as one, if each has one."""
    names = channel_names(problem.expected.shape[0])
    causes = []
    for channel in problem.channels:
        cause = _explained(replace(problem, channels=(channel,)), gate, [])
        if cause is None:
            return None
        causes.append(located(cause, names[channel]))
    kinds = {cause.name for cause in causes}
    name = kinds.pop() if len(kinds) == 1 else "combination"
    words = "; ".join(cause.words for cause in causes)
    return Cause(name, words, min(cause.snr_db for cause in causes))


def _excerpt(expected: npt.NDArray[Any], actual: npt.NDArray[Any], rate: int) -> tuple[int, int]:
    """Return the part that is searched: all, or `LONGEST_S` around the worst second."""
    length, longest = expected.shape[1], int(LONGEST_S * rate)
    if length <= longest:
        return 0, length
    found = segmental_snr_db(expected, actual, rate)
    worst = found.worst or found.worst_silent
    middle = worst.start if worst is not None else 0
    start = min(max(0, middle - longest // 2), length - longest)
    return start, start + longest


def _narrowed(whole: WaveProblem, gate: Gate) -> list[WaveProblem]:
    """Return where the cause is sought, one place after the other.

    The channels are those with a second that breaks the gate. The span is from the first to the
    last block of 20 ms in such a second; if nothing explains it, without the blocks at its ends,
    which may be right in part; and at last the whole.
    """
    bad = [s for s in stretch_snr_db(whole.e, whole.a, whole.rate) if _breaks(s, gate)]
    length, size = whole.stop, max(1, whole.rate // _BLOCKS_PER_S)
    if not bad:
        return [whole]
    whole = replace(whole, channels=tuple(sorted({stretch.index[0] for stretch in bad})))
    start, stop = min(it.start for it in bad), max(it.stop for it in bad)
    rows = whole.part(start, stop)
    blocks = np.flatnonzero(_bad_blocks(whole.expected[rows], whole.actual[rows], gate, size))
    if blocks.size:
        start, stop = start + int(blocks[0]) * size, start + (int(blocks[-1]) + 1) * size
    if length - stop < size:
        stop = length
    if stop - start > _WHOLE * length:
        return [whole]
    places = [(start, stop), (start + size, stop - size)][: 1 + (stop - start > 6 * size)]
    return [*(replace(whole, start=first, stop=last) for first, last in places), whole]


def _breaks(stretch: StretchSnr, gate: Gate) -> bool:
    if stretch.snr_db is None:
        return stretch.error_rms_dbfs > SILENT_ERROR_DBFS
    return not stretch.snr_db > wanted_db(gate)


def _bad_blocks(e: FloatArray, a: FloatArray, gate: Gate, size: int) -> npt.NDArray[np.bool_]:
    """Return for each block whether its error is above what the gate allows in any channel."""
    count = max(1, e.shape[1] // size)
    pieces = [slice(k * size, (k + 1) * size if k < count - 1 else None) for k in range(count)]
    error = np.array([np.sqrt(np.mean((a - e)[:, piece] ** 2, axis=1)) for piece in pieces])
    level = np.array([np.sqrt(np.mean(e[:, piece] ** 2, axis=1)) for piece in pieces])
    # Soft blocks of a louder second may be worse than the gate and matter to no one.
    floor = np.maximum(np.sqrt(np.mean(e**2, axis=1)) / 10, 10 ** (SILENT_ERROR_DBFS / 20))
    allowed = np.maximum(level, floor) * 10 ** (-wanted_db(gate) / 20)
    return np.asarray((error > allowed).any(axis=1))


def _where(problem: WaveProblem, name: str) -> str:
    words = []
    count, length = problem.expected.shape
    if len(problem.channels) < count and name != "channels":
        names = channel_names(count)
        words.append(" and ".join(names[channel] for channel in problem.channels))
    span = problem.start, problem.stop
    if span[1] - span[0] < _WHOLE * length and name not in ("dropout", "clipping"):
        start, stop = ((problem.first + sample) / problem.rate for sample in span)
        words.append(f"from {start:.2f} to {stop:.2f} s")
    return ", ".join(words)
