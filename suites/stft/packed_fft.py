"""A real FFT with the packing and the scale of Apple's ``vDSP_fft_zrip``, in plain NumPy.

It exists to be read beside a Swift, Metal or C implementation, and to judge one: same packing, same
factors, no library transform anywhere. float32 in, float32 arithmetic throughout; float64 likewise.

The packed spectrum of N real samples is N/2 complex numbers in two arrays, ``real`` and ``imag``:

* ``real[0]`` is the value at 0 Hz and ``imag[0]`` is the value at the Nyquist frequency: both are
  real numbers, and the second takes the place of the imaginary part that the first lacks;
* ``real[k]``, ``imag[k]`` for k = 1 to N/2 - 1 are the real and imaginary part of bin k.

Scale, with X the textbook transform (no factor forward, 1/N on the way back):

* :func:`forward` returns 2 X: every value doubled, 0 Hz and Nyquist, too;
* :func:`inverse` of a packed Y returns N times the textbook inverse of Y; so
  ``inverse(forward(x)) == 2 N x``, and a user of both divides by 2 N somewhere, once.

Source of the conventions: Apple, vDSP Programming Guide, "Using Fourier Transforms" (packing of
real transforms, and the factor of 2 in the forward real transform).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import AudioError

Array = NDArray[np.floating[Any]]


class Packed(NamedTuple):
    """A packed spectrum: two arrays [..., N/2]; the Nyquist value lies in ``imag[..., 0]``."""

    real: Array
    imag: Array


def forward(samples: Array) -> Packed:
    """Transform real ``samples`` [..., N] into the doubled packed spectrum [..., N/2].

    Raises:
        AudioError: N is no power of two of at least 4, or the dtype is not float32 or float64.
    """
    size = _checked_size(samples, samples.shape[-1])
    half = size // 2
    # 1. Even samples become real parts, odd samples imaginary parts: one complex signal of half the
    #    length (vDSP_ctoz), transformed as such.
    z_real, z_imag = _complex_fft(samples[..., 0::2], samples[..., 1::2], sign=-1)

    # 2. Untangle bins k and N/2 - k. Even part (Z[k] + conj Z[N/2-k]) / 2, odd part
    #    (Z[k] - conj Z[N/2-k]) / 2i. Leaving out both halvings is where the factor of 2 comes from.
    mirror = -np.arange(half) % half  # 0, N/2 - 1, N/2 - 2, ..., 1
    even_real, even_imag = z_real + z_real[..., mirror], z_imag - z_imag[..., mirror]
    odd_real, odd_imag = z_imag + z_imag[..., mirror], z_real[..., mirror] - z_real
    cosine, sine = _twiddles(size, half, -1, samples.dtype)
    real = even_real + (cosine * odd_real - sine * odd_imag)
    imag = even_imag + (cosine * odd_imag + sine * odd_real)

    # 3. Bin 0: the sum of all samples; in the free place, their alternating sum, the Nyquist value.
    real[..., 0] = 2 * (z_real[..., 0] + z_imag[..., 0])
    imag[..., 0] = 2 * (z_real[..., 0] - z_imag[..., 0])
    return Packed(real, imag)


def inverse(spectrum: Packed) -> Array:
    """Transform a packed spectrum [..., N/2] into N times its textbook inverse, [..., N].

    Raises:
        AudioError: N is no power of two of at least 4, or the dtype is not float32 or float64.
    """
    y_real, y_imag = spectrum
    half = y_real.shape[-1]
    size = _checked_size(y_real, 2 * half)
    # 1. Tangle: Z = E + i O, where E = Y[k] + conj Y[N/2-k]
    #    and O = (Y[k] - conj Y[N/2-k]) exp(2 pi i k / N).
    mirror = -np.arange(half) % half
    even_real, even_imag = y_real + y_real[..., mirror], y_imag - y_imag[..., mirror]
    gap_real, gap_imag = y_real - y_real[..., mirror], y_imag + y_imag[..., mirror]
    cosine, sine = _twiddles(size, half, +1, y_real.dtype)
    z_real = even_real - (cosine * gap_imag + sine * gap_real)
    z_imag = even_imag + (cosine * gap_real - sine * gap_imag)

    # 2. Bin 0 and Nyquist come out of their common place.
    z_real[..., 0] = y_real[..., 0] + y_imag[..., 0]
    z_imag[..., 0] = y_real[..., 0] - y_imag[..., 0]

    # 3. Transform back; real parts are the even samples, imaginary parts the odd ones (vDSP_ztoc).
    samples = np.empty((*y_real.shape[:-1], size), y_real.dtype)
    samples[..., 0::2], samples[..., 1::2] = _complex_fft(z_real, z_imag, sign=+1)
    return samples


def _complex_fft(real: Array, imag: Array, sign: int) -> tuple[Array, Array]:
    """Return the unscaled complex transform over the last axis: radix 2, Stockham's order.

    Each stage combines element p with element p + length/2 and writes the pair side by side, so
    the result comes out in order, without bit reversal.
    """
    shape, size = real.shape, real.shape[-1]
    length, stride = size, 1
    while length > 1:
        half = length // 2
        cosine, sine = (t[:, None] for t in _twiddles(length, half, sign, real.dtype))
        real = real.reshape(*shape[:-1], 2, half, stride)
        imag = imag.reshape(*shape[:-1], 2, half, stride)
        a_real, b_real = real[..., 0, :, :], real[..., 1, :, :]
        a_imag, b_imag = imag[..., 0, :, :], imag[..., 1, :, :]
        gap_real, gap_imag = a_real - b_real, a_imag - b_imag
        turned_real = gap_real * cosine - gap_imag * sine
        turned_imag = gap_real * sine + gap_imag * cosine
        real = np.stack([a_real + b_real, turned_real], axis=-2)
        imag = np.stack([a_imag + b_imag, turned_imag], axis=-2)
        length, stride = half, 2 * stride
    return real.reshape(shape), imag.reshape(shape)


@lru_cache(maxsize=64)
def _twiddles(length: int, count: int, sign: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return cos and sin of ``sign * 2 pi k / length`` for k < count, rounded once to ``dtype``."""
    angle = sign * 2 * np.pi * np.arange(count) / length
    return np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)


def _checked_size(values: Array, size: int) -> int:
    if values.dtype not in (np.float32, np.float64):
        raise AudioError(f"packed FFT got {values.dtype} values; expected float32 or float64")
    if size < 4 or size & (size - 1):
        raise AudioError(f"packed FFT of {size} samples; expected a power of two, at least 4")
    return size
