"""Mistakes in spectrograms."""

from __future__ import annotations

import numpy as np
from scipy import signal

from suites.selftest.comparison.planting import (
    N_FFT,
    Array,
    plant,
    port,
    shifted,
    spectrum_of,
    wave_of,
)


@plant("scale", "spectrogram", 8)
def _scaled(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    return spectrum, spectrum * rng.choice([64, 1 / 64, 0.5, 2, 4096, 1.001])


@plant("conjugate", "spectrogram", 5)
def _conjugated(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    return spectrum, spectrum * np.array([1, -1, 1, -1])[:, None, None]


@plant("polarity", "spectrogram", 2)
def _negative(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    return spectrum, -spectrum


@plant("layout", "spectrogram", 6)
def _laid_out(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    orders = [(0, 2, 1, 3), (1, 0, 3, 2), (2, 0, 3, 1)]
    return spectrum, spectrum[:, orders[rng.integers(3)]]


@plant("channels", "spectrogram", 3)
def _exchanged_spectra(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    return spectrum, spectrum[:, [2, 3, 0, 1]]


@plant("frame offset", "spectrogram", 8)
def _frames_late(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    frames = int(rng.integers(1, 4)) * int(rng.choice([-1, 1]))
    moved = np.roll(spectrum, frames, axis=3)
    moved[..., slice(0, frames) if frames > 0 else slice(frames, None)] = 0
    return spectrum, moved


@plant("sample offset", "spectrogram", 8)
def _samples_late(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = wave_of(rng)
    samples = int(rng.choice([-1, 1]) * round(10 ** rng.uniform(0, 2.9)))
    return spectrum_of(wave), port(shifted(wave, samples))


@plant("window", "spectrogram", 10)
def _windowed(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = wave_of(rng)
    windows: list[Array] = [
        np.hanning(N_FFT),
        signal.get_window("hamming", N_FFT),
        signal.get_window("blackman", N_FFT),
        np.ones(N_FFT),
        np.sqrt(signal.get_window("hann", N_FFT)),
        np.kaiser(N_FFT, 8.0),
    ]
    return spectrum_of(wave), port(wave, windows[rng.integers(len(windows))])


@plant("bin offset", "spectrogram", 4)
def _lowest_bin_dropped(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = wave_of(rng)
    return spectrum_of(wave), port(wave, first_bin=1)


@plant("lost bins", "spectrogram", 4)
def _bins_lost(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = wave_of(rng) + np.float32(0.01)
    spectrum = spectrum_of(wave)
    actual = spectrum.copy()
    actual[:, :, : int(rng.integers(1, 5))] = 0
    return spectrum, actual


@plant("padding", "spectrogram", 6)
def _padded(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = wave_of(rng)
    return spectrum_of(wave), port(wave, mode=str(rng.choice(["constant", "edge", "symmetric"])))


@plant("quantisation", "spectrogram", 4)
def _spectrum_in_fp16(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    return spectrum, spectrum.astype(np.float16).astype(np.float32)
