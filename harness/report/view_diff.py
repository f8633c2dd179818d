"""View models of what one recipe does otherwise than another: which operations, of which types.

In: the operation series of a run. Out: for each recipe of a subject the recipe before it in the
run, and the operations whose precision differs between their packages, by type and part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap

from harness.report.order import grouped
from harness.report.view_operations import Series, part_of


@dataclass(frozen=True)
class Moved:
    """Operations of one type in one part that changed their precision."""

    type: str
    module: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class RecipeDiff:
    """What ``after`` does otherwise than ``before``.

    Attributes:
        narrowed: FP32 before, FP16 after.
        widened: FP16 before, FP32 after.
        alike: operations with one precision in both.
        apart: operations that only one of the packages has.
        gained_db: SNR of the last operation after, less that before; None if it is unknown.
    """

    subject: str
    before: str
    after: str
    narrowed: tuple[Moved, ...]
    widened: tuple[Moved, ...]
    alike: int
    apart: int
    gained_db: float | None

    @property
    def narrowed_count(self) -> int:
        """How many operations went to FP16."""
        return sum(len(moved.names) for moved in self.narrowed)

    @property
    def widened_count(self) -> int:
        """How many operations went to FP32."""
        return sum(len(moved.names) for moved in self.widened)


def recipe_diffs(series: Sequence[Series]) -> tuple[RecipeDiff, ...]:
    """Return a difference for each recipe of a subject but its first one."""
    found: list[RecipeDiff] = []
    for mine in grouped(series, lambda item: item.row.subject).values():
        recipes = grouped(mine, lambda item: item.row.recipe).values()
        found += starmap(_diff, pairwise(items[0] for items in recipes))
    return tuple(found)


def _diff(before: Series, after: Series) -> RecipeDiff:
    old = {point.operation: point.precision for point in before.points}
    new = {point.operation: point.precision for point in after.points}
    shared = old.keys() & new.keys()
    return RecipeDiff(
        subject=after.row.subject,
        before=before.row.recipe,
        after=after.row.recipe,
        narrowed=_moved(after, old, "fp32", "fp16"),
        widened=_moved(after, old, "fp16", "fp32"),
        alike=sum(old[name] == new[name] for name in shared),
        apart=len(old.keys() ^ new.keys()),
        gained_db=_gained(before, after),
    )


def _moved(
    after: Series, old: Mapping[str, str], came_from: str, went_to: str
) -> tuple[Moved, ...]:
    moved = (
        point
        for point in after.points
        if old.get(point.operation) == came_from and point.precision == went_to
    )
    groups = grouped(moved, lambda point: (point.type, part_of(point.module)))
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Moved(*key, tuple(point.operation for point in mine)) for key, mine in ranked)


def _gained(before: Series, after: Series) -> float | None:
    old, new = before.drawn[-1:], after.drawn[-1:]
    for one, other in zip(old, new, strict=False):
        gained = (other.snr_db or 0.0) - (one.snr_db or 0.0)
        return gained if math.isfinite(gained) else None
    return None
