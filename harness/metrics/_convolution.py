"""Filters of a few hundred taps against signals of any length, by short FFTs.

Signals are float64 ``[signals, n]``, zero outside their ``n`` samples. Spectra are kept as
``[frequency, signals, blocks]``, so that a sum over signals or over blocks is one small matrix
product for each frequency. Short blocks are faster than one transform of the whole length, and more
accurate: an FFT's rounding grows with the logarithm of its size. Some blocks at a time are kept
together and worked on, so that their spectra stay in a cache, however long the signals are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

_SMALLEST_FFT = 64
_BLOCKS_AT_ONCE = 32


@dataclass(frozen=True)
class BlockConvolution:
    """Correlates with, and filters, the same signals again and again.

    Args:
        signals: float64 [k, n].
        taps: length of the filters; delays run from 0 to ``taps - 1``.
    """

    signals: FloatArray
    taps: int
    fft_size: int
    hop: int
    spectra: tuple[ComplexArray, ...]  # [frequency, k, some blocks], each padded with zeros

    @classmethod
    def of(cls, signals: FloatArray, taps: int) -> BlockConvolution:
        """Transforms ``signals`` [k, n] once, for filters of ``taps`` taps."""
        fft_size = max(_SMALLEST_FFT, 1 << (8 * taps - 1).bit_length())
        hop = fft_size - taps + 1
        count, length = signals.shape
        blocks = -(-length // hop)
        padded = np.zeros((count, blocks * hop))
        padded[:, :length] = signals
        whole = padded.reshape(count, blocks, hop)
        spectra = tuple(_frequency_first(whole[:, some], fft_size) for some in _steps(blocks))
        return cls(signals, taps, fft_size, hop, spectra)

    def correlate(self, others: FloatArray, signals: slice = slice(None)) -> FloatArray:
        """Inner products of the delayed signals with ``others``.

        Args:
            others: float64 [m, length], with ``length`` from n to ``n + taps - 1``.
            signals: which of the signals; all by default.

        Returns:
            float64 [k, taps, m]: element ``[k, d, m]`` is the sum over t of ``signals[k, t] *
            others[m, t + d]``.
        """
        blocks = sum(part.shape[2] for part in self.spectra)
        count = len(range(*signals.indices(self.signals.shape[0])))
        products = np.zeros((self.fft_size // 2 + 1, count, others.shape[0]), np.complex128)
        for part, some in zip(self.spectra, _steps(blocks), strict=True):
            other = _frequency_first(self._overlapping(others, some), self.fft_size)
            np.conj(other, out=other)
            products += np.matmul(part[:, signals], other.transpose(0, 2, 1))
        np.conj(products, out=products)
        lags: FloatArray = scipy.fft.irfft(products, n=self.fft_size, axis=0)[: self.taps]
        return lags.transpose(1, 0, 2)

    def _overlapping(self, others: FloatArray, some: slice) -> FloatArray:
        """Some blocks [m, blocks, fft_size] of ``others``, each with what follows its ``hop``."""
        first, last = some.start * self.hop, (some.stop - 1) * self.hop + self.fft_size
        part = others[:, first:last]
        if part.shape[1] < last - first:
            part = np.pad(part, ((0, 0), (0, last - first - part.shape[1])))
        windows = np.lib.stride_tricks.sliding_window_view(part, self.fft_size, axis=1)
        return windows[:, :: self.hop]

    def filter(self, filters: FloatArray, signals: slice = slice(None)) -> FloatArray:
        """Sums of the filtered signals.

        Args:
            filters: float64 [k, taps, m]: for each of ``m`` outputs, a filter for each signal.
            signals: which of the signals; all by default.

        Returns:
            float64 [m, n + taps - 1].
        """
        length = self.signals.shape[1] + self.taps - 1
        transfer = scipy.fft.rfft(filters, n=self.fft_size, axis=1).transpose(1, 2, 0)
        outputs, blocks = filters.shape[2], sum(part.shape[2] for part in self.spectra)
        total = np.zeros((outputs, blocks + 1, self.hop))
        for part, some in zip(self.spectra, _steps(blocks), strict=True):
            products = np.matmul(transfer, part[:, signals])
            pieces = scipy.fft.irfft(products.transpose(1, 2, 0), n=self.fft_size, axis=-1)
            total[:, some] += pieces[..., : self.hop]
            after = slice(some.start + 1, some.stop + 1)
            total[:, after, : self.taps - 1] += pieces[..., self.hop :]
        return total.reshape(outputs, (blocks + 1) * self.hop)[:, :length]


def _steps(blocks: int) -> list[slice]:
    """Which blocks are worked on together."""
    starts = range(0, blocks, _BLOCKS_AT_ONCE)
    return [slice(first, min(first + _BLOCKS_AT_ONCE, blocks)) for first in starts]


def _frequency_first(blocks: FloatArray, fft_size: int) -> ComplexArray:
    """The spectra [frequency, k, blocks] of real blocks [k, blocks, samples]."""
    spectra = scipy.fft.rfft(blocks, n=fft_size, axis=-1)
    return np.ascontiguousarray(spectra.transpose(2, 0, 1))
