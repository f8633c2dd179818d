"""Melodies to sing: phrases with rests, in the key, on chord tones where the beat is strong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from harness.subjects.songs.arrangement import Bar, Plan
from harness.subjects.songs.theory import Key

_VOWELS: Final = ("a", "e", "i", "o", "u")
_CONSONANTS: Final = ("", "", "m", "m", "s", "sh", "f", "t", "t", "k")


@dataclass(frozen=True)
class Syllable:
    """A sung note: start and duration in seconds, MIDI pitch, velocity 0..1, and its sounds."""

    start_s: float
    duration_s: float
    pitch: float
    velocity: float
    vowel: str
    consonant: str


@dataclass(frozen=True)
class Phrase:
    """Syllables in one breath; ``loud`` marks a phrase of a chorus."""

    notes: tuple[Syllable, ...]
    loud: bool

    @property
    def start_s(self) -> float:
        """Onset of the first syllable."""
        return self.notes[0].start_s

    @property
    def duration_s(self) -> float:
        """Seconds from the first onset to the end of the last syllable."""
        return self.notes[-1].start_s + self.notes[-1].duration_s - self.start_s

    def shifted(self, key: Key, degrees: int) -> Phrase:
        """The same phrase ``degrees`` scale steps higher, for a second voice."""
        scale = key.scale_pitches(24, 108)
        places = [int(np.abs(scale - note.pitch).argmin()) + degrees for note in self.notes]
        return replace(
            self,
            notes=tuple(
                replace(note, pitch=float(scale[place]))
                for note, place in zip(self.notes, places, strict=True)
            ),
        )


def draw_rhythm(rng: np.random.Generator, steps: int, rest: int) -> tuple[tuple[int, int], ...]:
    """(step, steps) of the notes of one bar that leaves ``rest`` steps free at its end."""
    notes: list[tuple[int, int]] = []
    step = int(rng.choice([0, 0, 0, 1, 2]))
    while step < steps - rest:
        length = int(rng.choice([1, 2, 3, 4, 6], p=[0.12, 0.43, 0.12, 0.23, 0.10]))
        length = min(length, steps - rest - step)
        notes.append((step, length))
        step += length
    return tuple(notes)


class _Line:
    """A random walk on the scale within a range, drawn to chord tones on strong beats."""

    def __init__(self, key: Key, low: float, high: float, rng: np.random.Generator) -> None:
        self._scale, self._rng = key.scale_pitches(low, high), rng
        self._place = int(rng.integers(self._scale.size // 4, 3 * self._scale.size // 4))

    def next_pitch(self, chord_tones: tuple[int, ...], strong: bool) -> float:
        step = int(
            self._rng.choice([-3, -2, -1, 0, 1, 2, 3], p=[0.06, 0.14, 0.25, 0.1, 0.25, 0.14, 0.06])
        )
        place = self._place + step
        size = self._scale.size
        if not 0 <= place < size:
            place = self._place - step
        if strong:
            places = [i for i in range(size) if self._scale[i] % 12 in chord_tones]
            place = min(places, key=lambda i: abs(i - place))
        self._place = place
        return float(self._scale[place])


def compose(
    plan: Plan, pitch_range: tuple[float, float], rng: np.random.Generator
) -> tuple[Phrase, ...]:
    """Phrases of one or two bars that end in a rest; two bar rhythms make the song's motifs.

    Args:
        pitch_range: lowest and highest MIDI pitch.
    """
    steps = plan.meter.steps_per_bar
    motifs = [draw_rhythm(rng, steps, 0), draw_rhythm(rng, steps, max(2, steps // 6))]
    line = _Line(plan.key, *pitch_range, rng)
    phrases: list[Phrase] = []
    pending: list[Syllable] = []
    for bar in plan.bars_of("vocals"):
        closing = bar.index % 2 == 1 or bar.closes_section or rng.random() < 0.25
        pending += _sing_bar(plan, bar, motifs[int(closing)], line, rng)
        if closing and pending:
            phrases.append(Phrase(tuple(pending), bar.section.kind == "chorus"))
            pending = []
    return tuple(phrases)


def _sing_bar(
    plan: Plan,
    bar: Bar,
    rhythm: tuple[tuple[int, int], ...],
    line: _Line,
    rng: np.random.Generator,
) -> list[Syllable]:
    syllables: list[Syllable] = []
    for step, length in rhythm:
        start = plan.time_s(bar, step) + float(rng.normal(0, 0.008))
        strong = step % plan.meter.steps_per_beat == 0
        pitch = line.next_pitch(plan.chord_at(bar, step).pitch_classes, strong)
        vowel, consonant = str(rng.choice(_VOWELS)), str(rng.choice(_CONSONANTS))
        velocity = (0.6 + 0.4 * bar.section.intensity) * float(rng.uniform(0.8, 1.0))
        duration = length * plan.step_s * 0.97
        if 0.0 <= start < plan.duration_s:
            syllables.append(Syllable(start, duration, pitch, velocity, vowel, consonant))
    return syllables
