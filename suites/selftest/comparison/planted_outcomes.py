"""What is right, what has no known cause, and what has two."""

from __future__ import annotations

import numpy as np

from suites.selftest.comparison.planting import (
    EXACT,
    FRAMES,
    PASSES,
    RATE,
    UNEXPLAINED,
    Array,
    noise_in_a_band,
    plant,
    port,
    shifted,
    spectrum_of,
    two_stems,
    wave_of,
    with_first,
)


@plant(EXACT, "stems", 40)
def _exact(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return stems, stems.copy()


@plant(EXACT, "spectrogram", 20)
def _exact_spectrum(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    return spectrum, spectrum.copy()


@plant(PASSES, "stems", 40)
def _passes(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([noise_in_a_band(rng, FRAMES), noise_in_a_band(rng, FRAMES)])
    noise = rng.standard_normal(stems.shape)
    level = np.sqrt(np.mean(stems**2, axis=2, keepdims=True)) * 10 ** (-rng.uniform(62, 110) / 20)
    return stems, stems + noise * level


@plant(PASSES, "spectrogram", 20)
def _passes_spectrum(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = wave_of(rng)
    return spectrum_of(wave), port(wave)


# What nothing explains.


@plant(UNEXPLAINED, "stems", 20)
def _hiss(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    noise = rng.standard_normal(stems[0].shape) * stems[0].std() * 10 ** (-rng.uniform(5, 50) / 20)
    return with_first(stems, stems[0] + noise)


@plant(UNEXPLAINED, "stems", 5)
def _reversed(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, stems[0][:, ::-1])


@plant(UNEXPLAINED, "stems", 5)
def _distorted(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, stems[0] * np.abs(stems[0]) / np.abs(stems[0]).max())


@plant(UNEXPLAINED, "stems", 5)
def _wobbling(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    depth, speed = rng.uniform(0.2, 0.5), rng.uniform(2, 6)
    gain = 1 + depth * np.sin(2 * np.pi * speed * np.arange(FRAMES) / RATE)
    return with_first(stems, stems[0] * gain)


@plant(UNEXPLAINED, "spectrogram", 5)
def _hiss_in_spectrum(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = spectrum_of(wave_of(rng))
    return spectrum, spectrum + rng.standard_normal(spectrum.shape) * spectrum.std() * 10 ** (
        -rng.uniform(10, 60) / 20
    )


@plant("combination", "stems", 10)
def _late_and_loud(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    gain = 10 ** (rng.choice([-1, 1]) * rng.uniform(3, 9) / 20)
    return with_first(stems, gain * shifted(stems[0], int(rng.integers(20, 900))))


@plant("combination", "stems", 10)
def _exchanged_and_loud(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([noise_in_a_band(rng, FRAMES), noise_in_a_band(rng, FRAMES)])
    return with_first(stems, rng.choice([-1, 1]) * rng.uniform(0.3, 0.6) * stems[0][::-1])
