"""If these fail, what is called the smallest failing program is not, or does not fail at all."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reduction import Trials, minimise

CAUSES = st.lists(st.frozensets(st.integers(0, 39), min_size=1, max_size=5), min_size=1, max_size=3)


def assert_one_minimal(parts: tuple[int, ...], fails) -> None:
    assert fails(frozenset(parts))
    for part in parts:
        assert len(parts) == 1 or not fails(frozenset(parts) - {part})


@given(causes=CAUSES)
def test_what_is_left_of_independent_causes_is_one_of_them(causes):
    def fails(kept: frozenset[int]) -> bool:
        return any(cause <= kept for cause in causes)

    found = minimise(range(40), Trials(fails, 10_000))
    assert found.minimal
    assert_one_minimal(found.parts, fails)
    assert frozenset(found.parts) in causes


@given(seed=st.integers(0, 2**32), size=st.integers(1, 24), share=st.integers(1, 255))
def test_what_is_left_is_one_minimal_even_where_failing_follows_no_rule(seed, size, share):
    def fails(kept: frozenset[int]) -> bool:
        text = f"{seed}:{sorted(kept)}".encode()
        return len(kept) == size or (bool(kept) and hashlib.sha256(text).digest()[0] < share)

    found = minimise(range(size), Trials(fails, 100_000))
    assert found.minimal
    assert_one_minimal(found.parts, fails)


def test_a_single_cause_among_many_takes_few_tries():
    trials = Trials(lambda kept: 700 in kept, 10_000)
    assert minimise(range(1024), trials).parts == (700,)
    assert trials.tries <= 2 * 10


def test_a_set_is_tried_once():
    asked: list[frozenset[int]] = []

    def fails(kept: frozenset[int]) -> bool:
        asked.append(kept)
        return {1, 6} <= kept

    minimise(range(8), Trials(fails, 1000))
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_where_the_tries_run_out_the_best_so_far_is_returned_and_not_called_minimal(limit):
    def fails(kept: frozenset[int]) -> bool:
        return {1, 6} <= kept

    trials = Trials(fails, limit)
    assert trials(range(8))
    found = minimise(range(8), trials)
    assert not found.minimal
    assert trials.tries == limit
    assert fails(frozenset(found.parts))
