"""SDR, ISR, SIR and SAR as they are published: second by second, and their medians.

This is BSS-eval v4 as museval computes it: one set of distortion filters for the whole signal (see
``separation``), ratios in each window, and the median over windows. Every window is filtered as if
nothing stood around it, so a filtered window is ``filter_length - 1`` samples longer than it is.

The filters come from a :class:`ReferenceProjection`, which is factorised once, and are those of the
residual: each candidate costs two solutions with many right sides, where museval builds and solves
every system again for every estimate. Ratios need energies alone, and by Parseval's theorem those
of a window's parts are those of their spectra: nothing is transformed back.

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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.fft

from harness.errors import ParityError
from harness.metrics._arrays import RealArray
from harness.metrics._convolution import ComplexArray
from harness.metrics._decomposition import Measurable, measurable
from harness.metrics.levels import ratio_db
from harness.metrics.projection import FILTER_LENGTH, ReferenceProjection

WINDOW: Final = 44_100
"""Samples of a window: museval's default, a second at 44.1 kHz."""
HOP: Final = 44_100
"""Samples from one window to the next: museval's default."""

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
    found: dict[int, list[list[float | None]]] = {j: [] for j in todo.places}
    if found:
        filters = _Filters.of(todo, window)
        for start in starts:
            for j, ratios in zip(todo.places, filters.ratios(todo, start), strict=True):
                found[j].append(ratios)
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
    """What makes the projections of all residuals, as spectra of filters for padded windows."""

    window: int
    size: int  # of a transform: no filtered window reaches beyond it
    joint: ComplexArray  # [active channels, measured channels, frequency]: onto all sources
    own: ComplexArray  # [channels, measured, channels, frequency]: of each onto its own

    @classmethod
    def of(cls, todo: Measurable, window: int) -> _Filters:
        """The filters of all residuals that can be measured."""
        projection = todo.projection
        size = scipy.fft.next_fast_len(window + projection.filter_length - 1, real=True)
        joint, own = projection.filters(todo.residuals, todo.places)
        return cls(
            window,
            size,
            scipy.fft.rfft(joint.transpose(0, 2, 1), n=size),
            scipy.fft.rfft(np.stack(own).transpose(1, 0, 3, 2), n=size),
        )

    def ratios(self, todo: Measurable, start: int) -> list[list[float | None]]:
        """SDR, ISR, SIR and SAR of each measured source in the window that begins at ``start``."""
        active = todo.projection.active
        cut = slice(start, start + self.window)
        references = self._spectra(todo.references[list(active), :, cut])
        error = self._spectra(todo.residuals[:, :, cut])
        source = references[[active.index(j) for j in todo.places]]
        joint = _filtered(self.joint, references.reshape(-1, 1, references.shape[-1]))
        joint = joint.reshape(source.shape)
        spatial = _filtered(self.own, source.transpose(1, 0, 2)[:, :, None])
        whole = _energies(source)
        pairs = (
            (whole, _energies(error)),
            (whole, _energies(spatial)),
            (_energies(source + spatial), _energies(joint - spatial)),
            (_energies(source + joint), _energies(error - joint)),
        )
        ratios = [[ratio_db(up, down) for up, down in zip(*pair, strict=True)] for pair in pairs]
        return [
            [None if math.isnan(value) else value for value in row]
            for row in zip(*ratios, strict=True)
        ]

    def _spectra(self, signals: RealArray) -> ComplexArray:
        """Spectra [sources, channels, frequency] whose squares sum to half the signals', up to a
        factor that all have: only the mean and, of an even size, the last frequency have no twin.
        """
        spectra: ComplexArray = scipy.fft.rfft(signals.astype(np.float64), n=self.size)
        spectra[..., 0] *= math.sqrt(0.5)
        if self.size % 2 == 0:
            spectra[..., -1] *= math.sqrt(0.5)
        return spectra


def _starts(length: int, window: int, hop: int) -> list[int]:
    count = (length - window + hop) // hop if window < length else 1
    return [index * hop for index in range(count)]


def _silent(todo: Measurable, starts: Sequence[int], window: int) -> list[bool]:
    """Which windows count for no source."""
    rows = [side[j] for side in (todo.references, todo.estimates) for j in todo.places]
    return [
        any(bool((row[:, start : start + window].sum(axis=0) == 0).all()) for row in rows)
        for start in starts
    ]


def _filtered(filters: ComplexArray, signals: ComplexArray) -> ComplexArray:
    """The sum of products over the first axis, one after the other: they stay in a cache."""
    total: ComplexArray = filters[0] * signals[0]
    product = np.empty_like(total)
    for transfer, signal in zip(filters[1:], signals[1:], strict=True):
        total += np.multiply(transfer, signal, out=product)
    return total


def _energies(spectra: ComplexArray) -> list[float]:
    """The sum of squares of each source [sources, channels, frequency]."""
    parts = spectra.view(np.float64).reshape(spectra.shape[0], -1)
    energies: list[float] = np.einsum("sk,sk->s", parts, parts).tolist()
    return energies
