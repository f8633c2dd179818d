"""The inventory: what a complete run must look at, listed apart from what a test runner collected.

In: a run of the default profile that somebody accepted. Out: an `Inventory`, a small JSON document
that is kept in git. It holds, for every layer, subject, case and recipe, how many gating and how
many exploratory checks there are under each gate, and the names of the bugs that are injected.
Checks that are about no subject are counted under what they are about.

A count is kept by what it grows with: one for each tap, one for each stem, or once. So it holds for
a network with other stems or blocks, too (`harness.workbench.expectation`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.errors import RunError
from harness.verdicts.checks import Check
from harness.verdicts.completeness import Expected, Place, kind_of
from harness.verdicts.faults import InjectedFault
from harness.verdicts.jsondata import parsed, plain, restored

SCHEMA_VERSION: Final = 1
NO_INVENTORY: Final = "what a complete run looks at is not known"
"""How the gap of a run begins that no inventory was found for."""

_TAP: Final = "tap "
"""How the tensor of a tap is labelled."""


@dataclass(frozen=True)
class Shape:
    """What the number of a subject's checks depends on.

    Attributes:
        stems, taps: how many it has.
        trained: whether its weights are; only then is there a quality to keep.
    """

    stems: int
    taps: int
    trained: bool


@dataclass(frozen=True)
class Count:
    """A number of checks, by what it grows with.

    Raises:
        RunError: it is negative, and so would make up for others.
    """

    once: int = 0
    per_stem: int = 0
    per_tap: int = 0

    def __post_init__(self) -> None:
        if min(self.once, self.per_stem, self.per_tap) < 0:
            raise RunError(f"the inventory has a negative count ({self}); expected 0 or more")

    def of(self, shape: Shape) -> int:
        """Return the number for a subject."""
        return self.once + self.per_stem * shape.stems + self.per_tap * shape.taps


@dataclass(frozen=True)
class Cell:
    """How many checks there are at one place, by gate, or by what they are about."""

    layer: str
    subject: str = ""
    case: str = ""
    recipe: str = ""
    gating: Mapping[str, Count] = field(default_factory=dict)
    exploratory: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """What a complete run of the default profile looks at.

    Attributes:
        subjects: each with its shape.
        cells: how many checks there are, place by place.
        faults: the names of the injected bugs.
    """

    subjects: Mapping[str, Shape]
    cells: tuple[Cell, ...]
    faults: tuple[str, ...]

    @classmethod
    def of(
        cls,
        checks: Iterable[Check],
        faults: Iterable[InjectedFault],
        is_trained: Callable[[str], bool],
    ) -> Inventory:
        """Return the inventory of a run's checks and injected bugs."""
        by_place: dict[Place, list[Check]] = defaultdict(list)
        for check in checks:
            by_place[Place.of(check)].append(check)
        names = sorted({place.subject for place in by_place} - {""})
        shapes = {name: _shape(name, by_place, trained=is_trained(name)) for name in names}
        cells = [
            Cell(
                *place,
                gating=_counts((c for c in found if c.gating), shapes.get(place.subject)),
                exploratory=_counts((c for c in found if not c.gating), shapes.get(place.subject)),
            )
            for place, found in sorted(by_place.items())
        ]
        return cls(shapes, tuple(cells), tuple(sorted(fault.name for fault in faults)))

    def rows(self) -> tuple[Expected, ...]:
        """Return what a complete run of the default profile must have."""
        return tuple(
            row for cell in self.cells for row in expected_of(cell, self.subjects.get(cell.subject))
        )

    def to_json(self) -> str:
        """Return the document, a cell on each line: a reviewer sees what grows and what goes."""
        head = {"schema_version": SCHEMA_VERSION, "subjects": plain(self.subjects)}
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
        cells = ",\n".join(json.dumps(_brief(cell)) for cell in self.cells)
        faults = ",\n".join(json.dumps(name) for name in self.faults)
        lines += [f'"cells": [\n{cells}\n]', f'"faults": [\n{faults}\n]']
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Inventory:
        """Read a document that `to_json` wrote.

        Raises:
            RunError: it is none, or one that lists nothing, to which any run would be complete.
        """
        found: Inventory = restored(cls, parsed(text, "inventory", SCHEMA_VERSION), "inventory")
        if not any(cell.gating for cell in found.cells):
            raise RunError("the inventory lists no gating check, so no run could be incomplete")
        for cell in found.cells:
            if cell.subject and cell.subject not in found.subjects:
                raise RunError(f"the inventory counts {cell.subject!r} but has no shape of it")
        return found


