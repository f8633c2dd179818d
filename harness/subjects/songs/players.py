"""What every player has in common: notes, the canvas they are drawn on, and the instrument table.

An instrument is a function ``play(plan, rng) -> float64 [2, n]``: the stem's dry stereo sound, at
any level. Registering it by the ``instrument`` decorator is all it takes to add one::

    @instrument("other", "organ", weight=1.0)
    def organ(plan: Plan, rng: np.random.Generator) -> np.ndarray: ...
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.audio.contract import SAMPLE_RATE
from harness.subjects.songs.arrangement import STEMS, Plan

Play = Callable[[Plan, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Instrument:
    """A row of the instrument table; ``weight`` is how often it is drawn within its stem."""

    stem: str
    name: str
    weight: float
    play: Play


_INSTRUMENTS: dict[str, dict[str, Instrument]] = {stem: {} for stem in STEMS}


def instrument(stem: str, name: str, weight: float = 1.0) -> Callable[[Play], Play]:
    """Register a ``Play`` function as instrument ``name`` of ``stem``.

    Raises:
        ValueError: the stem does not exist, or it has an instrument of that name.
    """
    if stem not in _INSTRUMENTS or name in _INSTRUMENTS[stem]:
        raise ValueError(f"instrument {name!r} of stem {stem!r}: unknown stem or repeated name")

    def register(play: Play) -> Play:
        _INSTRUMENTS[stem][name] = Instrument(stem, name, weight, play)
        return play

    return register


def instruments(stem: str) -> tuple[Instrument, ...]:
    """The instruments of ``stem`` in the order of their registration."""
    return tuple(_INSTRUMENTS[stem].values())


def draw_instrument(stem: str, rng: np.random.Generator) -> Instrument:
    """A random instrument of ``stem``, by weight."""
    rows = instruments(stem)
    weights = np.array([row.weight for row in rows])
    return rows[int(rng.choice(len(rows), p=weights / weights.sum()))]


@dataclass(frozen=True)
class Note:
    """One note: start and duration in seconds, MIDI pitch, velocity 0..1."""

    start_s: float
    duration_s: float
    pitch: float
    velocity: float


class Canvas:
    """A stereo buffer, float64 [2, length], that sounds are added to.

    What starts before 0 or ends after the last sample is cut.
    """

    def __init__(self, plan: Plan) -> None:
        self.signal = np.zeros((2, plan.length))

    def add(self, sound: np.ndarray, start_s: float, gain: float = 1.0, pan: float = 0.0) -> None:
        """Add a mono sound [n] with equal-power panning, -1 left to 1 right."""
        angle = (pan + 1.0) * np.pi / 4.0
        sides = np.array([[np.cos(angle)], [np.sin(angle)]]) * (gain * np.sqrt(2.0))
        start = round(start_s * SAMPLE_RATE)
        head = max(-start, 0)
        tail = min(sound.size, self.signal.shape[1] - start)
        if tail > head:
            self.signal[:, start + head : start + tail] += sides * sound[head:tail]


class Humaniser:
    """Small random errors of timing and velocity, as a player makes them.

    Args:
        rng: source of randomness.
        timing_s: standard deviation of the onset in seconds.
        velocity: standard deviation of the velocity, relative.
    """

    def __init__(self, rng: np.random.Generator, timing_s: float, velocity: float) -> None:
        self._rng, self._timing_s, self._velocity = rng, timing_s, velocity

    def start(self, time_s: float) -> float:
        """A moved onset time in seconds."""
        return time_s + float(np.clip(self._rng.normal(), -2.5, 2.5)) * self._timing_s

    def velocity(self, velocity: float) -> float:
        """A changed velocity within 0.05..1."""
        return float(np.clip(velocity * (1 + self._velocity * self._rng.normal()), 0.05, 1.0))
