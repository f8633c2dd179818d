"""Tells what computes otherwise from what is only written otherwise, as far as that can be told.

Operations that are only left out, or only put in, compute otherwise: what hands on its operand is
gone before programs are compared. Where operations stand in the place of others, nothing is known:
a decomposition may be right. So unmatched operations that touch, directly or by a matched operation
between them, make one region, and a region with both missing and inserted ones is written
otherwise. So is one of plain arithmetic with constants beside an operation whose constants changed,
which is how a scale or a bias looks that was folded into a convolution, or taken out of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from harness.structure.differences import Difference, Kind, Severity
from harness.structure.matching import Matching
from harness.structure.terms import Fixed, Node, Scope

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
    """The unmatched operations of two scopes, in regions.

    Args:
        matching: of the two scopes.
        missing, inserted: their unmatched operations.
        expected, actual: the scopes.
    """

    def __init__(
        self,
        matching: Matching,
        missing: Sequence[Node],
        inserted: Sequence[Node],
        expected: Scope,
        actual: Scope,
    ) -> None:
        self._matching = matching
        self._missing = frozenset(missing)
        self._region: dict[Node, Node] = {}
        self._touching: dict[Node, set[Node]] = {}  # by expected node: unmatched ones beside it
        for node in (*missing, *inserted):
            self._region[node] = node
        self._join(missing, expected)
        self._join(inserted, actual)
        for nodes in self._touching.values():
            self._unite(nodes)
        self._folds: set[Node] = set()
        self._mixed = self._find_mixed()

    def of_node(self, node: Node) -> Severity:
        """Return what it means that ``node`` is missing or inserted."""
        root = self._root(node)
        written = root in self._mixed or root in self._folds
        return Severity.WRITTEN if written else Severity.COMPUTES

    def of_pair(self, node: Node, other: Node, found: Sequence[Difference]) -> Severity:
        """Return what differences between two matched operations mean.

        A pair that makes a fold of the region beside it says so to `of_node` from then on.
        """
        if node.type != other.type and any({node.type, other.type} <= g for g in SPELLINGS):
            return Severity.WRITTEN
        roots = {self._root(touching) for touching in self._touching.get(node, ())}
        if not found or not roots:
            return Severity.COMPUTES
        if roots & self._mixed:
            return Severity.WRITTEN
        if all(_is_constant(item) for item in found) and all(map(self._could_fold, roots)):
            self._folds |= roots
            return Severity.WRITTEN
        return Severity.COMPUTES

    def _join(self, nodes: Iterable[Node], scope: Scope) -> None:
        """Join unmatched nodes of one side that touch, and note which matched ones they touch."""
        readers = scope.readers()
        for node in nodes:
            beside = [value.node for value in node.values]
            beside += [reader for reader, _ in readers.get(node, ())]
            for neighbour in beside:
                if neighbour in self._region:
                    self._unite((node, neighbour))
                else:
                    known = self._matching.expected(neighbour)
                    anchor = neighbour if known is None else known
                    self._touching.setdefault(anchor, set()).add(node)

    def _unite(self, nodes: Iterable[Node]) -> None:
        first, *others = (self._root(node) for node in nodes)
        for root in others:
            self._region[self._root(root)] = self._root(first)

    def _root(self, node: Node) -> Node:
        while self._region[node] is not node:
            node = self._region[node]
        return node

    def _find_mixed(self) -> frozenset[Node]:
        missing = {self._root(node) for node in self._region if node in self._missing}
        inserted = {self._root(node) for node in self._region if node not in self._missing}
        return frozenset(missing & inserted)

    def _could_fold(self, root: Node) -> bool:
        members = [node for node in self._region if self._root(node) is root]
        return all(
            node.type in ARITHMETIC and any(isinstance(o.source, Fixed) for o in node.operands)
            for node in members
        )


def _is_constant(difference: Difference) -> bool:
    """Whether a constant has other numbers, or there is one more or one less."""
    return difference.kind is Kind.CONSTANT or (
        difference.kind is Kind.ATTRIBUTE
        and "a constant" in difference.expected + difference.actual
    )
