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
from harness.comparison.losses import is_nothing, losses
from harness.comparison.signals import Problem, levels, others_instead, routings
from harness.layers import channel_names
from harness.metrics import SILENT_ERROR_DBFS, StretchSnr, segmental_snr_db, stretch_snr_db
from harness.verdicts import Gate

LONGEST_S: Final = 20.0
"""How much of a signal is searched for a cause, around its worst second."""
_BLOCKS_PER_S: Final = 50
_DEFAULT_SNR_DB: Final = 110.0
_WHOLE: Final = 0.9
"""A place that is longer than this share of the signal is not mentioned."""

Others = Callable[[int, int], Iterable[tuple[str, npt.NDArray[Any]]]]
"""The other expected stems from one sample to another, [channels, n], by name."""


@dataclass(frozen=True)
class _Part:
    """What is searched of two signals: [channels, n] in float64, from sample ``first`` on."""

    e: FloatArray
    a: FloatArray
    rate: int
    first: int
    ends: bool


@dataclass(frozen=True)
class _Place:
    """Channels, and a span of samples in a `_Part`."""

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
    part = _Part(e, a, rate, start, stop == expected.shape[1] or is_nothing(actual[:, stop:]))
    instead = list(others(start, stop))
    for place in _places(e, a, gate, rate):
        cause = _explained(part, place, gate, instead)
        if cause is None and len(place.channels) > 1:
            cause = _channel_by_channel(part, place, gate)
        if cause is not None:
            return located(cause, _where(part, place, cause.name))
    return None


def _explained(
    part: _Part, place: _Place, gate: Gate, others: list[tuple[str, npt.NDArray[Any]]]
) -> Cause | None:
    problem = Problem(
        part.e, part.a, place.channels, place.start, place.stop, part.rate, part.first, part.ends
    )
    guesses = itertools.chain(
        routings(problem),
        levels(problem),
        others_instead(problem, others),
        losses(problem),
        delays(problem),
    )
    return select(guesses, part.e, part.a, gate)


def _channel_by_channel(part: _Part, place: _Place, gate: Gate) -> Cause | None:
    """Return one cause for each channel as one, if each has one."""
    names = channel_names(part.e.shape[0])
    causes = []
    for channel in place.channels:
        cause = _explained(part, _Place((channel,), place.start, place.stop), gate, [])
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


def _places(e: FloatArray, a: FloatArray, gate: Gate, rate: int) -> list[_Place]:
    """Return where the cause is sought, one place after the other.

    The channels are those with a second that breaks the gate. The span is from the first to the
    last block of 20 ms in such a second; if nothing explains it, without the blocks at its ends,
    which may be right in part; and at last the whole.
    """
    stretches = stretch_snr_db(e, a, rate)
    bad = [stretch for stretch in stretches if _breaks(stretch, gate)]
    channels = tuple(sorted({stretch.index[0] for stretch in bad})) or tuple(range(e.shape[0]))
    length, size = e.shape[1], _block(rate)
    whole = _Place(channels, 0, length)
    if not bad:
        return [whole]
    start, stop = min(it.start for it in bad), max(it.stop for it in bad)
    rows = list(channels)
    blocks = np.flatnonzero(_bad_blocks(e[rows, start:stop], a[rows, start:stop], gate, size))
    if blocks.size:
        start, stop = start + int(blocks[0]) * size, start + (int(blocks[-1]) + 1) * size
    if length - stop < size:
        stop = length
    if stop - start > _WHOLE * length:
        return [whole]
    inner = _Place(channels, start + size, stop - size)
    narrow = [inner] if inner.stop - inner.start > 4 * size else []
    return [_Place(channels, start, stop), *narrow, whole]


def _breaks(stretch: StretchSnr, gate: Gate) -> bool:
    if stretch.snr_db is None:
        return stretch.error_rms_dbfs > SILENT_ERROR_DBFS
    return not stretch.snr_db > _wanted_db(gate)


def _wanted_db(gate: Gate) -> float:
    return _DEFAULT_SNR_DB if gate.min_snr_db is None else gate.min_snr_db


def _bad_blocks(e: FloatArray, a: FloatArray, gate: Gate, size: int) -> npt.NDArray[np.bool_]:
    """Return for each block whether its error is above what the gate allows in any channel."""
    count = max(1, e.shape[1] // size)
    pieces = [slice(k * size, (k + 1) * size if k < count - 1 else None) for k in range(count)]
    error = np.array([np.sqrt(np.mean((a - e)[:, piece] ** 2, axis=1)) for piece in pieces])
    level = np.array([np.sqrt(np.mean(e[:, piece] ** 2, axis=1)) for piece in pieces])
    # Soft blocks of a louder second may be worse than the gate and matter to no one.
    floor = np.maximum(np.sqrt(np.mean(e**2, axis=1)) / 10, 10 ** (SILENT_ERROR_DBFS / 20))
    allowed = np.maximum(level, floor) * 10 ** (-_wanted_db(gate) / 20)
    return np.asarray((error > allowed).any(axis=1))


def _block(rate: int) -> int:
    return max(1, rate // _BLOCKS_PER_S)


def _where(part: _Part, place: _Place, name: str) -> str:
    words = []
    count, length = part.e.shape
    if len(place.channels) < count and name != "channels":
        names = channel_names(count)
        words.append(" and ".join(names[channel] for channel in place.channels))
    if place.stop - place.start < _WHOLE * length and name not in ("dropout", "clipping"):
        start, stop = ((part.first + sample) / part.rate for sample in (place.start, place.stop))
        words.append(f"from {start:.2f} to {stop:.2f} s")
    return ", ".join(words)
