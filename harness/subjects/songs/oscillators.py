"""Sources of sound: partials, wavetables, strings and noise.

Signals are float64 [n] at the contract's sample rate, frequencies are in Hz, and nothing above
``MAX_FRACTION`` of that rate is generated. Nothing here loops over samples.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from harness.audio.contract import SAMPLE_RATE

MAX_FRACTION: Final = 0.45
"""Highest generated frequency as a fraction of the sample rate."""

_BLOCK: Final = 512
_TABLE_LENGTH: Final = 4096


def decaying_partials(
    frequencies_hz: np.ndarray,
    decays_s: np.ndarray,
    amplitudes: np.ndarray,
    phases: np.ndarray,
    length: int,
) -> np.ndarray:
    """Sum of exponentially decaying cosines, float64 [length].

    exp(s (b M + m)) = exp(s b M) exp(s m): the sum over partials for all blocks b and offsets m
    is one matrix product, which is an order of magnitude faster than a cosine for each sample. It
    is not left to the BLAS, whose bits change with the number of its threads.

    Args:
        frequencies_hz: [k]; partials above ``MAX_FRACTION * SAMPLE_RATE`` are left out.
        decays_s: [k], seconds until the amplitude has fallen to 1/e; ``inf`` for no decay.
        amplitudes: [k], at the first sample.
        phases: [k], radians at the first sample.
        length: samples.
    """
    kept = frequencies_hz < MAX_FRACTION * SAMPLE_RATE
    rates = (-1.0 / decays_s[kept] + 2j * np.pi * frequencies_hz[kept]) / SAMPLE_RATE
    starts = np.arange(-(-length // _BLOCK)) * float(_BLOCK)
    outer = np.exp(np.multiply.outer(starts, rates))
    outer *= amplitudes[kept] * np.exp(1j * phases[kept])
    inner = np.exp(np.multiply.outer(rates, np.arange(float(_BLOCK))))
    left = np.concatenate([outer.real, -outer.imag], axis=1)
    right = np.concatenate([inner.real, inner.imag], axis=0)
    return np.asarray(np.einsum("bk,km->bm", left, right, optimize=False).reshape(-1)[:length])


def plucked_string(
    frequency_hz: float,
    length: int,
    rng: np.random.Generator,
    *,
    sustain_s: float = 1.5,
    damping: float = 0.5,
    brightness: float = 1.0,
    pick_position: float = 0.18,
    max_partials: int = 60,
) -> np.ndarray:
    """A plucked string: the modes of the Karplus-Strong loop, with fractional tuning.

    A loop of one period with the low-pass (1 - s) + s z^-1 and gain rho multiplies mode k by
    rho |(1 - s) + s exp(-i w_k)| once a period; that is its decay. The excitation is a noise
    burst whose spectrum has the comb of the picking point.

    Source: Jaffe and Smith, "Extensions of the Karplus-Strong Plucked-String Algorithm",
    Computer Music Journal 7(2), 1983.

    Args:
        sustain_s: decay time of the fundamental, seconds to 1/e.
        damping: s in 0..0.5; more makes high modes die sooner.
        brightness: slope of the excitation; 1 falls by 6 dB an octave, 0 is white.
        pick_position: fraction of the string's length.
    """
    count = int(min(max_partials, MAX_FRACTION * SAMPLE_RATE / frequency_hz))
    k = np.arange(1, max(count, 1) + 1)
    frequencies = k * frequency_hz
    omega = 2 * np.pi * np.minimum(frequencies, SAMPLE_RATE / 2) / SAMPLE_RATE
    gain = np.abs((1 - damping) + damping * np.exp(-1j * omega))
    loss = 1.0 / sustain_s - frequency_hz * np.log(np.maximum(gain, 1e-6))
    excitation = rng.uniform(0.6, 1.4, k.size) * np.abs(np.sin(np.pi * k * pick_position))
    return decaying_partials(
        frequencies,
        1.0 / loss,
        excitation / k**brightness,
        rng.uniform(0.0, 2 * np.pi, k.size),
        length,
    )


def wavetable(harmonics: np.ndarray, phases: np.ndarray | None = None) -> np.ndarray:
    """One period of a wave with the given harmonic amplitudes (fundamental first), peak 1.

    Args:
        harmonics: [k] amplitudes.
        phases: [k] radians, of cosines; sines when left out.
    """
    spectrum = np.zeros(_TABLE_LENGTH // 2 + 1, dtype=np.complex128)
    angles = np.full(harmonics.size, -np.pi / 2) if phases is None else phases
    spectrum[1 : harmonics.size + 1] = harmonics * np.exp(1j * angles)
    table = np.fft.irfft(spectrum)
    return np.asarray(table / np.abs(table).max())


@lru_cache(maxsize=256)
def _classic_table(shape: str, count: int) -> np.ndarray:
    k = np.arange(1, count + 1)
    odd = k % 2
    amplitudes = {
        "saw": 1.0 / k,
        "square": odd / k,
        "triangle": odd / k**2,
        "pulse": np.abs(np.sin(np.pi * k * 0.2)) / k,
    }[shape]
    table = wavetable(amplitudes)
    table.flags.writeable = False
    return table


def oscillator(shape: str, frequency_hz: np.ndarray, phase: float) -> np.ndarray:
    """A band-limited classic wave that follows a frequency curve.

    Args:
        shape: ``saw``, ``square``, ``triangle`` or ``pulse``.
        frequency_hz: [n], the frequency at every sample.
        phase: cycles at the first sample.
    """
    count = int(np.clip(MAX_FRACTION * SAMPLE_RATE / frequency_hz.max(), 1, 160))
    return read_table(_classic_table(shape, count), frequency_hz, phase)


def read_table(table: np.ndarray, frequency_hz: np.ndarray, phase: float) -> np.ndarray:
    """Play one period ``table`` at a varying frequency [n], with linear interpolation."""
    cycles = np.cumsum(frequency_hz / SAMPLE_RATE)
    cycles += phase
    cycles -= np.floor(cycles)
    position = cycles * table.size
    index = position.astype(np.intp)
    fraction = position - index
    padded = np.append(table, table[:1])
    low = padded.take(index, mode="clip")
    high = padded.take(index + 1, mode="clip")
    return np.asarray(low + fraction * (high - low))


def noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise with RMS 0.3, float64 [length]."""
    return 0.3 * rng.standard_normal(length)
