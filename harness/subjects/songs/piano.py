"""Piano: struck strings with inharmonic partials, hammer noise and a sustain pedal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Final

import numpy as np

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs import filters
from harness.subjects.songs.arrangement import Bar, Plan
from harness.subjects.songs.effects import tremolo
from harness.subjects.songs.envelopes import faded
from harness.subjects.songs.oscillators import decaying_partials, noise
from harness.subjects.songs.players import Canvas, Humaniser, Note, instrument
from harness.subjects.songs.theory import midi_to_hz, pitch_near, voicing

_RECORDING_S: Final = 2.6


@dataclass(frozen=True)
class Strings:
    """The timbre of an acoustic piano.

    Attributes:
        brightness: slope of the partials; less is brighter.
        decay_s: decay time of the middle register to 1/e.
        detune_cents: between the two strings of a note.
        hammer: level of the hammer's noise.
    """

    brightness: float
    decay_s: float
    detune_cents: float
    hammer: float


PIANOS: Final = MappingProxyType(
    {
        "grand piano": Strings(1.25, 1.3, 0.6, 0.5),
        "bright upright piano": Strings(0.9, 0.9, 2.5, 0.9),
        "felt piano": Strings(2.0, 0.8, 0.8, 1.2),
        "honky-tonk piano": Strings(1.0, 0.9, 9.0, 0.8),
    }
)
"""Piano name -> timbre; a row makes an instrument."""


def strike(timbre: Strings, pitch: int, rng: np.random.Generator) -> np.ndarray:
    """One note that is never released, RMS 1 in its first tenth of a second, [n].

    The partials of a stiff string lie at k f0 sqrt(1 + B k^2). Each decays fast first and slowly
    later, because the two strings of a note drift out of phase.

    Source: Fletcher and Rossing, "The Physics of Musical Instruments", chapter 12.
    """
    frequency = float(midi_to_hz(pitch))
    k = np.arange(1, int(np.clip(9000.0 / frequency, 4, 36)) + 1)
    stiffness = 3e-4 * np.exp2((pitch - 49) / 11.0)
    partials = k * frequency * np.sqrt(1 + stiffness * k**2)
    amplitudes = (0.2 + np.abs(np.sin(np.pi * k / 7.7))) / k**timbre.brightness
    amplitudes *= rng.uniform(0.7, 1.2, k.size)
    decays = timbre.decay_s * (262.0 / frequency) ** 0.5 / (1 + 0.16 * (k - 1))
    detune = np.exp2(timbre.detune_cents * np.array([[-1.0], [1.0]]) / 2400)
    length = int(_RECORDING_S * SAMPLE_RATE)
    tone = decaying_partials(
        (partials * detune).ravel(),
        (decays * np.array([[0.55], [1.6]])).ravel(),
        (amplitudes * np.array([[0.65], [0.35]])).ravel(),
        rng.uniform(-0.4, 0.4, 2 * k.size) - np.pi / 2,
        length,
    )
    tone /= np.sqrt(np.mean(tone[: SAMPLE_RATE // 10] ** 2))
    knock = noise(length // 8, rng) * np.exp(-np.arange(length // 8) / (0.009 * SAMPLE_RATE))
    tone[: length // 8] += timbre.hammer * filters.apply(
        knock, filters.lowpass(min(3.0 * frequency + 500.0, 3500.0)), filters.highpass(90)
    )
    return tone


def tine(pitch: int, rng: np.random.Generator) -> np.ndarray:
    """One note of an electric piano: a few harmonics and the ring of its tine, [n]."""
    frequency = float(midi_to_hz(pitch))
    tone = decaying_partials(
        frequency * np.array([1.0, 2.0, 3.0, 4.0, 5.0, 14.2]),
        np.array([1.3, 0.7, 0.4, 0.3, 0.2, 0.09]),
        np.array([1.0, 0.4, 0.22, 0.1, 0.06, 0.22]) * rng.uniform(0.8, 1.2, 6),
        np.full(6, -np.pi / 2),
        int(_RECORDING_S * SAMPLE_RATE),
    )
    tone /= np.sqrt(np.mean(tone[: SAMPLE_RATE // 10] ** 2))
    return tone


_Notes = list[tuple[int, int, int, float]]
"""(step, steps, pitch, velocity) of each."""
Style = Callable[[Plan, Bar, np.random.Generator], _Notes]


def _block_chords(plan: Plan, bar: Bar, rng: np.random.Generator) -> _Notes:
    """A chord on every beat over an octave in the left hand."""
    beat = plan.meter.steps_per_beat
    notes: _Notes = []
    for first, steps, chord in plan.chord_spans(bar):
        root = pitch_near(chord.root, 43.0)
        notes += [(first, steps, root, 0.7), (first, steps, root + 12, 0.6)]
        for step in range(first, first + steps, beat):
            notes += [(step, beat, pitch, 0.62) for pitch in voicing(chord, 64.0, 3)]
    return notes


def _broken_chords(plan: Plan, bar: Bar, rng: np.random.Generator) -> _Notes:
    """Chord tones one after the other, held by the pedal until the chord changes."""
    stride = 1 if plan.meter.steps_per_beat == 3 else 2
    notes: _Notes = []
    for first, steps, chord in plan.chord_spans(bar):
        tones = (pitch_near(chord.root, 48.0), *voicing(chord, 66.0, 5))
        for count, offset in enumerate(range(0, steps, stride)):
            turn = count % 10
            place = turn if turn < 6 else 10 - turn
            notes.append((first + offset, steps - offset, tones[place], 0.7 if turn == 0 else 0.55))
    return notes


def _stride(plan: Plan, bar: Bar, rng: np.random.Generator) -> _Notes:
    """Bass note and chord in turn, and a syncopated right hand."""
    beat = plan.meter.steps_per_beat
    notes: _Notes = []
    for count, step in enumerate(range(0, plan.meter.steps_per_bar, beat)):
        chord = plan.chord_at(bar, step)
        if count % 2 == 0:
            notes.append((step, beat, pitch_near(chord.root, 41.0), 0.75))
        else:
            notes += [(step, beat // 2, pitch, 0.55) for pitch in voicing(chord, 60.0, 3)]
        if rng.random() < 0.5:
            high = int(rng.choice(voicing(chord, 76.0, 3)))
            notes.append((step + beat // 2, beat // 2, high, 0.65))
    return notes


def _melodic(plan: Plan, bar: Bar, rng: np.random.Generator) -> _Notes:
    """Held chords under a line in the scale."""
    notes: _Notes = []
    for first, steps, chord in plan.chord_spans(bar):
        notes.append((first, steps, pitch_near(chord.root, 45.0), 0.65))
        notes += [(first, steps, pitch, 0.5) for pitch in voicing(chord, 60.0, 3)]
    scale = plan.key.scale_pitches(69, 88)
    place, step = int(rng.integers(scale.size)), 0
    while step < plan.meter.steps_per_bar:
        length = int(rng.choice([1, 2, 4], p=[0.2, 0.5, 0.3]))
        place = int(np.clip(place + rng.integers(-2, 3), 0, scale.size - 1))
        notes.append((step, length, int(scale[place]), 0.7))
        step += length
    return notes


_STYLES: Final[tuple[Style, ...]] = (_block_chords, _broken_chords, _stride, _melodic)


def _perform(
    plan: Plan, strike_key: Callable[[int], np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Two styles, one for soft and one for loud sections; low keys left, high keys right.

    ``strike_key`` makes the sound of a pitch that is never released; each is made once.
    """
    recording = cache(strike_key)
    canvas, human = Canvas(plan), Humaniser(rng, 0.006, 0.1)
    soft, loud = (_STYLES[rng.integers(len(_STYLES))] for _ in range(2))
    notes: list[Note] = []
    for bar in plan.bars_of("piano"):
        style = loud if bar.section.intensity > 0.75 else soft
        for step, steps, pitch, velocity in style(plan, bar, rng):
            start = human.start(plan.time_s(bar, step))
            strength = human.velocity(velocity * bar.section.intensity**0.5)
            notes.append(Note(start, max(steps, 1) * plan.step_s, pitch, strength))
    for note in notes:
        if note.start_s < plan.duration_s:
            pan = float(np.clip((note.pitch - 60) / 40, -0.6, 0.6))
            held = int((note.duration_s + 0.12) * SAMPLE_RATE)
            sound = faded(recording(int(note.pitch))[:held], 0.0015, 0.12)
            canvas.add(sound, note.start_s, note.velocity**1.3, pan)
    return canvas.signal


def _play_strings(timbre: Strings, plan: Plan, rng: np.random.Generator) -> np.ndarray:
    strings, playing = rng.spawn(2)
    return _perform(plan, partial(strike, timbre, rng=strings), playing)


for _name, _timbre in PIANOS.items():
    instrument("piano", _name)(partial(_play_strings, _timbre))


@instrument("piano", "electric piano", weight=1.4)
def electric_piano(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Tines through a stereo tremolo and a warm amplifier."""
    tines, playing = rng.spawn(2)
    dry = _perform(plan, partial(tine, rng=tines), playing)
    warm = np.tanh(0.35 * dry) / 0.35
    return tremolo(warm, playing, depth=playing.uniform(0.0, 0.4))
