"""SNR along a network in program order: what the views of taps and of operations share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from harness.report.text import words
from harness.verdicts import GATES

LIMIT_DB = GATES["conversion"].min_snr_db or 0.0
"""The line that is drawn through every figure."""
_STAGES = {
    "tencoder": "encoder",
    "tdecoder": "decoder",
    "crosstransformer": "transformer",
    "channel_upsampler": "transformer",
    "channel_upsampler_t": "transformer",
    "channel_downsampler": "transformer",
    "channel_downsampler_t": "transformer",
    "freq_emb": "encoder",
}


class Point(Protocol):
    """A place in the program, and its ratio."""

    @property
    def snr_db(self) -> float | None:
        """``inf`` where exact, None where there is no ratio."""


PointT = TypeVar("PointT", bound=Point)


class Curve(ABC, Generic[PointT]):
    """One recipe along the network."""

    @property
    @abstractmethod
    def drawn(self) -> tuple[PointT, ...]:
        """The points with a ratio, in program order."""

    @property
    def below(self) -> int:
        """How many of them are not above the line."""
        return sum(not (point.snr_db or 0.0) > LIMIT_DB for point in self.drawn)

    @property
    def worst(self) -> PointT | None:
        """The one with the lowest ratio."""
        return min(self.drawn, key=lambda point: point.snr_db or 0.0, default=None)

    @property
    def last(self) -> PointT | None:
        """The last one."""
        return self.drawn[-1] if self.drawn else None


def with_ratio(points: Iterable[PointT]) -> tuple[PointT, ...]:
    """Return the points that have a ratio."""
    return tuple(p for p in points if p.snr_db is not None and not math.isnan(p.snr_db))


def common_scale(values: Sequence[float | None]) -> tuple[float, float]:
    """Return the ends of the scale, in dB, on which the curves of a group are drawn."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low = min([*known, LIMIT_DB - 10.0])
    high = max([*known, LIMIT_DB + 20.0])
    return max(-20.0, 10.0 * math.floor(low / 10.0)), 10.0 * math.ceil(high / 10.0)


@dataclass(frozen=True)
class Stage:
    """A run of places in one part of the network: ``start`` to ``stop``, exclusive."""

    name: str
    start: int
    stop: int


def stages(places: Iterable[tuple[int, str]]) -> tuple[Stage, ...]:
    """Return the parts of the network, from places in the program and their module paths."""
    found: list[Stage] = []
    for place, module in places:
        first = module.split(".")[0]
        name = _STAGES.get(first, words(first))
        if found and name in (found[-1].name, ""):
            found[-1] = Stage(found[-1].name, found[-1].start, place + 1)
        elif name:
            found.append(Stage(name, place, place + 1))
    return tuple(found)
