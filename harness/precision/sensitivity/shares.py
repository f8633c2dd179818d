"""Each operation's share of the output error, by probes.

With e what FP16 does to an operation's result and J the derivative of the measured field with
respect to it, the error that is measured is b = J e, to first order, and the share is |b|^2. A
covector u on the field gives one number of b for every operation, by one walk back: u . b = g . e
with the gradient g = J^T u. Over random signs, (u . b)^2 has the mean |b|^2, and as variance twice
its square: n such probes alone leave a deviation of sqrt(2 / n).

But errors reach the outputs in few directions: a dozen carry nearly half of what the errors of all
operations are made of. So the directions in which most of them lie are found and taken exactly, and
random probes have to tell only the rest: with orthonormal directions Q

    |b|^2 = |Q^T b|^2 + |(1 - Q Q^T) b|^2.

This is Hutch++ (Meyer, Musco, Musco and Woodruff, "Hutch++: Optimal Stochastic Trace Estimation",
2021) for the diagonal of B^T B, where the columns of B are the operations' errors, each by its own
norm. A third of the probes is random, z, and says what each operation adds, B^T z; their errors,
so weighted, are run through the program, B B^T z, and span Q. Another third are the directions
themselves, and a third are random and orthogonal to them: they know nothing of Q, so their estimate
is unbiased whatever Q is.

The first random probes have led to Q, and would find too little beside it. But each is as good as
new beside the directions that the *others* have led to (Epperly, Tropp and Webber, "XTrace: Making
the Most of Every Sample in Stochastic Trace Estimation", 2024), and what lies between those and Q
is known. So they count, too, for as much as their own direction leaves of their worth.

What so few probes tell of the rest is pooled with what its single elements do: ``pooling.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from harness.mil import Model
from harness.mil.plan import Step
from harness.precision.sensitivity.adjoint import STRETCH_BYTES, Recording, Visit, joined
from harness.precision.sensitivity.directions import Directions
from harness.precision.sensitivity.measures import Measure
from harness.precision.sensitivity.pooling import pooled
from harness.precision.sensitivity.superposition import ErrorOf, Errors, superpose

Tensor: TypeAlias = torch.Tensor
Array: TypeAlias = npt.NDArray[np.float64]

_LEVEL = 1e-3
"""Of the superposed errors, by the signal: float32 resolves them, and derivatives still hold."""
_PIECE = {"cpu": 1 << 17}
"""Elements of a result that are multiplied with gradients at once, and stay in the cache."""
_LEAST = 1e-2
"""Of the median share: errors that seem smaller, which few probes can't tell, weigh no more."""


@dataclass(frozen=True)
class Shares:
    """What operations add to measures.

    Attributes:
        names: of the operations, as the plan has them.
        values: shares by operation and measure.
        deviations: of their natural logarithms, another one for each input.
        biases: deviations of them that are the same for every input.
    """

    names: tuple[str, ...]
    values: Array
    deviations: Array
    biases: Array


@dataclass(frozen=True, eq=False)
class _Met:
    """What operations and fields have in common.

    Attributes:
        names: of the operations, as the plan has them.
        types: theirs.
        sizes: how many elements their results have.
        products: for each measure [operations, fields], u . b.
        elements: for each measure [operations, last fields], the sum of squares of what the single
            elements of the result add to u . b.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    sizes: Array
    products: Mapping[Measure, Array]
    elements: Mapping[Measure, Array]


def directions_of(probes: int) -> int:
    """Return how many of ``probes`` are directions; as many are spent on finding them."""
    return probes // 3


class ShareEstimator:
    """Estimates the shares of a model's operations on one input.

    Args:
        model: in FP32.
        error_of: gives e of each operation that has a share.
        inputs: float32, on the device to work on.

    Attributes:
        outputs: of the model.
    """

    def __init__(self, model: Model, error_of: ErrorOf, inputs: Mapping[str, Tensor]) -> None:
        self._error_of = error_of
        self._errors: dict[str, Errors] = {}
        self._bytes = 0
        self._recording = Recording(model, inputs)
        self.outputs = self._recording.outputs

    def estimate(
        self, measures: Sequence[Measure], probes: int, generator: torch.Generator
    ) -> Shares:
        """Return the shares.

        Args:
            measures: of the error; none of them silent.
            probes: for each measure.
            generator: of the probes' signs, on the CPU.
        """
        count = directions_of(probes)
        random = probes - 2 * count
        seen = {measure: self._signs(measure, count, generator) for measure in measures}
        met = self._met(seen) if count else None
        if met is not None and not met.names:
            return Shares((), *np.zeros((3, 0, len(measures))))
        directions = self._directions(seen, met)
        fields = {m: d.extended(self._signs(m, random, generator)) for m, d in directions.items()}
        final = self._met(fields, random)
        found = np.zeros((3, len(final.names), len(measures)))
        for column, (measure, direction) in enumerate(directions.items()):
            first = np.zeros((len(final.names), 0)) if met is None else met.products[measure]
            with np.errstate(invalid="ignore"):  # gradients are infinite at the root of a zero
                found[:, :, column] = _shares(direction, first, final, measure)
        return Shares(final.names, *found)

    def _signs(self, measure: Measure, count: int, generator: torch.Generator) -> list[Tensor]:
        return [measure.signs(self.outputs, generator).double() for _ in range(count)]

    def _directions(
        self, seen: Mapping[Measure, Sequence[Tensor]], met: _Met | None
    ) -> dict[Measure, Directions]:
        """Return directions for each measure, from random fields and what they met."""
        if met is None:
            return dict.fromkeys(seen, Directions((), *np.zeros((2, 0, 0))))
        weights = np.hstack([_weights(met.products[measure]) for measure in seen])
        rows = dict(zip(met.names, weights.tolist(), strict=True))
        sums = iter(superpose(self._recording, self._error, rows))
        return {
            measure: Directions.of(
                [measure.field(self.outputs, next(sums)) for _ in fields], fields
            )
            for measure, fields in seen.items()
        }

    def _met(self, fields: Mapping[Measure, Sequence[Tensor]], last: int = 0) -> _Met:
        """Return what ``fields`` and operations have in common, the ``last`` ones element-wise."""
        probes = [
            measure.covectors(
                self.outputs, torch.stack(list(own)) / math.sqrt(measure.weight(self.outputs))
            )
            for measure, own in fields.items()
        ]
        stops = np.cumsum([len(own) for own in fields.values()]).tolist()
        looked_into = [slice(stop - last, stop) for stop in stops] if last else []
        steps: dict[str, Step] = {}
        sizes: dict[str, int] = {}
        rows: dict[str, Tensor] = {}

        def visit(visit: Visit) -> None:
            name = visit.step.operation.name
            error = self._error(visit.step, visit.values, visit.outputs)
            for slot in visit.at_outputs.keys() & error.keys():
                row = _common(visit.at_outputs[slot], error[slot], looked_into)
                rows[name] = rows.get(name, 0) + row
                sizes[name] = sizes.get(name, 0) + error[slot].numel()
                steps[name] = visit.step

        self._recording.walk_back(joined(probes), visit)
        if rows:
            table = torch.stack(list(rows.values())).double().cpu().numpy()
        else:
            table = np.zeros((0, stops[-1] + len(stops) * last))
        products = np.split(table[:, : stops[-1]], stops[:-1], axis=1)
        elements = np.split(table[:, stops[-1] :], len(stops), axis=1)
        return _Met(
            names=tuple(rows),
            types=tuple(step.operation.type for step in steps.values()),
            sizes=np.array(list(sizes.values()), dtype=np.float64),
            products=dict(zip(fields, products, strict=True)),
            elements=dict(zip(fields, elements, strict=True)),
        )

    def _error(
        self, step: Step, values: Mapping[int, Any], results: Mapping[int, Tensor]
    ) -> Errors:
        """Return e of a step's results by slot; it is kept for the next time as long as it fits."""
        name = step.operation.name
        if name in self._errors:
            return self._errors[name]
        error = self._error_of(step, values, results)
        size = sum(part.nbytes for part in error.values())
        if self._bytes + size <= STRETCH_BYTES:
            self._errors[name] = error
            self._bytes += size
        return error


