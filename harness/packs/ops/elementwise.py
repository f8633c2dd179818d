"""Elementwise arithmetic and functions, with broadcasting and edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from harness.packs.problems import EXACT, OPS, Array, Draw, Problem

_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "pow")
_UNARY = ("neg", "abs", "square", "sqrt", "rsqrt", "reciprocal", "exp", "log", "sin", "cos", "erf")
_ROOTS_AND_LOGS = ("sqrt", "rsqrt", "reciprocal", "log")
_SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "same": ((3, 4), (3, 4)),
    "row": ((3, 4), (4,)),
    "column": ((3, 4), (3, 1)),
    "outer": ((5, 1), (1, 6)),
    "leading": ((2, 1, 3), (4, 1)),
    "scalar": ((2, 3), ()),
    "scalars": ((), ()),
    "empty": ((0, 3), (3,)),
}


def _named(*tensors: Tensor, function: str) -> Tensor:
    """Return what PyTorch's function of this name makes of the tensors."""
    result: Tensor = getattr(torch, function)(*tensors)
    return result


@OPS.operation("binary", {"a": "any", "b": "any, broadcast as in NumPy"})
def binary(draw: Draw) -> Iterator[Problem]:
    """y = a + b and so on: axes are aligned at the last one, axes of size 1 are repeated, and the
    gradient is summed over what was repeated.
    """
    for function in _BINARY:
        for shape in _SHAPES if function == "add" else ("same", "column"):
            one, other = _SHAPES[shape]
            # Quotients and powers are asked where they are tame: away from 0.
            numbers = draw.positive if function in ("div", "pow") else draw
            given = {"a": numbers(*one), "b": numbers(*other)}
            bounds = EXACT if function in ("maximum", "minimum") else None
            chosen = {"function": function}
            yield Problem(f"{function}_{shape}", _named, given, attributes=chosen, bounds=bounds)


@OPS.operation("unary", {"x": "any"})
def unary(draw: Draw) -> Iterator[Problem]:
    """One function of each element, in radians where it takes an angle."""
    for function in _UNARY:
        numbers = draw.positive if function in _ROOTS_AND_LOGS else draw
        exact = EXACT if function in ("neg", "abs") else None
        chosen = {"function": function}
        yield Problem(function, _named, {"x": numbers(4, 8)}, attributes=chosen, bounds=exact)
    for function, edges in _EDGES.items():
        chosen = {"function": function}
        yield Problem(f"{function}_edges", _named, {"x": edges}, attributes=chosen)


_EDGES: dict[str, Array] = {
    "exp": np.asarray([-80, -1, 0, 1, 80], np.float32),
    "sqrt": np.asarray([1e-30, 1e-4, 1, 1e4, 1e30], np.float32),
    "log": np.asarray([1e-30, 1e-4, 0.999, 1.001, 1e30], np.float32),
    "square": np.asarray([-1e15, -1e-15, 0, 1e-15, 1e15], np.float32),
}


@OPS.operation("clamp", {"x": "any"}, bounds=EXACT)
def clamp(draw: Draw) -> Iterator[Problem]:
    """min(max(x, low), high); no gradient outside."""

    def compute(x: Tensor, low: float, high: float) -> Tensor:
        return torch.clamp(x, low, high)

    limits = {"low": -0.5, "high": 0.75}
    yield Problem("basic", compute, {"x": draw(4, 9)}, attributes=limits)
