"""Drums: synthesised kits that play grooves with ghost notes, fills and crashes.

A groove is a string for each voice with one character for each step: ``X`` accent, ``x`` hit, ``g``
ghost note, ``o`` open hat, ``.`` rest. Stereo is as from the audience.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

import numpy as np

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs import filters
from harness.subjects.songs.arrangement import Bar, Plan
from harness.subjects.songs.envelopes import faded
from harness.subjects.songs.oscillators import decaying_partials, noise
from harness.subjects.songs.players import Canvas, Humaniser, instrument


@dataclass(frozen=True)
class Kit:
    """The parameters of a kit: frequencies in Hz, decay times to 1/e in s, levels relative."""

    kick_hz: float
    kick_sweep: float
    kick_decay_s: float
    kick_click: float
    snare_hz: float
    snare_decay_s: float
    snare_noise: float
    snare_band_hz: float
    hat_hz: float
    hat_decay_s: float
    hat_noise: float
    tom_hz: float


KITS: Final = MappingProxyType(
    {
        "acoustic kit": Kit(58, 2.6, 0.13, 0.5, 185, 0.07, 0.9, 3200, 7200, 0.035, 0.6, 88),
        "rock kit": Kit(64, 3.2, 0.10, 0.9, 210, 0.09, 1.2, 2600, 6400, 0.045, 0.8, 78),
        "analogue drum machine": Kit(
            47, 1.8, 0.34, 0.15, 170, 0.05, 0.8, 4200, 8200, 0.022, 0.15, 105
        ),
        "club drum machine": Kit(52, 5.0, 0.18, 1.0, 230, 0.06, 1.4, 1900, 9000, 0.030, 0.4, 95),
        "brushed kit": Kit(66, 1.7, 0.09, 0.2, 200, 0.12, 1.6, 5200, 6000, 0.06, 0.9, 100),
    }
)
"""Kit name -> parameters; a row makes an instrument."""

GROOVES: Final = MappingProxyType(
    {
        "4/4": (
            ("x.......x.......", "....X.......X...", "x.x.x.x.x.x.x.x."),
            ("x.....x.x.......", "....X..g.g..X...", "x.x.x.x.x.x.x.o."),
            ("X...X...X...X...", "....x.......x...", "..o...o...o...o."),
            ("x..x..x...x.....", "....X..g....X..g", "xxxxxxxxxxxxxxxx"),
            ("x.x.......xx....", "....X..g.g..X...", "x.xxx.xxx.xxx.xo"),
            ("x.........x.....", "........X.......", "x...x...x...x.x."),
        ),
        "3/4": (
            ("x...........", "....x...x...", "x.x.x.x.x.x."),
            ("x.......x...", "....X.....g.", "x...x...x.o."),
        ),
        "6/8": (
            ("x.....x.....", "......X.....", "x.x.x.x.x.x."),
            ("x...x.......", "......X...g.", "x.x.x.x.x.o."),
        ),
        "12/8": (
            ("x.....x.....", "...X.....X..", "x.xx.xx.xx.x"),
            ("x..x..x..x..", "...X..g..X..", "xxxxxxxxxxxx"),
        ),
    }
)
"""Meter name -> grooves as (kick, snare, hats)."""

_VELOCITY: Final = MappingProxyType({"X": 1.0, "x": 0.78, "g": 0.25, "o": 0.8})
_VARIANTS: Final = 2


def _burst(length: int, decay_s: float, rng: np.random.Generator) -> np.ndarray:
    decay = np.exp(-np.arange(length) / (decay_s * SAMPLE_RATE))
    return np.asarray(noise(length, rng) * decay)


def kick(kit: Kit, rng: np.random.Generator) -> np.ndarray:
    """A sine whose pitch falls from ``kick_sweep`` times to ``kick_hz``, and a click, [n]."""
    length = int(min(6 * kit.kick_decay_s, 0.9) * SAMPLE_RATE)
    times = np.arange(length) / SAMPLE_RATE
    frequency = kit.kick_hz * (1 + (kit.kick_sweep - 1) * np.exp(-times / 0.022))
    body = np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE) * np.exp(
        -times / kit.kick_decay_s
    )
    click = filters.apply(_burst(length, 0.004, rng), filters.bandpass(3000.0, 0.7))
    return faded(np.tanh(1.4 * body) + 2.5 * kit.kick_click * click, 0.0005, 0.02)


def snare(kit: Kit, rng: np.random.Generator) -> np.ndarray:
    """Two drum modes and the band noise of the wires, [n]."""
    length = int(0.45 * SAMPLE_RATE)
    detune = rng.uniform(0.985, 1.015)
    body = decaying_partials(
        kit.snare_hz * detune * np.array([1.0, 1.59, 2.14]),
        kit.snare_decay_s * np.array([1.0, 0.7, 0.5]),
        np.array([0.7, 0.4, 0.2]),
        rng.uniform(-2.0, -1.0, 3),
        length,
    )
    wires = filters.apply(
        _burst(length, 1.5 * kit.snare_decay_s, rng),
        filters.highpass(700.0),
        filters.peaking(kit.snare_band_hz, 9.0, 0.8),
    )
    return faded(body + 0.6 * kit.snare_noise * wires, 0.0005, 0.05)


def cymbal(lowest_hz: float, decay_s: float, hiss: float, rng: np.random.Generator) -> np.ndarray:
    """Metallic sound: 96 inharmonic modes from ``lowest_hz`` up, and noise, [n]."""
    length = int(min(5 * decay_s, 3.0) * SAMPLE_RATE)
    modes = lowest_hz * np.exp(rng.uniform(0.0, np.log(15000.0 / lowest_hz), 96))
    metal = decaying_partials(
        modes,
        decay_s * rng.uniform(0.5, 1.3, 96),
        rng.uniform(0.035, 0.11, 96),
        rng.uniform(0, 2 * np.pi, 96),
        length,
    )
    shimmer = filters.apply(_burst(length, decay_s, rng), filters.highpass(lowest_hz))
    return faded(0.7 * metal + hiss * shimmer, 0.001, 0.2 * length / SAMPLE_RATE)


def tom(frequency_hz: float, rng: np.random.Generator) -> np.ndarray:
    """A drum with a falling pitch and a stick's noise, [n]."""
    length = int(0.55 * SAMPLE_RATE)
    times = np.arange(length) / SAMPLE_RATE
    sweep = frequency_hz * (1 + 0.35 * np.exp(-times / 0.05))
    body = np.sin(2 * np.pi * np.cumsum(sweep) / SAMPLE_RATE) * np.exp(-times / 0.16)
    stick = filters.apply(_burst(length, 0.012, rng), filters.bandpass(2200.0, 0.6))
    return faded(body + 0.8 * stick, 0.0005, 0.05)


