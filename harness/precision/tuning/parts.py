"""The error of every set of precisions at once: what rounding each value and constant costs.

An operation in FP16 pays for its *own* part: its constants and its result are rounded. One that
reads in FP16 what another made in FP32 pays for the *edge* between them: the value is rounded there
after all. So FP32 for one operation alone removes little, where its neighbours stay in FP16, and
which operations to choose is a question about neighbours (`trade`).

Both are sums of shares that the sites of a sensitivity have on average, part by part.

Operations that only move values are no part of the question: a value that is rounded before them is
rounded behind them. They run in FP32 where they carry an FP32 value to a reader in FP32, and in
FP16 everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.mil.plan import Plan
from harness.precision.sensitivity import RESULT, Site
from harness.precision.virtual import floating_reads, operation_name

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Parts:
    """What each part adds to each measure of the output error.

    Attributes:
        operations: names of the operations that compute, in program order.
        measures: names of the measures.
        own: [operations, measures].
        edges: maker, reader (indices of operations; -1 for the program's inputs) of each edge.
        at_edges: [edges, measures].
    """

    operations: tuple[str, ...]
    measures: tuple[str, ...]
    own: Array
    edges: tuple[tuple[int, int], ...]
    at_edges: Array

    def error(self, wide: npt.NDArray[np.bool_]) -> Array:
        """Return the error by measure, where the operations in ``wide`` run in FP32."""
        total: Array = self.own[~wide].sum(0)
        if self.edges:
            makers, readers = np.array(self.edges).T
            rounded = np.where(makers < 0, True, wide[makers]) & ~wide[readers]
            total = total + self.at_edges[rounded].sum(0)
        return total

    def without_unknown(self) -> tuple[Parts, npt.NDArray[np.bool_]]:
        """Return the parts that can be told, and a mask of the operations of those that can't.

        The derivative of a root is infinite at an exact zero (the deviation of a constant signal).
        A share that is not finite predicts nothing, so it counts as 0 and its operations have to
        stay in FP32.
        """
        unknown = np.array(~np.isfinite(self.own).all(axis=1))
        at_edges = np.array(np.isfinite(self.at_edges).all(axis=1))
        for (maker, reader), told in zip(self.edges, at_edges, strict=True):
            if not told:
                unknown[reader] = True
                if maker >= 0:
                    unknown[maker] = True
        own = np.where(unknown[:, None], 0.0, self.own)
        edges = np.where(at_edges[:, None], self.at_edges, 0.0)
        return replace(self, own=own, at_edges=edges), unknown

    def scaled(self, factors: Array) -> Parts:
        """Return the same parts with each measure's error times its factor."""
        return replace(self, own=self.own * factors, at_edges=self.at_edges * factors)

    def corrected(self, operations: npt.NDArray[np.bool_], factors: Array) -> Parts:
        """Return the same parts with what ``operations`` round times the factor of each measure."""
        own = np.where(operations[:, None], self.own * factors, self.own)
        at_edges = self.at_edges
        if self.edges:
            readers = np.array(self.edges)[:, 1]
            at_edges = np.where(operations[readers][:, None], at_edges * factors, at_edges)
        return replace(self, own=own, at_edges=at_edges)


def parts_of(plan: Plan, shares: Mapping[Site, Array], measures: Sequence[str]) -> Parts:
    """Return the parts of the error from what `part_sites` have of each measure on average."""
    made = {site.operation for site in shares if site.read == RESULT}
    steps = [step for step in plan.steps if step.operation.name in made]
    index = {step.operation.name: number for number, step in enumerate(steps)}
    own = np.zeros((len(steps), len(measures)))
    makers = _makers(plan, index)
    edges, at_edges = [], []
    for site, share in shares.items():
        if site.read == RESULT:
            own[index[site.operation]] = share
            continue
        for maker in makers[site.read]:
            edges.append((maker, index[site.operation]))
            at_edges.append(share / len(makers[site.read]))
    return Parts(
        tuple(operation_name(step.operation) for step in steps),
        tuple(measures),
        own,
        tuple(edges),
        np.array(at_edges).reshape(len(edges), len(measures)),
    )


def _makers(plan: Plan, index: Mapping[str, int]) -> dict[int, tuple[int, ...]]:
    """Return for each slot the operations whose results it holds, moved or not; -1: an input."""
    makers: dict[int, tuple[int, ...]] = dict.fromkeys(plan.inputs.values(), (-1,))
    for step in plan.steps:
        reads = floating_reads(plan, step)
        found = tuple(dict.fromkeys(maker for slot in reads for maker in makers.get(slot, ())))
        if step.operation.name in index:
            found = (index[step.operation.name],)
        makers.update((slot, found) for slot in step.outputs)
    return makers
