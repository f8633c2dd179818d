"""Vocals: a singing voice from a glottal wave, moving formants, consonants and breaths.

The source-filter model: a band-limited pulse train with portamento, vibrato and jitter, and some
aspiration noise, drives five parallel formants that move from vowel to vowel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs import filters
from harness.subjects.songs.arrangement import Plan
from harness.subjects.songs.envelopes import faded, sine_motion, smoothed, wander
from harness.subjects.songs.melody import Phrase, compose
from harness.subjects.songs.oscillators import MAX_FRACTION, noise, read_table, wavetable
from harness.subjects.songs.players import Canvas, instrument
from harness.subjects.songs.theory import midi_to_hz

_BLOCK: Final = 512
"""Samples between two formant positions."""

VOWELS: Final = MappingProxyType(
    {
        "a": ((700, 1150, 2600, 3100, 3700), (0, -5, -14, -16, -26)),
        "e": ((430, 1800, 2550, 3300, 3800), (0, -11, -13, -17, -26)),
        "i": ((300, 2150, 2900, 3400, 3900), (0, -14, -15, -19, -28)),
        "o": ((430, 830, 2500, 2950, 3600), (0, -8, -20, -21, -30)),
        "u": ((330, 680, 2450, 2900, 3500), (0, -13, -24, -25, -32)),
    }
)
"""Vowel -> formant frequencies in Hz (of a male voice) and levels in dB."""

_BANDWIDTHS_HZ: Final = np.array([80.0, 95.0, 130.0, 160.0, 200.0])

CONSONANTS: Final = MappingProxyType(
    {
        "s": (6800.0, 1.6, 0.085, 0.30),
        "sh": (3400.0, 1.6, 0.080, 0.32),
        "f": (5000.0, 0.4, 0.060, 0.16),
        "t": (4200.0, 0.9, 0.016, 0.55),
        "k": (1900.0, 1.4, 0.022, 0.50),
        "m": (300.0, 1.0, 0.070, 0.0),
        "": (1000.0, 1.0, 0.0, 0.0),
    }
)
"""Consonant -> centre in Hz, Q, seconds, level of its noise; ``m`` only dips the voice."""


@dataclass(frozen=True)
class Voice:
    """A singer: range in MIDI, vocal tract and manner.

    Attributes:
        formant_scale: shorter tracts have higher formants; 1 is a man's.
        tilt: slope of the glottal harmonics, k ** -tilt.
        breath: level of the aspiration noise.
        vibrato_cents: depth of the vibrato.
    """

    low: float
    high: float
    formant_scale: float
    tilt: float
    breath: float
    vibrato_cents: float


VOICES: Final = MappingProxyType(
    {
        "soprano": Voice(64, 81, 1.2, 0.80, 0.05, 38),
        "alto": Voice(57, 74, 1.14, 0.75, 0.06, 28),
        "breathy alto": Voice(55, 70, 1.16, 1.10, 0.22, 16),
        "tenor": Voice(52, 69, 1.02, 0.60, 0.04, 30),
        "baritone": Voice(45, 62, 0.95, 0.70, 0.06, 24),
    }
)
"""Voice name -> parameters; a row makes an instrument."""


def _pitch_curve(voice: Voice, phrase: Phrase, length: int, rng: np.random.Generator) -> np.ndarray:
    """MIDI pitch at every sample: portamento, delayed vibrato, jitter and a scoop, [length]."""
    target = np.full(length, phrase.notes[0].pitch - 0.8)
    depth = np.zeros(length)
    for note in phrase.notes:
        start = max(int((note.start_s - phrase.start_s) * SAMPLE_RATE), 1)
        target[start:] = note.pitch
        since = (np.arange(length - start) / SAMPLE_RATE - 0.25) / 0.3
        depth[start:] = np.clip(since, 0.0, 1.0)
    glided = smoothed(smoothed(target, 0.022), 0.022)
    vibrato = sine_motion(length, rng.uniform(4.8, 6.3), rng.random())
    jitter = 0.07 * wander(length, 30.0, rng) + 0.10 * wander(length, 4.0, rng)
    return np.asarray(glided + voice.vibrato_cents / 100 * depth * vibrato + jitter)


def _level_curve(phrase: Phrase, length: int, rng: np.random.Generator) -> np.ndarray:
    """Voicing level at every sample: swells, dips for consonants, shimmer, [length]."""
    times: list[float] = [0.0]
    levels: list[float] = [0.0]
    for note in phrase.notes:
        onset = note.start_s - phrase.start_s
        end = onset + note.duration_s
        gap = min(CONSONANTS[note.consonant][2], 0.4 * note.duration_s)
        dip = 0.45 if note.consonant == "m" else (0.05 if gap else 0.8)
        swell = note.velocity * rng.uniform(0.85, 1.0)
        times += [onset, onset + gap, onset + gap + 0.035, onset + 0.6 * note.duration_s, end]
        levels += [dip * levels[-1], dip * note.velocity, swell, note.velocity, 0.8 * note.velocity]
    times += [times[-1] + 0.09]
    levels += [0.0]
    curve = np.interp(np.arange(length) / SAMPLE_RATE, np.maximum.accumulate(times), levels)
    shimmer = 1 + 0.06 * wander(length, 25.0, rng)
    return np.asarray(smoothed(curve, 0.006) * shimmer)


def _formants(
    voice: Voice, phrase: Phrase, blocks: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres in Hz, bandwidths in Hz and linear gains of the formants, [5, blocks] each."""
    moments = (np.arange(blocks) + 0.5) * _BLOCK / SAMPLE_RATE
    knots: list[float] = []
    shapes: list[str] = []
    for note in phrase.notes:
        onset = note.start_s - phrase.start_s
        knots += [onset + 0.03, onset + max(note.duration_s - 0.04, 0.04)]
        shapes += [note.vowel, note.vowel]
    ordered = np.maximum.accumulate(knots)
    centres = np.array([VOWELS[vowel][0] for vowel in shapes], dtype=np.float64)
    levels_db = np.array([VOWELS[vowel][1] for vowel in shapes], dtype=np.float64)
    curves = np.array([np.interp(moments, ordered, column) for column in centres.T])
    gains = np.array([np.interp(moments, ordered, column) for column in levels_db.T])
    scale = np.full((5, 1), voice.formant_scale)
    bandwidths = np.repeat(_BANDWIDTHS_HZ[:, None] * scale, blocks, axis=1)
    return curves * scale, bandwidths, 10 ** (gains / 20)


