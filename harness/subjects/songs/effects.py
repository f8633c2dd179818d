"""Effects on stereo stems, float64 [2, n] in and out.

Every effect is deterministic for a given random generator. ``strip`` is the chain of one stem;
``bus_gain`` is the mix bus: one curve for all stems, so their sum stays their sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs import filters
from harness.subjects.songs.envelopes import sine_motion

_HOP: Final = 64
_MIX_CORNER_HZ: Final = 28.0


def chorus(
    signal: np.ndarray, rng: np.random.Generator, *, depth_ms: float = 3.0, mix: float = 0.5
) -> np.ndarray:
    """Add a copy whose delay moves slowly, in opposite phase on the two sides."""
    length = signal.shape[1]
    rate_hz, start = rng.uniform(0.4, 1.4), rng.random()
    result = np.empty_like(signal)
    positions = np.arange(length, dtype=np.float64)
    for side in (0, 1):
        motion = sine_motion(length, rate_hz, start + 0.5 * side)
        read = positions - (8.0 + depth_ms * motion) * 1e-3 * SAMPLE_RATE
        low = np.floor(read).astype(np.intp)
        fraction = read - low
        padded = np.concatenate([signal[side], signal[side][-1:]])
        below = padded.take(low, mode="clip")
        moved = below + fraction * (padded.take(low + 1, mode="clip") - below)
        moved[read < 0] = 0.0
        result[side] = (1 - 0.5 * mix) * signal[side] + mix * moved
    return result


def tremolo(signal: np.ndarray, rng: np.random.Generator, *, depth: float) -> np.ndarray:
    """Move the sound slowly from side to side."""
    motion = sine_motion(signal.shape[1], rng.uniform(3.5, 6.5), rng.random())
    return signal * (1 + depth * np.stack([motion, -motion]))


def compressor_gain(
    signal: np.ndarray, *, threshold_db: float, ratio: float, attack_s: float, release_s: float
) -> np.ndarray:
    """The gain curve of a compressor that listens to both sides, float64 [n].

    The level is the larger of two one-pole averages of the power of 64-sample blocks, one with the
    attack's time and one with the release's, which needs no loop over samples.
    """
    length = signal.shape[1]
    blocks = -(-length // _HOP)
    power = np.zeros(blocks * _HOP)
    power[:length] = (signal**2).mean(axis=0)
    block_power = power.reshape(blocks, _HOP).mean(axis=1)
    block_rate = SAMPLE_RATE / _HOP
    fast, slow = (
        lfilter([1 - pole], [1, -pole], block_power)
        for pole in (np.exp(-1 / (attack_s * block_rate)), np.exp(-1 / (release_s * block_rate)))
    )
    floor = 1e-10  # -100 dBFS: keeps the logarithm finite where nothing plays
    level_db = 10 * np.log10(np.maximum(np.maximum(fast, slow), floor))
    reduction_db = np.maximum(level_db - threshold_db, 0.0) * (1 / ratio - 1)
    centres = (np.arange(blocks) + 0.5) * _HOP
    return np.asarray(10 ** (np.interp(np.arange(length), centres, reduction_db) / 20))


@dataclass(frozen=True)
class Room:
    """A reverb: decay to -60 dB in s, pre-delay in s, and its damping corner in Hz."""

    decay_s: float
    predelay_s: float
    damping_hz: float

    def response(self, rng: np.random.Generator) -> np.ndarray:
        """A stereo impulse response of exponentially decaying noise, energy 1 a side, [2, k]."""
        length = int(1.1 * self.decay_s * SAMPLE_RATE)
        times = np.arange(length) / SAMPLE_RATE
        tail = rng.standard_normal((2, length)) * np.exp(-6.908 * times / self.decay_s)
        dull = filters.apply(tail, filters.lowpass(self.damping_hz / 3, 0.6))
        bright = filters.apply(tail, filters.lowpass(self.damping_hz, 0.6))
        fade = np.exp(-3.0 * times / self.decay_s)
        shaped = filters.apply(fade * bright + (1 - fade) * dull, filters.highpass(180.0))
        shaped /= np.sqrt((shaped**2).sum(axis=1, keepdims=True))
        return np.pad(shaped, ((0, 0), (int(self.predelay_s * SAMPLE_RATE), 0)))


def draw_room(rng: np.random.Generator) -> Room:
    """Anything from a small room to a hall."""
    decay = float(np.exp(rng.uniform(np.log(0.25), np.log(1.8))))
    return Room(decay, float(rng.uniform(0.0, 0.03)), float(rng.uniform(3500.0, 9000.0)))


def reverberated(signal: np.ndarray, response: np.ndarray, send: float) -> np.ndarray:
    """``signal`` plus ``send`` times its mono sum in the room; the tail is cut at the end."""
    length = signal.shape[1]
    size = next_fast_len(length + response.shape[1], real=True)
    spectrum = rfft(signal.mean(axis=0), size) * rfft(response, size)
    return np.asarray(signal + send * irfft(spectrum, size)[:, :length])


def placed(signal: np.ndarray, *, pan: float, width: float, delay_s: float) -> np.ndarray:
    """Width by mid and side, balance from -1 to 1, and a small delay of one side.

    Args:
        width: 0 is mono, 1 leaves the sides as they are.
        delay_s: positive delays the right side, negative the left.
    """
    mid, side = 0.5 * (signal[0] + signal[1]), 0.5 * width * (signal[0] - signal[1])
    angle = (pan + 1) * np.pi / 4
    gains = np.sqrt(2.0) * np.array([[np.cos(angle)], [np.sin(angle)]])
    sides: np.ndarray = np.stack([mid + side, mid - side]) * gains
    shift = round(abs(delay_s) * SAMPLE_RATE)
    if shift:
        late = 1 if delay_s > 0 else 0
        sides[late] = np.concatenate([np.zeros(shift), sides[late][:-shift]])
    return sides


@dataclass(frozen=True)
class StripStyle:
    """How the channel strip of a stem is drawn.

    Attributes:
        level_db: loudness relative to the other stems.
        max_pan: largest distance from the centre.
        max_delay_s: largest delay between the sides.
        sends: range of the reverb send.
        compression: probability of a compressor.
    """

    level_db: float
    max_pan: float
    max_delay_s: float
    sends: tuple[float, float]
    compression: float


def _draw_equaliser(rng: np.random.Generator) -> list[np.ndarray]:
    """Two bells and a tilt of the treble, a few dB each."""
    bells = [
        filters.peaking(
            float(np.exp(rng.uniform(np.log(150.0), np.log(6000.0)))),
            float(rng.uniform(-4.5, 4.5)),
            float(rng.uniform(0.5, 1.4)),
        )
        for _ in range(2)
    ]
    return [*bells, filters.high_shelf(4000.0, float(rng.uniform(-4.0, 4.0)))]


def strip(
    signal: np.ndarray, style: StripStyle, response: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The channel strip of a stem: level, equaliser, compressor, place, reverb and DC blocker.

    Returns:
        float64 [2, n] whose loud parts have the RMS of ``style.level_db`` dBFS, give or take 4 dB;
        silence stays silence.
    """
    if not signal.any():
        return np.zeros_like(signal)
    shaped = filters.apply(signal, *_draw_equaliser(rng))
    shaped /= active_rms(shaped)
    if rng.random() < style.compression:
        shaped *= compressor_gain(
            shaped,
            threshold_db=float(rng.uniform(-9.0, 0.0)),
            ratio=float(rng.uniform(1.5, 4.0)),
            attack_s=float(rng.uniform(0.003, 0.02)),
            release_s=float(rng.uniform(0.06, 0.2)),
        )
    shaped = placed(
        shaped,
        pan=float(rng.uniform(-1, 1)) * style.max_pan,
        width=float(rng.uniform(0.5, 1.2)),
        delay_s=float(rng.uniform(-1, 1)) * style.max_delay_s,
    )
    shaped = reverberated(shaped, response, float(rng.uniform(*style.sends)))
    corner = filters.highpass(_MIX_CORNER_HZ)
    clean = filters.apply(shaped, corner, corner)
    gain = 10 ** ((style.level_db + float(np.clip(rng.normal(0, 2.0), -4, 4))) / 20)
    return np.asarray(clean * (gain / active_rms(clean)))


def active_rms(signal: np.ndarray) -> float:
    """RMS over the blocks of 50 ms within 30 dB of the loudest block."""
    hop = SAMPLE_RATE // 20
    blocks = max(signal.shape[1] // hop, 1)
    power = (signal[:, : blocks * hop] ** 2).mean(axis=0)
    block_power = power.reshape(blocks, -1).mean(axis=1)
    loud = block_power[block_power >= 1e-3 * block_power.max()]
    return float(np.sqrt(loud.mean()))


def bus_gain(mixture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mix bus compressor's gain, float64 [n]: none in soft songs, strong in loud ones."""
    amount = float(rng.choice([0.0, 1.0, 2.0], p=[0.35, 0.4, 0.25]))
    if amount == 0.0:
        return np.ones(mixture.shape[1])
    return compressor_gain(
        mixture / active_rms(mixture),
        threshold_db=-6.0 * amount,
        ratio=1.5 * amount,
        attack_s=0.003,
        release_s=0.1,
    )
