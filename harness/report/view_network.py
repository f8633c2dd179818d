"""View models of the error along the network, and of the spread between ways to compute.

In: the ``error_along_network`` and ``envelope`` rows of a run. Out: for each subject and case one
panel per recipe on a common scale, with the places where precision is lost; SNR in dB, ``inf``
where a tensor is identical to its reference.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.report.reading import Row, number, objects, rows, text, unique, whole
from harness.report.text import words
from harness.verdicts import GATES, Run

LIMIT_DB = GATES["conversion"].min_snr_db or 0.0
"""The line that is drawn through every panel."""
_DROPS = 5
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


@dataclass(frozen=True)
class Point:
    """The error after one operation; ``precision`` is ``fp16``, ``fp32`` or ``other``."""

    index: int
    op: str
    type: str
    module: str
    precision: str
    snr_db: float | None


@dataclass(frozen=True)
class Stage:
    """A run of operations of one part of the network: indices ``start`` to ``stop``, exclusive."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Drop:
    """An operation at whose output the SNR is a new low, and by how much it fell there."""

    point: Point
    fell_db: float


@dataclass(frozen=True)
class Panel:
    """One recipe along the network.

    Attributes:
        points: what could be compared, in program order; exact ones have ``inf``.
        unknown: how many operations have no ratio (silent, not a number, or not compared).
        limits_db: the common scale of all panels of the group.
    """

    subject: str
    case: str
    recipe: str
    executed: str
    reference: str
    points: tuple[Point, ...]
    stages: tuple[Stage, ...]
    drops: tuple[Drop, ...]
    unknown: int
    operations: int
    limits_db: tuple[float, float]

    @property
    def noun(self) -> str:
        """Return what a point is: a tap of the model, or an operation of the program."""
        return "tap" if self.points and self.points[0].type == "tap" else "operation"

    @property
    def exact(self) -> int:
        """How many operations are identical to their reference."""
        return sum(point.snr_db == math.inf for point in self.points)

    @property
    def below(self) -> int:
        """How many operations do not exceed the line."""
        return sum(not (point.snr_db or 0.0) > LIMIT_DB for point in self.points)

    @property
    def worst(self) -> Point | None:
        """The operation with the lowest ratio."""
        return min(self.points, key=lambda point: point.snr_db or 0.0, default=None)

    @property
    def last(self) -> Point | None:
        """The last operation that could be compared."""
        return self.points[-1] if self.points else None


@dataclass(frozen=True)
class NetworkGroup:
    """All panels of one subject and case."""

    subject: str
    case: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class EnvelopeRow:
    """One tensor under every numerics; ``spread_db`` is the distance between best and worst."""

    case: str
    tensor: str
    snr_db: tuple[float | None, ...]
    spread_db: float | None


@dataclass(frozen=True)
class Envelope:
    """The spread between numerics for one subject and recipe."""

    subject: str
    recipe: str
    numerics: tuple[str, ...]
    rows: tuple[EnvelopeRow, ...]


def network_groups(run: Run, shown: Collection[tuple[str, str]] = ()) -> tuple[NetworkGroup, ...]:
    """Return a group of panels for each subject and case, in the order of the run.

    Args:
        run: what is shown.
        shown: subjects and recipes that are drawn operation by operation elsewhere.
    """
    items = [
        row
        for row in rows(run, "error_along_network")
        if (text(row, "subject"), text(row, "recipe")) not in shown
    ]
    groups = dict.fromkeys((text(row, "subject"), text(row, "case")) for row in items)
    return tuple(
        _group(*key, [row for row in items if (text(row, "subject"), text(row, "case")) == key])
        for key in groups
    )


def _group(subject: str, case: str, items: Sequence[Row]) -> NetworkGroup:
    points = [_points(row) for row in items]
    limits = _limits([point.snr_db for found in points for point in found])
    panels = tuple(_panel(row, found, limits) for row, found in zip(items, points, strict=True))
    return NetworkGroup(subject, case, panels)


def _points(row: Row) -> tuple[Point, ...]:
    found = []
    for place, item in enumerate(objects(row, "points")):
        index, precision = whole(item, "index"), text(item, "precision")
        found.append(
            Point(
                index=place if index is None else index,
                op=text(item, "op"),
                type=text(item, "type"),
                module=text(item, "module"),
                precision=precision if precision in ("fp16", "fp32") else "other",
                snr_db=number(item, "snr_db"),
            )
        )
    return tuple(sorted(found, key=lambda point: point.index))


def _limits(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None and math.isfinite(value)]
    low = min([*known, LIMIT_DB - 10.0])
    high = max([*known, LIMIT_DB + 20.0])
    return max(-20.0, 10.0 * math.floor(low / 10.0)), 10.0 * math.ceil(high / 10.0)


def _panel(row: Row, found: Sequence[Point], limits: tuple[float, float]) -> Panel:
    usable = tuple(
        point for point in found if point.snr_db is not None and not math.isnan(point.snr_db)
    )
    return Panel(
        subject=text(row, "subject"),
        case=text(row, "case"),
        recipe=text(row, "recipe"),
        executed=", ".join(unique((text(row, "engine"), text(row, "numerics")))),
        reference=text(row, "reference"),
        points=usable,
        stages=_stages(found),
        drops=_drops(usable),
        unknown=len(found) - len(usable),
        operations=len(found),
        limits_db=limits,
    )


def _stage(point: Point) -> str:
    name = point.module.split(".")[0]
    return _STAGES.get(name, words(name))


def _stages(points: Sequence[Point]) -> tuple[Stage, ...]:
    found: list[Stage] = []
    for point in points:
        name = _stage(point)
        if found and name in (found[-1].name, ""):
            found[-1] = Stage(found[-1].name, found[-1].start, point.index + 1)
        elif name:
            found.append(Stage(name, point.index, point.index + 1))
    return tuple(found)


def _drops(points: Sequence[Point]) -> tuple[Drop, ...]:
    lowest, found = math.inf, []
    for point in points:
        snr = point.snr_db if point.snr_db is not None else math.inf
        if snr < lowest:
            if math.isfinite(lowest):
                found.append(Drop(point, lowest - snr))
            lowest = snr
    found.sort(key=lambda drop: (-drop.fell_db, drop.point.index))
    return tuple(found[:_DROPS])


def envelopes(run: Run) -> tuple[Envelope, ...]:
    """Return the spread between numerics for each subject and recipe, in the order of the run."""
    items = rows(run, "envelope")
    keys = dict.fromkeys((text(row, "subject"), text(row, "recipe")) for row in items)
    return tuple(
        _envelope(
            *key, [row for row in items if (text(row, "subject"), text(row, "recipe")) == key]
        )
        for key in keys
    )


def _envelope(subject: str, recipe: str, items: Sequence[Row]) -> Envelope:
    numerics = unique(text(row, "numerics") for row in items)
    tensors = dict.fromkeys((text(row, "case"), text(row, "tensor")) for row in items)
    table = {
        (text(row, "case"), text(row, "tensor"), text(row, "numerics")): number(row, "snr_db")
        for row in items
    }
    found = []
    for case, tensor in tensors:
        values = tuple(table.get((case, tensor, name)) for name in numerics)
        known = [value for value in values if value is not None and math.isfinite(value)]
        spread = max(known) - min(known) if len(known) > 1 else None
        found.append(EnvelopeRow(case, tensor, values, spread))
    return Envelope(subject, recipe, numerics, tuple(found))
