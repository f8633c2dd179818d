"""If these fail, shares are what single elements suggest although they interfere, or the reverse.

Errors are drawn, so that what is looked for is known: each element gives one normal number in each
probe, and the errors of one operation add up.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import digamma, polygamma
from scipy.stats import chi2

from harness.precision.sensitivity.estimates import Pooled, pooled

PROBES, ELEMENTS, OPERATIONS = 4, 400, 120
Array = npt.NDArray[np.float64]


def drawn(together: float, seed: int) -> tuple[Array, Array]:
    """Return energies and elements of operations whose true energy is 1.

    Args:
        together: part of the energy that comes from one cause that all elements share.
        seed: of what is drawn.
    """
    random = np.random.default_rng(seed)
    each = random.standard_normal((OPERATIONS, PROBES, ELEMENTS)) * math.sqrt(1 - together)
    each += random.standard_normal((OPERATIONS, PROBES, 1)) * math.sqrt(together / ELEMENTS)
    each /= math.sqrt(ELEMENTS)
    return np.square(each.sum(2)).mean(1), np.square(each).sum(2)


def pool(energies: Array, elements: Array, size: int, types: list[str]) -> Pooled:
    count = np.full(len(energies), float(PROBES))
    return pooled(energies, count, elements, np.full(len(energies), float(size)), types)


def logarithms(found: Array) -> Array:
    return 10 * np.log10(found)


@pytest.mark.parametrize("seed", range(3))
def test_what_does_not_interfere_is_known_from_its_elements(seed: int) -> None:
    energies, elements = drawn(0.0, seed)
    found = pool(energies, elements, ELEMENTS, ["mul"] * OPERATIONS)
    assert np.std(logarithms(energies)) > 2.5
    assert np.std(logarithms(found.energies)) < 1.0
    deviations = np.hypot(found.deviations, found.biases)
    assert np.mean(np.abs(np.log(found.energies)) < 1.96 * deviations + 0.05) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_what_interferes_keeps_what_its_probes_say(seed: int) -> None:
    random = np.random.default_rng(seed)
    energies, elements = drawn(0.0, seed)
    truth = np.exp(2 * random.standard_normal(OPERATIONS))  # how much elements interfere
    found = pool(energies * truth, elements, ELEMENTS, ["linear"] * OPERATIONS)
    errors = logarithms(found.energies / truth)
    assert np.std(errors) < 1.2 * np.std(logarithms(energies))
    assert abs(np.median(errors)) < 1.5
    # The elements alone would be off by as much as they interfere.
    assert np.std(errors) < 0.5 * np.std(logarithms(truth))
    deviations = np.hypot(found.deviations, found.biases)
    assert np.mean(np.abs(np.log(found.energies / truth)) < 1.96 * deviations) > 0.85


@pytest.mark.parametrize("ratio", [300.0, 1 / 300])
def test_an_operation_unlike_others_of_its_type_stays_near_its_probes(ratio: float) -> None:
    """No farther than four squares are off by chance, in one case of a hundred."""
    energies, elements = drawn(0.0, 2)
    energies[0] *= ratio
    found = pool(energies, elements, ELEMENTS, ["add"] * OPERATIONS)
    low, high = chi2.ppf([0.005, 0.995], PROBES) / PROBES
    # The logarithm of four squares is too small by this on average, which is made up for.
    centre = math.exp(digamma(PROBES / 2) - math.log(PROBES / 2))
    moved = energies[0] / centre / found.energies[0]
    assert low * 0.999 <= moved <= high * 1.001
    assert found.biases[0] > 2 * np.median(found.biases)  # and says that it is odd


def test_types_are_told_apart() -> None:
    quiet, elements = drawn(0.0, 1)
    truth = np.exp(2 * np.random.default_rng(1).standard_normal(OPERATIONS))
    types = ["mul"] * OPERATIONS + ["linear"] * OPERATIONS
    both = pool(
        np.concatenate([quiet, quiet * truth]), np.concatenate([elements] * 2), ELEMENTS, types
    )
    alone, interfering = np.split(both.biases, 2)
    assert alone.max() < interfering.min()


def test_a_single_number_tells_nothing_twice() -> None:
    squares = np.square(np.random.default_rng(0).standard_normal((OPERATIONS, PROBES)))
    found = pool(squares.mean(1), squares, 1, ["reduce_mean"] * OPERATIONS)
    np.testing.assert_allclose(found.energies, squares.mean(1))
    np.testing.assert_allclose(found.deviations, math.sqrt(polygamma(1, PROBES / 2)))
    np.testing.assert_array_equal(found.biases, 0.0)


def test_what_cannot_be_told_stays_as_it_is() -> None:
    energies, elements = drawn(0.0, 0)
    energies[:3], elements[2] = (0.0, math.nan, 1.0), 0.0
    found = pool(energies, elements, ELEMENTS, ["mul"] * OPERATIONS)
    np.testing.assert_array_equal(found.energies[:3], energies[:3])
    assert np.isfinite(found.energies[3:]).all()
    assert np.isfinite(found.deviations).all()
