"""The error of every set of precisions at once: what rounding each value and constant costs.

An operation in FP16 pays for its *own* part: its constants and its result are rounded. One that
reads in FP16 what another made in FP32 pays for the *edge* between them: the value is rounded there
after all. So FP32 for one operation alone removes little, where its neighbours stay in FP16, and
which operations to choose is a question about neighbours (`harness.precision.tuning.trade`).

With a rounding e and a probe's gradient g, sum((g e)^2) is what it costs if its elements are
independent, and (g . e)^2, over many probes, what it costs. Where the same signal comes in every
frame, so does the same rounding, and the second is far above the first. A share is the first times
how far the second is above it, on all probes of all measures; where it is below, that is not relied
on.

Operations that only move values are no part of the question: a value that is rounded before them is
rounded behind them. They run in FP32 where they carry an FP32 value to a reader in FP32, and in
FP16 everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from harness.mil.plan import Plan
from harness.precision.sensitivity.adjoint import Recording, Visit, joined
from harness.precision.sensitivity.measures import Measure, random_probes
from harness.precision.sensitivity.roundings import Roundings, floating_reads, moves, shared_axes
from harness.precision.virtual.model import VirtualPrecision, operation_name

Array = npt.NDArray[np.float64]
K = TypeVar("K")
INPUT = ""
"""Stands for the program's inputs among the operations that make values: always in FP32."""


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
        return Parts(
            self.operations,
            self.measures,
            self.own * factors,
            self.edges,
            self.at_edges * factors,
        )

    def corrected(self, operations: npt.NDArray[np.bool_], factors: Array) -> Parts:
        """Return the same parts with what ``operations`` round times the factor of each measure."""
        own = np.where(operations[:, None], self.own * factors, self.own)
        at_edges = self.at_edges
        if self.edges:
            readers = np.array(self.edges)[:, 1]
            at_edges = np.where(operations[readers][:, None], at_edges * factors, at_edges)
        return replace(self, own=own, at_edges=at_edges)

    def joined(self, others: Sequence[Parts]) -> Parts:
        """Return the same parts with the measures of ``others`` beside its own."""
        together = (self, *others)
        return Parts(
            self.operations,
            tuple(name for parts in together for name in parts.measures),
            np.concatenate([parts.own for parts in together], axis=1),
            self.edges,
            np.concatenate([parts.at_edges for parts in together], axis=1),
        )


class _Collector:
    """A visitor that rounds an operation's inputs, constants and result, one at a time.

    Of each it keeps, by probe, g . e and sum((g e)^2).
    """

    def __init__(self, plan: Plan, roundings: Roundings) -> None:
        self._plan, self._roundings = plan, roundings
        self._scratch = _Scratch()
        self.own: dict[str, torch.Tensor] = {}
        self.reads: dict[tuple[str, int], torch.Tensor] = {}

    def __call__(self, visit: Visit) -> None:
        step = visit.step
        if moves(step):
            return
        name = step.operation.name
        constants = self._roundings.constants_error(step, visit.values, visit.outputs)
        for slot, gradient in visit.at_outputs.items():
            own = self._both(gradient, _rounding(visit.outputs[slot]))
            if slot in constants:
                axes = [axis + 1 for axis in shared_axes(self._plan, step)]
                parts = gradient * constants[slot]
                sums = (parts.sum(axes) if axes else parts).reshape(len(parts), -1)
                own = own + torch.stack([sums.sum(1), sums.square().sum(1)])
            self.own[name] = self.own.get(name, 0) + own
        for slot, gradient in visit.at_inputs.items():
            if slot in visit.inputs:
                self.reads[name, slot] = self._both(gradient, _rounding(visit.inputs[slot]))

    def _both(self, gradient: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        together = gradient.reshape(len(gradient), -1) @ error.flatten()
        return torch.stack([together, self._scratch.squares(gradient, error)])


def measure_parts(
    lab: VirtualPrecision,
    roundings: Roundings,
    inputs: Mapping[str, torch.Tensor],
    measures: Sequence[Measure],
    *,
    probes: int,
    generator: torch.Generator,
    at_once: int,
) -> Parts:
    """Return the parts of the error on one input.

    Args:
        lab: the model.
        roundings: its operations in FP16.
        inputs: of the model, on the device to work on.
        measures: of the output error.
        probes: for each measure.
        generator: of the probes' signs, on the CPU.
        at_once: probes in one walk; more takes memory, fewer take time.
    """
    plan = lab.base.plan
    collectors: list[_Collector] = []
    together = max(1, at_once // probes)
    recording = Recording(lab.base, inputs)
    for first in range(0, len(measures), together):
        chosen = measures[first : first + together]
        collector = _Collector(plan, roundings)
        random = [random_probes(m, recording.outputs, generator, probes) for m in chosen]
        recording.walk_back(joined(random), collector)
        collectors.append(collector)
    return _parts(plan, [measure.name for measure in measures], collectors, probes)


class _Scratch:
    """Memory for products that nobody keeps: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def squares(self, gradient: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Return sum((g e)^2) for each row g of ``gradient`` [probes, *error]."""
        if self._memory.numel() < gradient.numel() or self._memory.device != gradient.device:
            self._memory = torch.empty(gradient.numel(), device=gradient.device)
        out = self._memory[: gradient.numel()].view(gradient.shape)
        torch.mul(gradient, error, out=out)
        norms: torch.Tensor = torch.linalg.vector_norm(out.view(len(gradient), -1), dim=1)
        return norms.square()


def _rounding(values: torch.Tensor) -> torch.Tensor:
    return values.half().float() - values


def _parts(
    plan: Plan, measures: Sequence[str], collectors: Sequence[_Collector], probes: int
) -> Parts:
    own = _joined([collector.own for collector in collectors])
    reads = _joined([collector.reads for collector in collectors])
    names = [s.operation.name for s in plan.steps if s.operation.name in own]
    index = {name: number for number, name in enumerate(names)}
    makers = _makers(plan, index)
    edges, at_edges = [], []
    for (name, slot), found in reads.items():
        for maker in makers[slot]:
            edges.append((maker, index[name]))
            at_edges.append(_share(found, probes) / len(makers[slot]))
    return Parts(
        tuple(operation_name(s.operation) for s in plan.steps if s.operation.name in index),
        tuple(measures),
        np.array([_share(own[name], probes) for name in names]),
        tuple(edges),
        np.array(at_edges).reshape(len(edges), len(measures)),
    )


def _joined(tables: Sequence[Mapping[K, torch.Tensor]]) -> dict[K, Array]:
    """Return tables side by side; where an output isn't measured, what leads to it alone is 0."""
    widths = [next(iter(table.values())).shape[1] for table in tables]
    return {
        key: np.hstack(
            [
                table[key].double().cpu().numpy() if key in table else np.zeros((2, width))
                for table, width in zip(tables, widths, strict=True)
            ]
        )
        for key in dict.fromkeys(key for table in tables for key in table)
    }


def _share(found: Array, probes: int) -> Array:
    """Return the share by measure, of g . e and sum((g e)^2) by probe."""
    together, apart = found.reshape(2, -1, probes)
    independent: Array = apart.mean(1)
    told = (independent > 0) & np.isfinite(independent)
    if not told.any():
        return independent
    agreement = float((np.square(together[told]).mean(1) / independent[told]).mean())
    return independent * max(agreement, 1.0)


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
