"""Other: pads, bowed strings, organ, brass stabs, synthesiser arpeggios and bells."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs import filters
from harness.subjects.songs.arrangement import Plan
from harness.subjects.songs.envelopes import adsr, faded, sine_motion, wander
from harness.subjects.songs.oscillators import (
    decaying_partials,
    oscillator,
    read_table,
    wavetable,
)
from harness.subjects.songs.players import Canvas, Humaniser, instrument
from harness.subjects.songs.theory import midi_to_hz, voicing


def _held_chords(plan: Plan, tones: int, centre: float) -> list[tuple[float, float, list[float]]]:
    """(start s, duration s, pitches) of every chord; equal neighbours are held through."""
    held: list[tuple[float, float, list[float]]] = []
    for bar in plan.bars_of("other"):
        for first, steps, chord in plan.chord_spans(bar):
            start = plan.time_s(bar, first)
            pitches = [float(p) for p in voicing(chord, centre, tones)]
            if (
                held
                and held[-1][2] == pitches
                and abs(sum(held[-1][:2]) - start) < 0.5 * plan.step_s
            ):
                held[-1] = (held[-1][0], held[-1][1] + steps * plan.step_s, pitches)
            else:
                held.append((start, steps * plan.step_s, pitches))
    return [chord for chord in held if chord[0] < plan.duration_s and chord[0] + chord[1] > 0]


def _detuned_saws(
    plan: Plan, rng: np.random.Generator, *, centre: float, detune_cents: float, attack_s: float
) -> np.ndarray:
    """Held chords on detuned saws, the odd voices left and the even ones right, [2, n]."""
    signal = np.zeros((2, plan.length))
    release_s = 0.25
    for start_s, duration_s, pitches in _held_chords(plan, 4, centre):
        start, end = plan.span(start_s, duration_s + 3 * release_s)
        gate = round((start_s + duration_s) * SAMPLE_RATE) - start
        envelope = adsr(
            end - start, gate, attack_s=attack_s, decay_s=2.0, sustain=0.8, release_s=release_s
        )
        envelope = faded(envelope, 0.0, 0.1)
        for pitch in pitches:
            for side in (0, 1):
                bend = detune_cents * rng.uniform(0.3, 1.0) * rng.choice([-1.0, 1.0]) / 100.0
                drift = 0.04 * wander(end - start, 1.5, rng)
                frequency = midi_to_hz(pitch + bend) * (1 + 0.0577 * drift)
                signal[side, start:end] += envelope * oscillator("saw", frequency, rng.random())
    return signal


@instrument("other", "synthesiser pad", weight=1.2)
def pad(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Detuned saws under a low-pass that opens and closes slowly."""
    raw = _detuned_saws(
        plan, rng, centre=rng.uniform(56.0, 66.0), detune_cents=9.0, attack_s=rng.uniform(0.08, 0.3)
    )
    motion = sine_motion(plan.length, rng.uniform(0.08, 0.35), rng.random())
    cutoff = rng.uniform(700.0, 1800.0) * np.exp2(1.3 * motion)
    q = rng.uniform(0.8, 2.0)
    return np.stack([filters.moving_lowpass(side, cutoff, q) for side in raw])


