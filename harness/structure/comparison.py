"""Does a program compute what another one does, operation by operation, whatever it is called?

`compare_programs` is independent of the names of values, the order of independent operations and of
constants, the layout of weight files, shared and repeated constants, operations that hand on what
they read, operands that commute, and defaults that are written out. Anything else is a difference:
numeric equivalents are not accepted silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from harness.conversion import read_sidecar
from harness.mil import Model
from harness.mil.model import opened
from harness.mil.package import Package
from harness.mil.program import Function
from harness.structure.differences import (
    Places,
    ProgramChange,
    ProgramDifference,
    Significance,
)
from harness.structure.lowering import lower_pair
from harness.structure.matching import Matching
from harness.structure.reading import Reader
from harness.structure.terms import TermBlock, every

ALIGNED_SHARE: Final = 0.5
"""Below this share of matched operations two programs have no common frame to name a change in."""


@dataclass(frozen=True)
class ProgramComparison:
    """A program compared with the one that it should be.

    Attributes:
        expected_operations, actual_operations: how many operations there are, without constants and
            those that hand on what they read.
        matched: how many were found to be the same one, changed or not.
        missing, inserted: how many have no counterpart.
        differences: what differs, in the order of the expected program; empty if nothing does.
        names: for the first result of each operation that has a counterpart, what that is called
            in the actual program.
    """

    expected_operations: int
    actual_operations: int
    matched: int
    missing: int
    inserted: int
    differences: tuple[ProgramDifference, ...]
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Literal["pass", "fail", "not_evaluated"]:
        """``fail`` if anything computes otherwise, ``not_evaluated`` if it may or may not."""
        if not self.differences:
            return "pass"
        return "fail" if self.count(Significance.COMPUTES) else "not_evaluated"

    @property
    def reason(self) -> str:
        """One sentence for the verdict."""
        if not self.differences:
            return f"all {self.expected_operations} operations are those of the model"
        computing, written = map(self.count, (Significance.COMPUTES, Significance.WRITTEN))
        if computing:
            first = next(d for d in self.differences if d.severity is Significance.COMPUTES)
            return f"{_times(computing, 'thing')} computed otherwise, first {_short(first)}"
        return (
            f"{_times(written, 'thing')} written otherwise, which may or may not compute the same, "
            f"first {_short(self.differences[0])}"
        )

    def count(self, severity: Significance) -> int:
        """Return how many differences have ``severity``."""
        return sum(item.severity is severity for item in self.differences)

    def to_dict(self) -> dict[str, Any]:
        """All fields, and what follows from them, as plain Python values."""
        counts = ("expected_operations", "actual_operations", "matched", "missing", "inserted")
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            **{name: getattr(self, name) for name in counts},
            "differences": [item.to_dict() for item in self.differences],
        }


def compare_programs(expected: Model | Package, actual: Model | Package) -> ProgramComparison:
    """Compare what two programs compute, operation by operation.

    Args:
        expected: the program as it should be; its sidecar, if it has one, gives differences their
            place in PyTorch.
        actual: any program; it needs no sidecar. Of a package its default function is compared.

    Raises:
        PackageError: a constant can't be read.
    """
    function, other_function = _function(expected), _function(actual)
    one, other = lower_pair(
        function, opened(expected).constants, other_function, opened(actual).constants
    )
    counts = {
        "expected_operations": sum(1 for _ in every(one)),
        "actual_operations": sum(1 for _ in every(other)),
    }
    if one.digest == other.digest:
        matched = counts["expected_operations"]
        names = _names(one, other)
        return ProgramComparison(
            **counts, matched=matched, missing=0, inserted=0, differences=(), names=names
        )
    sidecar = read_sidecar(expected)
    reader = Reader(Places(sidecar.modules if sidecar else None))
    owner = f"function {function.name!r}"
    reader.read(one, other, owner)
    found = tuple(reader.differences) or (_unplaced(owner),)
    if reader.counts["matched"] < ALIGNED_SHARE * counts["expected_operations"]:
        found = tuple(
            item
            if item.kind is ProgramChange.INTERFACE
            else replace(item, severity=Significance.WRITTEN)
            for item in found
        )
    names = _names(one, other, reader.matching)
    return ProgramComparison(**counts, **reader.counts, differences=found, names=names)


def _names(
    expected: TermBlock, actual: TermBlock, matching: Matching | None = None
) -> dict[str, str]:
    """Return what the operations of one function are called in the other."""
    known = {term.digest: term for term in actual.terms}
    found = {}
    for term in expected.terms:
        other = matching.actual(term) if matching is not None else known.get(term.digest)
        if other is not None:
            found[term.name] = other.name
    return found


def _function(program: Model | Package) -> Function:
    if isinstance(program, Model):
        return program.plan.function
    return program.program.function(program.default_function)


def _unplaced(owner: str) -> ProgramDifference:
    """Return what is said if digests differ and nothing that differs was found: never silence."""
    said = ("one digest", "another, for which no operation accounts")
    return ProgramDifference(owner, "", None, ProgramChange.OPERATION, "", *said)


def _times(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _short(difference: ProgramDifference) -> str:
    text = str(difference)
    return text if len(text) <= 300 else f"{text[:296]} ..."
