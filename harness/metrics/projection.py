"""Least-squares projection of audio onto filtered references, for the separation metrics.

References are real [sources, channels, n]; signals to project are float64 [m, n]; a projection is
float64 [m, n + filter_length - 1], because a filtered signal is longer than the signal. The
projection of a signal is its best approximation by a sum of references, each through its own filter
of ``filter_length`` taps (delays 0 to ``filter_length - 1``), every reference channel feeding every
signal.

The normal equations have ``sources * channels * filter_length`` unknowns (6144 for six stereo
sources and 512 taps). Their Gram matrix is block Toeplitz, depends on the references alone, and is
factorised once.

Why the factorisation is loaded, and what that costs
----------------------------------------------------
Audio makes the Gram matrix G singular to working precision: band-limited music reaches a condition
of 5.6e18, and mono or anti-phase stereo, equal sources and pure tones are singular outright.
Solving such a system as it stands adds noise of its own: for two stereo sources cut at 4 kHz, plain
LU gives an SIR of 50.6 dB where 88.1 dB is right. So, with every source scaled to a mean channel
energy of 1 (which changes no projection):

- G + loading * I is factorised, ``loading`` = 1e-12 (-120 dB);
- the solution is refined once: c = c1 + (G + loading I)^-1 A^T (x - A c1). What the loading left
  over, A^T (x - A c1), is loading * c1, so that this costs no pass over the signals. (Computing it
  from the signals instead moves no ratio of a band-limited or a singular song by 2e-5 dB.)

In an eigen-direction of G with eigenvalue v this keeps the share 1 - (loading / (v + loading))^2 of
the exact projection. It is linear, never overestimates, and needs no rank to be guessed. What it
leaves out:

- of a signal A c that is a filtering of the references, an energy of at most 0.106 * loading *
  |c|^2, that is -129.7 dB for a plain copy: the greatest value of v * (loading / (v + loading))^4
  lies at v = loading / 3;
- of any other signal, only what lies along directions that are reached by filters of a gain over
  120 dB: with u the unit vector of such a direction, |c| = |x . u| / sqrt(v). No filter error of a
  converted network is of that kind; music in float32 holds little there but its own rounding.

Measured with that sharp a spectrum, a loading ten times larger or smaller moves SIR by 0.05 dB, the
others by less than 0.005 dB.

A source that is silent (``levels.is_silent``) explains nothing: it takes no part. Other toolboxes
leave it in, and so attribute errors to a source at -80 dBFS that is amplified at will; or they
refuse the whole song.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.linalg

from harness.errors import ParityError
from harness.metrics._arrays import FloatArray, RealArray, real_array
from harness.metrics._convolution import BlockConvolution
from harness.metrics.levels import is_silent, rms

FILTER_LENGTH: Final = 512
"""Taps of the distortion filters in BSS-eval: 11.6 ms at 44.1 kHz."""
LOADING: Final = 1e-12
"""Added to the diagonal of the normalised Gram matrix; the module says what it costs."""

_LOADING_STEP: Final = 10.0
_HIGHEST_LOADING: Final = 1e-6


class ReferenceProjection:
    """Projects signals onto the filtered references; made once, used for every candidate.

    Args:
        references: real [sources, channels, n], finite.
        filter_length: taps of each filter.
        loading: relative to the normalised Gram matrix's mean diagonal; raised tenfold as often as
            the factorisation needs it.

    Attributes:
        references: a read-only copy.
        filter_length: as given.
        active: indices of the sources that are not silent, in order.
        loading: what was added to the diagonals.

    Raises:
        ParityError: if the references are not real, not finite or not of three axes, or if
            ``filter_length`` or ``loading`` is not positive.
    """

    def __init__(
        self,
        references: npt.ArrayLike,
        *,
        filter_length: int = FILTER_LENGTH,
        loading: float = LOADING,
    ) -> None:
        if filter_length < 1:
            raise ParityError(f"filter_length is {filter_length} taps, expected at least 1")
        if not 0 < loading <= _HIGHEST_LOADING:
            raise ParityError(f"loading is {loading}, expected over 0 and up to {_HIGHEST_LOADING}")
        self.references = _checked_references(references)
        self.references.flags.writeable = False
        self.filter_length = filter_length
        levels = [rms(source) for source in self.references]
        self.active = tuple(j for j, level in enumerate(levels) if not is_silent(level))
        energies = [levels[j] * np.sqrt(self.length) for j in self.active]
        self._scales = np.repeat(1 / np.array(energies, dtype=np.float64), self.channels)
        self._signals = self._convolution()
        self.loading, self._joint, self._single = _factorise(
            self._signals, len(self.active), loading
        )

    @property
    def channels(self) -> int:
        """Channels of every source."""
        return int(self.references.shape[1])

    @property
    def length(self) -> int:
        """Samples of every reference."""
        return int(self.references.shape[2])

    def project(self, signals: FloatArray, source: int | None = None) -> FloatArray:
        """The best approximation of ``signals`` by filtered references.

        Args:
            signals: float64 [m, n].
            source: project onto this source alone; onto all of them if None.

        Returns:
            float64 [m, n + filter_length - 1]; zeros where every reference is silent.

        Raises:
            ParityError: if ``signals`` are of another length, or ``source`` is silent or does not
                exist.
        """
        factor, chosen = self._system(source)
        if factor.size == 0:
            self._check(signals)
            return np.zeros((signals.shape[0], self.length + self.filter_length - 1))
        return self._signals.filter(self._fit(signals, factor, chosen), chosen)

    def filters(
        self, signals: FloatArray, sources: Sequence[int]
    ) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        """The filters through which the references give :meth:`project`, of several signals.

        Args:
            signals: float64 [s, channels, n].
            sources: to which source each of the ``s`` signals belongs.

        Returns:
            onto all active sources, [active channels, filter_length, s * channels], and of each
            signal onto its own source, [channels, filter_length, channels].

        Raises:
            ParityError: as :meth:`project`.
        """
        rows = signals.reshape(-1, signals.shape[-1])
        self._check(rows)
        if self._joint.size == 0:
            return np.zeros((0, self.filter_length, rows.shape[0])), ()
        products = self._signals.correlate(rows)
        own = []
        for place, source in enumerate(sources):
            factor, chosen = self._system(source)
            columns = slice(place * self.channels, (place + 1) * self.channels)
            solved = self._solved(factor, np.ascontiguousarray(products[chosen, :, columns]))
            own.append(solved * self._scales[chosen, None, None])
        return self._solved(self._joint, products) * self._scales[:, None, None], tuple(own)

    def _fit(self, signals: FloatArray, factor: FloatArray, chosen: slice) -> FloatArray:
        """Filters [k, taps, m] of the scaled references."""
        self._check(signals)
        return self._solved(factor, self._signals.correlate(signals, chosen))

    def _solved(self, factor: FloatArray, products: FloatArray) -> FloatArray:
        """The filters [k, taps, m] that solve the normal equations, refined once."""
        solved = _solved(factor, products.reshape(factor.shape[0], -1))
        solved += self.loading * _solved(factor, solved)
        return solved.reshape(products.shape)

    def _check(self, signals: FloatArray) -> None:
        if signals.ndim != 2 or signals.shape[1] != self.length:
            raise ParityError(
                f"signals have shape {list(signals.shape)}, expected [any number, {self.length}]"
                " like the references"
            )

    def _system(self, source: int | None) -> tuple[FloatArray, slice]:
        """The factor to solve with, and the reference channels that it belongs to."""
        if source is None:
            return self._joint, slice(None)
        if source not in self.active:
            raise ParityError(
                f"source {source} is silent or does not exist;"
                f" these can be projected onto: {list(self.active)}"
            )
        place = self.active.index(source)
        chosen = slice(place * self.channels, (place + 1) * self.channels)
        return self._single[place], chosen

    def _convolution(self) -> BlockConvolution:
        """The active references, each source scaled to a mean channel energy of 1."""
        active = self.references[list(self.active)].astype(np.float64)
        channels = active.reshape(-1, self.length) * self._scales[:, None]
        return BlockConvolution.of(channels, self.filter_length)


def _solved(factor: FloatArray, right: FloatArray) -> FloatArray:
    """Solves with a lower factor [k, k] for right sides [k, m]."""
    solved: FloatArray = scipy.linalg.cho_solve((factor.T, False), right, check_finite=False)
    return solved


def _checked_references(references: npt.ArrayLike) -> RealArray:
    array = np.array(real_array(references, "references"))
    if array.ndim != 3:
        raise ParityError(
            f"references have shape {list(array.shape)}, expected [sources, channels, samples]"
        )
    broken = int(np.count_nonzero(~np.isfinite(array)))
    if broken:
        raise ParityError(
            f"references hold {broken} samples that are not finite; build the goldens again"
        )
    return array


def _factorise(
    signals: BlockConvolution, sources: int, loading: float
) -> tuple[float, FloatArray, list[FloatArray]]:
    """The loading that was needed, and the lower Cholesky factors [k, k] of the Gram matrix: of all
    sources together, and of each source alone."""
    size = signals.signals.shape[0] * signals.taps
    single = size // max(sources, 1)
    while True:
        gram = _gram(signals)
        np.fill_diagonal(gram, gram.diagonal() + loading)
        blocks = [slice(j * single, (j + 1) * single) for j in range(sources)]
        try:
            own = [_cholesky(gram[block, block].copy()) for block in blocks]
            joint = _cholesky(gram)
        except np.linalg.LinAlgError as error:
            if loading * _LOADING_STEP > _HIGHEST_LOADING:
                raise ParityError(
                    f"the references can't be factorised, not even with a loading of {loading:g};"
                    " look for corrupt samples in the goldens"
                ) from error
            loading *= _LOADING_STEP
        else:
            return loading, joint, own


def _cholesky(gram: FloatArray) -> FloatArray:
    """The lower factor of a matrix of which only the lower triangle is read; works in place."""
    if gram.size == 0:
        return gram
    upper: FloatArray = scipy.linalg.cholesky(gram.T, overwrite_a=True, check_finite=False)
    return upper.T


def _gram(signals: BlockConvolution) -> FloatArray:
    """Inner products of all delayed signals [k, k]; only the lower triangle is filled."""
    taps, count = signals.taps, signals.signals.shape[0]
    lags = signals.correlate(signals.signals)  # [a, d, b]: sum over t of s_a(t) s_b(t + d)
    gram = np.empty((count, taps, count, taps))
    for row in range(count):
        for column in range(row + 1):
            both_sides = np.concatenate([lags[column, :0:-1, row], lags[row, :, column]])
            windows = np.lib.stride_tricks.sliding_window_view(both_sides, taps)
            # Delay p of the row and q of the column meet at lag p - q.
            gram[row, :, column, :] = windows[:, ::-1]
    return gram.reshape(count * taps, count * taps)
