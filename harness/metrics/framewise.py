"""SDR, ISR, SIR and SAR as they are published: second by second, and their medians.

This is BSS-eval v4 as museval computes it: one set of distortion filters for the whole signal (see
``separation``), ratios in each window, and the median over windows. Every window is filtered as if
nothing stood around it, so a filtered window is ``filter_length - 1`` samples longer than it is.

The filters come from a :class:`ReferenceProjection`, which is factorised once, and are those of the
residual: each candidate costs two solutions with many right sides and one filtering, where museval
builds and solves every system again for every estimate.

A window counts for no source where any source's channels, of a reference or of an estimate, sum to
exactly zero in all of it (museval's rule: it is NaN there for all of them, and anti-phase stereo is
silence). A window of a source is None then, and medians leave it out. A source that is silent as a
whole takes no part, where museval refuses the song.

References
----------
.. [1] F.-R. Stoter, A. Liutkus, N. Ito, "The 2018 signal separation evaluation campaign", LVA/ICA
   2018.
.. [2] museval 0.4.1, https://github.com/sigsep/sigsep-mus-eval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.errors import ParityError
from harness.metrics._arrays import FloatArray, RealArray
from harness.metrics._convolution import BlockConvolution
from harness.metrics._decomposition import Measurable, measurable
from harness.metrics.levels import ratio_db
from harness.metrics.projection import FILTER_LENGTH, ReferenceProjection

WINDOW: Final = 44_100
"""Samples of a window: museval's default, a second at 44.1 kHz."""
HOP: Final = 44_100
"""Samples from one window to the next: museval's default."""

_FRAMES_AT_ONCE: Final = 4
_RATIOS: Final = ("sdr_db", "isr_db", "sir_db", "sar_db")


@dataclass(frozen=True)
class FramewiseMetrics:
    """One source's ratios in dB, window by window.

    Attributes:
        source: its name.
        sdr_db, isr_db, sir_db, sar_db: for each window; None where it counts for no source.
        reason: why there are none at all; None where there are.
    """

    source: str
    sdr_db: tuple[float | None, ...] = ()
    isr_db: tuple[float | None, ...] = ()
    sir_db: tuple[float | None, ...] = ()
    sar_db: tuple[float | None, ...] = ()
    reason: str | None = None

    def median_db(self, ratio: str) -> float | None:
        """The median over the windows that count, as it is published; None without any.

        Args:
            ratio: ``sdr_db``, ``isr_db``, ``sir_db`` or ``sar_db``.

        Raises:
            ParityError: there is no such ratio.
        """
        if ratio not in _RATIOS:
            raise ParityError(f"no ratio is called {ratio}; there are {', '.join(_RATIOS)}")
        values = [value for value in getattr(self, ratio) if value is not None]
        return float(np.median(values)) if values else None


def framewise_metrics(
    references: npt.ArrayLike | ReferenceProjection,
    estimates: npt.ArrayLike,
    *,
    sources: Sequence[str] | None = None,
    window: int = WINDOW,
    hop: int = HOP,
    filter_length: int = FILTER_LENGTH,
) -> tuple[FramewiseMetrics, ...]:
    """SDR, ISR, SIR and SAR of every source in every window.

    Windows begin every ``hop`` samples, and as many are taken as fit; what is left at the end
    counts in none. A signal that is no longer than ``window`` is one window.

    Args:
        references: real [sources, channels, n], or a :class:`ReferenceProjection` of them.
        estimates: real, the same shape.
        sources: their names; "0", "1", ... if not given.
        window: samples of a window.
        hop: samples from the start of a window to that of the next.
        filter_length: taps of the distortion filters; a ReferenceProjection brings its own.

    Returns:
        one :class:`FramewiseMetrics` for each source, in order.

    Raises:
        ParityError: as of ``separation_metrics``, or ``window`` or ``hop`` is not positive.
    """
    if window < 1 or hop < 1:
        raise ParityError(f"window {window} and hop {hop} must be at least 1 sample")
    todo = measurable(references, estimates, sources, filter_length)
    starts = _starts(todo.projection.length, window, hop)
    window = min(window, todo.projection.length)
    silent = _silent(todo, starts, window)
    filters = _Filters(*todo.projection.filters(todo.residuals, todo.places))
    found: dict[int, list[list[float | None]]] = {j: [] for j in todo.places}
    for first in range(0, len(starts), _FRAMES_AT_ONCE):
        chunk = starts[first : first + _FRAMES_AT_ONCE]
        for j, ratios in _ratios(todo, filters, chunk, window):
            found[j] += ratios
    rows = []
    for j, name in enumerate(todo.names):
        if j in found:
            kept = ([None] * 4 if gone else row for row, gone in zip(found[j], silent, strict=True))
            sdr, isr, sir, sar = zip(*kept, strict=True)
            rows.append(FramewiseMetrics(name, sdr, isr, sir, sar))
        else:
            rows.append(FramewiseMetrics(name, reason=todo.reasons[j]))
    return tuple(rows)


