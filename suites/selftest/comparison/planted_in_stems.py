"""Mistakes in stems."""

from __future__ import annotations

import numpy as np
from scipy import signal

from harness.verdicts import Gate
from suites.selftest.comparison.planting import (
    FRAMES,
    RATE,
    STRICT,
    Array,
    noise_in_a_band,
    plant,
    shifted,
    two_stems,
    with_first,
)


@plant("delay", "stems", 18)
def _delayed(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    samples = int(rng.choice([-1, 1]) * round(10 ** rng.uniform(0, 4)))
    return with_first(stems, shifted(stems[0], samples))


@plant("delay", "stems", 8)
def _delayed_by_a_fraction(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([noise_in_a_band(rng, FRAMES), noise_in_a_band(rng, FRAMES)])
    size = 2 * FRAMES
    ramp = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * rng.uniform(-40, 40))
    moved = np.fft.irfft(np.fft.rfft(stems[0], size) * ramp, size)[:, :FRAMES]
    return with_first(stems, moved)


# Level.


@plant("gain", "stems", 12)
def _loud(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, stems[0] * 10 ** (rng.choice([-1, 1]) * rng.uniform(0.02, 12) / 20))


@plant("gain", "stems", 5)
def _one_channel_soft(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, stems[0] * np.array([[1.0], [rng.uniform(0.5, 0.99)]]))


@plant("polarity", "stems", 10)
def _inverted(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, -stems[0])


@plant("offset", "stems", 10)
def _offset(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, stems[0] + rng.choice([-1, 1]) * rng.uniform(0.001, 0.05))


@plant("clipping", "stems", 12)
def _clipped(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    level = np.abs(stems[0]).max() * rng.uniform(0.3, 0.8)
    return with_first(stems, np.clip(stems[0], -level, level))


@plant("quantisation", "stems", 6)
def _rounded_to_8_bits(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, np.clip(np.rint(stems[0] * 128), -128, 127) / 128)


@plant("quantisation", "stems", 5)
def _rounded_to_16_bits(rng: np.random.Generator) -> tuple[Array, Array, Gate]:
    stems = two_stems(rng)
    dither = 0 if rng.random() < 0.6 else rng.triangular(-1, 0, 1, stems[0].shape)
    return *with_first(stems, np.rint(stems[0] * 2**15 + dither) / 2**15), STRICT


@plant("quantisation", "stems", 5)
def _rounded_to_fp16(rng: np.random.Generator) -> tuple[Array, Array, Gate]:
    stems = two_stems(rng)
    return *with_first(stems, stems[0].astype(np.float16).astype(np.float32)), STRICT


# Routing.


@plant("channels", "stems", 8)
def _exchanged(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, stems[0][::-1])


@plant("channels", "stems", 4)
def _copied(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, stems[0][[0, 0]])


@plant("channels", "stems", 4)
def _mono(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, np.broadcast_to(stems[0].mean(axis=0), stems[0].shape))


@plant("another stem", "stems", 9)
def _another(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    noise = rng.standard_normal(stems[1].shape) * stems[1].std() * 10 ** (-rng.uniform(65, 90) / 20)
    return with_first(stems, stems[1] + noise)


# Losses.


@plant("silence", "stems", 4)
def _silent(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, 0 * stems[0])


@plant("silence", "stems", 4)
def _one_channel_silent(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    return with_first(stems, stems[0] * np.array([[1.0], [0.0]])[:: rng.choice([-1, 1])])


@plant("dropout", "stems", 11)
def _dropped(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([noise_in_a_band(rng, FRAMES), noise_in_a_band(rng, FRAMES)])
    start = int(rng.integers(FRAMES // 10, FRAMES * 8 // 10))
    length = int(rng.choice([rng.integers(1000, 15000), FRAMES]))
    actual = stems[0].copy()
    actual[:, start : start + length] = 0
    return with_first(stems, actual)


@plant("band loss", "stems", 5)
def _low_passed(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = two_stems(rng)
    spectrum = np.fft.rfft(stems[0])
    spectrum[:, int(rng.uniform(1000, 3500) * FRAMES / RATE) :] = 0
    return with_first(stems, np.fft.irfft(spectrum, FRAMES))


@plant("band loss", "stems", 6)
def _filtered_low(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([noise_in_a_band(rng, FRAMES), noise_in_a_band(rng, FRAMES)])
    filter_ = signal.butter(8, rng.uniform(1000, 3500), fs=RATE, output="sos")
    return with_first(stems, signal.sosfilt(filter_, stems[0]))


@plant("filter", "stems", 6)
def _equalised(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([noise_in_a_band(rng, FRAMES), noise_in_a_band(rng, FRAMES)])
    taps = np.concatenate([[1.0], rng.uniform(-0.5, 0.5, 40) * np.exp(-np.arange(40) / 10)])
    return with_first(stems, signal.lfilter(taps, [1.0], stems[0]))
