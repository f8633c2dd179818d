"""The transform pair around the network, equal to HTDemucs' own methods bit for bit.

==========================  ===============================  ==============================
function                    in                               out
==========================  ===============================  ==============================
stft                        [..., samples] real              [..., 2048, frames] complex
istft                       [..., 2048, frames] complex      [..., length] real
spectrogram_from_waveform   [batch, 2, samples] real         [batch, 4, 2048, frames] real
waveform_from_spectrogram   [batch, S, 4, 2048, frames]      [batch, S, 2, length] real
==========================  ===============================  ==============================

These are the sizes of the published models; another network's `Geometry` (or ``n_fft``, with hops
of a quarter of it) gives its own. Everything is ``torch``, float32 (complex64) or float64
(complex128), on any device, and can be differentiated. ``frames`` is ceil(samples / 1024). The
conventions are those of ``demucs/spec.py``, ``pad1d`` in ``demucs/hdemucs.py`` and ``_spec``,
``_ispec``, ``_magnitude``, ``_mask`` in ``demucs/htdemucs.py`` (demucs 4.1, complex as channels):

* frame ``t`` covers samples ``1024 t - 1536`` to ``1024 t + 2560``; what lies outside the signal is
  its reflection. Demucs reaches this by padding twice, 1536 here and 2048 in ``torch.stft``, and by
  cutting frames 2 to 2 + ceil(samples / 1024), none of which touches the second padding.
* periodic Hann window, *computed in float32* also where the signal is float64 (it is 2.0e-7 off
  the exact one); spectra divided by sqrt(4096) on both ways (``normalized=True``).
* the Nyquist bin is dropped, and zero on the way back.
* on the way back, two frames of silence stand on either side. They add nothing to the sum of the
  frames, but their windows count in the sum of squares by which it is divided. So the first and
  the last 1536 samples of a segment come back attenuated, down to a half, unless the network makes
  up for it: an inverse that divides by the squares of the live frames alone is another function.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
import torch.nn.functional as F

from harness.audio.contract import N_FFT, PUBLISHED, Geometry
from harness.errors import AudioError

_OVERLAP: Final = 4
"""Frames that cover a sample."""
_REAL: Final = (torch.float32, torch.float64)
_COMPLEX: Final = (torch.complex64, torch.complex128)


def frame_count(samples: int, n_fft: int = N_FFT) -> int:
    """Return the number of frames that ``samples`` samples give: ceil(samples / hop)."""
    return -(-samples // (n_fft // _OVERLAP))


def _edge(n_fft: int) -> int:
    """Return the samples by which the first frame starts before the signal."""
    return n_fft // _OVERLAP // 2 * 3


@lru_cache(maxsize=16)
def analysis_window(dtype: torch.dtype, device: torch.device, n_fft: int = N_FFT) -> torch.Tensor:
    """Return the window of both directions, [n_fft]: periodic Hann, made in float32 on the CPU.

    It is shared between callers; don't write to it.
    """
    with torch.inference_mode(False), torch.no_grad():  # usable under autograd later
        window = torch.hann_window(n_fft, dtype=torch.float32, device="cpu")
        return window.to(dtype=dtype, device=device)


@lru_cache(maxsize=16)
def _squares(dtype: torch.dtype, device: torch.device, n_fft: int) -> torch.Tensor:
    """Return the sum of the squared windows that cover a sample, [hop]."""
    with torch.inference_mode(False), torch.no_grad():
        squares = analysis_window(dtype, device, n_fft).pow(2).view(1, _OVERLAP, -1)
        return _overlap_add(squares.expand(_OVERLAP, -1, -1))[_OVERLAP - 1]


def stft(waveform: torch.Tensor, n_fft: int = N_FFT) -> torch.Tensor:
    """Transform ``waveform`` [..., samples] as ``HTDemucs._spec`` does.

    Returns:
        complex [..., n_fft / 2, frames], a view whose frames are the outer of the last
        two dimensions.

    Raises:
        AudioError: ``waveform`` is not float32 or float64, or has no samples.
    """
    if waveform.dtype not in _REAL:
        raise AudioError(f"waveform is {waveform.dtype}; expected float32 or float64")
    if waveform.ndim == 0 or waveform.shape[-1] == 0:
        raise AudioError(f"waveform of shape {tuple(waveform.shape)} has no samples to transform")
    frames = _padded(waveform, n_fft).unfold(-1, n_fft, n_fft // _OVERLAP)
    windowed = frames * analysis_window(waveform.dtype, waveform.device, n_fft)
    spectrum: torch.Tensor = torch.fft.rfft(windowed, norm="ortho")
    return spectrum[..., : n_fft // 2].transpose(-1, -2)


def whole_stft(waveform: torch.Tensor, n_fft: int = N_FFT) -> torch.Tensor:
    """Transform ``waveform`` [..., samples] as ``HTDemucs._spec`` does before it cuts anything off.

    Returns:
        complex [..., n_fft / 2 + 1, frames + 4]: with the Nyquist bin, and with two frames on
        either side that reach into the second padding.

    Raises:
        AudioError: as `stft`.
    """
    if waveform.dtype not in _REAL or waveform.ndim == 0 or waveform.shape[-1] == 0:
        raise AudioError(f"{waveform.dtype} of shape {tuple(waveform.shape)} can't be transformed")
    padded = _padded(waveform, n_fft)
    flat = padded.reshape(-1, padded.shape[-1])
    window = analysis_window(waveform.dtype, waveform.device, n_fft)
    hop = n_fft // _OVERLAP
    z = torch.stft(flat, n_fft, hop, window=window, normalized=True, return_complex=True)
    return z.view(*waveform.shape[:-1], *z.shape[-2:])


def istft(z: torch.Tensor, length: int, n_fft: int = N_FFT) -> torch.Tensor:
    """Transform ``z``, complex [..., n_fft / 2, frames], back as ``HTDemucs._ispec`` does.

    Args:
        z: the spectrum; the imaginary part of bin 0 is ignored.
        length: samples to return.

    Returns:
        real [..., length].

    Raises:
        AudioError: ``z`` is not complex [..., n_fft / 2, frames], or ``length`` has another
            number of frames than ``z``.
    """
    if z.dtype not in _COMPLEX:
        raise AudioError(f"spectrum is {z.dtype}; expected complex64 or complex128")
    bins = n_fft // 2
    if z.ndim < 2 or z.shape[-2] != bins:
        raise AudioError(f"spectrum has shape {tuple(z.shape)}; expected [..., {bins}, frames]")
    frames = _checked_frames(z.shape[-1], length, n_fft)
    spectrum = z.new_empty(*z.shape[:-2], frames, bins + 1)
    spectrum[..., :bins] = z.transpose(-1, -2)
    spectrum[..., bins] = 0
    return _waveform(spectrum, length)


def spectrogram_from_waveform(
    waveform: torch.Tensor, geometry: Geometry = PUBLISHED
) -> torch.Tensor:
    """Return the network's ``spectrogram`` input for ``waveform`` [batch, 2, samples].

    Returns:
        [batch, 4, 2048, frames], channels left real, left imaginary, right real, right imaginary;
        contiguous, dtype of ``waveform``.

    Raises:
        AudioError: other channels than the geometry's, not float32 or float64, or no samples.
    """
    channels = geometry.channels
    if waveform.ndim != 3 or waveform.shape[1] != channels:
        raise AudioError(
            f"waveform has shape {tuple(waveform.shape)}; expected [batch, {channels}, samples]"
        )
    z = stft(waveform, geometry.n_fft)
    parts = torch.view_as_real(z).permute(0, 1, 4, 2, 3)
    return parts.reshape(z.shape[0], 2 * channels, geometry.frequency_bins, z.shape[-1])


def waveform_from_spectrogram(
    freq: torch.Tensor, length: int, geometry: Geometry = PUBLISHED
) -> torch.Tensor:
    """Return the stems in ``freq``, the network's output [batch, S, 4, 2048, frames].

    Returns:
        [batch, S, 2, length], dtype of ``freq``.

    Raises:
        AudioError: ``freq`` has another shape or dtype, or ``length`` another number of frames.
    """
    if freq.dtype not in _REAL:
        raise AudioError(f"freq is {freq.dtype}; expected float32 or float64")
    channels, bins = geometry.channels, geometry.frequency_bins
    if freq.ndim != 5 or freq.shape[2:4] != (2 * channels, bins):
        raise AudioError(
            f"freq has shape {tuple(freq.shape)}; "
            f"expected [batch, sources, {2 * channels}, {bins}, frames]"
        )
    batch, sources = freq.shape[:2]
    frames = _checked_frames(freq.shape[-1], length, geometry.n_fft)
    parts = freq.new_empty(batch, sources, channels, frames, bins + 1, 2)
    by_channel = freq.reshape(batch, sources, channels, 2, bins, frames)
    parts[..., :bins, :] = by_channel.permute(0, 1, 2, 5, 4, 3)
    parts[..., bins, :] = 0
    return _waveform(torch.view_as_complex(parts), length)


def _checked_frames(frames: int, length: int, n_fft: int) -> int:
    expected = frame_count(length, n_fft)
    if length < 1 or expected != frames:
        raise AudioError(
            f"spectrum has {frames} frames, but {length} samples have {expected}; "
            f"give the length of the signal that was transformed"
        )
    return frames


def _padded(waveform: torch.Tensor, n_fft: int) -> torch.Tensor:
    samples = waveform.shape[-1]
    left = _edge(n_fft)
    right = left + frame_count(samples, n_fft) * (n_fft // _OVERLAP) - samples
    flat = waveform.reshape(-1, samples)  # reflection wants two or three dimensions
    missing = max(left, right) + 1 - samples
    if missing > 0:
        # Demucs' pad1d: a signal too short to reflect gets zeros first, on the right as far as
        # they replace padding, the rest on the left.
        zeros_right = min(right, missing)
        zeros_left = missing - zeros_right
        flat = F.pad(flat, (zeros_left, zeros_right))
        left, right = left - zeros_left, right - zeros_right
    padded = F.pad(flat, (left, right), mode="reflect")
    return padded.view(*waveform.shape[:-1], padded.shape[-1])


def _waveform(spectrum: torch.Tensor, length: int) -> torch.Tensor:
    """Return the inverse [..., length] of ``spectrum`` [..., frames, n_fft / 2 + 1]."""
    n_fft = 2 * (spectrum.shape[-1] - 1)
    frames = torch.fft.irfft(spectrum, n=n_fft, norm="ortho")
    window = analysis_window(frames.dtype, frames.device, n_fft)
    # In place: at six stems each of these arrays is 66 MB, and touching new memory costs more
    # than the arithmetic.
    windowed = frames.mul_(window).view(*frames.shape[:-1], _OVERLAP, n_fft // _OVERLAP)
    blocks = _overlap_add(windowed).div_(_squares(frames.dtype, frames.device, n_fft))
    edge = _edge(n_fft)
    return blocks.flatten(-2)[..., edge : edge + length]


def _overlap_add(windowed: torch.Tensor) -> torch.Tensor:
    """Add frames, cut in hops [..., frames, 4, hop], into [..., frames + 3, hop].

    The latest frame is added last, as ``torch.istft`` does it: float addition keeps the order.
    """
    frames, _, hop = windowed.shape[-3:]
    blocks = windowed.new_zeros(*windowed.shape[:-3], frames + _OVERLAP - 1, hop)
    for part in reversed(range(_OVERLAP)):
        blocks[..., part : part + frames, :] += windowed[..., part, :]
    return blocks
