"""Random operations: the values are nobody's but ours, so what is tested is what is promised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from harness import mil

COUNT = 20_000
X = {"x": np.zeros(1, np.float32)}


@pytest.fixture
def draw(make_package):
    """Return a function that draws with an operation: a number to it, in some numerics, times."""

    def values(operation, *, times=1, numerics="storage", **params):
        def body(mb, x):
            return mb.add(x=x, y=getattr(mb, operation)(shape=[COUNT], **params))

        model = mil.load(make_package(body, x=(1,)))
        return [next(iter(model.predict(X, numerics=numerics).values())) for _ in range(times)]

    return values


DISTRIBUTIONS = [
    ("random_uniform", {"low": -2.0, "high": 3.0}, stats.uniform(-2, 5)),
    ("random_normal", {"mean": 0.5, "stddev": 2.0}, stats.norm(0.5, 2)),
]


@pytest.mark.parametrize(("operation", "params", "distribution"), DISTRIBUTIONS)
def test_distribution(draw, operation, params, distribution):
    (values,) = draw(operation, seed=3, **params)
    assert stats.kstest(values, distribution.cdf).pvalue > 0.01


def test_bernoulli_probability(draw):
    (values,) = draw("random_bernoulli", seed=3, prob=0.3)
    assert set(np.unique(values)) == {0.0, 1.0}
    assert stats.binomtest(int(values.sum()), COUNT, 0.3).pvalue > 0.01


@pytest.mark.parametrize("mode", ["logits", "probs"])
def test_categorical_frequencies(make_package, mode):
    weights = np.array([[0.1, 0.0, 0.6, 0.3], [0.25, 0.25, 0.25, 0.25]])

    def body(mb, x):
        return mb.random_categorical(x=x, mode=mode, size=COUNT, seed=5)

    with np.errstate(divide="ignore"):
        given = np.log(weights) + 1 if mode == "logits" else weights
    model = mil.load(make_package(body, x=weights.shape))
    (drawn,) = model.predict({"x": given.astype(np.float32)}).values()
    assert drawn.shape == (2, COUNT)
    for row, expected in zip(drawn.astype(int), weights, strict=True):
        counts = np.bincount(row, minlength=4)
        possible = expected > 0
        assert counts[~possible].sum() == 0, "a class of probability 0 was drawn"
        expectation = COUNT * expected[possible]
        assert stats.chisquare(counts[possible], expectation).pvalue > 0.01


def test_a_seed_repeats_in_every_numerics(draw):
    first, second = draw("random_normal", times=2, seed=7)
    np.testing.assert_array_equal(first, second)
    (wide,) = draw("random_normal", numerics="float64", seed=7)
    np.testing.assert_array_equal(first, wide.astype(np.float32))
    (other,) = draw("random_normal", seed=8)
    assert np.abs(first - other).max() > 1


def test_without_seed_every_prediction_differs_and_torch_decides(draw):
    torch.manual_seed(1)
    first, second = draw("random_uniform", times=2)
    assert np.abs(first - second).max() > 0.5
    torch.manual_seed(1)
    np.testing.assert_array_equal(draw("random_uniform")[0], first)


def test_uniform_stays_below_its_open_end_in_fp16(make_package):
    """One value in 4,096 rounds to 1 in FP16; a logarithm of 1 - u would be infinite."""

    def body(mb, x):
        y = mb.random_uniform(shape=[COUNT], low=np.float16(0), high=np.float16(1), seed=2)
        return mb.add(x=x, y=y)

    model = mil.load(make_package(body, dtype=np.float16, x=(1,)))
    (values,) = model.predict({"x": np.zeros(1, np.float16)}).values()
    assert values.max() == np.float16(1) - np.float16(2**-11)
