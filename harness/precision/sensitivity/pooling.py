"""What a few random probes tell of an error's energy, and what its single elements add to that.

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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, polygamma
from scipy.stats import chi2

Array: TypeAlias = npt.NDArray[np.float64]

_FEW = 8
"""Operations of a type: so many weigh as much as all operations together."""
_FAR = 3.0
"""Ratios beyond e^3 tell no more about a type than this."""
_CHANCE = 0.99
"""An operation is moved from its probes by no more than chance explains in so many cases."""


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
