"""Reading the tables that a run carries beside its checks.

In: ``run.artefacts``, plain JSON data whose rows other programs may have written. Out: typed
fields, ``None`` where a field is missing or is not what it should be. A row that is damaged must
not take the page with it, and must not look like a good one either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.verdicts import Run

Row = Mapping[str, Any]


def rows(run: Run, kind: str) -> tuple[Row, ...]:
    """Return the rows of one kind of artefact that are objects; none if there is no such kind.

    They come in the order in which the run's profile names the recipes: every figure and table of
    a page must name them in the same one.
    """
    found = [row for row in sequence(run.artefacts.get(kind)) if isinstance(row, Mapping)]
    order = {recipe: place for place, recipe in enumerate(run.profile.recipes)}
    return tuple(sorted(found, key=lambda row: order.get(text(row, "recipe"), len(order))))


def objects(row: Row, key: str) -> tuple[Row, ...]:
    """Return those items of a list field that are objects."""
    return tuple(item for item in sequence(row.get(key)) if isinstance(item, Mapping))


def sequence(value: Any) -> tuple[Any, ...]:
    """Return a list as a tuple, and anything else as nothing."""
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def text(row: Row, key: str) -> str:
    """Return a field as text; a missing one is empty."""
    value = row.get(key)
    return "" if value is None else str(value)


def number(row: Row, key: str) -> float | None:
    """Return a field as a number; ``None`` if it is missing or no number."""
    return as_number(row.get(key))


def as_number(value: Any) -> float | None:
    """Return ``value`` as a float; ``None`` if it is no number, or beyond all of them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def whole(row: Row, key: str) -> int | None:
    """Return a field as a whole number; ``None`` if it is none."""
    return as_whole(row.get(key))


def as_whole(value: Any) -> int | None:
    """Return ``value`` as a whole number; ``None`` if it is none."""
    found = as_number(value)
    return int(found) if found is not None and found.is_integer() else None


def flag(row: Row, key: str) -> bool | None:
    """Return a field as a truth value; ``None`` if it is none."""
    value = row.get(key)
    return value if isinstance(value, bool) else None


def unique(values: Iterable[str]) -> tuple[str, ...]:
    """Return the values that are not empty, each once, in their first order."""
    return tuple(dict.fromkeys(value for value in values if value))
