"""The error of every set of precisions at once: what rounding each value and constant costs.

An operation in FP16 pays for its *own* part: its constants and its result are rounded. One that
reads in FP16 what another made in FP32 pays for the *edge* between them: the value is rounded there
after all. So FP32 for one operation alone removes little, where its neighbours stay in FP16, and
which operations to choose is a question about neighbours (`harness.precision.trade`).

Operations that only move values are no part of the question: a value that is rounded before them is
rounded behind them. They run in FP32 where they carry an FP32 value to a reader in FP32, and in
FP16 everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from harness.mil.plan import Plan
from harness.precision.adjoint import Recording, Visit, joined
from harness.precision.measures import Measure, random_probes
from harness.precision.roundings import Roundings, floating_reads, moves, shared_axes
from harness.precision.virtual import VirtualPrecision, operation_name

Array = npt.NDArray[np.float64]
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
    """A visitor that rounds an operation's inputs, constants and result, one at a time."""

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
            own = self._scratch.squares(gradient, _rounding(visit.outputs[slot]))
            if slot in constants:
                axes = [axis + 1 for axis in shared_axes(self._plan, step)]
                parts = gradient * constants[slot]
                own = own + (parts.sum(axes) if axes else parts).reshape(
                    len(parts), -1
                ).square().sum(1)
            self.own[name] = self.own.get(name, 0) + own
        for slot, gradient in visit.at_inputs.items():
            if slot in visit.inputs:
                self.reads[name, slot] = self._scratch.squares(
                    gradient, _rounding(visit.inputs[slot])
                )


def measure_parts(
    lab: VirtualPrecision,
    roundings: Roundings,
    inputs: Mapping[str, torch.Tensor],
    measures: Sequence[Measure],
    *,
    probes: int,
    generator: torch.Generator,
    at_once: int = 6,
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
    columns: list[tuple[Mapping[str, torch.Tensor], Mapping[tuple[str, int], torch.Tensor]]] = []
    together = max(1, at_once // probes)
    recording = Recording(lab.base, inputs)
    for first in range(0, len(measures), together):
        chosen = measures[first : first + together]
        collector = _Collector(plan, roundings)
        random = [random_probes(m, recording.outputs, generator, probes) for m in chosen]
        recording.walk_back(joined(random), collector)
        columns.append((collector.own, collector.reads))
    return _parts(plan, [measure.name for measure in measures], columns, probes)


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
    plan: Plan,
    measures: Sequence[str],
    columns: Sequence[tuple[Mapping[str, torch.Tensor], Mapping[tuple[str, int], torch.Tensor]]],
    probes: int,
) -> Parts:
    names = [s.operation.name for s in plan.steps if s.operation.name in columns[0][0]]
    index = {name: number for number, name in enumerate(names)}
    makers = _makers(plan, index)
    edges, places = [], []
    for name, slot in columns[0][1]:
        for maker in makers[slot]:
            edges.append((maker, index[name]))
            places.append(((name, slot), len(makers[slot])))

    def means(row: torch.Tensor) -> list[float]:
        return row.double().reshape(-1, probes).mean(1).tolist()

    own = [[v for own, _ in columns for v in means(own[name])] for name in names]
    at_edges = [
        [v / shared for _, reads in columns for v in means(reads[key])] for key, shared in places
    ]
    short = [operation_name(s.operation) for s in plan.steps if s.operation.name in index]
    return Parts(
        tuple(short),
        tuple(measures),
        np.array(own).reshape(len(names), len(measures)),
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
