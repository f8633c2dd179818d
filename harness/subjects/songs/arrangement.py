"""The plan of a song: tempo, meter, key, sections and who plays when.

A song is a row of bars. A bar has ``Meter.steps_per_bar`` steps (sixteenths; eighths in 12/8), and
swing delays every second step. Times are in seconds from the first sample. Half of the songs start
in the middle of their first bar, whose downbeat then lies before 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs.theory import Chord, Key, draw_key, draw_progression

STEMS: Final = ("drums", "bass", "other", "vocals", "guitar", "piano")
"""The stems of a song, in the order of the six-source HTDemucs models."""


@dataclass(frozen=True)
class Meter:
    """A time signature: ``beat_quarters`` is the length of a beat in quarter notes."""

    name: str
    beats: int
    steps_per_beat: int
    beat_quarters: float

    @property
    def steps_per_bar(self) -> int:
        """Steps of the finest grid in one bar."""
        return self.beats * self.steps_per_beat

    @property
    def compound(self) -> bool:
        """Whether a beat divides by three."""
        return self.steps_per_beat % 3 == 0


METERS: Final = (
    (Meter("4/4", 4, 4, 1.0), 0.70),
    (Meter("3/4", 3, 4, 1.0), 0.12),
    (Meter("6/8", 2, 6, 1.5), 0.10),
    (Meter("12/8", 4, 3, 1.5), 0.08),
)
"""Meters with their probabilities."""

INTENSITY: Final = MappingProxyType(
    {"intro": 0.62, "verse": 0.78, "chorus": 1.0, "bridge": 0.72, "break": 0.55}
)
"""Section kind -> how hard it is played, 0..1."""

_FORMS: Final = (
    ("verse", "chorus", "verse", "chorus", "bridge", "chorus"),
    ("intro", "verse", "chorus", "break", "chorus", "verse"),
    ("chorus", "verse", "bridge", "chorus", "break", "chorus"),
    ("verse", "break", "chorus", "verse", "chorus", "bridge"),
)


@dataclass(frozen=True)
class Section:
    """A part of the form: its kind, its bars [first, first + count) and who is silent in it."""

    kind: str
    first_bar: int
    bar_count: int
    silent: frozenset[str]

    @property
    def intensity(self) -> float:
        """How hard this section is played, 0..1."""
        return INTENSITY[self.kind]


@dataclass(frozen=True)
class Bar:
    """One bar: its number, its section, and its chords, which share it evenly."""

    index: int
    section: Section
    chords: tuple[Chord, ...]

    @property
    def opens_section(self) -> bool:
        """Whether a section starts here (a crash cymbal's place)."""
        return self.index == self.section.first_bar

    @property
    def closes_section(self) -> bool:
        """Whether a section ends here (a fill's place)."""
        return self.index == self.section.first_bar + self.section.bar_count - 1


@dataclass(frozen=True)
class Plan:
    """Everything that the six players must agree on.

    Attributes:
        length: samples.
        tempo_bpm: quarter notes a minute.
        swing: delay of every second step as a fraction of a step, 0 for straight.
        start_s: time of the first bar's downbeat, zero or negative.
    """

    length: int
    tempo_bpm: float
    meter: Meter
    key: Key
    swing: float
    start_s: float
    bars: tuple[Bar, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.length / SAMPLE_RATE

    @property
    def step_s(self) -> float:
        """Seconds in one step."""
        return 60.0 / self.tempo_bpm * self.meter.beat_quarters / self.meter.steps_per_beat

    def time_s(self, bar: Bar, step: float) -> float:
        """When ``step`` of ``bar`` sounds; an odd step comes late by the swing."""
        delay = self.swing if step % 2 == 1 else 0.0
        return self.start_s + (bar.index * self.meter.steps_per_bar + step + delay) * self.step_s

    def span(self, start_s: float, duration_s: float) -> tuple[int, int]:
        """First sample and end of a stretch of time, cut to the song; empty if it is outside."""
        start = min(max(round(start_s * SAMPLE_RATE), 0), self.length)
        end = min(round((start_s + duration_s) * SAMPLE_RATE), self.length)
        return start, max(start, end)

    def bars_of(self, stem: str) -> Iterator[Bar]:
        """The bars in which ``stem`` plays."""
        return (bar for bar in self.bars if stem not in bar.section.silent)

    def chord_at(self, bar: Bar, step: float) -> Chord:
        """The chord that sounds at ``step`` of ``bar``."""
        slot = int(step * len(bar.chords) / self.meter.steps_per_bar)
        return bar.chords[min(max(slot, 0), len(bar.chords) - 1)]

    def chord_spans(self, bar: Bar) -> Iterator[tuple[int, int, Chord]]:
        """(first step, steps, chord) for every chord of ``bar``."""
        steps = self.meter.steps_per_bar // len(bar.chords)
        return ((slot * steps, steps, chord) for slot, chord in enumerate(bar.chords))


def draw_plan(rng: np.random.Generator, length: int) -> Plan:
    """A random plan that covers ``length`` samples."""
    meter = METERS[int(rng.choice(len(METERS), p=[weight for _, weight in METERS]))][0]
    tempo = float(rng.uniform(80.0, 150.0))
    swing = 0.0 if meter.compound or rng.random() < 0.6 else float(rng.uniform(0.1, 0.33))
    bar_s = 60.0 / tempo * meter.beat_quarters * meter.beats
    start_s = -float(rng.choice([0.0, rng.uniform(0.0, 0.5)])) * bar_s
    count = int(np.ceil((length / SAMPLE_RATE - start_s) / bar_s))
    key = draw_key(rng)
    sections = _draw_sections(rng, count)
    return Plan(length, tempo, meter, key, swing, start_s, _draw_bars(rng, key, sections))


def _draw_sections(rng: np.random.Generator, bar_count: int) -> tuple[Section, ...]:
    """Sections of one or two bars in a short song, of two or four in a long one."""
    form = _FORMS[int(rng.integers(len(_FORMS)))]
    sizes = (1, 2) if bar_count <= 8 else (2, 4)
    spans: list[tuple[int, int]] = []
    bar = 0
    while bar < bar_count:
        size = min(int(rng.choice(sizes, p=[0.35, 0.65])), bar_count - bar)
        spans.append((bar, size))
        bar += size
    silent: list[set[str]] = [set() for _ in spans]
    candidates = [i for i, (_, size) in enumerate(spans) if size <= 0.45 * bar_count]
    for stem in rng.permutation(STEMS):
        if candidates and rng.random() < 0.5:
            rest = int(rng.choice(candidates))
            if len(silent[rest]) < 3:
                silent[rest].add(str(stem))
    return tuple(
        Section(form[index % len(form)], first, size, frozenset(silent[index]))
        for index, (first, size) in enumerate(spans)
    )


def _draw_bars(
    rng: np.random.Generator, key: Key, sections: tuple[Section, ...]
) -> tuple[Bar, ...]:
    """Chords for every bar: the choruses have a progression of their own in half of the songs."""
    verse = draw_progression(key, rng)
    chorus = draw_progression(key, rng) if rng.random() < 0.5 else verse
    chords_per_bar = 2 if rng.random() < 0.3 else 1
    bars: list[Bar] = []
    for section in sections:
        progression = chorus if section.kind == "chorus" else verse
        for offset in range(section.bar_count):
            slots = range(offset * chords_per_bar, (offset + 1) * chords_per_bar)
            chords = tuple(progression[slot % len(progression)] for slot in slots)
            bars.append(Bar(section.first_bar + offset, section, chords))
    return tuple(bars)
