"""What a few probes tell of the shares of sites: directions, the rest beside them, and pooling.

In: the numbers of a `Table`, sites by fields. Out: an `Estimate` for each site.

For the error e of an operation's result, C the derivative of what is measured, and g = C^T u for a
probe u of random signs, two numbers have to do with the energy |C e|^2:

- (g . e)^2 has it as its mean, whatever e is, but as the square of one number. The mean over n
  probes has a logarithm that deviates by sqrt(trigamma(n / 2)): 3 dB for four probes.
- sum(g_i^2 e_i^2) has as its mean what the elements make if they don't interfere. It is a sum over
  thousands, so nearly the same for each probe. Roundings of results don't interfere; what has one
  cause, such as a rounded weight, does.

Whether elements interfere is a matter of what the operation does. So the logarithm of the ratio of
the two numbers is taken as normal around zero, with a variance that all operations of a type have
in common and that is told by how far theirs are apart; and the two logarithms are averaged with the
weights that leave the least variance. That is empirical Bayes (Efron and Morris, "Data Analysis
Using Stein's Estimator and its Generalizations", 1975): a type whose elements interfere keeps what
its probes say. An operation may be unlike others of its type, so it is never moved far from its
probes ("limited translation", by the same authors, 1972).

The estimate is off for two reasons. Probes are random, anew for each input; and elements of one
operation interfere more or less than those of others, for every input alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import digamma, polygamma
from scipy.stats import chi2

from harness.precision.sensitivity.measures import Measure
from harness.precision.sensitivity.sites import RESULT, Site

Tensor: TypeAlias = torch.Tensor
Array: TypeAlias = npt.NDArray[np.float64]

_RESOLUTION = 1e-4
"""Of superposed errors by their norm: what is smaller is float32's rounding."""
_LEVEL = 1e-3
"""Of the superposed errors, by the signal: float32 resolves them, and derivatives still hold."""
_LEAST = 1e-2
"""Of the median share: errors that seem smaller, which few probes can't tell, weigh no more."""
_FEW = 8
"""Operations of a type: so many weigh as much as all operations together."""
_FAR = 3.0
"""Ratios beyond e^3 tell no more about a type than this."""
_CHANCE = 0.99
"""An operation is moved from its probes by no more than chance explains in so many cases."""


class Estimate(NamedTuple):
    """A share, and how far off its natural logarithm is.

    Attributes:
        value: noise-to-signal ratio.
        deviation: standard deviation, another one for each input.
        bias: standard deviation of what is off for every input alike.
    """

    value: float
    deviation: float
    bias: float


@dataclass(frozen=True, eq=False)
class Table:
    """What sites and fields have in common.

    Attributes:
        sites: in the order of the walk.
        sizes: how many elements their errors have.
        products: for each measure [sites, fields], u . b.
        elements: for each measure [sites, last fields], the sum of squares of what the single
            elements of the error add to u . b.
    """

    sites: tuple[Site, ...]
    sizes: Array
    products: Mapping[Measure, Array]
    elements: Mapping[Measure, Array]


@dataclass(frozen=True, eq=False)
class Directions:
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
    def of(cls, found: Sequence[Tensor], seen: Sequence[Tensor]) -> Directions:
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


def shares_of(
    directions: Directions, first: Array, final: Table, measure: Measure
) -> dict[Site, Estimate]:
    """Return the share of each site.

    Args:
        directions: in which errors lie.
        first: [sites, random fields that led to them].
        final: what the directions, and random fields orthogonal to them, met.
        measure: one of those.
    """
    exact, new = np.split(final.products[measure], [len(directions.basis)], axis=1)
    # |b|^2 = |Q^T b|^2 + |(1 - Q Q^T) b|^2: the first is known, the second a mean of squares.
    known, left = np.square(exact).sum(1), np.square(new).mean(1)
    # XTrace, "leave one out": beside the directions of the others, z_j . b has lost all of Q but
    # the direction s_j that z_j alone has added. Its square has the mean (s_j . b)^2 + left.
    own = exact @ directions.left_out
    beside = first - exact @ directions.seen + own * (directions.left_out * directions.seen).sum(0)
    own = np.square(own)
    # So less (s_j . b)^2 it tells of ``left``; its variance, 2 (own + left)^2 in place of
    # 2 left^2, says how much of a probe it is worth.
    total = left[:, np.newaxis] + own
    worth = np.divide(left[:, np.newaxis], total, out=np.zeros_like(total), where=total > 0) ** 2
    more = (worth * (np.square(beside) - own)).sum(1)
    count = new.shape[1] + worth.sum(1)
    left = (new.shape[1] * left + np.maximum(more, 0.0)) / count
    kinds = [kind_of(site) for site in final.sites]
    rest = pooled(left, count, final.elements[measure], final.sizes, kinds)
    whole = known + rest.energies
    unsure = np.divide(rest.energies, whole, out=np.zeros_like(left), where=whole > 0)
    rows = np.stack((whole, unsure * rest.deviations, unsure * rest.biases), axis=1).tolist()
    return {site: Estimate(*row) for site, row in zip(final.sites, rows, strict=True)}


