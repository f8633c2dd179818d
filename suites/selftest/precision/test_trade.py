"""If these fail, tuning gives a set that breaks its bounds, or one that costs more than it must."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from harness.precision.tuning.parts import Parts
from harness.precision.tuning.trade import Costs, _cut, cheapest


def problem(seed: int, size: int = 9, measures: int = 2) -> tuple[Parts, Costs]:
    """A chain with some skips, shares over six decades."""
    generator = np.random.default_rng(seed)
    edges = [(-1, 0), *((k, k + 1) for k in range(size - 1))]
    edges += [
        (k, k + 2 + int(generator.integers(2))) for k in range(size - 3) if generator.random() < 0.5
    ]
    parts = Parts(
        tuple(f"op{k}" for k in range(size)),
        tuple(f"m{k}" for k in range(measures)),
        10 ** generator.uniform(-6, 0, (size, measures)),
        tuple(edges),
        10 ** generator.uniform(-6, 0, (len(edges), measures)),
    )
    casts = 0.1 * generator.random(len(edges))
    return parts, Costs(generator.random(size), casts)


def every_set(size: int) -> list[np.ndarray]:
    return [np.array(bits, bool) for bits in itertools.product((False, True), repeat=size)]


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_is_the_exact_minimum_for_its_prices(seed: int) -> None:
    parts, costs = problem(seed)
    prices = 10 ** np.random.default_rng(seed).uniform(-1, 2, 2)

    def value(wide: np.ndarray) -> float:
        return costs.total(parts, wide) + float(parts.error(wide) @ prices)

    best = min(value(wide) for wide in every_set(9))
    limits = np.zeros(9, bool), np.ones(9, bool)
    assert value(_cut(parts, costs, prices, limits)) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("level", [0.5, 0.1, 0.01])
def test_the_set_is_within_every_bound_and_near_the_cheapest(seed: int, level: float) -> None:
    parts, costs = problem(seed)
    bounds = level * parts.error(np.zeros(9, bool))
    found = cheapest(parts, costs, bounds)
    assert (parts.error(found) <= bounds * (1 + 1e-9)).all()
    best = min(costs.total(parts, w) for w in every_set(9) if (parts.error(w) <= bounds).all())
    assert costs.total(parts, found) <= 1.5 * best + 1e-9


@pytest.mark.parametrize("seed", range(24))
def test_a_set_is_trimmed_within_itself(seed: int) -> None:
    parts, costs = problem(seed)
    generator = np.random.default_rng(seed)
    forced = generator.random(9) < 0.1
    allowed = forced | (generator.random(9) < 0.7)
    bounds = 3 * parts.error(allowed) + 1e-6
    found = cheapest(parts, costs, bounds, forced, allowed)
    assert (found & ~allowed).sum() == 0
    assert (forced & ~found).sum() == 0
    assert (parts.error(found) <= bounds * (1 + 1e-9)).all()
    within = [w for w in every_set(9) if not (w & ~allowed).any() and not (forced & ~w).any()]
    best = min(costs.total(parts, w) for w in within if (parts.error(w) <= bounds).all())
    assert costs.total(parts, found) <= 1.5 * best + 1e-9


def test_one_operation_in_fp32_between_two_in_fp16_gains_only_its_constants() -> None:
    parts = Parts(
        ("a", "b", "c"),
        ("m",),
        np.array([[1.0], [1.0], [1.0]]),
        ((0, 1), (1, 2)),
        np.array([[0.2], [0.9]]),
    )
    everything = parts.error(np.zeros(3, bool))[0]
    assert everything - parts.error(np.array([False, True, False]))[0] == pytest.approx(0.1)
    assert everything - parts.error(np.array([False, True, True]))[0] == pytest.approx(2.0)


def test_what_no_derivative_tells_stays_in_fp32() -> None:
    """A share of NaN (the root of an exact zero) once broke the cut for every other operation."""
    known, costs = problem(1)
    own, at_edges = known.own.copy(), known.at_edges.copy()
    own[4], at_edges[known.edges.index((6, 7))] = np.nan, np.inf
    told, unknown = replace(known, own=own, at_edges=at_edges).without_unknown()
    assert np.flatnonzero(unknown).tolist() == [4, 6, 7]
    assert np.isfinite(told.own).all()
    assert np.isfinite(told.at_edges).all()
    bounds = told.error(np.zeros(9, bool)) / 10
    assert cheapest(told, costs, bounds, unknown)[unknown].all()
    np.testing.assert_array_equal(known.without_unknown()[0].own, known.own)
