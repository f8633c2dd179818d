"""Bugs of ports of the transform pair."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from harness.audio import HOP_LENGTH, N_FFT
from harness.audio.windows import hamming, hann
from harness.faults.judges.transform import EDGE, Port
from harness.faults.registry import CLASSIC, CONVERSIONS, PORTS, fault

_port = partial(fault, on="transform", caught_by="stft")


@_port("stft.scale-missing", source=CONVERSIONS, sample=True)
def _scale_missing(port: Port) -> Port:
    """The spectrum lacks the 1/sqrt(4096) of normalized=True and is 64 times too large."""
    return replace(port, forward_scale=1.0)


@_port("stft.packed-doubled", source=CONVERSIONS)
def _packed_doubled(port: Port) -> Port:
    """A packed real FFT returns twice the value, and the 0.5 that undoes it is missing."""
    return replace(port, forward_scale=2 * port.forward_scale)


@_port("stft.packed-halved", source=PORTS)
def _packed_halved(port: Port) -> Port:
    """The 0.5 of the packed real FFT is applied on the way back, too."""
    return replace(port, inverse_scale=0.5 * port.inverse_scale)


@_port("stft.window-symmetric", source=CONVERSIONS, sample=True)
def _window_symmetric(port: Port) -> Port:
    """The Hann window is symmetric, as filter designers make it, instead of periodic."""
    return replace(port, window=hann(N_FFT, symmetric=True))


@_port("stft.window-hamming", source=CLASSIC)
def _window_hamming(port: Port) -> Port:
    """The window is Hamming's."""
    return replace(port, window=hamming(N_FFT))


@_port("stft.window-root", source=CLASSIC)
def _window_root(port: Port) -> Port:
    """The window is the root of Hann's, so that both directions together give Hann."""
    return replace(port, window=np.sqrt(port.window))


@_port("stft.pad-zeros", source=CONVERSIONS)
def _pad_zeros(port: Port) -> Port:
    """Zeros stand before and after the signal instead of its reflection."""
    return replace(port, padding="constant")


@_port("stft.pad-repeats-edge", source=PORTS)
def _pad_repeats_edge(port: Port) -> Port:
    """The reflection repeats the first and the last sample (symmetric instead of reflect)."""
    return replace(port, padding="symmetric")


@_port("stft.pad-amount", source=CONVERSIONS, sample=True)
def _pad_amount(port: Port) -> Port:
    """Only the 2048 samples of a centred STFT are padded: the 1536 of Demucs are forgotten."""
    return replace(port, edge=N_FFT // 2)


@_port("stft.pad-one-sample", source=CLASSIC)
def _pad_one_sample(port: Port) -> Port:
    """1537 samples are padded on the left instead of 1536."""
    return replace(port, edge=EDGE + 1)


@_port("stft.frames-late", source=CONVERSIONS, sample=True)
def _frames_late(port: Port) -> Port:
    """Frames 3 to 3 + ceil(n / 1024) are kept instead of 2 to 2 + ceil(n / 1024)."""
    return replace(port, frames_later=1)


@_port("stft.frames-uncut", source=CONVERSIONS)
def _frames_uncut(port: Port) -> Port:
    """The first two frames are not cut off: the spectrogram starts 2048 samples too early."""
    return replace(port, edge=EDGE + 2 * HOP_LENGTH)


@_port("stft.nyquist-for-dc", source=CONVERSIONS)
def _nyquist_for_dc(port: Port) -> Port:
    """Bins 1 to 2048 are kept: the Nyquist bin is there and 0 Hz is dropped."""
    return replace(port, bins=1)


@_port("stft.nyquist-not-zero", source=CONVERSIONS, sample=True)
def _nyquist_not_zero(port: Port) -> Port:
    """On the way back the Nyquist bin repeats the last bin instead of being zero."""
    return replace(port, nyquist="last")


@_port("stft.divided-by-windows", source=CONVERSIONS)
def _divided_by_windows(port: Port) -> Port:
    """The sum of the frames is divided by the sum of windows instead of squared windows."""
    return replace(port, divide="windows")


@_port("stft.divided-by-live-squares", source=PORTS)
def _divided_by_live_squares(port: Port) -> Port:
    """The windows of the silent frames at both ends don't count in the sum of squares."""
    return replace(port, divide="live squares")


@_port("stft.undivided", source=CLASSIC)
def _undivided(port: Port) -> Port:
    """The sum of the frames is not divided by anything."""
    return replace(port, divide="nothing")


@_port("stft.crop-one-frame", source=CONVERSIONS)
def _crop_one_frame(port: Port) -> Port:
    """The inverse is cropped one hop too late."""
    return replace(port, crop=port.crop + HOP_LENGTH)


@_port("stft.crop-one-sample", source=CLASSIC)
def _crop_one_sample(port: Port) -> Port:
    """The inverse is cropped one sample too early."""
    return replace(port, crop=port.crop - 1)


@_port("stft.conjugated", source=CONVERSIONS, sample=True)
def _conjugated(port: Port) -> Port:
    """Imaginary parts have the other sign; both ways, so a round trip holds."""
    return replace(port, sign=-1.0)


@_port("stft.left-right", source=CONVERSIONS)
def _left_right(port: Port) -> Port:
    """The channels come in the order right, left; both ways, so a round trip holds."""
    return replace(port, channels=(2, 3, 0, 1))


@_port("stft.real-imaginary", source=CONVERSIONS)
def _real_imaginary(port: Port) -> Port:
    """Both real parts come first, then both imaginary parts; both ways, so a round trip holds."""
    return replace(port, channels=(0, 2, 1, 3))
