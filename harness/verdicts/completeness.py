"""Whether a run looked at everything that it had to: what was expected, and what of it is missing.

In: an `Expectation`, which comes from the inventory and not from what a test runner collected, and
the checks and injected bugs of a run. Out: how many of them were made, and a line for each layer
and subject of which some were not: a test that was deleted, ignored, renamed or never collected
can't report that it is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from harness.verdicts.checks import Check, Verdict
from harness.verdicts.faults import InjectedFault
from harness.verdicts.jsondata import Count

_NAMED: Final = 4
"""Of what is missing in one group, so many are named."""


class Place(NamedTuple):
    """Where checks are counted; a check that has no such label has an empty word there."""

    layer: str
    subject: str
    case: str
    recipe: str

    @classmethod
    def of(cls, check: Check) -> Place:
        """Return where a check is counted: one that is about no subject, in its layer alone."""
        if "subject" not in check.labels:
            return cls(check.layer, "", "", "")
        return cls(check.layer, *(check.labels.get(n, "") for n in ("subject", "case", "recipe")))


def kind_of(check: Check) -> str:
    """Return what checks at one place are counted by."""
    gate = check.gate.name if check.gate else "-"
    return gate if "subject" in check.labels else check.labels.get("what", gate)


@dataclass(frozen=True)
class Expected:
    """How many checks of one kind a run must have at one place.

    ``engine`` names one that somebody asked for beside those of the inventory: its checks are
    counted apart, and make up for none of the others'.
    """

    layer: str
    subject: str = ""
    case: str = ""
    recipe: str = ""
    kind: str = ""
    gating: Count = 0
    exploratory: Count = 0
    engine: str = ""

    @property
    def place(self) -> Place:
        """Where they are counted."""
        return Place(self.layer, self.subject, self.case, self.recipe)


@dataclass(frozen=True)
class Expectation:
    """What one run must look at by the inventory; the inventory is that of a complete one.

    Attributes:
        checks: how many of them, by place and kind.
        faults: the names of the bugs that must have been injected.
        narrowed: what the run was narrowed to, such as ``case song``; empty for all of it.
    """

    checks: tuple[Expected, ...]
    faults: tuple[str, ...] = ()
    narrowed: tuple[str, ...] = ()


class Completeness:
    """What a run's checks and injected bugs are beside what was expected of it."""

    def __init__(
        self, expected: Expectation, checks: Sequence[Check], faults: Sequence[InjectedFault]
    ) -> None:
        self._expected = expected
        apart = {row.engine for row in expected.checks}
        self._made = {
            gating: _tally((check for check in checks if check.gating is gating), apart)
            for gating in (True, False)
        }
        injected = {fault.name for fault in faults}
        self._lost_faults = [name for name in expected.faults if name not in injected]

    def gating(self, layer: str = "") -> tuple[int, int]:
        """Return how many of the expected gating checks there are, and how many are expected."""
        rows = [row for row in self._expected.checks if layer in ("", row.layer)]
        return sum(self._found(row, gating=True) for row in rows), sum(row.gating for row in rows)

    def faults(self) -> tuple[str, ...]:
        """Return which known bugs should have been injected and were not, in one line."""
        lost, total = self._lost_faults, len(self._expected.faults)
        if not lost:
            return ()
        rest = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        names = f"{', '.join(lost[:_NAMED])}{rest}"
        return (f"faults: {len(lost)} of {total} expected faults were not injected: {names}",)

    def shortfalls(self, layer: str) -> tuple[str, ...]:
        """Return what of a layer was not looked at, a line for each subject."""
        rows = [row for row in self._expected.checks if row.layer == layer]
        lines = []
        for subject in dict.fromkeys(row.subject for row in rows):
            mine = [row for row in rows if row.subject == subject]
            for noun, gating in (("gating", True), ("exploratory", False)):
                lines += self._shortfall(layer, subject, mine, noun, gating=gating)
        return tuple(lines)

    def _shortfall(
        self, layer: str, subject: str, rows: Sequence[Expected], noun: str, *, gating: bool
    ) -> list[str]:
        wanted = {row: row.gating if gating else row.exploratory for row in rows}
        found = {row: self._found(row, gating=gating) for row in rows}
        short = [row for row in rows if found[row] < wanted[row]]
        if not short:
            return []
        made, total = sum(found.values()), sum(wanted.values())
        about = f" of {subject}" if subject else ""
        line = f"layer {layer}: {made} of {total} expected {noun} checks{about} were made"
        if made:
            named = [f"{found[row]} of {wanted[row]} {_where(row)}" for row in short[:_NAMED]]
            rest = f" and {len(short) - _NAMED} more" if len(short) > _NAMED else ""
            line += f": {', '.join(named)}{rest}"
        return [line]

    def _found(self, row: Expected, *, gating: bool) -> int:
        """Return how many of the checks that a row expects there are; more count for nothing."""
        return min(
            self._made[gating][row.place, row.kind, row.engine],
            row.gating if gating else row.exploratory,
        )


def _tally(checks: Iterable[Check], apart: Collection[str]) -> Counter[tuple[Place, str, str]]:
    """Count what was looked at, engines ``apart`` apart; two checks of one identity are one."""
    judged = {check.id: check for check in checks if check.verdict is not Verdict.NOT_EVALUATED}
    engines = {name: check.labels.get("engine", "") for name, check in judged.items()}
    return Counter(
        (Place.of(check), kind_of(check), engines[name] if engines[name] in apart else "")
        for name, check in judged.items()
    )


def _where(row: Expected) -> str:
    words = ("on", row.case), ("in", row.recipe), ("by", row.engine)
    return " ".join((row.kind, *(f"{word} {name}" for word, name in words if name)))