def _common(gradient: Tensor, error: Tensor, looked_into: Sequence[slice]) -> Tensor:
    """Return g . e for each g of ``gradient`` [probes, *error], then sums of squares g_i^2 e_i^2.

    The squares are of the rows ``looked_into``. A gradient that was transposed on its way back is
    laid out otherwise than the error; it isn't copied if it is dense.
    """
    if not gradient.is_contiguous():
        order = sorted(range(error.ndim), key=lambda axis: -gradient.stride(axis + 1))
        gradient = gradient.permute(0, *(axis + 1 for axis in order))
        error = error.permute(order)
    rows, flat = gradient.reshape(len(gradient), -1), error.flatten()
    piece = _PIECE.get(flat.device.type, len(flat))
    if len(flat) <= piece:
        return _of_piece(rows, flat, looked_into)
    pieces = zip(rows.split(piece, 1), flat.split(piece), strict=True)
    return torch.stack([_of_piece(*piece, looked_into) for piece in pieces]).sum(0)


def _of_piece(rows: Tensor, error: Tensor, looked_into: Sequence[slice]) -> Tensor:
    norms = [torch.linalg.vector_norm(rows[some] * error, dim=1) for some in looked_into]
    return torch.cat([rows @ error, *(norm.square() for norm in norms)])


def _weights(numbers: Array) -> Array:
    """Return for each operation and probe the weight of its error.

    Args:
        numbers: g . e by operation and probe.
    """
    numbers = np.where(np.isfinite(numbers), numbers, 0.0)
    shares = np.square(numbers).mean(1, keepdims=True)
    shares = np.maximum(shares, _LEAST * np.median(shares))
    weights = np.divide(numbers, shares, out=np.zeros_like(numbers), where=shares > 0)
    level = np.sqrt((np.square(weights) * shares).sum(0))
    scaled: Array = np.divide(_LEVEL * weights, level, out=np.zeros_like(weights), where=level > 0)
    return scaled


def _shares(
    directions: Directions, first: Array, final: _Met, measure: Measure
) -> tuple[Array, Array, Array]:
    """Return shares, and the deviations and biases of their natural logarithms.

    Args:
        directions: in which errors lie.
        first: [operations, random fields that led to them].
        final: what the directions, and random fields orthogonal to them, met.
        measure: one of those.
    """
    exact, new = np.split(final.products[measure], [len(directions.basis)], axis=1)
    known, left = np.square(exact).sum(1), np.square(new).mean(1)
    own = exact @ directions.left_out
    beside = first - exact @ directions.seen + own * (directions.left_out * directions.seen).sum(0)
    # Beside the others' directions lie the own one and what is left.
    own = np.square(own)
    total = left[:, np.newaxis] + own
    worth = np.divide(left[:, np.newaxis], total, out=np.zeros_like(total), where=total > 0) ** 2
    more = (worth * (np.square(beside) - own)).sum(1)
    count = new.shape[1] + worth.sum(1)
    left = (new.shape[1] * left + np.maximum(more, 0.0)) / count
    rest = pooled(left, count, final.elements[measure], final.sizes, final.types)
    whole = known + rest.energies
    unsure = np.divide(rest.energies, whole, out=np.zeros_like(left), where=whole > 0)
    return whole, unsure * rest.deviations, unsure * rest.biases
