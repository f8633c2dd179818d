"""Filters of a few hundred taps against signals of any length, by short FFTs.

Signals are float64 ``[signals, n]``, zero outside their ``n`` samples. Spectra are kept as
``[frequency, signals, blocks]``, so that a sum over signals or over blocks is one small matrix
product for each frequency. Short blocks are faster than one transform of the whole length, and more
accurate: an FFT's rounding grows with the logarithm of its size.
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
"""Blocks correlated in one step: their spectra stay where memory is reused, not mapped anew."""


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
    spectra: ComplexArray  # [frequency, k, blocks], each block padded with zeros

    @classmethod
    def of(cls, signals: FloatArray, taps: int) -> BlockConvolution:
        """Transforms ``signals`` [k, n] once, for filters of ``taps`` taps."""
        fft_size = max(_SMALLEST_FFT, 1 << (8 * taps - 1).bit_length())
        hop = fft_size - taps + 1
        count, length = signals.shape
        blocks = -(-length // hop)
        padded = np.zeros((count, blocks * hop))
        padded[:, :length] = signals
        spectra = _frequency_first(padded.reshape(count, blocks, hop), fft_size)
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
        spectra = self.spectra[:, signals]
        frequencies, count, blocks = spectra.shape
        padded = np.zeros((others.shape[0], (blocks - 1) * self.hop + self.fft_size))
        padded[:, : others.shape[1]] = others
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.fft_size, axis=1)
        windows = windows[:, :: self.hop]
        products = np.zeros((frequencies, count, others.shape[0]), dtype=np.complex128)
        for first in range(0, blocks, _BLOCKS_AT_ONCE):
            some = slice(first, first + _BLOCKS_AT_ONCE)
            other = _frequency_first(windows[:, some], self.fft_size)
            np.conj(other, out=other)
            products += np.matmul(spectra[:, :, some], other.transpose(0, 2, 1))
        np.conj(products, out=products)
        lags: FloatArray = scipy.fft.irfft(products, n=self.fft_size, axis=0)[: self.taps]
        return lags.transpose(1, 0, 2)

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
        products = np.matmul(transfer, self.spectra[:, signals])
        pieces: FloatArray = scipy.fft.irfft(products.transpose(1, 2, 0), n=self.fft_size, axis=-1)
        outputs, blocks, _ = pieces.shape
        total = np.zeros((outputs, blocks + 1, self.hop))
        total[:, :-1] = pieces[..., : self.hop]
        total[:, 1:, : self.taps - 1] += pieces[..., self.hop :]
        return total.reshape(outputs, -1)[:, :length]


def _frequency_first(blocks: FloatArray, fft_size: int) -> ComplexArray:
    """The spectra [frequency, k, blocks] of real blocks [k, blocks, samples]."""
    spectra = scipy.fft.rfft(blocks, n=fft_size, axis=-1)
    return np.ascontiguousarray(spectra.transpose(2, 0, 1))