def read_inventory(path: Path) -> Inventory:
    """Return the inventory in the file at ``path``.

    Raises:
        RunError: it can't be read or is no inventory.
    """
    try:
        return Inventory.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"can't read {path}: {error}") from error
    except RunError as error:
        raise RunError(f"{path}: {error}") from error


def expected_of(cell: Cell, shape: Shape | None) -> tuple[Expected, ...]:
    """Return what a cell asks for; ``shape`` is that of its subject, ``None`` if it has none."""
    shape = shape or Shape(0, 0, trained=False)
    none = Count()
    return tuple(
        Expected(
            cell.layer,
            cell.subject,
            cell.case,
            cell.recipe,
            kind,
            cell.gating.get(kind, none).of(shape),
            cell.exploratory.get(kind, none).of(shape),
        )
        for kind in sorted({*cell.gating, *cell.exploratory})
    )


def differences(before: Inventory, after: Inventory) -> tuple[str, ...]:
    """Return what two inventories count differently, a line for each place and kind."""
    old, new = (
        {(*row.place, row.kind): (row.gating, row.exploratory) for row in inventory.rows()}
        for inventory in (before, after)
    )
    nothing = (0, 0)
    lines = []
    for key in sorted({*old, *new}):
        for noun, was, now in zip(
            ("gating", "exploratory"), old.get(key, nothing), new.get(key, nothing), strict=True
        ):
            if was != now:
                lines.append(f"{'/'.join(filter(None, key))}: {was} {noun}, now {now}")
    lines += [
        f"fault {name}: no longer injected" for name in before.faults if name not in after.faults
    ]
    lines += [f"fault {name}: new" for name in after.faults if name not in before.faults]
    return tuple(lines)


def _shape(name: str, by_place: Mapping[Place, Collection[Check]], *, trained: bool) -> Shape:
    labels = [
        check.labels
        for place, found in by_place.items()
        if place.subject == name
        for check in found
    ]
    stems = {row["stem"] for row in labels if "stem" in row}
    taps = {row["tensor"] for row in labels if row.get("tensor", "").startswith(_TAP)}
    return Shape(len(stems), len(taps), trained)


def _counts(checks: Iterable[Check], shape: Shape | None) -> dict[str, Count]:
    by_kind: dict[str, list[Check]] = defaultdict(list)
    for check in checks:
        by_kind[kind_of(check)].append(check)
    return {kind: _count(found, shape) for kind, found in sorted(by_kind.items())}


def _count(checks: Sequence[Check], shape: Shape | None) -> Count:
    """Split a number into what grows with stems, with taps, and with neither."""
    if shape is None:
        return Count(once=len(checks))
    of_stems = sum("stem" in check.labels for check in checks)
    of_taps = sum(check.labels.get("tensor", "").startswith(_TAP) for check in checks)
    # Two taps of many, or the worst stem alone, do not grow with the network.
    per_stem = of_stems // shape.stems if shape.stems and of_stems % shape.stems == 0 else 0
    per_tap = of_taps // shape.taps if shape.taps and of_taps % shape.taps == 0 else 0
    once = len(checks) - per_stem * shape.stems - per_tap * shape.taps
    return Count(once, per_stem, per_tap)


def _brief(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON data without what is empty or zero."""
    counts = {
        name: {
            kind: {unit: number for unit, number in plain(count).items() if number}
            for kind, count in value.items()
        }
        for name, value in (("gating", cell.gating), ("exploratory", cell.exploratory))
    }
    words = {name: getattr(cell, name) for name in Place._fields}
    return {name: value for name, value in (words | counts).items() if value}