def weights_of(numbers: Array) -> Array:
    """Return for each site and probe the weight of its error, B^T z over |b|^2.

    Args:
        numbers: g . e by site and probe.
    """
    # B is scaled by its columns' norms: else the loudest operations alone would lead the way.
    numbers = np.where(np.isfinite(numbers), numbers, 0.0)
    shares = np.square(numbers).mean(1, keepdims=True)
    shares = np.maximum(shares, _LEAST * np.median(shares))
    weights = np.divide(numbers, shares, out=np.zeros_like(numbers), where=shares > 0)
    level = np.sqrt((np.square(weights) * shares).sum(0))
    scaled: Array = np.divide(_LEVEL * weights, level, out=np.zeros_like(weights), where=level > 0)
    return scaled


def on_average(numbers: Mapping[Site, Array], sizes: Array) -> dict[Site, Array]:
    """Return shares by measure, of (g . e)^2 and sum(g_i^2 e_i^2) by measure and probe."""
    squares, elements = np.stack(list(numbers.values()), axis=1)
    alone = elements.mean(2, keepdims=True)
    told = np.broadcast_to((alone > 0) & np.isfinite(alone), elements.shape)
    # By the level of its measure, each probe of any of them is worth the same.
    whole, each = (
        np.divide(part, alone, out=np.full_like(part, rest), where=told).reshape(len(part), -1)
        for part, rest in ((squares, 0.0), (elements, 1.0))
    )
    count = np.maximum(told.reshape(len(told), -1).sum(1), 1.0)
    kinds = [kind_of(site) for site in numbers]
    agreement = pooled(whole.sum(1) / count, count, each, sizes, kinds).energies
    shares = alone[:, :, 0] * np.maximum(agreement, 1.0)[:, np.newaxis]
    return dict(zip(numbers, shares, strict=True))


@dataclass(frozen=True)
class Pooled:
    """Energies by operation, and how far off their natural logarithms are.

    Attributes:
        energies: the estimates.
        deviations: for the probes' sake: another one in each case.
        biases: for the elements' sake: deviations that are the same in every case.
    """

    energies: Array
    deviations: Array
    biases: Array


def pooled(
    energies: Array, counts: Array, elements: Array, sizes: Array, types: Sequence[str]
) -> Pooled:
    """Pool what probes and single elements tell.

    Args:
        energies: means of squares, by operation.
        counts: how many squares each is worth.
        elements: [operations, probes], what each probe gives if elements don't interfere.
        sizes: numbers of elements.
        types: MIL operation types.
    """
    alone = elements.mean(1)
    known = (energies > 0) & (alone > 0) & np.isfinite(energies) & np.isfinite(alone)
    found = Pooled(energies.copy(), np.sqrt(polygamma(1, counts / 2)), np.zeros(len(energies)))
    if known.any():
        some = [type_ for type_, use in zip(types, known, strict=True) if use]
        positive = _pooled(energies[known], counts[known], elements[known], sizes[known], some)
        found.energies[known] = positive.energies
        found.deviations[known] = positive.deviations
        found.biases[known] = positive.biases
    return found


def _pooled(
    energies: Array, counts: Array, elements: Array, sizes: Array, types: Sequence[str]
) -> Pooled:
    """Pool positive numbers."""
    probes = elements.shape[1]
    alone = elements.mean(1)
    spread = np.square(elements - alone[:, np.newaxis]).sum(1) / max(probes - 1, 1)
    whole = polygamma(1, counts / 2)
    # Where elements are few, both numbers are off alike; of one element, they are the same. And
    # a single probe can't tell how many of them count.
    alike = np.minimum(np.maximum(spread / np.square(alone) / 2, 1 / sizes), 1.0)
    if probes == 1:
        alike = np.ones_like(alike)
    common, own = alike * whole, (1 - alike) * whole
    # The logarithm of a mean of few squares is too small on average.
    ratios = np.log(energies / alone) - (1 - alike) * (digamma(counts / 2) - np.log(counts / 2))
    between = _by_type(np.square(np.clip(ratios, -_FAR, _FAR)) - own, types)
    weight = np.divide(own, own + between, out=np.zeros_like(own), where=own + between > 0)
    moved = weight * ratios
    limits = np.log(chi2.ppf([[(1 - _CHANCE) / 2], [(1 + _CHANCE) / 2]], counts) / counts)
    limited = np.clip(moved, *limits)
    return Pooled(
        alone * np.exp(ratios - limited),
        np.sqrt(np.square(1 - weight) * own + common),
        np.hypot(weight * np.sqrt(between), moved - limited),
    )


def _by_type(excess: Array, types: Sequence[str]) -> Array:
    """Return the variance that operations of each type have in common, by operation."""
    _, member = np.unique(list(types), return_inverse=True)
    count = np.bincount(member)
    sums = np.bincount(member, weights=excess) + _FEW * excess.mean()
    found: Array = np.maximum(sums / (count + _FEW), 0.0)[member]
    return found


def kind_of(site: Site) -> str:
    """Return what a site is pooled by: errors of one kind interfere alike."""
    return f"{site.type} {site.error} {site.read == RESULT}"


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
