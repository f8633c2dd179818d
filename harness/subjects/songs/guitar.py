"""Guitar: plucked strings in strums, picked arpeggios, muted comping and distorted power chords."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.signal import resample_poly

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs import filters
from harness.subjects.songs.arrangement import Plan
from harness.subjects.songs.effects import chorus
from harness.subjects.songs.envelopes import faded
from harness.subjects.songs.oscillators import noise, plucked_string
from harness.subjects.songs.players import Canvas, Humaniser, instrument
from harness.subjects.songs.theory import Chord, midi_to_hz, pitch_near

STRUMS: Final = ("D...D.U.D.U.D.U.", "D.....U.D...D.U.", "D..U..D...D.U...", "D...D...D.U.D.U.")
"""Strumming patterns, one character for each step: D down, U up; repeated to fill a bar."""

CHUGS: Final = ("X.mmX.mmX.mmX.X.", "X.......X...X...", "X.mmmmX.mmmm..X.", "X...m.m.X...m.m.")
"""Power chord patterns: X open chord, m palm-muted chug."""

COMPS: Final = ("..x..m.x..m.x..m", "x.m.x..x.m.m..x.", "m.x.m.x.m.xxm.x.")
"""Comping patterns: x short chord, m dead strings."""


@dataclass
class _Strings:
    """Recordings of plucked strings, made when a pitch is first needed.

    Attributes:
        sustain_s: decay time of open strings; muted ones die in a twentieth of a second.
    """

    rng: np.random.Generator
    sustain_s: float
    brightness: float
    pick_position: float
    recordings: dict[tuple[int, bool, int], np.ndarray] = field(default_factory=dict)

    def pluck(self, pitch: int, duration_s: float, *, muted: bool = False) -> np.ndarray:
        """A string's sound for ``duration_s``, one of two variants, [n]."""
        key = (pitch, muted, int(self.rng.integers(2)))
        if key not in self.recordings:
            string = plucked_string(
                float(midi_to_hz(pitch)) * float(np.exp2(self.rng.normal(0, 3) / 1200)),
                int((0.25 if muted else 2.2) * SAMPLE_RATE),
                self.rng,
                sustain_s=0.05 if muted else self.sustain_s,
                brightness=self.brightness + (0.5 if muted else 0.0),
                pick_position=self.pick_position,
                max_partials=48,
            )
            self.recordings[key] = string / np.sqrt(np.mean(string[: SAMPLE_RATE // 20] ** 2))
        full = self.recordings[key]
        sound = full[: max(int(duration_s * SAMPLE_RATE), SAMPLE_RATE // 50)]
        return faded(sound, 0.001, min(0.04, duration_s / 3))


def guitar_voicing(chord: Chord, lowest: int = 40) -> tuple[int, ...]:
    """Six pitches as on a guitar: the root low, then chord tones a third to a fourth apart."""
    root = lowest + (chord.root - lowest) % 12
    if root > lowest + 8:
        root -= 12 if root - 12 >= lowest else 0
    pitches, candidate = [root], root + 5
    while len(pitches) < 6:
        if candidate % 12 in chord.pitch_classes:
            pitches.append(candidate)
            candidate += 3
        candidate += 1
    return tuple(pitches)


def _marks(pattern: str, steps: int) -> list[tuple[int, str, int]]:
    """(step, mark, steps until the next mark) of a pattern repeated over a bar."""
    row = [(step, pattern[step % len(pattern)]) for step in range(steps)]
    hits = [(step, mark) for step, mark in row if mark != "."]
    ends = [step for step, _ in hits[1:]] + [steps]
    return [(step, mark, end - step) for (step, mark), end in zip(hits, ends, strict=True)]


def _strummed(plan: Plan, strings: _Strings, pattern: str, rng: np.random.Generator) -> np.ndarray:
    """Down and up strums that ring until the next one, [2, n]."""
    canvas, human = Canvas(plan), Humaniser(rng, 0.006, 0.12)
    spread_s = rng.uniform(0.006, 0.018)
    for bar in plan.bars_of("guitar"):
        for step, mark, steps in _marks(pattern, plan.meter.steps_per_bar):
            pitches = guitar_voicing(plan.chord_at(bar, step))
            if mark == "U":
                pitches = pitches[:1:-1]
            start = human.start(plan.time_s(bar, step))
            velocity = human.velocity((0.9 if mark == "D" else 0.6) * bar.section.intensity**0.5)
            for order, pitch in enumerate(pitches):
                onset = start + order * spread_s
                ring = steps * plan.step_s - order * spread_s + 0.03
                sound = strings.pluck(pitch, max(ring, 0.05))
                canvas.add(sound, onset, velocity * rng.uniform(0.8, 1.0), 0.3 * (order % 2) - 0.15)
    return canvas.signal


def _picked(plan: Plan, strings: _Strings, rng: np.random.Generator, stride: int) -> np.ndarray:
    """A broken chord, one string for every ``stride`` steps, each ringing on, [2, n]."""
    canvas, human = Canvas(plan), Humaniser(rng, 0.006, 0.12)
    order = [0, *rng.permutation([2, 3, 4, 5]), *rng.permutation([1, 3, 4])]
    for bar in plan.bars_of("guitar"):
        for count, step in enumerate(range(0, plan.meter.steps_per_bar, stride)):
            pitches = guitar_voicing(plan.chord_at(bar, step))
            string = order[count % len(order)]
            sound = strings.pluck(pitches[string], 6 * stride * plan.step_s)
            velocity = human.velocity(0.85 if string == 0 else 0.7)
            start = human.start(plan.time_s(bar, step))
            canvas.add(sound, start, velocity, 0.25 * (string / 2.5 - 1))
    return canvas.signal


@instrument("guitar", "strummed steel-string guitar", weight=1.2)
def strummed_acoustic(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Bright strings and the resonances of a wooden body."""
    string_rng, part_rng = rng.spawn(2)
    strings = _Strings(string_rng, 0.9, part_rng.uniform(0.7, 1.0), 0.2)
    pattern = STRUMS[part_rng.integers(len(STRUMS))]
    return filters.apply(
        _strummed(plan, strings, pattern, part_rng),
        filters.highpass(85.0),
        filters.peaking(110.0, 4.0, 2.0),
        filters.peaking(220.0, 3.0, 2.0),
        filters.high_shelf(4500.0, 4.0),
    )


@instrument("guitar", "picked nylon guitar")
def picked_nylon(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Soft, dark strings in broken chords."""
    string_rng, part_rng = rng.spawn(2)
    strings = _Strings(string_rng, 0.6, part_rng.uniform(1.3, 1.6), 0.3)
    stride = 1 if plan.meter.steps_per_beat == 3 else 2
    return filters.apply(
        _picked(plan, strings, part_rng, stride),
        filters.peaking(200.0, 4.0, 1.5),
        filters.lowpass(5200.0),
    )


@instrument("guitar", "clean electric guitar", weight=1.1)
def clean_electric(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Long strings in broken chords through a chorus."""
    string_rng, part_rng = rng.spawn(2)
    strings = _Strings(string_rng, 1.8, part_rng.uniform(0.9, 1.2), part_rng.uniform(0.1, 0.25))
    stride = int(part_rng.choice([1, 2])) if plan.meter.steps_per_beat == 4 else 1
    dry = _picked(plan, strings, part_rng, stride)
    cabinet = filters.apply(dry, filters.peaking(2400.0, 4.0, 0.9), filters.lowpass(5500.0))
    return chorus(cabinet, part_rng, depth_ms=2.5, mix=0.5)


@instrument("guitar", "muted funk guitar", weight=0.7)
def funk(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Short high chords between dead strings."""
    string_rng, part_rng = rng.spawn(2)
    strings = _Strings(string_rng, 0.7, 0.8, 0.12)
    pattern = COMPS[part_rng.integers(len(COMPS))]
    canvas, human = Canvas(plan), Humaniser(part_rng, 0.004, 0.12)
    for bar in plan.bars_of("guitar"):
        for step, mark, _ in _marks(pattern, plan.meter.steps_per_bar):
            start = human.start(plan.time_s(bar, step))
            velocity = human.velocity(0.5 if mark == "m" else 0.85)
            for order, pitch in enumerate(guitar_voicing(plan.chord_at(bar, step))[2:]):
                sound = strings.pluck(pitch, 1.3 * plan.step_s, muted=mark == "m")
                canvas.add(sound, start + 0.003 * order, velocity)
    return filters.apply(
        canvas.signal,
        filters.highpass(250.0),
        filters.peaking(1800.0, 4.0, 1.0),
        filters.lowpass(6000.0),
    )


def _amplifier(signal: np.ndarray, gain: float) -> np.ndarray:
    """Overdrive at twice the sample rate and the response of a guitar cabinet, [n]."""
    tight = filters.apply(signal, filters.highpass(130.0))
    wide = resample_poly(tight, 2, 1)
    shaped = np.tanh(gain * wide + 0.2) - np.tanh(0.2)
    return filters.apply(
        resample_poly(shaped, 1, 2)[: signal.size],
        filters.highpass(75.0),
        filters.peaking(120.0, 3.0, 1.2),
        filters.peaking(2600.0, 5.0, 1.1),
        filters.lowpass(4600.0, 0.9),
        filters.lowpass(6500.0),
    )


@instrument("guitar", "distorted electric guitar", weight=1.2)
def distorted(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Power chords with palm mutes; two takes, one on each side."""
    string_rng, part_rng = rng.spawn(2)
    pattern = CHUGS[part_rng.integers(len(CHUGS))]
    gain = part_rng.uniform(0.6, 3.0)
    strings = _Strings(string_rng, 1.6, part_rng.uniform(0.8, 1.1), 0.1)
    takes = [_power_chords(plan, strings, pattern, part_rng.spawn(1)[0]) for _ in range(2)]
    return np.stack([_amplifier(take, gain) for take in takes])


def _power_chords(
    plan: Plan, strings: _Strings, pattern: str, rng: np.random.Generator
) -> np.ndarray:
    """Root, fifth and octave, before the amplifier, [n]."""
    canvas, human = Canvas(plan), Humaniser(rng, 0.007, 0.08)
    for bar in plan.bars_of("guitar"):
        for step, mark, steps in _marks(pattern, plan.meter.steps_per_bar):
            root = pitch_near(plan.chord_at(bar, step).root, 45.0)
            muted = mark == "m"
            seconds = 0.2 if muted else steps * plan.step_s * 0.97
            start, velocity = human.start(plan.time_s(bar, step)), human.velocity(0.85)
            for order, interval in enumerate((0, 7) if muted else (0, 7, 12)):
                sound = strings.pluck(root + interval, seconds, muted=muted)
                canvas.add(sound, start + 0.002 * order, 0.5 * velocity)
    hum = 2e-4 * noise(plan.length, rng)
    return np.asarray(canvas.signal.mean(axis=0) + hum)
