"""Hypotheses about the transform behind a spectrogram: its window, its padding, its first sample.

The signal is recovered from the reference by the least-squares inverse (Griffin and Lim 1984) of an
STFT with a periodic Hann window of N points, a hop of N / 4 and a division by sqrt(N), as in
`harness.audio.stft`; then it is transformed again, in another way. The Nyquist bin is missing, so
the bins next to it are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfft
from scipy.signal import get_window

from harness.comparison.causes import FloatArray, Hypothesis
from harness.comparison.signals import with_gain
from harness.metrics import snr_db

ComplexArray = npt.NDArray[np.complex128]

_MOST_FRAMES: Final = 40
_LEFT_OUT: Final = 8
"""Bins under Nyquist that are not looked at."""
_FEWEST_FRAMES: Final = 4
_OVERLAP: Final = 4
_RECOGNISED_DB: Final = 40.0


def transforms(e: FloatArray, a: FloatArray) -> Iterator[Hypothesis]:
    """Yield other windows, and a shift by samples.

    Args:
        e, a: [sources, planes, bins, frames], planes alternately real and imaginary.
    """
    planes, bins, total = e.shape[1:]
    if planes % 2 or bins < 4 * _LEFT_OUT or total < 3 * _OVERLAP + _FEWEST_FRAMES:
        return
    start = (total - min(total, _MOST_FRAMES)) // 2
    frames = slice(start, start + min(total, _MOST_FRAMES))
    reference, candidate = _complex(e[..., frames]), _complex(a[..., frames])
    waves = _recovered(reference)
    inner = slice(_OVERLAP, reference.shape[-1] - _OVERLAP)
    used = slice(0, bins - _LEFT_OUT)
    region = (..., used, slice(frames.start + inner.start, frames.start + inner.stop))
    for complexity, words, window in _windows(waves, candidate, inner):
        predicted = _planes(_analysed(waves, window)[:, used, inner], e.shape)
        guess = Hypothesis("window", words, complexity, predicted, region)
        yield from with_gain(guess, a[region]) if complexity < 2 else (guess,)
    yield from _sample_offset(e, reference, candidate, waves, frames.start)


def left_padding(e: FloatArray, a: FloatArray) -> str:
    """Return with what a signal is extended to the left, in words, "" if that is unknown."""
    hop = e.shape[2] // 2
    edge = hop // 2 * 3
    reference, candidate = _complex(e[..., :12]), _complex(a[..., :2])
    signal = _recovered(reference)[:, edge:]
    used = slice(0, e.shape[2] - _LEFT_OUT)
    for words, mode in (
        ("zeros", "constant"),
        ("the first sample, repeated", "edge"),
        ("a reflection that repeats the first sample", "symmetric"),
    ):
        padded = np.pad(signal, ((0, 0), (edge, 0)), mode=mode)  # type: ignore[call-overload]
        made = _analysed(padded, get_window("hann", 2 * e.shape[2]))[:, used, :2]
        seen = candidate[:, used]
        if snr_db(_flat(seen), _flat(made)) > _RECOGNISED_DB:
            return f" ({words}, at the start)"
    return ""


def _windows(
    waves: FloatArray, candidate: ComplexArray, inner: slice
) -> Iterator[tuple[float, str, FloatArray]]:
    size = 2 * candidate.shape[1]
    hann, symmetric = get_window("hann", size), get_window("hann", size, fftbins=False)
    yield 0.5, "the Hann window is symmetric instead of periodic", symmetric
    yield 0.5, "the window is Hamming instead of Hann", get_window("hamming", size)
    yield 0.5, "the window is a symmetric Hamming", get_window("hamming", size, fftbins=False)
    yield 0.5, "the window is Blackman instead of Hann", get_window("blackman", size)
    yield 0.5, "the window is a symmetric Blackman", get_window("blackman", size, fftbins=False)
    yield 0.5, "there is no window (rectangular)", np.ones(size)
    yield 0.5, "the window is the square root of Hann", np.sqrt(hann)
    yield 0.5, "the Hann window is applied twice", hann**2
    # Whatever it is: what a sample of a frame is multiplied by, by least squares over all frames.
    made = irfft(np.moveaxis(candidate[..., inner], 1, -1), size) * np.sqrt(size)
    frames = _framed(waves, size)[:, inner]
    power = np.sum(frames**2, axis=(0, 1))
    fitted = np.sum(frames * made, axis=(0, 1)) / np.maximum(power, 1e-9 * power.max())
    yield 4, "the window is no Hann window", fitted


def _sample_offset(
    e: FloatArray, reference: ComplexArray, candidate: ComplexArray, waves: FloatArray, first: int
) -> Iterator[Hypothesis]:
    bins, total = reference.shape[1:]
    size, hop = 2 * bins, bins // 2
    cross = np.sum(candidate * np.conj(reference), axis=(0, 2))
    offset = int(np.argmax(irfft(cross, size)))
    offset -= size if offset > size // 2 else 0
    if offset == 0:
        return
    start = _OVERLAP - 1 - (-offset // hop)  # the frames whose samples are all recovered
    stop = total - _OVERLAP + (offset // hop)
    start, stop = max(start, 0), min(stop, total)
    if stop - start < _FEWEST_FRAMES:
        return
    used = slice(0, bins - _LEFT_OUT)
    begin, end = start * hop - offset, (stop - 1) * hop - offset + size
    if begin < 0 or end > waves.shape[1]:
        return
    predicted = _analysed(waves[:, begin:end], get_window("hann", size))[:, used]
    side = "late" if offset > 0 else "early"
    noun = "sample" if abs(offset) == 1 else "samples"
    words = f"its signal is {side} by {abs(offset)} {noun} (linear phase)"
    region = (..., used, slice(first + start, first + stop))
    yield Hypothesis("sample offset", words, 1.5, _planes(predicted, e.shape), region)


def _complex(planes: FloatArray) -> ComplexArray:
    """Return [sources, 2 C, bins, frames] as complex [sources x C, bins, frames]."""
    pairs = planes.reshape(-1, 2, *planes.shape[2:])
    return np.asarray(pairs[:, 0] + 1j * pairs[:, 1])


def _flat(spectra: ComplexArray) -> FloatArray:
    return np.stack([spectra.real, spectra.imag])


def _planes(spectra: ComplexArray, shape: tuple[int, ...]) -> FloatArray:
    """Return complex [sources x C, bins, frames] as [sources, 2 C, bins, frames]."""
    parts = np.stack([spectra.real, spectra.imag], axis=1)
    return parts.reshape(shape[0], shape[1], *spectra.shape[1:])


def _recovered(spectra: ComplexArray) -> FloatArray:
    """Return the signals [signals, (frames + 3) x hop] of spectra [signals, bins, frames]."""
    signals, bins, total = spectra.shape
    size, hop = 2 * bins, bins // 2
    window = get_window("hann", size)
    # irfft takes the Nyquist bin, which is missing, for zero.
    frames = irfft(np.moveaxis(spectra, 1, -1), size) * np.sqrt(size) * window
    waves, weights = np.zeros((signals, total + 3, hop)), np.zeros((total + 3, hop))
    parts = frames.reshape(signals, total, _OVERLAP, hop)
    for part in range(_OVERLAP):
        waves[:, part : part + total] += parts[:, :, part]
        weights[part : part + total] += window.reshape(_OVERLAP, hop)[part] ** 2
    return np.asarray((waves / np.maximum(weights, 1e-6)).reshape(signals, -1))


def _framed(waves: FloatArray, size: int) -> FloatArray:
    """Return frames [signals, frames, size], a view."""
    views = np.lib.stride_tricks.sliding_window_view(waves, size, axis=1)
    return views[:, :: size // _OVERLAP]


def _analysed(waves: FloatArray, window: FloatArray) -> ComplexArray:
    """Return the spectra [signals, bins, frames] of signals, without the Nyquist bin."""
    spectra = rfft(_framed(waves, window.size) * window)[..., :-1] / np.sqrt(window.size)
    return np.asarray(np.moveaxis(spectra, -1, 1))
