"""Mistakes with known causes, planted in stems and spectrograms, and what `compare` says to them.

``python suites/selftest/comparison/planted.py`` judges all of them and prints the confusion table
that docs/comparing.md shows. Everything comes from seeds. The mistakes are made by other means than
those by which they are recognised: shifts by a fraction through a phase ramp, filters by SciPy,
wrong transforms by a port in NumPy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import signal

from harness.audio.stft import spectrogram_from_waveform
from harness.comparison import CAUSES, ComparisonRow, Pair, Request, Tensor, judge
from harness.subjects.songs import make_song
from harness.verdicts import Gate, Verdict

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
_ROWS: list[tuple[str, str, int, Maker]] = []
UNDER_NOISE = {"delay", "gain", "polarity", "channels", "offset", "combination", "filter"}
"""Every other case of these has the noise of a conversion beside the mistake."""
STRICT = Gate("strict", "sees what 60 dB forgives", min_snr_db=90.0)


def plant(truth: str, name: str, count: int) -> Callable[[Maker], Maker]:
    """Register a function that makes ``count`` cases of one truth."""

    def register(maker: Maker) -> Maker:
        _ROWS.append((truth, name, count, maker))
        return maker

    return register


def planted() -> Iterator[Planted]:
    """Make every case, one after the other."""
    for index, (truth, name, maker) in enumerate(_plan()):
        yield _made(index, truth, name, maker)


def sample(step: int) -> Iterator[Planted]:
    """Make every ``step``-th case."""
    for index, (truth, name, maker) in enumerate(_plan()):
        if index % step == 0:
            yield _made(index, truth, name, maker)


def _plan() -> list[tuple[str, str, Maker]]:
    return [(truth, name, maker) for truth, name, count, maker in _ROWS for _ in range(count)]


def _made(index: int, truth: str, name: str, maker: Maker) -> Planted:
    rng = np.random.default_rng([2026, index])
    made = maker(rng)
    gate = made[2] if len(made) == 3 else None
    expected, actual = made[:2]
    if name == "stems" and truth in UNDER_NOISE and index % 2:
        noise = rng.standard_normal(actual.shape) * 10 ** (-rng.uniform(64, 90) / 20)
        actual = actual + noise * np.sqrt(np.mean(expected**2, axis=2, keepdims=True))
    expected, actual = (np.ascontiguousarray(it, dtype=np.float32) for it in (expected, actual))
    return Planted(index, truth, name, expected, actual, gate)


def answer(case: Planted) -> str:
    """Return what the comparison says: a cause, or `EXACT`, `PASSES` or `UNEXPLAINED`."""
    here = Path("planted")
    pair = Pair(case.name, Tensor(here, lambda: case.expected), Tensor(here, lambda: case.actual))
    findings = judge(pair, (), Request(case.gate))
    bad = [row for row in findings if row.outcome.verdict is not Verdict.PASS]
    if bad:
        return _cause(bad)
    return EXACT if all(row.outcome.observed == "exact" for row in findings) else PASSES


def _cause(bad: list[ComparisonRow]) -> str:
    cause = next((row.cause for row in bad if row.cause is not None), None)
    return UNEXPLAINED if cause is None else cause.name


def confusion(answers: list[tuple[str, str]]) -> str:
    """Return the table of (planted, said) as Markdown."""
    lines = ["| planted | cases | named | said instead |", "|---|---|---|---|"]
    for truth in TRUTHS:
        said = Counter(answer for planted_, answer in answers if planted_ == truth)
        if not said:
            continue
        wrong = ", ".join(f"{name} ({n})" for name, n in sorted(said.items()) if name != truth)
        lines.append(f"| {truth} | {said.total()} | {said[truth]} | {wrong} |")
    right = sum(planted_ == said for planted_, said in answers)
    lines.append(f"| all | {len(answers)} | {right} ({100 * right / len(answers):.1f} %) | |")
    return "\n".join(lines) + "\n"


# What the mistakes are made in.


@lru_cache(maxsize=4)
def _song(seed: int) -> Array:
    return make_song(seed, 4.0).stems


def _stem(rng: np.random.Generator) -> Array:
    """Return two stems [2, 2, FRAMES]: music, or noise in bands."""
    if rng.random() < 0.5:
        stems = _song(int(rng.integers(3)))
        levels = np.sqrt(np.mean(stems**2, axis=(1, 2)))
        loud = [index for index in range(6) if levels[index] > 0.01]
        chosen = rng.choice(loud, 2, replace=False)
        start = int(rng.integers(stems.shape[2] - FRAMES))
        part = stems[chosen, :, start : start + FRAMES]
        if np.sqrt(np.mean(part**2, axis=2)).min() > 0.005 and _is_wide(part[0]):
            return part
    return np.stack([_noise(rng, FRAMES), _noise(rng, FRAMES)])


def _is_wide(stem: Array) -> bool:
    """Whether left and right differ enough for a mistake between them to be one."""
    side = np.mean((stem[0] - stem[1]) ** 2)
    return bool(side > 1e-3 * np.mean(stem**2))


def _noise(rng: np.random.Generator, frames: int) -> Array:
    """Return stereo noise in a band, [2, frames]."""
    low, high = rng.uniform(30, 300), rng.uniform(4000, 18000)
    spectrum = np.fft.rfft(rng.standard_normal((2, frames)))
    frequency = np.fft.rfftfreq(frames, 1 / RATE)
    spectrum[:, (frequency < low) | (frequency > high)] = 0
    spectrum[:, 1:] /= np.sqrt(frequency[1:]) ** rng.uniform(0, 1.5)
    wave = np.fft.irfft(spectrum, frames)
    return rng.uniform(0.03, 0.2) * wave / wave.std()


def _with(stems: Array, actual: Array) -> tuple[Array, Array]:
    """Return the stems, and the stems whose first one is ``actual``."""
    return stems, np.stack([actual, *stems[1:]])


def _spectrum(wave: Array) -> Array:
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


def _wave(rng: np.random.Generator) -> Array:
    return _noise(rng, SHORT).astype(np.float32)


# What is right.


@plant(EXACT, "stems", 40)
def _exact(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return stems, stems.copy()


@plant(EXACT, "spectrogram", 20)
def _exact_spectrum(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    return spectrum, spectrum.copy()


@plant(PASSES, "stems", 40)
def _passes(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([_noise(rng, FRAMES), _noise(rng, FRAMES)])
    noise = rng.standard_normal(stems.shape)
    level = np.sqrt(np.mean(stems**2, axis=2, keepdims=True)) * 10 ** (-rng.uniform(62, 110) / 20)
    return stems, stems + noise * level


@plant(PASSES, "spectrogram", 20)
def _passes_spectrum(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = _wave(rng)
    return _spectrum(wave), port(wave)


# What nothing explains.


@plant(UNEXPLAINED, "stems", 20)
def _hiss(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    noise = rng.standard_normal(stems[0].shape) * stems[0].std() * 10 ** (-rng.uniform(5, 50) / 20)
    return _with(stems, stems[0] + noise)


@plant(UNEXPLAINED, "stems", 5)
def _reversed(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, stems[0][:, ::-1])


@plant(UNEXPLAINED, "stems", 5)
def _distorted(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, stems[0] * np.abs(stems[0]) / np.abs(stems[0]).max())


@plant(UNEXPLAINED, "stems", 5)
def _wobbling(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    depth, speed = rng.uniform(0.2, 0.5), rng.uniform(2, 6)
    gain = 1 + depth * np.sin(2 * np.pi * speed * np.arange(FRAMES) / RATE)
    return _with(stems, stems[0] * gain)


@plant(UNEXPLAINED, "spectrogram", 5)
def _hiss_in_spectrum(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    return spectrum, spectrum + rng.standard_normal(spectrum.shape) * spectrum.std() * 10 ** (
        -rng.uniform(10, 60) / 20
    )


@plant("combination", "stems", 10)
def _late_and_loud(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    gain = 10 ** (rng.choice([-1, 1]) * rng.uniform(3, 9) / 20)
    return _with(stems, gain * _shifted(stems[0], int(rng.integers(20, 900))))


@plant("combination", "stems", 10)
def _exchanged_and_loud(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([_noise(rng, FRAMES), _noise(rng, FRAMES)])
    return _with(stems, rng.choice([-1, 1]) * rng.uniform(0.3, 0.6) * stems[0][::-1])


# Time.


def _shifted(wave: Array, samples: int) -> Array:
    moved = np.zeros_like(wave)
    if samples > 0:
        moved[:, samples:] = wave[:, :-samples]
    else:
        moved[:, :samples] = wave[:, -samples:]
    return moved


@plant("delay", "stems", 18)
def _delayed(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    samples = int(rng.choice([-1, 1]) * round(10 ** rng.uniform(0, 4)))
    return _with(stems, _shifted(stems[0], samples))


@plant("delay", "stems", 8)
def _delayed_by_a_fraction(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([_noise(rng, FRAMES), _noise(rng, FRAMES)])
    size = 2 * FRAMES
    ramp = np.exp(-2j * np.pi * np.fft.rfftfreq(size) * rng.uniform(-40, 40))
    moved = np.fft.irfft(np.fft.rfft(stems[0], size) * ramp, size)[:, :FRAMES]
    return _with(stems, moved)


# Level.


@plant("gain", "stems", 12)
def _loud(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, stems[0] * 10 ** (rng.choice([-1, 1]) * rng.uniform(0.02, 12) / 20))


@plant("gain", "stems", 5)
def _one_channel_soft(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, stems[0] * np.array([[1.0], [rng.uniform(0.5, 0.99)]]))


@plant("polarity", "stems", 10)
def _inverted(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, -stems[0])


@plant("offset", "stems", 10)
def _offset(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, stems[0] + rng.choice([-1, 1]) * rng.uniform(0.001, 0.05))


@plant("clipping", "stems", 12)
def _clipped(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    level = np.abs(stems[0]).max() * rng.uniform(0.3, 0.8)
    return _with(stems, np.clip(stems[0], -level, level))


@plant("quantisation", "stems", 6)
def _rounded_to_8_bits(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, np.clip(np.rint(stems[0] * 128), -128, 127) / 128)


@plant("quantisation", "stems", 5)
def _rounded_to_16_bits(rng: np.random.Generator) -> tuple[Array, Array, Gate]:
    stems = _stem(rng)
    dither = 0 if rng.random() < 0.6 else rng.triangular(-1, 0, 1, stems[0].shape)
    return *_with(stems, np.rint(stems[0] * 2**15 + dither) / 2**15), STRICT


@plant("quantisation", "stems", 5)
def _rounded_to_fp16(rng: np.random.Generator) -> tuple[Array, Array, Gate]:
    stems = _stem(rng)
    return *_with(stems, stems[0].astype(np.float16).astype(np.float32)), STRICT


# Routing.


@plant("channels", "stems", 8)
def _exchanged(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, stems[0][::-1])


@plant("channels", "stems", 4)
def _copied(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, stems[0][[0, 0]])


@plant("channels", "stems", 4)
def _mono(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, np.broadcast_to(stems[0].mean(axis=0), stems[0].shape))


@plant("another stem", "stems", 9)
def _another(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    noise = rng.standard_normal(stems[1].shape) * stems[1].std() * 10 ** (-rng.uniform(65, 90) / 20)
    return _with(stems, stems[1] + noise)


# Losses.


@plant("silence", "stems", 4)
def _silent(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, 0 * stems[0])


@plant("silence", "stems", 4)
def _one_channel_silent(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    return _with(stems, stems[0] * np.array([[1.0], [0.0]])[:: rng.choice([-1, 1])])


@plant("dropout", "stems", 11)
def _dropped(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([_noise(rng, FRAMES), _noise(rng, FRAMES)])
    start = int(rng.integers(FRAMES // 10, FRAMES * 8 // 10))
    length = int(rng.choice([rng.integers(1000, 15000), FRAMES]))
    actual = stems[0].copy()
    actual[:, start : start + length] = 0
    return _with(stems, actual)


@plant("band loss", "stems", 5)
def _low_passed(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = _stem(rng)
    spectrum = np.fft.rfft(stems[0])
    spectrum[:, int(rng.uniform(1000, 3500) * FRAMES / RATE) :] = 0
    return _with(stems, np.fft.irfft(spectrum, FRAMES))


@plant("band loss", "stems", 6)
def _filtered_low(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([_noise(rng, FRAMES), _noise(rng, FRAMES)])
    filter_ = signal.butter(8, rng.uniform(1000, 3500), fs=RATE, output="sos")
    return _with(stems, signal.sosfilt(filter_, stems[0]))


@plant("filter", "stems", 6)
def _equalised(rng: np.random.Generator) -> tuple[Array, Array]:
    stems = np.stack([_noise(rng, FRAMES), _noise(rng, FRAMES)])
    taps = np.concatenate([[1.0], rng.uniform(-0.5, 0.5, 40) * np.exp(-np.arange(40) / 10)])
    return _with(stems, signal.lfilter(taps, [1.0], stems[0]))


# Spectrograms.


@plant("scale", "spectrogram", 8)
def _scaled(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    return spectrum, spectrum * rng.choice([64, 1 / 64, 0.5, 2, 4096, 1.001])


@plant("conjugate", "spectrogram", 5)
def _conjugated(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    return spectrum, spectrum * np.array([1, -1, 1, -1])[:, None, None]


@plant("polarity", "spectrogram", 2)
def _negative(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    return spectrum, -spectrum


@plant("layout", "spectrogram", 6)
def _laid_out(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    orders = [(0, 2, 1, 3), (1, 0, 3, 2), (2, 0, 3, 1)]
    return spectrum, spectrum[:, orders[rng.integers(3)]]


@plant("channels", "spectrogram", 3)
def _exchanged_spectra(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    return spectrum, spectrum[:, [2, 3, 0, 1]]


@plant("frame offset", "spectrogram", 8)
def _frames_late(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    frames = int(rng.integers(1, 4)) * int(rng.choice([-1, 1]))
    moved = np.roll(spectrum, frames, axis=3)
    moved[..., slice(0, frames) if frames > 0 else slice(frames, None)] = 0
    return spectrum, moved


@plant("sample offset", "spectrogram", 8)
def _samples_late(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = _wave(rng)
    samples = int(rng.choice([-1, 1]) * round(10 ** rng.uniform(0, 2.9)))
    return _spectrum(wave), port(_shifted(wave, samples))


@plant("window", "spectrogram", 10)
def _windowed(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = _wave(rng)
    windows: list[Array] = [
        np.hanning(N_FFT),
        signal.get_window("hamming", N_FFT),
        signal.get_window("blackman", N_FFT),
        np.ones(N_FFT),
        np.sqrt(signal.get_window("hann", N_FFT)),
        np.kaiser(N_FFT, 8.0),
    ]
    return _spectrum(wave), port(wave, windows[rng.integers(len(windows))])


@plant("bin offset", "spectrogram", 4)
def _lowest_bin_dropped(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = _wave(rng)
    return _spectrum(wave), port(wave, first_bin=1)


@plant("lost bins", "spectrogram", 4)
def _bins_lost(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = _wave(rng) + np.float32(0.01)
    spectrum = _spectrum(wave)
    actual = spectrum.copy()
    actual[:, :, : int(rng.integers(1, 5))] = 0
    return spectrum, actual


@plant("padding", "spectrogram", 6)
def _padded(rng: np.random.Generator) -> tuple[Array, Array]:
    wave = _wave(rng)
    return _spectrum(wave), port(wave, mode=str(rng.choice(["constant", "edge", "symmetric"])))


@plant("quantisation", "spectrogram", 4)
def _spectrum_in_fp16(rng: np.random.Generator) -> tuple[Array, Array]:
    spectrum = _spectrum(_wave(rng))
    return spectrum, spectrum.astype(np.float16).astype(np.float32)


if __name__ == "__main__":
    print(confusion([(case.truth, answer(case)) for case in planted()]), end="")
