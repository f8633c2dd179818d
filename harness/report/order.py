"""In which order a page names things: that of the run's profile, and of their first appearance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from harness.verdicts import Run


class OfRecipe(Protocol):
    """What belongs to a subject under a recipe."""

    @property
    def subject(self) -> str:
        """Name of the subject."""

    @property
    def recipe(self) -> str:
        """Name of the recipe."""


Row = TypeVar("Row", bound=OfRecipe)
Item = TypeVar("Item")
Key = TypeVar("Key")


def by_recipe(run: Run, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return rows in the order in which the run's profile names their subjects and recipes.

    Every figure and table of a page must name them in the same order.
    """
    subjects, recipes = map(_places, (run.profile.subjects, run.profile.recipes))
    return tuple(sorted(rows, key=lambda row: (subjects(row.subject), recipes(row.recipe))))


def _places(names: Sequence[str]) -> Callable[[str], int]:
    order = {name: place for place, name in enumerate(names)}
    return lambda name: order.get(name, len(order))


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return items by what they share; the first of each group gives it its place."""
    found: dict[Key, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """Return the values that are not empty, each once, in their first order."""
    return tuple(dict.fromkeys(value for value in values if value))
