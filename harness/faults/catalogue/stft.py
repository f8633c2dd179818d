"""Bugs of ports of the transform pair."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.signal import get_window

from harness.audio import HOP_LENGTH, N_FFT
from harness.faults.judges.transform import EDGE, Port
from harness.faults.registry import CLASSIC, CONVERSIONS, PORTS, fault, fields

_port = partial(fault, judge="transform", caught_by="stft")

_port("stft.scale-missing", source=CONVERSIONS, sample=True)(
    fields(forward_scale=1.0),
    "The spectrum lacks the 1/sqrt(4096) of normalized=True and is 64 times too large.",
)
_port("stft.packed-doubled", source=CONVERSIONS)(
    fields(forward_scale=2 * Port.forward_scale),
    "A packed real FFT returns twice the value, and the 0.5 that undoes it is missing.",
)
_port("stft.packed-halved", source=PORTS)(
    fields(inverse_scale=0.5 * Port.inverse_scale),
    "The 0.5 of the packed real FFT is applied on the way back, too.",
)
_port("stft.window-symmetric", source=CONVERSIONS, sample=True)(
    fields(window=get_window("hann", N_FFT, fftbins=False)),
    "The Hann window is symmetric, as filter designers make it, instead of periodic.",
)
_port("stft.window-hamming", source=CLASSIC)(
    fields(window=get_window("hamming", N_FFT)),
    "The window is Hamming's.",
)
_port("stft.window-root", source=CLASSIC)(
    fields(window=np.sqrt(get_window("hann", N_FFT))),
    "The window is the root of Hann's, so that both directions together give Hann.",
)
_port("stft.pad-zeros", source=CONVERSIONS)(
    fields(padding="constant"),
    "Zeros stand before and after the signal instead of its reflection.",
)
_port("stft.pad-repeats-edge", source=PORTS)(
    fields(padding="symmetric"),
    "The reflection repeats the first and the last sample (symmetric instead of reflect).",
)
_port("stft.pad-amount", source=CONVERSIONS, sample=True)(
    fields(edge=N_FFT // 2),
    "Only the 2048 samples of a centred STFT are padded: the 1536 of Demucs are forgotten.",
)
_port("stft.pad-one-sample", source=CLASSIC)(
    fields(edge=EDGE + 1),
    "1537 samples are padded on the left instead of 1536.",
)
_port("stft.frames-late", source=CONVERSIONS, sample=True)(
    fields(frames_later=1),
    "Frames 3 to 3 + ceil(n / 1024) are kept instead of 2 to 2 + ceil(n / 1024).",
)
_port("stft.frames-uncut", source=CONVERSIONS)(
    fields(edge=EDGE + 2 * HOP_LENGTH),
    "The first two frames are not cut off: the spectrogram starts 2048 samples too early.",
)
_port("stft.nyquist-for-dc", source=CONVERSIONS)(
    fields(bins=1),
    "Bins 1 to 2048 are kept: the Nyquist bin is there and 0 Hz is dropped.",
)
_port("stft.nyquist-not-zero", source=CONVERSIONS, sample=True)(
    fields(nyquist="last"),
    "On the way back the Nyquist bin repeats the last bin instead of being zero.",
)
_port("stft.divided-by-windows", source=CONVERSIONS)(
    fields(divide="windows"),
    "The sum of the frames is divided by the sum of windows instead of squared windows.",
)
_port("stft.divided-by-live-squares", source=PORTS)(
    fields(divide="live squares"),
    "The windows of the silent frames at both ends don't count in the sum of squares.",
)
_port("stft.undivided", source=CLASSIC)(
    fields(divide="nothing"),
    "The sum of the frames is not divided by anything.",
)
_port("stft.crop-one-frame", source=CONVERSIONS)(
    fields(crop=Port.crop + HOP_LENGTH),
    "The inverse is cropped one hop too late.",
)
_port("stft.crop-one-sample", source=CLASSIC)(
    fields(crop=Port.crop - 1),
    "The inverse is cropped one sample too early.",
)
_port("stft.conjugated", source=CONVERSIONS, sample=True)(
    fields(sign=-1.0),
    "Imaginary parts have the other sign; both ways, so a round trip holds.",
)
_port("stft.left-right", source=CONVERSIONS)(
    fields(channels=(2, 3, 0, 1)),
    "The channels come in the order right, left; both ways, so a round trip holds.",
)
_port("stft.real-imaginary", source=CONVERSIONS)(
    fields(channels=(0, 2, 1, 3)),
    "Both real parts come first, then both imaginary parts; both ways, so a round trip holds.",
)
