"""FP16 accumulation: the documented order bit by bit, its signs, and no sum that escapes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from harness import mil
from harness.errors import ExecutionError
from harness.mil.numerics.accumulation import BLOCK, half_product, half_sum
from harness.mil.numerics.kernels import HalfAccumulation
from suites.ops.cases import all_cases
from suites.ops.packages import actual_outputs, expected_outputs


def block_sum(terms: np.ndarray) -> np.float16:
    """The definition, in float64 but for the rounding after each block."""
    accumulator = np.float16(0)
    with np.errstate(over="ignore"):
        for start in range(0, len(terms), BLOCK):
            block = terms[start : start + BLOCK].astype(np.float64)
            accumulator = np.float16(np.float64(accumulator) + block.sum())
    return accumulator


def halves(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    values = np.random.default_rng([seed, *shape]).standard_normal(shape) * scale
    return values.astype(np.float16).astype(np.float32)


def accumulated(function, *arrays: np.ndarray) -> np.ndarray:
    with HalfAccumulation(), torch.no_grad():
        result: np.ndarray = function(*(torch.from_numpy(array) for array in arrays)).numpy()
    return result


@settings(max_examples=30, deadline=None)
@given(length=st.integers(0, 70), seed=st.integers(0, 99), scale=st.sampled_from([1e-3, 1, 5e3]))
def test_sums_follow_the_definition(length, seed, scale):
    rows = halves(3, length, seed=seed, scale=scale)
    expected = [block_sum(row) for row in rows]
    np.testing.assert_array_equal(accumulated(lambda x: x.sum(1), rows), expected)
    actual = half_sum(torch.from_numpy(rows.T.copy()), [0], keepdim=True)
    np.testing.assert_array_equal(actual.numpy(), [expected])


@pytest.mark.parametrize("inner", [1, 4, 7, 32])
def test_products_follow_the_definition(inner):
    a, b = halves(2, 5, inner), halves(2, inner, 3, seed=1)
    expected = [[[block_sum(row * column) for column in m.T] for row in n] for n, m in zip(a, b)]  # noqa: B905
    actual = half_product(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(accumulated(torch.matmul, a, b), expected)


def test_tiles_do_not_change_a_product(monkeypatch):
    a, b = torch.from_numpy(halves(3, 9, 10)), torch.from_numpy(halves(3, 10, 7, seed=1))
    whole = half_product(a, b)
    monkeypatch.setattr("harness.mil.numerics.accumulation._TILE", {"cpu": 20})
    assert torch.equal(half_product(a, b), whole)


def test_convolutions_follow_the_definition():
    x, weight = halves(2, 3, 6, 5), halves(4, 3, 2, 3, seed=1)
    actual = accumulated(lambda x, w: functional.conv2d(x, w, stride=(2, 1)), x, weight)
    for n, c, i, j in np.ndindex(actual.shape):
        terms = x[n, :, 2 * i : 2 * i + 2, j : j + 3] * weight[c]
        assert actual[n, c, i, j] == block_sum(terms.reshape(-1))


def test_a_convolution_takes_no_short_cut_that_adds_in_another_order(make_package):
    """Wide, one that gives few channels adds its taps last; the bound would be less pessimistic."""
    x, weight = halves(1, 18, 7), halves(2, 18, 3, seed=1)
    package = make_package(
        lambda mb, x: mb.conv(x=x, weight=weight.astype(np.float16)), np.float16, x=x.shape
    )
    inputs = {"x": x.astype(np.float16)}
    (actual,) = mil.load(package).predict(inputs, numerics="fp16_accumulate").values()
    for channel, i in np.ndindex(2, 5):
        terms = x[0, :, i : i + 3] * weight[channel]
        assert actual[0, channel, i] == block_sum(terms.reshape(-1))


def test_transposed_convolutions_follow_the_definition():
    x, weight = halves(1, 5, 4), halves(5, 2, 3, seed=1)
    actual = accumulated(lambda x, w: functional.conv_transpose1d(x, w, stride=2), x, weight)
    expected = np.zeros((2, 9), np.float16)
    for tap in range(3):
        for channel, i in np.ndindex(2, 4):
            product = block_sum(x[0, :, i] * weight[:, channel, tap])
            expected[channel, 2 * i + tap] += product
    np.testing.assert_array_equal(actual[0], expected)


def test_grouped_and_dilated_convolutions_stay_close():
    x, weight = halves(2, 4, 9, 8), halves(6, 2, 2, 3, seed=1)
    function = lambda x, w: functional.conv2d(x, w, dilation=(3, 2), padding=1, groups=2)  # noqa: E731
    wide = function(torch.from_numpy(x), torch.from_numpy(weight)).numpy()
    np.testing.assert_allclose(accumulated(function, x, weight), wide, rtol=0, atol=0.02)


def test_long_sums_stagnate_and_overflow():
    assert accumulated(lambda x: x.sum(), np.ones(100_000, np.float32)) == 8192
    assert accumulated(lambda x: x.sum(), np.full(700, 100, np.float32)) == np.inf
    assert accumulated(lambda x: x.mean(), np.full(700, 100, np.float32)) == np.inf


def test_error_grows_with_length():
    """Else the bound would not be pessimistic for long reductions."""
    errors = []
    for length in (64, 1024, 16384):
        rows = np.abs(halves(50, length))
        exact = rows.astype(np.float64).sum(1)
        error = accumulated(lambda x: x.sum(1), rows) / exact - 1
        errors.append(float(np.sqrt((error**2).mean())))
    assert errors[0] < errors[1] < errors[2]
    assert errors[2] > 10 * errors[0]


def test_gradients_are_those_of_the_wide_kernels():
    x = torch.from_numpy(halves(3, 40)).requires_grad_()
    weight = torch.from_numpy(halves(5, 40, seed=1))
    with HalfAccumulation():
        y = torch.softmax(functional.linear(x, weight), -1)
    (y * torch.arange(5.0)).sum().backward()
    assert x.grad is not None
    other = x.detach().clone().requires_grad_()
    (torch.softmax(functional.linear(other, weight), -1) * torch.arange(5.0)).sum().backward()
    assert other.grad is not None
    torch.testing.assert_close(x.grad, other.grad, rtol=0.1, atol=0.02)
    assert not torch.equal(x.grad, torch.zeros_like(x.grad))


def test_unknown_kernels_are_refused():
    with HalfAccumulation(), pytest.raises(ExecutionError, match=r"whether aten\._fft_r2c"):
        torch.fft.rfft(torch.ones(8))


CASES = [case for case in all_cases() if "fp16" in case.dtypes]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_every_operation_runs(case, tmp_path):
    """Each operation that the executor knows reaches only kernels that were classified."""
    actual = actual_outputs(case, "fp16", tmp_path / "case.mlpackage", "fp16_accumulate")
    for (dtype, result), expected in zip(actual, expected_outputs(case, "fp16"), strict=True):
        if dtype is mil.DataType.FLOAT16 and np.isfinite(expected).all():
            largest = max(1.0, float(np.abs(expected).max(initial=0)))
            assert np.abs(result.astype(np.float64) - expected).max(initial=0) < 0.02 * largest
