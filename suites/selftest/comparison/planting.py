"""How mistakes are planted, and the stems and spectrograms that they are planted in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy import signal

from harness.audio.stft import spectrogram_from_waveform
from harness.comparison.causes import CAUSES
from harness.subjects.songs import make_song
from harness.verdicts import Gate

Array = np.ndarray[Any, Any]
RATE = 44_100
FRAMES = 2 * RATE
SHORT = 52_000
N_FFT, HOP = 4096, 1024

EXACT, PASSES, UNEXPLAINED = "exact", "passes", "unexplained"
TRUTHS = (EXACT, PASSES, UNEXPLAINED, *CAUSES)


@dataclass(frozen=True)
class Planted:
    """One case: what was done, and to what.

    Attributes:
        index: its number, which is its seed.
        truth: what must be said: a cause, or one of the other `TRUTHS`.
        name: of the tensor, which decides how it is judged.
        expected, actual: stems [S, 2, n], or a spectrogram [1, 4, 2048, frames].
        gate: None for that of the kind.
    """

    index: int
    truth: str
    name: str
    expected: Array
    actual: Array
    gate: Gate | None = None


Maker = Callable[[np.random.Generator], tuple[Array, Array] | tuple[Array, Array, Gate]]
ROWS: list[tuple[str, str, int, Maker]] = []
UNDER_NOISE = {"delay", "gain", "polarity", "channels", "offset", "combination", "filter"}
"""Every other case of these has the noise of a conversion beside the mistake."""
STRICT = Gate("strict", "sees what 60 dB forgives", min_snr_db=90.0)


def plant(truth: str, name: str, count: int) -> Callable[[Maker], Maker]:
    """Register a function that makes ``count`` cases of one truth."""

    def register(maker: Maker) -> Maker:
        ROWS.append((truth, name, count, maker))
        return maker

    return register


@lru_cache(maxsize=4)
def song(seed: int) -> Array:
    return make_song(seed, 4.0).stems


def two_stems(rng: np.random.Generator) -> Array:
    """Return two stems [2, 2, FRAMES]: music, or noise in bands."""
    if rng.random() < 0.5:
        stems = song(int(rng.integers(3)))
        levels = np.sqrt(np.mean(stems**2, axis=(1, 2)))
        loud = [index for index in range(6) if levels[index] > 0.01]
        chosen = rng.choice(loud, 2, replace=False)
        start = int(rng.integers(stems.shape[2] - FRAMES))
        part = stems[chosen, :, start : start + FRAMES]
        if np.sqrt(np.mean(part**2, axis=2)).min() > 0.005 and is_wide(part[0]):
            return part
    return np.stack([noise_in_a_band(rng, FRAMES), noise_in_a_band(rng, FRAMES)])


def is_wide(stem: Array) -> bool:
    """Whether left and right differ enough for a mistake between them to be one."""
    side = np.mean((stem[0] - stem[1]) ** 2)
    return bool(side > 1e-3 * np.mean(stem**2))


def noise_in_a_band(rng: np.random.Generator, frames: int) -> Array:
    """Return stereo noise in a band, [2, frames]."""
    low, high = rng.uniform(30, 300), rng.uniform(4000, 18000)
    spectrum = np.fft.rfft(rng.standard_normal((2, frames)))
    frequency = np.fft.rfftfreq(frames, 1 / RATE)
    spectrum[:, (frequency < low) | (frequency > high)] = 0
    spectrum[:, 1:] /= np.sqrt(frequency[1:]) ** rng.uniform(0, 1.5)
    wave = np.fft.irfft(spectrum, frames)
    return rng.uniform(0.03, 0.2) * wave / wave.std()


def with_first(stems: Array, actual: Array) -> tuple[Array, Array]:
    """Return the stems, and the stems whose first one is ``actual``."""
    return stems, np.stack([actual, *stems[1:]])


def spectrum_of(wave: Array) -> Array:
    """Return what Demucs makes of stereo [2, n]."""
    return spectrogram_from_waveform(torch.from_numpy(wave.astype(np.float32))[None]).numpy()


def port(
    wave: Array, window: Array | None = None, mode: str = "reflect", first_bin: int = 0
) -> Array:
    """Return the same by NumPy, [1, 4, 2048, frames], with other choices."""
    window = signal.get_window("hann", N_FFT) if window is None else window
    count, side = -(-wave.shape[1] // HOP), HOP // 2 * 3
    padded = np.pad(
        wave.astype(np.float64),
        ((0, 0), (side, side + count * HOP - wave.shape[1])),
        mode=mode,  # type: ignore[call-overload]
    )
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=1)[:, ::HOP]
    bins = np.fft.rfft(window * frames[:, :count])[..., first_bin : first_bin + N_FFT // 2]
    parts = np.stack([bins.real, bins.imag], 1).swapaxes(-1, -2) / np.sqrt(N_FFT)
    return parts.reshape(1, 4, N_FFT // 2, count)


def wave_of(rng: np.random.Generator) -> Array:
    return noise_in_a_band(rng, SHORT).astype(np.float32)


def shifted(wave: Array, samples: int) -> Array:
    moved = np.zeros_like(wave)
    if samples > 0:
        moved[:, samples:] = wave[:, :-samples]
    else:
        moved[:, :samples] = wave[:, -samples:]
    return moved
