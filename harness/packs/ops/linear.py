"""Matrix products: linear layers, products of matrices, embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from harness.packs.problems import OPS, SEVERAL, Array, Draw, Problem


@OPS.operation(
    "linear", {"x": "[..., in]", "weight": "[out, in]", "bias": "[out]", "y": "[..., out]"}
)
def linear(draw: Draw) -> Iterator[Problem]:
    """y = x weight^T + bias, with the weight as PyTorch stores it."""

    def layer(out: int, size: int) -> dict[str, Array]:
        return {"weight": draw(out, size, scale=size**-0.5), "bias": draw(out)}

    def case(name: str, x: tuple[int, ...], out: int, **more: Any) -> Problem:
        return Problem(name, F.linear, {"x": draw(*x)}, layer(out, x[-1]), **more)

    yield case("basic", (5, 16), 12, levels=True)
    yield case("batches", (2, 3, 8), 4)
    yield case("vector", (9,), 4)
    yield case("one_element", (1, 1), 1)
    yield case("no_rows", (0, 6), 4)
    yield case("long_sum", (2, 8192), 3, bounds=SEVERAL, gradient_bounds=SEVERAL)
    for name, scale in (("large", 1e15), ("tiny", 1e-15)):
        yield Problem(name, F.linear, {"x": draw(3, 8, scale=scale)}, layer(4, 8))
    yield Problem("without_bias", F.linear, {"x": draw(4, 6)}, {"weight": draw(5, 6)})


@OPS.operation(
    "linear_in_out", {"x": "[..., in]", "weight": "[in, out]", "bias": "[out]", "y": "[..., out]"}
)
def linear_in_out(draw: Draw) -> Iterator[Problem]:
    """y = x weight + bias, with the weight as [in, out], as TensorFlow and most shaders have it."""

    def compute(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return x @ weight + bias

    # Square: a reader that mixes up the layouts gets the right shape and the wrong numbers.
    yield Problem("square", compute, {"x": draw(3, 8)}, {"weight": draw(8, 8), "bias": draw(8)})
    yield Problem("wide", compute, {"x": draw(3, 4)}, {"weight": draw(4, 9), "bias": draw(9)})


@OPS.operation("matmul", {"a": "[..., rows, inner]", "b": "[..., inner, columns]"})
def matmul(draw: Draw) -> Iterator[Problem]:
    """y = a b, or with one of them transposed; leading axes are broadcast."""

    def compute(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> Tensor:
        return (a.mT if transpose_a else a) @ (b.mT if transpose_b else b)

    plain, second = ({"transpose_a": False, "transpose_b": b} for b in (False, True))
    first = {"transpose_a": True, "transpose_b": False}
    yield Problem("basic", compute, {"a": draw(4, 6), "b": draw(6, 5)}, attributes=plain)
    yield Problem("transpose_b", compute, {"a": draw(4, 4), "b": draw(4, 4)}, attributes=second)
    yield Problem("transpose_a", compute, {"a": draw(4, 4), "b": draw(4, 4)}, attributes=first)
    given = {"a": draw(3, 1, 4, 6), "b": draw(2, 6, 5)}
    yield Problem("broadcast", compute, given, attributes=plain)
    yield Problem("empty_inner", compute, {"a": draw(2, 0), "b": draw(0, 3)}, attributes=plain)
    given = {"a": draw(2, 4096), "b": draw(4096, 2)}
    yield Problem("long_sum", compute, given, attributes=plain, bounds=SEVERAL)


@OPS.operation("embedding", {"indices": "[...]", "weight": "[rows, width]", "y": "[..., width]"})
def embedding(draw: Draw) -> Iterator[Problem]:
    """y = weight[indices]; the gradient adds up where an index comes twice."""

    def compute(indices: Tensor, weight: Tensor, scale: float = 1.0) -> Tensor:
        return F.embedding(indices, weight) * scale

    given = {"indices": draw.integers(7, 3, 5)}
    yield Problem("basic", compute, given, {"weight": draw(7, 4)})
    yield Problem("one_row", compute, {"indices": draw.integers(1, 4)}, {"weight": draw(1, 3)})
    table, scaled = {"weight": draw(16, 6)}, {"scale": 10.0}
    yield Problem("scaled", compute, {"indices": draw.integers(16, 16)}, table, scaled)