def _consonant(kind: str, rng: np.random.Generator) -> np.ndarray:
    centre, q, seconds, level = CONSONANTS[kind]
    length = int((seconds + 0.01) * SAMPLE_RATE)
    band = filters.apply(noise(length, rng), filters.bandpass(centre, q))
    return faded(level * band, 0.2 * seconds, 0.4 * seconds)


def sing(voice: Voice, phrase: Phrase, rng: np.random.Generator) -> np.ndarray:
    """One phrase from its first onset to a little after its last note, float64 [n]."""
    length = int((phrase.duration_s + 0.2) * SAMPLE_RATE)
    frequency = midi_to_hz(_pitch_curve(voice, phrase, length, rng))
    level = _level_curve(phrase, length, rng)
    count = int(np.clip(MAX_FRACTION * SAMPLE_RATE / frequency.max(), 1, 120))
    k = np.arange(1, count + 1)
    pulses = wavetable(k ** -(voice.tilt + 0.15 * rng.uniform(-1, 1)), np.zeros(count))
    source = read_table(pulses, frequency, rng.random())
    source += voice.breath * noise(length, rng) * (1 + 0.5 * source)
    blocks = -(-length // _BLOCK)
    voiced = filters.moving_resonators(source * level, *_formants(voice, phrase, blocks), _BLOCK)
    loudness = np.sqrt(np.mean(voiced**2))
    for note in phrase.notes:
        if CONSONANTS[note.consonant][3]:
            burst = _consonant(note.consonant, rng) * note.velocity * loudness * 4.0
            start = int((note.start_s - phrase.start_s) * SAMPLE_RATE)
            piece = voiced[start : start + burst.size]
            piece += burst[: piece.size]
    return np.asarray(voiced / loudness)


def _breath(rng: np.random.Generator) -> np.ndarray:
    """An inhalation of a quarter of a second, [n]."""
    air = filters.apply(
        noise(int(0.26 * SAMPLE_RATE), rng), filters.bandpass(1700.0, 0.6), filters.highpass(500.0)
    )
    return faded(air, 0.16, 0.08)


def _sing_part(voice: Voice, plan: Plan, rng: np.random.Generator) -> np.ndarray:
    composing, singing, backing = rng.spawn(3)
    canvas = Canvas(plan)
    harmony = backing.random() < 0.45
    for phrase in compose(plan, (voice.low, voice.high), composing):
        canvas.add(sing(voice, phrase, singing), phrase.start_s)
        canvas.add(_breath(singing), phrase.start_s - 0.3, 0.25)
        if harmony and phrase.loud:
            side = float(backing.choice([-0.6, 0.6]))
            second = phrase.shifted(plan.key, 2)
            canvas.add(sing(voice, second, backing), phrase.start_s, 0.4, side)
    return canvas.signal


for _name, _voice in VOICES.items():
    instrument("vocals", _name)(partial(_sing_part, _voice))
