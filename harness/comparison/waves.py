"""Causes in signals: [channels, n], real, at a known rate.

First the place: which channels break the gate, and from when to when. Then one number for all of
these channels explains the error there, or one for each channel, or none does. The hypotheses are
in `signals`, `delays` and `losses`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.comparison.causes import Cause, FloatArray, located, select
from harness.comparison.delays import delays
from harness.comparison.losses import losses
from harness.comparison.signals import Problem, channel_names, levels, others_instead, routings
from harness.metrics import SILENT_ERROR_DBFS, segmental_snr_db
from harness.verdicts import Gate

LONGEST_S: Final = 30.0
"""How much of a signal is searched for a cause, around its worst second."""
_BLOCKS_PER_S: Final = 50
_DEFAULT_SNR_DB: Final = 110.0

Others = Callable[[int, int], Iterable[tuple[str, npt.NDArray[Any]]]]
"""The other expected stems from one sample to another, [channels, n], by name."""


@dataclass(frozen=True)
class _Place:
    channels: tuple[int, ...]
    start: int
    stop: int


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
    if not (np.isfinite(e).all() and np.isfinite(a).all()):
        return None
    place = _place(e, a, gate, rate)
    instead = list(others(start, stop))
    cause = _explained(e, a, place, gate, rate, start, instead)
    if cause is None and len(place.channels) > 1:
        cause = _channel_by_channel(e, a, place, gate, rate, start)
    if cause is None:
        return None
    return located(cause, _where(place, e.shape, start, rate, cause.name))


def _explained(
    e: FloatArray,
    a: FloatArray,
    place: _Place,
    gate: Gate,
    rate: int,
    first: int,
    others: list[tuple[str, npt.NDArray[Any]]],
) -> Cause | None:
    problem = Problem(e, a, place.channels, place.start, place.stop, rate, first)
    guesses = itertools.chain(
        routings(problem),
        levels(problem),
        others_instead(problem, others),
        losses(problem),
        delays(problem),
    )
    return select(guesses, e, a, gate)


def _channel_by_channel(
    e: FloatArray, a: FloatArray, place: _Place, gate: Gate, rate: int, first: int
) -> Cause | None:
    """Return one cause for each channel as one, if each has one."""
    names = channel_names(e.shape[0])
    causes = []
    for channel in place.channels:
        alone = _Place((channel,), place.start, place.stop)
        cause = _explained(e, a, alone, gate, rate, first, [])
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


def _place(e: FloatArray, a: FloatArray, gate: Gate, rate: int) -> _Place:
    """Return the channels that break the gate, and the span of their bad blocks."""
    bad = np.array([_bad_blocks(one, other, gate, rate) for one, other in zip(e, a, strict=True)])
    channels = tuple(int(c) for c in np.flatnonzero(bad.any(axis=1)))
    if not channels:
        return _Place(tuple(range(e.shape[0])), 0, e.shape[1])
    # A channel with an error far under the others' is not what the search is about.
    blocks = np.flatnonzero(bad[list(channels)].any(axis=0))
    size, length = _block(rate), e.shape[1]
    first, last = int(blocks[0]), int(blocks[-1]) + 1
    whole = bad.shape[1]
    if last - first > 0.9 * whole or last - first < 3:
        margin = 0 if last - first > 0.9 * whole else 1
        first, last = (max(0, first - margin), min(whole, last + margin)) if margin else (0, whole)
    return _Place(channels, first * size, length if last == whole else last * size)


def _bad_blocks(e: FloatArray, a: FloatArray, gate: Gate, rate: int) -> npt.NDArray[np.bool_]:
    """Return for each block whether its error is above what the gate allows."""
    size = min(_block(rate), e.size)
    usable = e.size // size * size
    blocks = (-1, size)
    error = np.sqrt(np.mean((a - e)[:usable].reshape(blocks) ** 2, axis=1))
    level = np.sqrt(np.mean(e[:usable].reshape(blocks) ** 2, axis=1))
    wanted = _DEFAULT_SNR_DB if gate.min_snr_db is None else gate.min_snr_db
    # Soft blocks of a loud signal may be worse than the gate and matter to no one.
    floor = max(float(np.sqrt(np.mean(e**2))) / 10, 10 ** (SILENT_ERROR_DBFS / 20))
    allowed = np.maximum(level, floor) * 10 ** (-wanted / 20)
    return np.asarray(error > allowed)


def _block(rate: int) -> int:
    return max(1, rate // _BLOCKS_PER_S)


def _where(place: _Place, shape: tuple[int, ...], first: int, rate: int, name: str) -> str:
    words = []
    if len(place.channels) < shape[0] and name != "channels":
        names = channel_names(shape[0])
        words.append(" and ".join(names[c] for c in place.channels))
    if place.stop - place.start < 0.9 * shape[1] and name not in ("dropout", "clipping"):
        start, stop = (first + place.start) / rate, (first + place.stop) / rate
        words.append(f"from {start:.2f} to {stop:.2f} s")
    return ", ".join(words)
