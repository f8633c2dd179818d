"""Where a recipe makes errors, and which: what FP16 and compressed weights do to one operation.

A site is an operation and a reason for its error. The error is that of the operation alone, on the
inputs that it has in FP32: ``e = (as the recipe has it) - (in FP32)``. Of FP16 it has three parts:
the operation's inputs are rounded (where what made them didn't round them already), its constants
are, and its result is. One that only moves values adds nothing when its input is rounded already.

The error of compressed weights, ``e = op(x, compressed) - op(x, stored)``, is no rounding whose
sign hangs on chance, and its elements hang together, because one weight is used many times.

Tuning asks about the parts of FP16 by themselves: what an operation rounds by its constants and
result is a site, and so is each value that it reads. That one's error is known at the input, where
roundings are independent; behind the operation one of them is in many elements.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import torch

from harness.mil import Model, get_numerics
from harness.mil.numerics import round_to_float16
from harness.mil.plan import Argument, Plan, Source, Step
from harness.precision.virtual import (
    Choice,
    Compression,
    VirtualPrecision,
    carries,
    floating_reads,
    moves,
    operation_name,
)

Tensor: TypeAlias = torch.Tensor
Values: TypeAlias = Mapping[int, Any]
Errors: TypeAlias = Mapping[int, Tensor]
"""What is added to an operation's results, or to what it reads, by slot."""

RESULT: Final = -1
_FIRST_KEY: Final = 1 << 40  # beyond every slot of a plan: constants as they are stored


@dataclass(frozen=True)
class Site:
    """A reason for an error of one operation.

    Attributes:
        operation: its name in the plan.
        type: MIL operation type.
        error: ``fp16``, or how its weights are stored.
        read: the slot whose value it reads in FP16, where that alone is the error; `RESULT` for
            errors of its results.
    """

    operation: str
    type: str
    error: str = "fp16"
    read: int = RESULT


Sites: TypeAlias = Callable[[Step, Values, Errors], Mapping[Site, Errors]]
"""Gives the errors of a step, from the values that it reads and its results, by slot."""


def recipe_sites(
    lab: VirtualPrecision, device: torch.device, choice: Choice | None, weights: Compression
) -> Sites:
    """Return the sites of a recipe: operations in FP16, and compressed weights.

    Args:
        lab: the model.
        device: where tensors are.
        choice: the precision of each operation; None looks at each one alone in FP16, in a program
            that is FP32 everywhere else, so that all its inputs count.
        weights: what is compressed, and how.
    """
    counted = _counted_inputs(lab, choice)
    roundings = _Roundings(lab, device)
    held = choice or lab.fp32_for(lab.movable)
    pair = [_Stored(lab, lab.model(held, some), device) for some in ({}, weights) if weights]

    def sites(step: Step, values: Values, results: Errors) -> dict[Site, Errors]:
        operation = step.operation
        found: dict[Site, Errors] = {}
        if operation.name in counted:
            inputs = counted[operation.name]
            found[Site(operation.name, operation.type)] = roundings.error(
                step, values, results, inputs
            )
        how = weights.get(operation_name(operation))
        if how is not None:
            rows = zip(step.outputs, *(model.call(step, values) for model in pair), strict=True)
            found[Site(operation.name, operation.type, how)] = {
                slot: packed - stored for slot, stored, packed in rows
            }
        return found

    return sites


def part_sites(lab: VirtualPrecision, device: torch.device) -> Sites:
    """Return the parts of FP16 apart, for every operation that computes: its own, and its reads."""
    roundings, plan = _Roundings(lab, device), lab.base.plan

    def sites(step: Step, values: Values, results: Errors) -> dict[Site, Errors]:
        if carries(plan, step):
            return {}
        operation = step.operation
        found: dict[Site, Errors] = {
            Site(operation.name, operation.type): roundings.error(step, values, results, ())
        }
        for slot in floating_reads(plan, step):
            error = round_to_float16(values[slot], False) - values[slot]
            found[Site(operation.name, operation.type, read=slot)] = {slot: error}
        return found

    return sites


class _Stored:
    """The steps of an FP32 plan on the constants that another model of it stores."""

    def __init__(self, lab: VirtualPrecision, model: Model, device: torch.device) -> None:
        self._executable = lab.base.executable(get_numerics("storage"), device)
        twins = {s.operation.name: s for s in model.plan.steps if s.operation.type != "cast"}
        constants = model.executable(get_numerics("storage"), device).constants
        self._constants: dict[int, Tensor] = {}
        self.changed: dict[str, Step] = {}
        for step in lab.base.plan.steps:
            if step.operation.name in twins:
                self._take(step, twins[step.operation.name], constants)

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
            self.changed[step.operation.name] = replace(step, arguments=tuple(arguments))

    def call(self, step: Step, values: Values) -> tuple[Any, ...]:
        """Return what a step makes of FP32 ``values`` with the constants of the other model."""
        layers: Any = ChainMap(self._constants, values)  # type: ignore[arg-type]
        return self._executable.call(self.changed.get(step.operation.name, step), layers)


class _Roundings:
    """The operations of an FP32 model at FP16, one at a time."""

    def __init__(self, lab: VirtualPrecision, device: torch.device) -> None:
        self._plan = lab.base.plan
        self._stored = _Stored(lab, lab.model(lab.fp32_for(())), device)

    def error(
        self, step: Step, values: Values, results: Errors, inputs: Collection[int]
    ) -> dict[int, Tensor]:
        """Return e of a step whose inputs in the slots ``inputs`` are rounded."""
        if carries(self._plan, step) and not inputs:
            return {}
        made = dict(results)
        changed = step.operation.name in self._stored.changed
        if inputs or changed:
            narrow = {slot: round_to_float16(values[slot], False) for slot in inputs}
            layers: Any = ChainMap(narrow, values)  # type: ignore[arg-type]
            made.update(zip(step.outputs, self._stored.call(step, layers), strict=True))
        return {
            slot: round_to_float16(y, False) - results[slot]
            for slot, y in made.items()
            if y.is_floating_point()
        }


def _counted_inputs(lab: VirtualPrecision, choice: Choice | None) -> dict[str, tuple[int, ...]]:
    """Return the inputs whose rounding counts, for the operations that run in FP16."""
    plan = lab.base.plan
    movable = [step for step in plan.steps if operation_name(step.operation) in lab.movable]
    if choice is None:
        return {step.operation.name: floating_reads(plan, step) for step in movable}
    fresh = _unrounded_inputs(plan, choice)
    narrow = [step for step in movable if choice[operation_name(step.operation)] == "fp16"]
    return {step.operation.name: fresh[step.operation.name] for step in narrow}


def _unrounded_inputs(plan: Plan, choice: Choice) -> dict[str, tuple[int, ...]]:
    """Return for each operation, by its name in the plan, the inputs that nothing before it rounds.

    Counting the rounding of every input would count most of them twice: 3 dB too much in all.
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
