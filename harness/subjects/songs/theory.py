"""Keys, chords and progressions: the harmony of a generated song.

Pitches are MIDI numbers (60 is middle C, one unit is a semitone, fractions are allowed); pitch
classes are integers 0 to 11 with 0 = C. Nothing here knows time or sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

NOTE_NAMES: Final = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

MODES: Final = MappingProxyType(
    {
        "major": (0, 2, 4, 5, 7, 9, 11),
        "minor": (0, 2, 3, 5, 7, 8, 10),
        "dorian": (0, 2, 3, 5, 7, 9, 10),
        "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    }
)
"""Mode name -> the seven scale degrees in semitones above the tonic."""

PROGRESSIONS: Final = MappingProxyType(
    {
        "major": ((0, 4, 5, 3), (0, 5, 3, 4), (1, 4, 0, 5), (5, 3, 0, 4), (0, 2, 3, 4), (0, 3)),
        "minor": ((0, 5, 2, 6), (0, 3, 6, 2), (0, 6, 5, 4), (0, 3, 4, 0), (0, 5, 3, 6), (0, 6)),
        "dorian": ((0, 3), (0, 2, 3, 0), (0, 6, 3, 0), (0, 1, 2, 3)),
        "mixolydian": ((0, 6, 3, 0), (0, 4, 6, 3), (0, 6), (0, 3, 6, 3)),
    }
)
"""Mode name -> chord progressions as zero-based scale degrees, one chord for each slot."""

_NUMERALS: Final = ("I", "II", "III", "IV", "V", "VI", "VII")


@dataclass(frozen=True)
class Chord:
    """A chord: the pitch class of its root and its tones in semitones above that root."""

    root: int
    intervals: tuple[int, ...]
    numeral: str

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The chord tones as pitch classes, root first."""
        return tuple((self.root + interval) % 12 for interval in self.intervals)


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class) and a mode."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        """The key as a musician writes it, such as ``Eb dorian``."""
        return f"{NOTE_NAMES[self.tonic]} {self.mode}"

    def degree_pitch(self, degree: int) -> int:
        """Semitones above the tonic of a scale degree that may lie outside one octave."""
        octave, step = divmod(degree, 7)
        return 12 * octave + MODES[self.mode][step]

    def chord(self, degree: int, tones: int = 3) -> Chord:
        """The chord that stacks ``tones`` thirds of the scale on ``degree``."""
        root = self.degree_pitch(degree)
        intervals = tuple(self.degree_pitch(degree + 2 * k) - root for k in range(tones))
        numeral = _NUMERALS[degree % 7]
        if intervals[1] == 3:
            numeral = numeral.lower()
        if intervals[2] == 6:
            numeral += "°"
        if tones == 4:
            numeral += "7"
        return Chord((self.tonic + root) % 12, intervals, numeral)

    def scale_pitches(self, low: float, high: float) -> np.ndarray:
        """Every scale pitch from ``low`` to ``high`` (MIDI, inclusive), ascending, int [k]."""
        classes = {(self.tonic + step) % 12 for step in MODES[self.mode]}
        pitches = range(int(np.ceil(low)), int(np.floor(high)) + 1)
        return np.array([pitch for pitch in pitches if pitch % 12 in classes], dtype=int)


def midi_to_hz(pitch: float | np.ndarray) -> np.ndarray:
    """Frequency in Hz of MIDI pitches, equal temperament with A4 = 69 at 440 Hz."""
    return 440.0 * np.exp2((np.asarray(pitch, dtype=np.float64) - 69.0) / 12.0)


def pitch_near(pitch_class: int, centre: float) -> int:
    """The MIDI pitch of ``pitch_class`` that lies nearest to ``centre``."""
    return int(pitch_class + 12 * np.round((centre - pitch_class) / 12.0))


def voicing(chord: Chord, centre: float, tones: int) -> tuple[int, ...]:
    """``tones`` pitches of ``chord``, ascending, closely spaced around ``centre`` (MIDI).

    Chords that follow one another keep near the same centre, so their voices move little.
    """
    low = centre - 2.5 * tones
    pitches = [p for p in range(int(low), int(low) + 60) if p % 12 in chord.pitch_classes]
    return tuple(pitches[:tones])


def draw_key(rng: np.random.Generator) -> Key:
    """A random tonic; major and minor are likelier than the other modes."""
    mode = rng.choice(["major", "minor", "dorian", "mixolydian"], p=[0.38, 0.38, 0.12, 0.12])
    return Key(int(rng.integers(12)), str(mode))


def draw_progression(key: Key, rng: np.random.Generator) -> tuple[Chord, ...]:
    """A progression of the key's mode, as triads or (one time in three) seventh chords."""
    table = PROGRESSIONS[key.mode]
    tones = 4 if rng.random() < 0.33 else 3
    return tuple(key.chord(degree, tones) for degree in table[rng.integers(len(table))])
