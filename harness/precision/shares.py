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
norm. A quarter of the probes is random, z, and says what each operation adds, B^T z; their errors,
so weighted, are run through the program, B B^T z, and span Q. Another quarter are the directions
themselves, and half are random and orthogonal to them: they know nothing of Q, so their estimate is
unbiased whatever Q is.

The first random probes have led to Q, and would find too little beside it. But each is as good as
new beside the directions that the *others* have led to (Epperly, Tropp and Webber, "XTrace: Making
the Most of Every Sample in Stochastic Trace Estimation", 2024), and what lies between those and Q
is known. So they count, too, for as much as their own direction leaves of their worth.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import polygamma

from harness.mil import Model
from harness.mil.plan import Step
from harness.precision.adjoint import STRETCH_BYTES, Recording, Visit, joined
from harness.precision.measures import Measure
from harness.precision.roundings import Roundings
from harness.precision.superposition import Errors, superpose

Tensor: TypeAlias = torch.Tensor
Array: TypeAlias = npt.NDArray[np.float64]

_LEVEL = 1e-3
"""Of the superposed errors, by the signal: float32 resolves them, and derivatives still hold."""
_RESOLUTION = 1e-4
"""Of superposed errors by their norm: what is smaller is float32's rounding."""
_LEAST = 1e-2
"""Of the median share: errors that seem smaller, which few probes can't tell, weigh no more."""


@dataclass(frozen=True)
class Shares:
    """What operations add to measures.

    Attributes:
        names: of the operations, as the plan has them.
        values: shares by operation and measure.
        deviations: of their natural logarithms.
    """

    names: tuple[str, ...]
    values: Array
    deviations: Array


@dataclass(frozen=True, eq=False)
class _Directions:
    """Directions in which errors lie, and how random fields led to them.

    Attributes:
        basis: orthonormal fields.
        seen: [basis, random fields]: coordinates of each random field.
        left_out: [basis, random fields]: coordinates of the direction, orthogonal to those that
            the other random fields led to, that each alone has added.
    """

    basis: Sequence[Tensor]
    seen: Array
    left_out: Array

    @classmethod
    def of(cls, found: Sequence[Tensor], seen: Sequence[Tensor]) -> _Directions:
        """Return the directions that ``found`` spans, one field for each random one of ``seen``."""
        columns = torch.stack([field.flatten() for field in found], dim=1)
        columns = columns / torch.linalg.vector_norm(columns, dim=0)
        if not columns.isfinite().all():
            none = np.zeros((0, len(seen)))
            return cls((), none, none)
        wide, mixed = torch.linalg.qr(columns)
        # Errors may lie in fewer directions than there are random fields.
        turned, sizes, _ = np.linalg.svd(mixed.cpu().numpy())
        turned = turned[:, sizes > _RESOLUTION * sizes[0]]
        basis = wide @ torch.from_numpy(turned).to(wide)
        common = basis.T @ torch.stack([field.flatten() for field in seen], dim=1)
        return cls(
            [direction.reshape(found[0].shape) for direction in basis.T],
            common.cpu().numpy(),
            _apart(turned.T @ mixed.cpu().numpy()),
        )

    def extended(self, fields: Sequence[Tensor]) -> list[Tensor]:
        """Return the basis, and what ``fields`` have beside it."""
        rest = list(fields)
        for direction in self.basis:
            rest = [field - (direction * field).sum() * direction for field in rest]
        return [*self.basis, *rest]


def _apart(columns: Array) -> Array:
    """Return the direction in which each column lies beside the others; zeros if in none."""
    found = np.zeros_like(columns)
    for number, column in enumerate(columns.T):
        others = np.delete(columns, number, axis=1)
        beside = column - others @ np.linalg.lstsq(others, column, rcond=_RESOLUTION)[0]
        size = np.linalg.norm(beside)
        if size > _RESOLUTION:
            found[:, number] = beside / size
    return found


def directions_of(probes: int) -> int:
    """Return how many of ``probes`` are directions; as many are spent on finding them."""
    return probes // 4


class ShareEstimator:
    """Estimates the shares of a model's operations on one input.

    Args:
        model: in FP32.
        roundings: its operations in FP16.
        counted: for each operation that has a share, the inputs whose rounding is a part of it.
        inputs: float32, on the device to work on.

    Attributes:
        outputs: of the model.
    """

    def __init__(
        self,
        model: Model,
        roundings: Roundings,
        counted: Mapping[str, Collection[int]],
        inputs: Mapping[str, Tensor],
    ) -> None:
        self._roundings, self._counted = roundings, counted
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
        if count:
            seen = {m: self._signs(m, count, generator) for m in measures}
            names, met = self._numbers(seen)
            if not names:
                return Shares((), *np.zeros((2, 0, len(measures))))
            directions = self._directions(seen, names, met)
        else:
            directions = dict.fromkeys(measures, _Directions((), *np.zeros((2, 0, 0))))
        names, numbers = self._numbers(
            {m: d.extended(self._signs(m, random, generator)) for m, d in directions.items()}
        )
        if not count:
            met = np.zeros((len(names), 0))
        values, deviations = np.zeros((2, len(names), len(measures)))
        for column, direction in enumerate(directions.values()):
            first = met[:, column * count : (column + 1) * count]
            exact, rest, numbers = np.split(
                numbers, [len(direction.basis), len(direction.basis) + random], axis=1
            )
            with np.errstate(invalid="ignore"):  # gradients are infinite at the root of a zero
                found = _shares(direction, first, exact, rest)
            values[:, column], deviations[:, column] = found
        return Shares(names, values, deviations)

    def _signs(self, measure: Measure, count: int, generator: torch.Generator) -> list[Tensor]:
        return [measure.signs(self.outputs, generator).double() for _ in range(count)]

    def _directions(
        self, seen: Mapping[Measure, Sequence[Tensor]], names: Sequence[str], met: Array
    ) -> dict[Measure, _Directions]:
        """Return directions for each measure.

        Args:
            seen: random fields by measure.
            names: of operations.
            met: for each operation and each of the fields what they have in common.
        """
        parts = np.split(met, len(seen), axis=1)
        weights = np.hstack([_weights(part) for part in parts])
        rows = dict(zip(names, weights.tolist(), strict=True))
        sums = iter(superpose(self._recording, self._error, rows))
        return {
            measure: _Directions.of(
                [measure.field(self.outputs, next(sums)) for _ in fields], fields
            )
            for measure, fields in seen.items()
        }

    def _numbers(self, fields: Mapping[Measure, Sequence[Tensor]]) -> tuple[tuple[str, ...], Array]:
        """Return the names of operations, and for each and each field u . b."""
        probes = [
            measure.covectors(
                self.outputs, torch.stack(list(own)) / math.sqrt(measure.weight(self.outputs))
            )
            for measure, own in fields.items()
        ]
        rows: dict[str, Tensor] = {}

        def visit(visit: Visit) -> None:
            name = visit.step.operation.name
            if name not in self._counted:
                return
            error = self._error(visit.step, visit.values, visit.outputs)
            for slot, gradient in visit.at_outputs.items():
                if slot in error:
                    rows[name] = rows.get(name, 0) + _products(gradient, error[slot])

        self._recording.walk_back(joined(probes), visit)
        if not rows:
            return (), np.zeros((0, len(probes)))
        return tuple(rows), torch.stack(list(rows.values())).double().cpu().numpy()

    def _error(
        self, step: Step, values: Mapping[int, Any], results: Mapping[int, Tensor]
    ) -> Errors:
        """Return e of a step's results by slot; it is kept for the next time as long as it fits."""
        name = step.operation.name
        if name in self._errors:
            return self._errors[name]
        error = self._roundings.error(step, values, results, self._counted[name])
        size = sum(part.nbytes for part in error.values())
        if self._bytes + size <= STRETCH_BYTES:
            self._errors[name] = error
            self._bytes += size
        return error


def _products(gradient: Tensor, error: Tensor) -> Tensor:
    """Return g . e for each g of ``gradient`` [probes, *error], which isn't copied if it is dense.

    A gradient that was transposed on its way back is laid out otherwise than the error.
    """
    order = sorted(range(error.ndim), key=lambda axis: -gradient.stride(axis + 1))
    rows = gradient.permute(0, *(axis + 1 for axis in order)).flatten(1)
    return rows @ error.permute(order).flatten()


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
    directions: _Directions, first: Array, exact: Array, rest: Array
) -> tuple[Array, Array]:
    """Return shares, and the deviations of their natural logarithms.

    Args:
        directions: in which errors lie.
        first: [operations, random fields that led to them].
        exact: [operations, directions].
        rest: [operations, random fields orthogonal to them].
    """
    known, left = np.square(exact).sum(1), np.square(rest).mean(1)
    own = exact @ directions.left_out
    beside = first - exact @ directions.seen + own * (directions.left_out * directions.seen).sum(0)
    # Beside the others' directions lie the own one and what is left.
    own = np.square(own)
    total = left[:, np.newaxis] + own
    worth = np.divide(left[:, np.newaxis], total, out=np.zeros_like(total), where=total > 0) ** 2
    count = rest.shape[1] + worth.sum(1)
    left = (rest.shape[1] * left + (worth * (np.square(beside) - own)).sum(1)) / count
    left = np.maximum(left, 0.0)
    share = known + left
    # Given as few squares, what they are the mean of is greater on average (inverse chi square).
    likely = left * count / np.maximum(count - 2, 1.0)
    whole = known + likely
    unsure = np.divide(likely, whole, out=np.zeros_like(left), where=whole > 0)
    # A mean of squares has the logarithm of a chi square.
    return share, unsure * np.sqrt(polygamma(1, count / 2))