def _render_kit(kit: Kit, rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Voice name -> ``_VARIANTS`` recordings of it."""
    recipes: dict[str, Callable[[], np.ndarray]] = {
        "kick": lambda: kick(kit, rng),
        "snare": lambda: snare(kit, rng),
        "hat": lambda: cymbal(kit.hat_hz, kit.hat_decay_s, kit.hat_noise, rng),
        "open hat": lambda: cymbal(kit.hat_hz, 7 * kit.hat_decay_s, kit.hat_noise, rng),
        "crash": lambda: cymbal(0.4 * kit.hat_hz, 0.7, kit.hat_noise, rng),
        "tom 1": lambda: tom(1.6 * kit.tom_hz, rng),
        "tom 2": lambda: tom(1.25 * kit.tom_hz, rng),
        "tom 3": lambda: tom(kit.tom_hz, rng),
    }
    return {name: [make() for _ in range(_VARIANTS)] for name, make in recipes.items()}


_LEVEL: Final = MappingProxyType(
    {"kick": 1.0, "snare": 0.85, "hat": 0.32, "open hat": 0.3, "crash": 0.4}
    | {f"tom {i}": 0.7 for i in (1, 2, 3)}
)
_PAN: Final = MappingProxyType(
    {"kick": 0.0, "snare": 0.08, "hat": -0.4, "open hat": -0.4, "crash": 0.45}
    | {"tom 1": -0.35, "tom 2": 0.1, "tom 3": 0.45}
)

Hit = tuple[str, float, float]
"""Voice, step, velocity."""


def _bar_hits(
    bar: Bar, groove: tuple[str, str, str], fill_steps: int, rng: np.random.Generator
) -> list[Hit]:
    """The hits of one bar; its last ``fill_steps`` steps are a fill."""
    steps = len(groove[0])
    hits: list[Hit] = [("crash", 0, 0.9)] if bar.opens_section and bar.index else []
    for voice, pattern in zip(("kick", "snare", "hat"), groove, strict=True):
        for step, mark in enumerate(pattern[: steps - fill_steps]):
            if mark != ".":
                name = "open hat" if mark == "o" else voice
                hits.append((name, step, _VELOCITY[mark]))
    for step in range(steps - fill_steps, steps):
        if rng.random() < 0.8:
            voice = str(rng.choice(["snare", "tom 1", "tom 2", "tom 3"]))
            hits.append((voice, step, 0.55 + 0.4 * (step + fill_steps - steps) / fill_steps))
    return hits


def _play_kit(kit: Kit, plan: Plan, rng: np.random.Generator) -> np.ndarray:
    kit_rng, part_rng = rng.spawn(2)
    voices = _render_kit(kit, kit_rng)
    canvas = Canvas(plan)
    human = Humaniser(part_rng, 0.004, 0.08)
    grooves = GROOVES[plan.meter.name]
    choice = {kind: grooves[part_rng.integers(len(grooves))] for kind in ("quiet", "loud")}
    width = part_rng.uniform(0.5, 1.2) * part_rng.choice([-1.0, 1.0])
    for bar in plan.bars_of("drums"):
        groove = choice["loud" if bar.section.intensity > 0.75 else "quiet"]
        fills = bar.closes_section and part_rng.random() < 0.7
        fill_steps = int(part_rng.integers(1, 3)) * plan.meter.steps_per_beat if fills else 0
        for voice, step, velocity in _bar_hits(bar, groove, fill_steps, part_rng):
            strength = human.velocity(velocity * (0.55 + 0.45 * bar.section.intensity))
            canvas.add(
                voices[voice][part_rng.integers(_VARIANTS)],
                human.start(plan.time_s(bar, step)),
                _LEVEL[voice] * strength**1.4,
                float(np.clip(_PAN[voice] * width, -0.9, 0.9)),
            )
    return canvas.signal


for _name, _kit in KITS.items():
    instrument("drums", _name)(partial(_play_kit, _kit))