@instrument("other", "string section", weight=1.2)
def string_section(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Slow saws with the resonances of bowed instruments' bodies."""
    raw = _detuned_saws(
        plan, rng, centre=rng.uniform(62.0, 71.0), detune_cents=6.0, attack_s=rng.uniform(0.06, 0.2)
    )
    return filters.apply(
        raw,
        filters.highpass(180.0),
        filters.peaking(480.0, 5.0, 1.5),
        filters.peaking(1250.0, 4.0, 1.5),
        filters.lowpass(rng.uniform(3500.0, 6500.0), 0.6),
    )


@instrument("other", "drawbar organ")
def organ(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Drawbars through a rotating loudspeaker: its tremolo differs between the sides."""
    harmonics = np.zeros(16)
    for harmonic, level in zip((1, 2, 3, 4, 6, 8, 10, 12, 16), rng.uniform(0, 1, 9), strict=True):
        harmonics[harmonic - 1] = level if harmonic > 2 else 0.5 + 0.5 * level
    table = wavetable(harmonics)
    mono = np.zeros(plan.length)
    spin = sine_motion(plan.length, rng.choice([0.9, 6.4]), rng.random())
    for start_s, duration_s, pitches in _held_chords(plan, 4, rng.uniform(50.0, 58.0)):
        start, end = plan.span(start_s, duration_s)
        for pitch in pitches:
            frequency = midi_to_hz(pitch) * (1 + 0.0015 * spin[start:end])
            mono[start:end] += faded(read_table(table, frequency, rng.random()), 0.008, 0.02)
    depth = rng.uniform(0.1, 0.3)
    return np.stack([mono * (1 + depth * spin), mono * (1 - depth * spin)])


@instrument("other", "brass section", weight=0.9)
def brass(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Chord stabs and swells of saws whose brightness follows their loudness."""
    human = Humaniser(rng, 0.006, 0.1)
    canvas, level = Canvas(plan), np.zeros(plan.length)
    pattern = rng.random(plan.meter.steps_per_bar) < 0.28
    pattern[0] = True
    centre, length_steps = rng.uniform(58.0, 65.0), float(rng.choice([1.5, 3.0, 6.0]))
    for bar in plan.bars_of("other"):
        for step in np.flatnonzero(pattern).tolist():
            start = human.start(plan.time_s(bar, step))
            gate = int(length_steps * plan.step_s * SAMPLE_RATE)
            envelope = adsr(
                gate + SAMPLE_RATE // 8,
                gate,
                attack_s=0.04,
                decay_s=0.3,
                sustain=0.75,
                release_s=0.04,
            )
            for pitch in voicing(plan.chord_at(bar, step), centre, 3):
                scoop = -0.6 * np.exp(-np.arange(envelope.size) / (0.03 * SAMPLE_RATE))
                frequency = midi_to_hz(pitch + scoop + rng.normal(0, 0.04))
                sound = envelope * oscillator("saw", frequency, rng.random())
                canvas.add(sound, start, human.velocity(0.8), rng.uniform(-0.5, 0.5))
            onset = round(start * SAMPLE_RATE)
            shown = level[max(onset, 0) : max(onset + envelope.size, 0)]
            head = max(-onset, 0)
            np.maximum(shown, envelope[head : head + shown.size], out=shown)
    cutoff = 350.0 + rng.uniform(2500.0, 4500.0) * level**1.5
    return np.stack([filters.moving_lowpass(side, cutoff, 0.9) for side in canvas.signal])


@instrument("other", "synthesiser arpeggio")
def arpeggio(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Chord tones in even steps, each a short saw or pulse under a closing low-pass."""
    human = Humaniser(rng, 0.002, 0.15)
    canvas = Canvas(plan)
    shape = str(rng.choice(["saw", "pulse", "square"]))
    stride = int(rng.choice([1, 2])) if plan.meter.steps_per_beat == 4 else 1
    order = rng.permutation(4)
    centre, brightness = rng.uniform(64.0, 74.0), rng.uniform(4.0, 9.0)
    decay_s = rng.uniform(0.12, 0.3)
    length = int(4.5 * decay_s * SAMPLE_RATE)
    envelope = faded(np.exp(-np.arange(length) / (decay_s * SAMPLE_RATE)), 0.003, 0.03)
    recordings: dict[int, np.ndarray] = {}
    for bar in plan.bars_of("other"):
        turn = cycle(order)
        for step in range(0, plan.meter.steps_per_bar, stride):
            pitch = voicing(plan.chord_at(bar, step), centre, 4)[next(turn)]
            if pitch not in recordings:
                frequency = float(midi_to_hz(pitch))
                wave = oscillator(shape, np.full(length, frequency), rng.random())
                cutoff = frequency * (1.0 + brightness * envelope)
                recordings[pitch] = envelope * filters.moving_lowpass(wave, cutoff, 1.6)
            pan = 0.5 if step // stride % 2 else -0.5
            start = human.start(plan.time_s(bar, step))
            canvas.add(recordings[pitch], start, human.velocity(0.8), pan)
    return canvas.signal


@instrument("other", "mallets and bells", weight=0.8)
def bells(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Struck bars: few inharmonic partials, a broken chord in eighths."""
    human = Humaniser(rng, 0.006, 0.15)
    canvas = Canvas(plan)
    ratios = (
        np.array([1.0, 3.98, 9.2, 2.0]) if rng.random() < 0.5 else np.array([1, 2.76, 5.4, 8.93])
    )
    decays = rng.uniform(0.5, 1.1) * np.array([1.0, 0.4, 0.15, 0.5])
    centre, length = rng.uniform(70.0, 79.0), int(1.8 * SAMPLE_RATE)
    recordings: dict[int, np.ndarray] = {}
    for bar in plan.bars_of("other"):
        for step in range(0, plan.meter.steps_per_bar, 2):
            if rng.random() > 0.75:
                continue
            pitch = int(rng.choice(voicing(plan.chord_at(bar, step), centre, 4)))
            if pitch not in recordings:
                struck = decaying_partials(
                    float(midi_to_hz(pitch)) * ratios,
                    decays,
                    np.array([1.0, 0.45, 0.2, 0.2]),
                    rng.uniform(-1.7, -1.4, 4),
                    length,
                )
                recordings[pitch] = faded(struck, 0.001, 0.2)
            start = human.start(plan.time_s(bar, step))
            canvas.add(recordings[pitch], start, human.velocity(0.8), rng.uniform(-0.6, 0.6))
    return canvas.signal