@dataclass(frozen=True)
class _Filters:
    """What makes the projections of all residuals: onto all sources, and of each onto its own."""

    joint: FloatArray  # [active channels, taps, measured channels]
    own: tuple[FloatArray, ...]  # for each measured source [channels, taps, channels]


def _starts(length: int, window: int, hop: int) -> list[int]:
    count = (length - window + hop) // hop if window < length else 1
    return [index * hop for index in range(count)]


def _silent(todo: Measurable, starts: Sequence[int], window: int) -> list[bool]:
    """Which windows count for no source."""
    sums = [side[list(todo.places)].sum(axis=1) for side in (todo.references, todo.estimates)]
    return [
        any(bool((~rows[:, start : start + window].any(axis=1)).any()) for rows in sums)
        for start in starts
    ]


def _ratios(
    todo: Measurable, filters: _Filters, starts: Sequence[int], window: int
) -> Iterator[tuple[int, list[list[float | None]]]]:
    """The four ratios of each measured source in each of these windows."""
    projection = todo.projection
    channels, taps = projection.channels, projection.filter_length
    sources = [projection.references[j] for j in projection.active]  # views: nothing is copied
    active = _framed(sources, starts, window, taps)
    convolution = BlockConvolution.of(active.reshape(-1, active.shape[2] * len(starts)), taps)
    shape = (-1, *active.shape[1:])
    size = active.shape[1] * active.shape[2]
    joints = convolution.filter(filters.joint)[:, :size].reshape(shape)
    errors = _framed(list(todo.residuals), starts, window, taps)
    for place, j in enumerate(todo.places):
        mine = slice(place * channels, (place + 1) * channels)
        own = projection.active.index(j) * channels
        rows = slice(own, own + channels)
        spatial = convolution.filter(filters.own[place], rows)[:, :size].reshape(shape)
        yield j, _of_source(active[rows], errors[mine], spatial, joints[mine])


def _of_source(
    source: FloatArray, error: FloatArray, spatial: FloatArray, joint: FloatArray
) -> list[list[float | None]]:
    """SDR, ISR, SIR and SAR in each window from parts [channels, windows, samples]."""
    whole = _energies(source)
    pairs = (
        (whole, _energies(error)),
        (whole, _energies(spatial)),
        (_energies(source + spatial), _energies(joint - spatial)),
        (_energies(source + joint), _energies(error - joint)),
    )
    ratios = [[ratio_db(up, down) for up, down in zip(*pair, strict=True)] for pair in pairs]
    return [
        [None if math.isnan(value) else value for value in row] for row in zip(*ratios, strict=True)
    ]


def _energies(parts: FloatArray) -> list[float]:
    energies: list[float] = np.einsum("cws,cws->w", parts, parts).tolist()
    return energies


def _framed(
    signals: Sequence[RealArray], starts: Sequence[int], window: int, taps: int
) -> FloatArray:
    """The windows [channels, windows, window + taps - 1] of signals [C, n] one after the other,
    each padded so that no filter of ``taps`` taps reaches the next."""
    channels = sum(signal.shape[0] for signal in signals)
    framed = np.zeros((channels, len(starts), window + taps - 1))
    first = 0
    for signal in signals:
        rows = framed[first : first + signal.shape[0]]
        for index, start in enumerate(starts):
            rows[:, index, :window] = signal[:, start : start + window]
        first += signal.shape[0]
    return framed
