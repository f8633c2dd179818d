"""Tells what computes otherwise from what is only written otherwise, as far as that can be told.

Operations that are only left out, or only put in, compute otherwise: what hands on its operand is
gone before programs are compared. Where operations stand instead of others, nothing is known:
a decomposition may be right. So unmatched operations that touch, directly or by a matched operation
between them, make one region, and a region with both missing and inserted ones is written
otherwise. So is one of plain arithmetic with constants beside an operation whose constants changed,
which is how a scale or a bias looks that was folded into a convolution, or taken out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from harness.structure.differences import ProgramChange, ProgramDifference, Significance
from harness.structure.matching import Matching
from harness.structure.terms import Fixed, Term, TermBlock

SPELLINGS: Final = (
    frozenset({"reshape", "expand_dims", "squeeze", "flatten2d"}),
    frozenset({"square", "mul", "pow"}),
    frozenset({"conv", "linear", "matmul"}),
    frozenset({"layer_norm", "instance_norm", "batch_norm"}),
    frozenset({"slice_by_index", "slice_by_size"}),
    frozenset({"concat", "stack"}),
    frozenset({"gather", "gather_along_axis"}),
)
"""Types of which one may stand for another in the same place and compute the same."""

ARITHMETIC: Final = frozenset({"add", "sub", "mul", "real_div"})
"""What a converter folds into the constants of an operation beside it."""


class Disturbance:
    """The unmatched operations of two blocks, in regions.

    Args:
        matching: of the two blocks.
        missing, inserted: their unmatched operations.
        expected, actual: the blocks.
    """

    def __init__(
        self,
        matching: Matching,
        missing: Sequence[Term],
        inserted: Sequence[Term],
        expected: TermBlock,
        actual: TermBlock,
    ) -> None:
        self._matching = matching
        self._region: dict[Term, Term] = {}
        self._touching: dict[Term, set[Term]] = {}  # by expected term: unmatched ones beside it
        for term in (*missing, *inserted):
            self._region[term] = term
        self._join(missing, expected)
        self._join(inserted, actual)
        for terms in self._touching.values():
            self._unite(terms)
        self._folds: set[Term] = set()
        self._mixed = {self._root(t) for t in missing} & {self._root(t) for t in inserted}

    def of_node(self, term: Term) -> Significance:
        """Return what it means that ``term`` is missing or inserted."""
        root = self._root(term)
        written = root in self._mixed or root in self._folds
        return Significance.WRITTEN if written else Significance.COMPUTES

    def of_pair(self, term: Term, other: Term, found: Sequence[ProgramDifference]) -> Significance:
        """Return what differences between two matched operations mean.

        A pair that makes a fold of the region beside it says so to `of_node` from then on.
        """
        if term.type != other.type and any({term.type, other.type} <= g for g in SPELLINGS):
            return Significance.WRITTEN
        roots = {self._root(touching) for touching in self._touching.get(term, ())}
        if not found or not roots:
            return Significance.COMPUTES
        if roots & self._mixed:
            return Significance.WRITTEN
        if all(_is_constant(item) for item in found) and all(map(self._could_fold, roots)):
            self._folds |= roots
            return Significance.WRITTEN
        return Significance.COMPUTES

    def _join(self, terms: Iterable[Term], block: TermBlock) -> None:
        """Join unmatched terms of one side that touch, and note which matched ones they touch."""
        readers = block.readers()
        for term in terms:
            beside = [value.term for value in term.values]
            beside += [reader for reader, _ in readers.get(term, ())]
            for neighbour in beside:
                if neighbour in self._region:
                    self._unite((term, neighbour))
                else:
                    known = self._matching.expected(neighbour)
                    anchor = neighbour if known is None else known
                    self._touching.setdefault(anchor, set()).add(term)

    def _unite(self, terms: Iterable[Term]) -> None:
        first, *others = (self._root(term) for term in terms)
        for root in others:
            self._region[self._root(root)] = self._root(first)

    def _root(self, term: Term) -> Term:
        while self._region[term] is not term:
            term = self._region[term]
        return term

    def _could_fold(self, root: Term) -> bool:
        members = [term for term in self._region if self._root(term) is root]
        return all(
            term.type in ARITHMETIC and any(isinstance(o.source, Fixed) for o in term.operands)
            for term in members
        )


def _is_constant(difference: ProgramDifference) -> bool:
    """Whether a constant has other numbers, or there is one more or one less."""
    return difference.kind is ProgramChange.CONSTANT or (
        difference.kind is ProgramChange.ATTRIBUTE
        and "a constant" in difference.expected + difference.actual
    )
