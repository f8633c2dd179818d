"""The inventory: what a complete run must look at, listed apart from what a test runner collected.

In: a run of the default profile that somebody accepted. Out: an `Expectation`, and the small JSON
document of it that is kept in git. It holds, for every layer, subject, case and recipe, how many
gating and how many exploratory checks there are under each gate, and the names of the bugs that are
injected. Checks that are about no subject are counted under what they are about.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from harness.errors import RunError
from harness.verdicts.checks import Check
from harness.verdicts.completeness import Expectation, Expected, Place, kind_of
from harness.verdicts.faults import InjectedFault
from harness.verdicts.jsondata import parsed, plain, read_document, restored

SCHEMA_VERSION: Final = 2
NO_INVENTORY: Final = "what a complete run looks at is not known"
"""How the gap of a run begins that no inventory was found for."""


OPTIONAL_ENGINE: Final = "onnx"
"""Gives a second opinion to who asks for it, so a run without it lacks nothing."""


def inventory_of(checks: Iterable[Check], faults: Iterable[InjectedFault]) -> Expectation:
    """Return the inventory of a run's checks and injected bugs."""
    held = (check for check in checks if check.labels.get("engine") != OPTIONAL_ENGINE)
    counts = Counter((Place.of(check), kind_of(check), check.gating) for check in held)
    rows = sorted({(place, kind) for place, kind, _ in counts})
    return Expectation(
        tuple(
            Expected(*place, kind, counts[place, kind, True], counts[place, kind, False])
            for place, kind in rows
        ),
        tuple(sorted(fault.name for fault in faults)),
    )


def inventory_text(inventory: Expectation) -> str:
    """Return the document, a count on each line: a reviewer sees what grows and what goes."""
    rows = [
        {name: value for name, value in plain(row).items() if value} for row in inventory.checks
    ]
    checks = ",\n".join(map(json.dumps, rows))
    faults = ",\n".join(map(json.dumps, inventory.faults))
    return (
        f'{{\n"schema_version": {SCHEMA_VERSION},\n'
        f'"checks": [\n{checks}\n],\n"faults": [\n{faults}\n]\n}}\n'
    )


def read_inventory(path: Path) -> Expectation:
    """Return the inventory in the file at ``path``.

    Raises:
        RunError: it can't be read, or is no inventory, or one that lists nothing, to which any run
            would be complete.
    """
    return read_document(path, _parsed)


def _parsed(text: str) -> Expectation:
    document = parsed(text, "inventory", SCHEMA_VERSION)
    found: Expectation = restored(Expectation, document, "inventory")
    if not any(row.gating for row in found.checks):
        raise RunError("the inventory lists no gating check, so no run could be incomplete")
    return found


def differences(before: Expectation, after: Expectation) -> tuple[str, ...]:
    """Return what two inventories count differently, a line for each place and kind."""
    old, new = (
        {(*row.place, row.kind): (row.gating, row.exploratory) for row in inventory.checks}
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
