"""Each site's share of the output error: a table of sites by probes, and what it tells.

With e the error of a site and J the derivative of the measured field with respect to where it is
made, the error that is measured is b = J e, to first order, and the share is |b|^2. A
covector u on the field gives one number of b for every site, by one walk back: u . b = g . e
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

What so few probes tell of the rest is pooled with what its single elements do (`estimates`).

That is what the errors make of the signal at hand, where roundings happen to agree or to cancel. A
set of precisions rounds other values, so tuning asks for what they make *on average*: what their
elements make, times how much more than that all probes of all measures found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from harness.mil import Model
from harness.mil.numerics import Numerics
from harness.mil.plan import Step
from harness.precision.sensitivity.adjoint import STRETCH_BYTES, Recording, Visit, joined
from harness.precision.sensitivity.estimates import (
    Directions,
    Estimate,
    Table,
    on_average,
    shares_of,
    weights_of,
)
from harness.precision.sensitivity.measures import Measure
from harness.precision.sensitivity.sites import RESULT, Errors, Site, Sites, Values

Tensor: TypeAlias = torch.Tensor
Array: TypeAlias = npt.NDArray[np.float64]

_PIECE = {"cpu": 1 << 17}
"""Elements of a result that are multiplied with gradients at once, and stay in the cache."""


def directions_of(probes: int) -> int:
    """Return how many of ``probes`` are directions; as many are spent on finding them."""
    return probes // 3


class ShareEstimator:
    """Estimates the shares of a model's sites on one input.

    Args:
        model: in FP32.
        sites: gives the errors of each operation.
        inputs: float32, on the device to work on.
        numerics: rounds none of the model's values.

    Attributes:
        outputs: of the model.
    """

    def __init__(
        self,
        model: Model,
        sites: Sites,
        inputs: Mapping[str, Tensor],
        numerics: str | Numerics = "storage",
    ) -> None:
        self._sites = sites
        self._errors: dict[str, Mapping[Site, Errors]] = {}
        self._bytes = 0
        self._recording = Recording(model, inputs, numerics=numerics)
        self.outputs = self._recording.outputs

    def estimate(
        self, measures: Sequence[Measure], probes: int, generator: torch.Generator
    ) -> dict[str, dict[Site, Estimate]]:
        """Return the shares on this input by measure, of sites whose errors are of results.

        Args:
            measures: of the error; none of them silent.
            probes: for each measure.
            generator: of the probes' signs, on the CPU.
        """
        count = directions_of(probes)
        random = probes - 2 * count
        seen = {measure: self._signs(measure, count, generator) for measure in measures}
        first = self._table(seen) if count else None
        if first is not None and not first.sites:
            return {measure.name: {} for measure in measures}
        directions = self._directions(seen, first)
        fields = {m: d.extended(self._signs(m, random, generator)) for m, d in directions.items()}
        final = self._table(fields, random)
        found = {}
        for measure, direction in directions.items():
            led = np.zeros((len(final.sites), 0)) if first is None else first.products[measure]
            with np.errstate(invalid="ignore"):  # gradients are infinite at the root of a zero
                found[measure.name] = shares_of(direction, led, final, measure)
        return found

    def expected(
        self, measures: Sequence[Measure], probes: int, generator: torch.Generator, at_once: int
    ) -> dict[Site, Array]:
        """Return the shares by measure that the errors of each site have on average.

        A site's elements may agree wherever the same signal comes in every frame, and the same
        rounding with it: then (g . e)^2 is far above sum(g_i^2 e_i^2) in every measure, so that
        ratio is told by the probes of all of them together. That it is below is not relied on.

        The arguments are those of `estimate`, and how many probes a walk takes: random ones alone,
        since a direction is one of this input.
        """
        together = max(1, at_once // probes)
        numbers: dict[Site, Array] = {}
        sizes: dict[Site, float] = {}
        for start in range(0, len(measures), together):
            some = measures[start : start + together]
            table = self._table({m: self._signs(m, probes, generator) for m in some}, probes)
            sizes |= zip(table.sites, table.sizes, strict=True)
            for column, measure in enumerate(some, start):
                pairs = np.square(table.products[measure]), table.elements[measure]
                for site, *pair in zip(table.sites, *pairs, strict=True):
                    # What a measure doesn't depend on has no share in it.
                    whole = numbers.setdefault(site, np.zeros((2, len(measures), probes)))
                    whole[:, column] = pair
        return on_average(numbers, np.array(list(sizes.values()))) if numbers else {}

    def products(
        self, fields: Mapping[Measure, Sequence[Tensor]]
    ) -> dict[Measure, dict[Site, Array]]:
        """Return by measure and site what each field and the site's error b have in common: u . b.

        Both are taken in units of the measured signal: by the root of the measure's weight.
        """
        scaled = {
            measure: [field / math.sqrt(measure.weight(self.outputs)) for field in own]
            for measure, own in fields.items()
        }
        table = self._table(scaled)
        return {
            measure: dict(zip(table.sites, rows, strict=True))
            for measure, rows in table.products.items()
        }

    def _signs(self, measure: Measure, count: int, generator: torch.Generator) -> list[Tensor]:
        return measure.signs(self.outputs, generator, count)

    def _directions(
        self, seen: Mapping[Measure, Sequence[Tensor]], first: Table | None
    ) -> dict[Measure, Directions]:
        """Return directions for each measure, from random fields and what they met."""
        if first is None:
            return dict.fromkeys(seen, Directions((), *np.zeros((2, 0, 0))))
        weights = np.hstack([weights_of(first.products[measure]) for measure in seen])
        rows = dict(zip(first.sites, weights.tolist(), strict=True))

        def added(
            step: Step, values: Values, results: Errors
        ) -> list[tuple[Errors, Sequence[float]]]:
            found = self._errors_of(step, values, results).items()
            return [(errors, rows[site]) for site, errors in found if site in rows]

        sums = iter(self._recording.superpose(added, weights.shape[1]))
        return {
            measure: Directions.of(
                [measure.field(self.outputs, next(sums)) for _ in fields], fields
            )
            for measure, fields in seen.items()
        }

    def _table(self, fields: Mapping[Measure, Sequence[Tensor]], last: int = 0) -> Table:
        """Return what ``fields`` and sites have in common, the ``last`` ones element-wise."""
        probes = [measure.probes(self.outputs, own) for measure, own in fields.items()]
        stops = np.cumsum([len(own) for own in fields.values()]).tolist()
        looked_into = [slice(stop - last, stop) for stop in stops] if last else []
        sizes: dict[Site, int] = {}
        rows: dict[Site, Tensor] = {}

        def visit(visit: Visit) -> None:
            found = self._errors_of(visit.step, visit.values, visit.outputs)
            for site, errors in found.items():
                gradients = visit.at_outputs if site.read == RESULT else visit.at_inputs
                for slot in gradients.keys() & errors.keys():
                    row = _common(gradients[slot], errors[slot], looked_into)
                    rows[site] = rows.get(site, 0) + row
                    sizes[site] = sizes.get(site, 0) + errors[slot].numel()

        self._recording.walk_back(joined(probes), visit)
        if rows:
            table = torch.stack(list(rows.values())).double().cpu().numpy()
        else:
            table = np.zeros((0, stops[-1] + len(stops) * last))
        products = np.split(table[:, : stops[-1]], stops[:-1], axis=1)
        elements = np.split(table[:, stops[-1] :], len(stops), axis=1)
        return Table(
            sites=tuple(rows),
            sizes=np.array(list(sizes.values()), dtype=np.float64),
            products=dict(zip(fields, products, strict=True)),
            elements=dict(zip(fields, elements, strict=True)),
        )

    def _errors_of(self, step: Step, values: Values, results: Errors) -> Mapping[Site, Errors]:
        """Return the errors of a step; they are kept for the next time as long as they fit."""
        name = step.operation.name
        if name in self._errors:
            return self._errors[name]
        found = self._sites(step, values, results)
        size = sum(part.nbytes for errors in found.values() for part in errors.values())
        if self._bytes + size <= STRETCH_BYTES:
            self._errors[name] = found
            self._bytes += size
        return found


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
