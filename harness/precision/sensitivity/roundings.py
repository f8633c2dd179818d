"""What FP16 does to one operation, seen on its own FP32 inputs.

``e = (operation at FP16 on x) - (operation at FP32 on x)`` has three parts: the operation's inputs
are rounded (where what made them didn't round them already), its constants are, and its result is.
An operation that only moves values adds nothing when its input is rounded already.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import torch

from harness.mil import get_numerics
from harness.mil.numerics import round_to_float16
from harness.mil.ops.registry import Effect, Kind
from harness.mil.plan import Argument, Plan, Source, Step
from harness.mil.types import TensorType, ValueType
from harness.precision.virtual.model import Choice, VirtualPrecision, operation_name

Tensor: TypeAlias = torch.Tensor

# Along which axes of the result an error of the constants is independent: an output channel has
# weights of its own. Everything else of a result shares them.
_CHANNEL_AXIS = {"conv": 1, "conv_transpose": 1, "batch_norm": 1, "instance_norm": 1, "prelu": 1}
_LAST_AXIS = frozenset({"linear", "layer_norm"})
_FIRST_KEY = 1 << 40  # beyond every slot of a plan: rounded constants have keys of their own


class Roundings:
    """The operations of an FP32 model at FP16.

    Args:
        lab: the model.
        device: where tensors are.
    """

    def __init__(self, lab: VirtualPrecision, device: torch.device) -> None:
        rounded = lab.model(lab.fp32_for(()))
        self._executable = lab.base.executable(get_numerics("storage"), device)
        constants = rounded.executable(get_numerics("storage"), device).constants
        twins = {s.operation.name: s for s in rounded.plan.steps if s.operation.type != "cast"}
        self._constants: dict[int, Tensor] = {}
        self._steps: dict[str, Step] = {}
        for step in lab.base.plan.steps:
            twin = twins.get(step.operation.name)
            if twin is not None and operation_name(step.operation) in lab.movable:
                self._take(step, twin, constants)

    def _take(self, step: Step, twin: Step, constants: Mapping[int, Tensor]) -> None:
        arguments = []
        for own, other in zip(step.arguments, twin.arguments, strict=True):
            fixed = own.source is Source.SLOT and own.payload in self._executable.constants
            if own.source is Source.LITERAL:
                arguments.append(other)
            elif fixed and not torch.equal(
                constants[other.payload], self._executable.constants[own.payload]
            ):
                key = _FIRST_KEY + len(self._constants)
                self._constants[key] = constants[other.payload]
                arguments.append(Argument(own.name, own.source, key, own.kind))
            else:
                arguments.append(own)
        if tuple(arguments) != step.arguments:
            self._steps[step.operation.name] = replace(step, arguments=tuple(arguments))

    def constants_error(
        self, step: Step, values: Mapping[int, Any], results: Mapping[int, Tensor]
    ) -> dict[int, Tensor]:
        """Return what rounding a step's constants alone does to its results, where anything."""
        changed = self._steps.get(step.operation.name)
        if changed is None:
            return {}
        made = self._executable.call(changed, ChainMap(self._constants, values))  # type: ignore[arg-type]
        return {s: y - results[s] for s, y in zip(step.outputs, made, strict=True)}

    def error(
        self,
        step: Step,
        values: Mapping[int, Any],
        results: Mapping[int, Tensor],
        inputs: Collection[int],
    ) -> dict[int, Tensor]:
        """Return e: the step at FP16, with its inputs in the slots ``inputs`` rounded, less FP32.

        Args:
            step: of the FP32 plan.
            values: what its slots hold.
            results: its results in FP32, by slot.
            inputs: slots of what it reads that nothing rounded before it.
        """
        if moves(step) and not inputs:
            return {}
        made = dict(results)
        changed = self._steps.get(step.operation.name)
        if inputs or changed is not None:
            narrow = {slot: round_to_float16(values[slot], False) for slot in inputs}
            layers: Any = ChainMap(narrow, self._constants, values)  # type: ignore[arg-type]
            made.update(
                zip(step.outputs, self._executable.call(changed or step, layers), strict=True)
            )
        return {
            slot: round_to_float16(y, False) - results[slot]
            for slot, y in made.items()
            if y.is_floating_point()
        }


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


def floating_reads(plan: Plan, step: Step) -> tuple[int, ...]:
    """Return the slots of the floating tensors that ``step`` reads and that are no constants."""
    tensors = [a for a in step.arguments if a.kind in (Kind.TENSOR, Kind.TENSORS)]
    return tuple(
        dict.fromkeys(
            slot
            for argument in tensors
            for slot in argument.slots
            if slot not in plan.constants and is_floating(plan.types[slot])
        )
    )


def unrounded_inputs(plan: Plan, choice: Choice) -> dict[str, tuple[int, ...]]:
    """Return for each operation, by its name in the plan, the inputs that nothing before it rounds.

    Args:
        plan: of the FP32 model.
        choice: the precision of each operation.
    """
    rounded: set[int] = set()
    found: dict[str, tuple[int, ...]] = {}
    for step in plan.steps:
        reads = floating_reads(plan, step)
        fresh = tuple(slot for slot in reads if slot not in rounded)
        found[step.operation.name] = fresh
        narrow = choice.get(operation_name(step.operation)) == "fp16"
        if narrow or (moves(step) and reads and not fresh):
            rounded.update(step.outputs)
    return found


def shared_axes(plan: Plan, step: Step) -> tuple[int, ...]:
    """Return the axes of the first result along which one error of the constants is repeated.

    Along the others it is independent: an output channel has weights of its own.
    """
    rank = len(shape_of(plan, step.outputs[0]))
    if step.operation.type in _CHANNEL_AXIS:
        own = {_CHANNEL_AXIS[step.operation.type]}
    elif step.operation.type in _LAST_AXIS:
        own = {rank - 1}
    else:
        shapes = [
            shape_of(plan, slot)
            for argument in step.arguments
            for slot in argument.slots
            if slot in plan.constants
        ]
        shape = max(shapes, key=len, default=())
        own = {rank - len(shape) + axis for axis, size in enumerate(shape) if size != 1}
    return tuple(axis for axis in range(rank) if axis not in own)
