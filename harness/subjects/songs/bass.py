"""Bass: lines on roots, fifths and octaves, with subtractive, sub and plucked timbres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Final

import numpy as np

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs import filters
from harness.subjects.songs.arrangement import Bar, Plan
from harness.subjects.songs.envelopes import adsr, faded, smoothed
from harness.subjects.songs.oscillators import noise, oscillator, plucked_string
from harness.subjects.songs.players import Canvas, Humaniser, Note, instrument
from harness.subjects.songs.theory import midi_to_hz, pitch_near

_CENTRE: Final = 35.0
"""MIDI pitch around which roots are placed (B1, 62 Hz)."""

PATTERNS: Final = MappingProxyType(
    {
        "eighths": ((0, "r"), (2, "r"), (4, "r"), (6, "r")),
        "root and fifth": ((0, "r"), (4, "f")),
        "octaves": ((0, "r"), (2, "o"), (4, "r"), (6, "o")),
        "syncopated": ((0, "r"), (3, "r"), (6, "f")),
        "sustained": ((0, "r"),),
        "walking": ((0, "r"), (4, "t")),
        "funk": ((0, "r"), (3, "o"), (4, "r"), (7, "s")),
    }
)
"""Pattern name -> (step, tone) in a cell of eight steps; tones: r root, f fifth, o octave, t third,
s seventh below the octave."""

_TONES: Final = MappingProxyType({"r": 0, "f": 7, "o": 12, "s": 10})


def _cell_notes(
    plan: Plan, bar: Bar, pattern: tuple[tuple[int, str], ...], first: int, steps: int
) -> list[tuple[int, int, float]]:
    """(step, steps, pitch) of the pattern in one chord's span; longer spans repeat it."""
    chord = plan.chord_at(bar, first)
    root = pitch_near(chord.root, _CENTRE)
    cell = 6 if plan.meter.compound else 8
    events = [
        (start + step, tone)
        for start in range(0, steps, cell)
        for step, tone in pattern
        if step < cell and start + step < steps
    ]
    ends = [step for step, _ in events[1:]] + [steps]
    return [
        (
            first + step,
            end - step,
            float(root + (chord.intervals[1] if tone == "t" else _TONES[tone])),
        )
        for (step, tone), end in zip(events, ends, strict=True)
    ]


def compose(plan: Plan, rng: np.random.Generator) -> list[Note]:
    """The bass line: one pattern for soft sections and one for loud ones."""
    human = Humaniser(rng, 0.005, 0.1)
    names = list(PATTERNS)
    soft, loud = (PATTERNS[names[rng.integers(len(names))]] for _ in range(2))
    length = float(rng.uniform(0.55, 0.98))
    notes: list[Note] = []
    for bar in plan.bars_of("bass"):
        pattern = loud if bar.section.intensity > 0.75 else soft
        for first, span, _ in plan.chord_spans(bar):
            for step, steps, pitch in _cell_notes(plan, bar, pattern, first, span):
                velocity = human.velocity((0.9 if step == 0 else 0.75) * bar.section.intensity**0.5)
                start = human.start(plan.time_s(bar, step))
                notes.append(Note(start, steps * plan.step_s * length, pitch, velocity))
    return [note for note in notes if note.start_s < plan.duration_s]


@dataclass(frozen=True)
class _Controls:
    """Sample-by-sample control curves of a monophonic synthesiser, float64 [n] each."""

    frequency_hz: np.ndarray
    level: np.ndarray
    sweep: np.ndarray


def _controls(plan: Plan, notes: list[Note], glide_s: float, decay_s: float) -> _Controls:
    """Pitch with glides, and envelopes of level and filter, for a line of notes."""
    pitch = np.full(plan.length, notes[0].pitch if notes else _CENTRE)
    level, sweep = np.zeros(plan.length), np.zeros(plan.length)
    starts = [max(round(note.start_s * SAMPLE_RATE), 0) for note in notes]
    for note, (start, end) in zip(notes, pairwise([*starts, plan.length]), strict=True):
        if end <= start:
            continue
        gate = max(int((note.start_s + note.duration_s) * SAMPLE_RATE) - start, 1)
        envelope = adsr(
            end - start, gate, attack_s=0.006, decay_s=0.5, sustain=0.75, release_s=0.035
        )
        pitch[start:] = note.pitch
        level[start:end] = note.velocity * envelope
        times = np.arange(end - start) / SAMPLE_RATE
        sweep[start:end] = note.velocity * np.exp(-times / decay_s)
    return _Controls(
        midi_to_hz(smoothed(pitch, glide_s)), smoothed(level, 0.0025), smoothed(sweep, 0.002)
    )


