"""If these fail, a package that computes NaN passes as one that is as exact as its recipe."""

from __future__ import annotations

import math

import numpy as np

from harness.layers import beside_prediction_db


def test_what_is_not_a_number_is_furthest_under_its_prediction() -> None:
    expected = np.ones(8, np.float32)
    near, broken = expected + np.float32(1e-3), expected * np.float32(math.nan)
    assert beside_prediction_db(expected, near, near) == 0.0
    assert beside_prediction_db(expected, broken, near) == -math.inf
    assert beside_prediction_db(expected, near, broken) == -math.inf


def test_equal_bits_promise_another_runtime_no_more_than_fp32_reaches() -> None:
    """Another runtime adds up in another order, and was infinitely far under its prediction."""
    expected = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    near, far = expected * np.float32(1 + 2e-7), expected * np.float32(1 + 1e-5)
    assert beside_prediction_db(expected, near, expected) == -math.inf
    assert beside_prediction_db(expected, near, expected, exact=False) > 0
    assert -20 < beside_prediction_db(expected, far, expected, exact=False) < -5
