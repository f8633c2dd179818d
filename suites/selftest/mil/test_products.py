"""If these fail, a large product of the executor depends on which library makes it, not on MIL."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.mil.numerics.kernels import HalfAccumulation
from harness.mil.ops import products
from harness.mil.ops.attention import scaled_dot_product_attention
from harness.mil.ops.linear import linear, matmul

SIZES = st.integers(1, 40)
ONEDNN = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.mkldnn.is_available()
    else None
)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have oneDNN make every product, whatever the processor and the size; count them."""
    if ONEDNN is None:
        pytest.skip("this PyTorch has no oneDNN")
    calls = [0]

    def counted(*arguments: object) -> Tensor:
        calls[0] += 1
        made: Tensor = ONEDNN(*arguments)
        return made

    monkeypatch.setattr(products, "_other", lambda: counted)
    monkeypatch.setattr(products, "_LARGE", 0)
    monkeypatch.setattr(products, "_BLOCK_ELEMENTS", 64)
    return calls


def tensor(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, exact: Tensor) -> bool:
    return bool((actual.double() - exact).norm() <= 2e-6 * exact.norm() + 1e-30)


@given(st.lists(st.integers(1, 3), max_size=2), SIZES, SIZES, SIZES, st.booleans(), st.booleans())
def test_linear_is_the_product_in_float64(
    batch: list[int], rows: int, terms: int, columns: int, biased: bool, placed: bool
) -> None:
    x, weight = tensor(0, *batch, rows, terms), tensor(1, columns, terms)
    bias = tensor(2, columns) if biased else None
    out = torch.empty(*batch, rows, columns) if placed else None
    exact = torch.nn.functional.linear(
        x.double(), weight.double(), None if bias is None else bias.double()
    )
    assert close(linear(x, weight, bias, out), exact)


@given(st.lists(st.integers(1, 3), max_size=2), SIZES, SIZES, SIZES, st.booleans(), st.booleans())
def test_matmul_is_the_product_in_float64(
    batch: list[int], rows: int, terms: int, columns: int, turned: bool, placed: bool
) -> None:
    a, b = tensor(0, *batch, rows, terms), tensor(1, *batch, terms, columns)
    out = torch.empty(*batch, rows, columns) if placed else None
    given = b.mT.contiguous() if turned else b
    assert close(matmul(a, given, False, turned, out), a.double() @ b.double())


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.mT.contiguous().mT,
        lambda x: x[:, :1].expand_as(x),
        lambda x: x[:1].expand_as(x),
        lambda x: torch.cat([x, x], 1)[:, 1 : x.shape[1] + 1],
        lambda x: torch.stack([x, x], -1)[..., 0],
    ],
)
def test_operands_may_be_any_view(view: Callable[[Tensor], Tensor]) -> None:
    x, weight = view(tensor(0, 20, 24)), view(tensor(1, 18, 24))
    assert close(linear(x, weight), x.double() @ weight.double().T)
    assert close(matmul(x, weight.T), x.double() @ weight.double().T)
    assert linear(x[0], weight).shape == (18,)


@given(st.integers(1, 3), SIZES, SIZES, SIZES, SIZES)
def test_attention_is_that_in_float64(
    heads: int, queries: int, keys: int, size: int, values: int
) -> None:
    q, k, v = (
        tensor(0, 1, heads, queries, size),
        tensor(1, 1, heads, keys, size),
        tensor(2, 1, heads, keys, values),
    )
    scores = q.double() @ k.double().mT / math.sqrt(size)
    assert close(scaled_dot_product_attention(q, k, v), scores.softmax(-1) @ v.double())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_goes_where_the_definition_has_it(value: float) -> None:
    x, weight = tensor(0, 20, 24), tensor(1, 18, 24)
    x[3, 5] = value
    made, plain = linear(x, weight), torch.nn.functional.linear(x.double(), weight.double())
    assert torch.equal(made.isfinite(), plain.isfinite())
    q, k, v = (tensor(seed, 1, 2, 20, 16) for seed in range(3))
    k[0, 1, 7, 2] = value
    scores = q.double() @ k.double().mT / 4
    exact = scores.softmax(-1) @ v.double()
    actual = scaled_dot_product_attention(q, k, v)
    assert torch.equal(actual.isnan(), exact.isnan())


def test_it_is_asked_for_large_products_of_float32_alone(asked: list[int]) -> None:
    x, weight = tensor(0, 20, 24), tensor(1, 18, 24)
    linear(x, weight)
    assert asked == [1]
    linear(x.double(), weight.double())
    linear(x.half(), weight.half())
    with products.plain_products():
        linear(x, weight)
    with HalfAccumulation():
        linear(x, weight)
    assert asked == [1]


def test_a_batch_of_small_products_is_one_call_of_pytorch(
    monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    """Thousands of calls of another library would take longer than they save."""
    monkeypatch.setattr(products, "_LARGE", 9 * 8 * 8)
    matmul(tensor(0, 50, 8, 8), tensor(1, 50, 8, 8))
    assert asked == [0]
    matmul(tensor(0, 5, 9, 8), tensor(1, 5, 8, 8))
    assert asked == [5]


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: linear(x, x),
        lambda x: matmul(x, x.mT),
        lambda x: scaled_dot_product_attention(x, x, x),
    ],
)
def test_gradients_are_those_of_pytorch(
    operation: Callable[[Tensor], Tensor], asked: list[int]
) -> None:
    x = tensor(0, 20, 24).requires_grad_()
    operation(x).square().sum().backward()
    assert x.grad is not None
    assert asked == [0]
