"""What a plan says of its steps: which floating-point tensors they read, and if they move them."""

from __future__ import annotations

from harness.mil.ops.registry import Effect, ParameterKind
from harness.mil.plan import Plan, Step
from harness.mil.types import TensorType, ValueType


def is_floating(type_: ValueType) -> bool:
    """Whether a value is a tensor of floating-point numbers."""
    return isinstance(type_, TensorType) and type_.dtype.is_floating


def shape_of(plan: Plan, slot: int) -> tuple[int | None, ...]:
    """Return the declared shape of a slot; empty for what is no tensor."""
    type_ = plan.types[slot]
    return type_.shape or () if isinstance(type_, TensorType) else ()


def moves(step: Step) -> bool:
    """Whether a step only moves values, so that rounded ones stay rounded."""
    return step.definition.effect is not Effect.COMPUTE


def carries(plan: Plan, step: Step) -> bool:
    """Whether a step only moves what others made, so that rounded values stay rounded.

    One that moves constants alone, as an embedding does, rounds them itself.
    """
    return moves(step) and bool(floating_reads(plan, step))


def floating_reads(plan: Plan, step: Step) -> tuple[int, ...]:
    """Return the slots of the floating tensors that ``step`` reads and that are no constants."""
    tensors = [a for a in step.arguments if a.kind in (ParameterKind.TENSOR, ParameterKind.TENSORS)]
    return tuple(
        dict.fromkeys(
            slot
            for argument in tensors
            for slot in argument.slots
            if slot not in plan.constants and is_floating(plan.types[slot])
        )
    )
