"""Elementwise operations on two tensors, with NumPy broadcasting.

Source: ``converters/mil/mil/ops/defs/iOS15/elementwise_binary.py`` of coremltools. ``floor_div``
rounds towards minus infinity and ``mod`` takes the sign of the divisor, as in Python. Comparisons
return truth values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from harness.mil.ops.registry import Effect, Tensor, operation


def _binary(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def function(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
        return compute(x, y, out=out)

    return function


_ARITHMETIC: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    # torch.floor_divide is the same, but has no derivative (0 here).
    "floor_div": functools.partial(torch.div, rounding_mode="floor"),
    "mod": torch.remainder,
    "pow": torch.pow,
}
for _type, _compute in _ARITHMETIC.items():
    operation(_type, reuse=("x", "y"))(_binary(_compute))

for _type, _compute in {"maximum": torch.maximum, "minimum": torch.minimum}.items():
    operation(_type, effect=Effect.MOVE, reuse=("x", "y"))(_binary(_compute))


@operation("real_div", reuse=("x", "y"))
def real_div(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """True division; integers are divided towards zero, as their declared type demands."""
    if x.is_floating_point() or y.is_floating_point():
        return torch.div(x, y, out=out)
    return divided_towards_zero(x, y)


def divided_towards_zero(x: Tensor, y: Tensor) -> Tensor:
    """Return x / y of integers, as integers; the quotient of -2^31 and -1 wraps, as in NumPy.

    Raises:
        RuntimeError: an element of ``y`` is zero.
    """
    # Rounding down and correcting: torch.div(rounding_mode="trunc") leaves that quotient to the
    # processor, and on x86 the whole process dies of it.
    quotient = torch.div(x, y, rounding_mode="floor")
    return quotient + ((quotient < 0) & (torch.remainder(x, y) != 0))


def _comparison(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def function(x: Tensor, y: Tensor) -> Tensor:
        return compute(x, y)

    return function


for _type, _compute in {
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}.items():
    operation(_type, effect=Effect.MOVE)(_comparison(_compute))