def _mono(signal: np.ndarray) -> np.ndarray:
    return np.stack([signal, signal])


@instrument("bass", "analogue bass", weight=1.3)
def analogue_bass(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Two detuned oscillators through a resonant low-pass that every note sweeps."""
    composing, timbre = rng.spawn(2)
    glide = float(timbre.choice([0.004, 0.03, 0.07]))
    controls = _controls(plan, compose(plan, composing), glide, timbre.uniform(0.08, 0.35))
    detune = timbre.uniform(1.002, 1.008)
    shapes = timbre.choice(["saw", "square", "pulse"], 2)
    wave = oscillator(str(shapes[0]), controls.frequency_hz, timbre.random())
    wave += oscillator(str(shapes[1]), detune * controls.frequency_hz, timbre.random())
    cutoff = (
        controls.frequency_hz * timbre.uniform(1.5, 3.0)
        + timbre.uniform(300.0, 1500.0) * controls.sweep
    )
    swept = filters.moving_lowpass(wave * controls.level, cutoff, timbre.uniform(0.8, 2.5))
    return _mono(swept)


@instrument("bass", "sub bass", weight=0.8)
def sub_bass(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """A saturated sine with a short attack an octave above."""
    composing, timbre = rng.spawn(2)
    controls = _controls(plan, compose(plan, composing), float(timbre.choice([0.01, 0.06])), 0.05)
    angle = 2 * np.pi * np.cumsum(controls.frequency_hz) / SAMPLE_RATE
    drive = timbre.uniform(1.0, 3.0)
    body = np.tanh(drive * np.sin(angle) * controls.level) / np.tanh(drive)
    return _mono(body + 0.35 * controls.sweep * controls.level * np.sin(2 * angle))


def _string_bass(
    plan: Plan, rng: np.random.Generator, string: Callable[[float, int], np.ndarray]
) -> np.ndarray:
    """Notes on plucked strings; a note is damped when the next one starts."""
    composing, timbre = rng.spawn(2)
    canvas = Canvas(plan)
    recordings: dict[float, np.ndarray] = {}
    for note in compose(plan, composing):
        if note.pitch not in recordings:
            full = string(float(midi_to_hz(note.pitch)), int(2.2 * SAMPLE_RATE))
            recordings[note.pitch] = full / np.sqrt(np.mean(full[: SAMPLE_RATE // 4] ** 2))
        length = min(int((note.duration_s + 0.05) * SAMPLE_RATE), 2 * SAMPLE_RATE)
        sound = faded(recordings[note.pitch][:length], 0.002, 0.05)
        thump = filters.apply(
            noise(sound.size, timbre) * np.exp(-np.arange(sound.size) / (0.004 * SAMPLE_RATE)),
            filters.bandpass(900.0, 0.7),
        )
        canvas.add(sound + 0.8 * thump, note.start_s, note.velocity)
    return canvas.signal


@instrument("bass", "fingered electric bass", weight=1.3)
def fingered_bass(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """A round plucked string with its tone control half closed."""
    playing, strings = rng.spawn(2)
    string = partial(plucked_string, rng=strings, sustain_s=1.6, brightness=1.7, max_partials=30)
    return filters.apply(_string_bass(plan, playing, string), filters.lowpass(1400.0))


@instrument("bass", "picked electric bass")
def picked_bass(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """A bright string plucked near the bridge, slightly overdriven."""
    playing, strings = rng.spawn(2)
    string = partial(
        plucked_string,
        rng=strings,
        sustain_s=1.2,
        brightness=1.25,
        pick_position=0.11,
        max_partials=50,
    )
    line = _string_bass(plan, playing, string)
    return np.tanh(0.7 * filters.apply(line, filters.lowpass(3200.0)))
