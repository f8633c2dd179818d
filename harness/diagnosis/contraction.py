"""How many terms each operation adds up, from the types that the program declares."""

from __future__ import annotations

import math
from typing import Any, Final

from harness.mil.plan import Plan, Step

FULL_ACCUMULATOR: Final = 8192
"""Terms after which an FP16 accumulator that takes four at a time stops growing, where all terms
are equal: four of them are half a unit in its last place (`harness.mil.numerics.accumulation`)."""

_REDUCTIONS: Final = frozenset(
    f"reduce_{kind}"
    for kind in ("sum", "mean", "sum_square", "l1_norm", "l2_norm", "log_sum", "log_sum_exp")
) | {"layer_norm", "instance_norm", "l2_norm", "softmax"}


def accumulated_terms(plan: Plan, step: Step) -> int:
    """Return how many terms the longest sum in a step has: 1 where it adds nothing up.

    Of attention that is the longer of a product's inner axis and the softmax's. Where a declared
    shape is unknown, the answer is 1.
    """
    kind = step.operation.type
    shapes = _shapes(plan, step)
    if kind in ("conv", "linear", "conv_transpose"):
        return _weighted(kind, shapes.get("weight"), step.literal("groups"))
    if kind == "matmul":
        transposed = bool(step.literal("transpose_x"))
        return _axis(shapes.get("x"), -2 if transposed else -1)
    if kind == "scaled_dot_product_attention":
        return max(_axis(shapes.get("query"), -1), _axis(shapes.get("key"), -2))
    if kind in _REDUCTIONS and "x" in shapes:
        return _reduced(step, shapes["x"])
    return 1


def _weighted(kind: str, weight: tuple[int, ...] | None, groups: Any) -> int:
    if weight is None:
        return 1
    if kind == "conv_transpose":  # [C_in, C_out / groups, *K]; positions that overlap come on top
        return weight[0] // int(groups or 1)
    return math.prod(weight[1:])


def _reduced(step: Step, shape: tuple[int, ...]) -> int:
    kind, everything = step.operation.type, tuple(range(len(shape)))
    axes = {
        "softmax": (step.literal("axis"),),
        "instance_norm": everything[2:],
        "l2_norm": everything[-3:],
    }.get(kind, step.literal("axes") or everything)
    return math.prod(shape[int(axis)] for axis in axes)


def _axis(shape: tuple[int, ...] | None, axis: int) -> int:
    return 1 if shape is None or len(shape) < 2 else shape[axis]


def _shapes(plan: Plan, step: Step) -> dict[str, tuple[int, ...]]:
    """Return the known shapes of the step's tensors by the name of the input."""
    found = {}
    for argument in step.arguments:
        for slot in argument.slots[:1]:
            shape = getattr(plan.types[slot], "shape", None)
            if shape is not None and None not in shape:
                found[argument.name] = tuple(shape)
    return found
