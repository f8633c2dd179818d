"""Which operation of one graph is which of another, where the two are not the same throughout.

Equal digests match at once: those operations, and all that they depend on, are the same. The rest
is matched from there outwards by `harness.structure.search`. A match is no judgement: matched
operations may differ, and what differs is read off them afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

from harness.structure.terms import COMMUTATIVE, Fixed, Operand, Source, Term, TermBlock

Pairing: TypeAlias = list[tuple[Operand | None, Operand | None]]
_Thing = TypeVar("_Thing")


class Matching:
    """The matched operations and inputs of two graphs; grows block by block, outer ones first."""

    def __init__(self) -> None:
        self._forth: dict[Term, Term] = {}
        self._back: dict[Term, Term] = {}

    def actual(self, expected: Term) -> Term | None:
        """Return what an expected term is matched to."""
        return self._forth.get(expected)

    def expected(self, actual: Term) -> Term | None:
        """Return what an actual term is matched to."""
        return self._back.get(actual)

    def agree(self, expected: Source, actual: Source) -> bool:
        """Whether two sources are equal constants, or the same result of matched terms."""
        if isinstance(expected, Fixed) or isinstance(actual, Fixed):
            both = isinstance(expected, Fixed) and isinstance(actual, Fixed)
            return both and expected.digest == actual.digest
        return expected.number == actual.number and self.actual(expected.term) is actual.term

    def add(self, expected: Term, actual: Term) -> None:
        """Match two terms."""
        self._forth[expected], self._back[actual] = actual, expected

    def is_free(self, expected: Term, actual: Term) -> bool:
        """Whether neither of two terms is matched."""
        return expected not in self._forth and actual not in self._back

    def add_equal(self, expected: TermBlock, actual: TermBlock) -> None:
        """Match the inputs of two blocks, and their operations that have one digest."""
        for _, one, other in shared(expected.inputs, actual.inputs):
            self.add(one, other)
        known = {term.digest: term for term in actual.terms}
        for term in expected.terms:
            other_node = known.get(term.digest)
            if other_node is not None and self.is_free(term, other_node):
                self.add(term, other_node)


def paired(expected: Term, actual: Term, matching: Matching) -> Pairing:
    """Return the operands of two terms side by side; None where one has no counterpart.

    Operands that commute are paired by what they are, all others by their place.
    """
    if expected.type in COMMUTATIVE and actual.type in COMMUTATIVE:
        return _paired_commuting(list(expected.operands), list(actual.operands), matching)
    others = {operand.place: operand for operand in actual.operands}
    pairs: Pairing = [(o, others.pop(o.place, None)) for o in expected.operands]
    return [*pairs, *((None, operand) for operand in others.values())]


def _paired_commuting(
    expected: list[Operand], actual: list[Operand], matching: Matching
) -> Pairing:
    pairs: Pairing = []
    rules: tuple[Callable[[Source, Source], bool], ...] = (
        matching.agree,
        lambda one, other: isinstance(one, Fixed) == isinstance(other, Fixed),
    )
    for fits in rules:
        for one in list(expected):
            other = next((o for o in actual if fits(one.source, o.source)), None)
            if other is not None:
                pairs.append((one, other))
                expected.remove(one)
                actual.remove(other)
    return [*pairs, *itertools.zip_longest(expected, actual)]


def shared(
    expected: Mapping[str, _Thing], actual: Mapping[str, _Thing]
) -> list[tuple[str, _Thing, _Thing]]:
    """Return the inputs or outputs that two blocks have in common, with what they are known by."""
    return [(key, thing, actual[key]) for key, thing in expected.items() if key in actual]
