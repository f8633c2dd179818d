"""A port of the STFT, as somebody writes it in another language, judged by the stft layer.

The port is written down step by step, with everything that ports get wrong as a field of `Port`;
a sound one equals Demucs' own transform within the gate of the layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from scipy.signal import get_window

from harness.audio import FREQUENCY_BINS, HOP_LENGTH, N_FFT, SEGMENT_LENGTH
from harness.faults.judging import FaultJudgement, judgement
from harness.faults.registry import Fault
from harness.layers import transform_check
from harness.subjects import make_signal
from harness.workbench import Workbench

EDGE = 3 * HOP_LENGTH // 2


@dataclass(frozen=True, eq=False)
class Port:
    """What a port decides; the defaults are right.

    Attributes:
        window: [4096], of both directions.
        forward_scale: factor on the spectrum of a plain real FFT.
        inverse_scale: factor on the frames of a plain inverse real FFT.
        edge: samples that the first frame starts before the signal.
        padding: what is put at both ends, as ``numpy.pad`` calls it.
        frames_later: frames by which the cut of the spectrogram starts too late.
        bins: the first bin that is kept; 1 keeps Nyquist instead of 0 Hz.
        sign: of the imaginary parts, both ways.
        channels: which of left real, left imaginary, right real, right imaginary comes where.
        nyquist: on the way back, ``zero``, or ``last``: the last bin once more.
        divide: what the sum of the frames is divided by.
        crop: samples cut off at the start of the inverse.
    """

    window: np.ndarray = field(default_factory=lambda: get_window("hann", N_FFT))
    forward_scale: float = 1 / np.sqrt(N_FFT)
    inverse_scale: float = np.sqrt(N_FFT)
    edge: int = EDGE
    padding: Literal["reflect", "constant", "edge", "symmetric"] = "reflect"
    frames_later: int = 0
    bins: int = 0
    sign: float = 1.0
    channels: tuple[int, int, int, int] = (0, 1, 2, 3)
    nyquist: Literal["zero", "last"] = "zero"
    divide: Literal["squares", "windows", "live squares", "nothing"] = "squares"
    crop: int = N_FFT // 2 + EDGE

    def forward(self, waveform: np.ndarray) -> np.ndarray:
        """[1, 2, n] float32 to [1, 4, 2048, frames] float32; computed in float64."""
        samples = waveform.shape[-1]
        frames = -(-samples // HOP_LENGTH)
        right = EDGE + frames * HOP_LENGTH - samples + 2 * N_FFT
        wide = waveform[0].astype(np.float64)
        padded = np.pad(wide, ((0, 0), (self.edge, right)), mode=self.padding)
        windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=-1)
        cut = windows[:, self.frames_later * HOP_LENGTH :: HOP_LENGTH][:, :frames]
        spectrum = np.fft.rfft(cut * self.window) * self.forward_scale
        kept = spectrum[..., self.bins : self.bins + FREQUENCY_BINS].transpose(0, 2, 1)
        parts = np.stack([kept.real, self.sign * kept.imag], axis=1).reshape(4, *kept.shape[1:])
        return parts[list(self.channels)][np.newaxis].astype(np.float32)

    def inverse(self, freq: np.ndarray, length: int) -> np.ndarray:
        """[1, S, 4, 2048, frames] float32 to [1, S, 2, length] float32; computed in float64."""
        parts = freq.astype(np.float64)[:, :, np.argsort(self.channels)]
        z = parts[:, :, 0::2] + 1j * self.sign * parts[:, :, 1::2]
        last = z[..., -1:, :] if self.nyquist == "last" else np.zeros_like(z[..., -1:, :])
        spectrum = np.concatenate([z, last], axis=-2).swapaxes(-1, -2)
        frames = np.fft.irfft(spectrum, n=N_FFT) * self.inverse_scale * self.window
        count = frames.shape[-2]
        total = np.zeros((*frames.shape[:-2], (count + 3) * HOP_LENGTH + N_FFT))
        divisor = np.zeros(total.shape[-1])
        powers = {"squares": self.window**2, "windows": self.window}
        for place in range(count + 4):
            here = slice(place * HOP_LENGTH, place * HOP_LENGTH + N_FFT)
            live = 2 <= place < count + 2
            if live:
                total[..., here] += frames[..., place - 2, :]
            if live or self.divide != "live squares":
                divisor[here] += powers.get(self.divide, self.window**2)
        kept = slice(self.crop, self.crop + length)
        if self.divide == "nothing":
            return total[..., kept].astype(np.float32)
        return (total[..., kept] / divisor[kept]).astype(np.float32)


def judge_transform(bench: Workbench, subject: str, fault: Fault) -> Iterator[FaultJudgement]:
    """Judge a port, both ways; an injection gets a `Port` and returns another."""
    port: Port = fault.inject(Port())
    pairs, freq, waveform = _expected(bench, subject)
    for name, (signal, spectrogram) in pairs.items():
        what = {"what": f"forward, {name}"}
        yield judgement(transform_check(spectrogram, port.forward(signal), what))
    made = port.inverse(freq, SEGMENT_LENGTH)
    yield judgement(transform_check(waveform, made, {"what": "inverse"}))


@lru_cache(maxsize=1)
def _expected(
    bench: Workbench, subject: str
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    """Return signals with the spectrograms of Demucs' own methods, and an inverse pair."""
    demucs: Any = bench.goldens.subject(subject).model
    noise = make_signal("noise", SEGMENT_LENGTH, level_db=-20.0, seed=42)
    impulse = make_signal("impulse", SEGMENT_LENGTH, position=171_990, amplitude=0.25)
    pairs = {}
    for name, signal in {"noise": noise, "impulse": impulse}.items():
        batch = signal[np.newaxis]
        spectrogram = demucs._magnitude(demucs._spec(torch.from_numpy(batch))).numpy()
        pairs[name] = (batch, spectrogram)
    shape = (1, 1, *pairs["noise"][1].shape[1:])
    freq = (0.1 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    z = demucs._mask(None, torch.from_numpy(freq))
    return pairs, freq, demucs._ispec(z, SEGMENT_LENGTH).numpy()
