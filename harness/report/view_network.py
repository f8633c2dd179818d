"""View models of the error along the network, and of the spread between ways to compute.

In: the ``error_along_network`` and ``envelope`` rows of a run. Out: for each subject and case one
panel per recipe on a common scale, tap by tap; SNR in dB, ``inf`` where a tensor is identical to
its reference.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.report.curve import Curve, Stage, common_scale, stages, with_ratio
from harness.report.reading import Row, number, objects, rows, text, unique, whole
from harness.verdicts import Run


@dataclass(frozen=True)
class Point:
    """The error of one tap; ``precision`` is ``fp16``, ``fp32`` or ``other``."""

    index: int
    op: str
    type: str
    module: str
    precision: str
    snr_db: float | None


@dataclass(frozen=True)
class Panel(Curve[Point]):
    """One recipe along the network.

    Attributes:
        points: what could be compared, in program order; exact ones have ``inf``.
        unknown: how many taps have no ratio (silent, not a number, or not compared).
        limits_db: the common scale of all panels of the group.
    """

    subject: str
    case: str
    recipe: str
    executed: str
    reference: str
    points: tuple[Point, ...]
    stages: tuple[Stage, ...]
    unknown: int
    limits_db: tuple[float, float]

    @property
    def drawn(self) -> tuple[Point, ...]:
        """All points: what has no ratio is none."""
        return self.points

    @property
    def exact(self) -> int:
        """How many taps are identical to their reference."""
        return sum(point.snr_db == math.inf for point in self.points)


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
    limits = common_scale([point.snr_db for found in points for point in found])
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


def _panel(row: Row, found: Sequence[Point], limits: tuple[float, float]) -> Panel:
    usable = with_ratio(found)
    return Panel(
        subject=text(row, "subject"),
        case=text(row, "case"),
        recipe=text(row, "recipe"),
        executed=", ".join(unique((text(row, "engine"), text(row, "numerics")))),
        reference=text(row, "reference"),
        points=usable,
        stages=stages((point.index, point.module) for point in found),
        unknown=len(found) - len(usable),
        limits_db=limits,
    )


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
