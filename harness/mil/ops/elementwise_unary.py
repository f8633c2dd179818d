"""Elementwise operations on one tensor.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS17}/elementwise_unary.py`` of coremltools.
``inverse``, ``log`` and ``rsqrt`` add ``epsilon`` to their input first; ``round`` rounds halves to
even.

``cast`` from floating to integer truncates towards zero; to bool it is "not zero". Integers beyond
the range of a new signed type, or of uint8, wrap, as NumPy's do. What a floating number is that no
integer holds, says `harness.mil.numerics.rounding.truncated`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from harness.mil.ops.registry import Effect, Tensor, operation


def _unary(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def function(x: Tensor, out: Tensor | None = None) -> Tensor:
        return compute(x, out=out)

    return function


# PyTorch's functions of the same names.
for _type in (
    "acos", "asin", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "floor", "round", "sin",
    "sinh", "sqrt", "square", "tan", "tanh",
):  # fmt: skip
    operation(_type, reuse=("x",))(_unary(getattr(torch, _type)))

operation("abs", effect=Effect.MOVE, reuse=("x",))(_unary(torch.abs))


@operation("sign", effect=Effect.MOVE)
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1, and NaN of NaN."""
    return torch.where(x.isnan(), x, torch.sign(x))  # torch.sign makes 0 of NaN


@operation("exp2", reuse=("x",))
def exp2(x: Tensor, out: Tensor | None = None) -> Tensor:
    """2^x; of an integer a power of two, truncated to an integer."""
    return torch.exp2(x, out=out) if x.is_floating_point() else torch.exp2(x.double())


@operation("logical_not", effect=Effect.MOVE)
def logical_not(x: Tensor) -> Tensor:
    """Whether ``x`` is false."""
    return torch.logical_not(x)


@operation("cast", effect=Effect.VIEW)
def cast(x: Tensor, dtype: str) -> Tensor:
    """``x`` in the type ``dtype``; the rounding belongs to the numerics, not to this function."""
    return x != 0 if dtype == "bool" else x


@operation("inverse", reuse=("x",))
def inverse(x: Tensor, epsilon: float = 1e-4, out: Tensor | None = None) -> Tensor:
    """1 / (x + epsilon)."""
    return torch.reciprocal(torch.add(x, epsilon, out=out), out=out)


@operation("log", reuse=("x",))
def log(x: Tensor, epsilon: float = 1e-45, out: Tensor | None = None) -> Tensor:
    """The natural logarithm of x + epsilon."""
    return torch.log(torch.add(x, epsilon, out=out), out=out)


@operation("rsqrt", reuse=("x",))
def rsqrt(x: Tensor, epsilon: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """1 / sqrt(x + epsilon)."""
    return torch.rsqrt(torch.add(x, epsilon, out=out), out=out)


@operation("clip", reuse=("x",))
def clip(x: Tensor, alpha: float, beta: float, out: Tensor | None = None) -> Tensor:
    """``x`` limited to [alpha, beta]."""
    return torch.clamp(x, _like(x, alpha), _like(x, beta), out=out)


@operation("threshold", reuse=("x",))
def threshold(x: Tensor, alpha: float, out: Tensor | None = None) -> Tensor:
    """The larger of ``x`` and alpha."""
    return torch.clamp(x, min=_like(x, alpha), out=out)


def _like(x: Tensor, limit: float) -> float | int:
    return limit if x.is_floating_point() else int(limit)
