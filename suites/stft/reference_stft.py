"""The transform pair around the network as an executable description, in plain NumPy.

It shares no code with :mod:`harness.audio.stft` and calls no library transform, so that the two can
judge each other; and it is written to be followed line by line by whoever ports the transform to
Swift and Metal, with the packing and scale of Apple's real FFT (:mod:`suites.stft.packed_fft`).

======================  ==================================  ==================================
function                in                                  out
======================  ==================================  ==================================
reference_spectrogram   waveform [batch, 2, samples]        [batch, 4, 2048, frames]
reference_waveform      freq [batch, S, 4, 2048, frames]    [batch, S, 2, length]
======================  ==================================  ==================================

float32 in, float32 arithmetic and out; float64 likewise. Channels of a spectrogram are left real,
left imaginary, right real, right imaginary. Signals must be longer than the reflection at their
edges (up to 2559 samples): Demucs fills shorter ones with zeros, and no segment is that short.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import get_window

from harness.audio.contract import CHANNELS, FREQUENCY_BINS, HOP_LENGTH, N_FFT
from harness.errors import AudioError
from suites.stft.packed_fft import Packed, forward, inverse

Array = NDArray[np.floating[Any]]

LEFT_PADDING = 3 * HOP_LENGTH // 2
"""1536 samples. With 2048 in front of frame 0 (centred frames) and the first two frames cut, the
first frame that is kept starts at 2 * 1024 - 2048 = 0 in the padded signal."""
FORWARD_SCALE = 0.5 / np.sqrt(N_FFT)
"""1 / sqrt(N) for ``normalized=True``; 0.5 because a packed transform returns twice the value."""
INVERSE_SCALE = 1.0 / np.sqrt(N_FFT)
"""The packed inverse returns N times the inverse; ``normalized=True`` wants sqrt(N) times."""


def reference_spectrogram(waveform: Array, window: Array | None = None) -> Array:
    """Return the spectrogram of ``waveform`` [batch, 2, samples] as [batch, 4, 2048, frames].

    Args:
        waveform: float32 or float64.
        window: [4096]; by default the exact periodic Hann window, rounded to the dtype.

    Raises:
        AudioError: not stereo, or not longer than the padding.
    """
    if waveform.ndim != 3 or waveform.shape[1] != CHANNELS:
        raise AudioError(
            f"waveform has shape {waveform.shape}; expected [batch, {CHANNELS}, samples]"
        )
    batch, _, samples = waveform.shape
    window = _window(window, waveform.dtype)
    frames = int(np.ceil(samples / HOP_LENGTH))
    padded = reflect_padded(waveform, LEFT_PADDING, LEFT_PADDING + frames * HOP_LENGTH - samples)
    scale = waveform.dtype.type(FORWARD_SCALE)

    spectrogram = np.zeros((batch, 2 * CHANNELS, FREQUENCY_BINS, frames), waveform.dtype)
    for t in range(frames):
        start = t * HOP_LENGTH
        packed = forward(padded[:, :, start : start + N_FFT] * window)
        for channel in range(CHANNELS):
            real, imag = spectrogram[:, 2 * channel, :, t], spectrogram[:, 2 * channel + 1, :, t]
            real[:] = packed.real[:, channel] * scale
            imag[:] = packed.imag[:, channel] * scale
            imag[:, 0] = 0  # the Nyquist value was packed here; the network never sees it
    return spectrogram


def reference_waveform(freq: Array, length: int, window: Array | None = None) -> Array:
    """Return the stems [batch, S, 2, length] in ``freq`` [batch, S, 4, 2048, frames].

    Args:
        freq: float32 or float64. The imaginary part of bin 0 is ignored.
        length: samples to return.
        window: as in :func:`reference_spectrogram`.

    Raises:
        AudioError: ``freq`` has another shape, or ``length`` another number of frames.
    """
    if freq.ndim != 5 or freq.shape[2:4] != (2 * CHANNELS, FREQUENCY_BINS):
        raise AudioError(
            f"freq has shape {freq.shape}; "
            f"expected [batch, sources, {2 * CHANNELS}, {FREQUENCY_BINS}, frames]"
        )
    batch, sources, _, _, frames = freq.shape
    if length < 1 or int(np.ceil(length / HOP_LENGTH)) != frames:
        raise AudioError(f"{frames} frames don't belong to {length} samples")
    window = _window(window, freq.dtype)
    scale = freq.dtype.type(INVERSE_SCALE)

    # Two frames of silence stand on either side: the frames that were cut off on the way in.
    total = (frames + 4 - 1) * HOP_LENGTH + N_FFT
    sums = np.zeros((batch, sources, CHANNELS, total), freq.dtype)
    weights = np.zeros(total, freq.dtype)
    for t in range(frames + 4):
        here = slice(t * HOP_LENGTH, t * HOP_LENGTH + N_FFT)
        weights[here] += window * window  # silent frames count here, too
        if 2 <= t < frames + 2:
            real, imag = freq[:, :, 0::2, :, t - 2], freq[:, :, 1::2, :, t - 2].copy()
            imag[..., 0] = 0  # in a packed spectrum this place means Nyquist: zero
            sums[..., here] += inverse(Packed(real, imag)) * scale * window
    first = N_FFT // 2 + LEFT_PADDING  # half a frame for centring, then the padding
    kept = slice(first, first + length)
    return sums[..., kept] / weights[kept]


def reflect_padded(signal: Array, left: int, right: int) -> Array:
    """Return ``signal`` [..., n] with its mirror image on both ends; the end itself once only.

    Raises:
        AudioError: the signal is not longer than the padding.
    """
    samples = signal.shape[-1]
    if samples <= max(left, right):
        raise AudioError(
            f"signal of {samples} samples can't be reflected by {max(left, right)}; "
            f"give at least {max(left, right) + 1} samples"
        )
    padded = np.zeros((*signal.shape[:-1], left + samples + right), signal.dtype)
    padded[..., left : left + samples] = signal
    for i in range(left):
        padded[..., left - 1 - i] = signal[..., 1 + i]
    for i in range(right):
        padded[..., left + samples + i] = signal[..., samples - 2 - i]
    return padded


def _window(window: Array | None, dtype: np.dtype[Any]) -> Array:
    if window is None:
        return get_window("hann", N_FFT).astype(dtype)
    if window.shape != (N_FFT,):
        raise AudioError(f"window has shape {window.shape}; expected ({N_FFT},)")
    return window.astype(dtype)
