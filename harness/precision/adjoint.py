"""Gradients of several functions of a program's outputs with respect to every value in it.

One walk forward and one back, operation by operation: what is alive at a few places is kept, and
the last stretch; the rest is computed again on the way back. A visitor sees each operation once,
with its inputs, its outputs, and the gradients of all probes; then they are freed. So the memory in
use is that of the places, of one stretch between two of them, and of the gradients that are alive.

A probe is a covector on the outputs: v in v . f(x). Its gradient at a value y is J_y^T v, where J_y
is the derivative of the outputs with respect to y. Roundings aren't differentiated: run this on a
program in FP32. Everything is on the device of the inputs, in the carrier types of ``storage``.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from harness.mil import Model, get_numerics
from harness.mil.executor import Executable
from harness.mil.ops.registry import Effect
from harness.mil.plan import Step
from harness.mil.schedule import ScheduledStep, build_schedule

Tensor: TypeAlias = torch.Tensor
Gradients: TypeAlias = Mapping[int, Tensor]
"""For each slot the gradients of all probes, [probes, *shape of the value]."""
Probes: TypeAlias = Mapping[str, Tensor]
"""For each output [probes, *shape of the output]; those of a missing output are zero."""

# PyTorch's vmap has no rule for the gradient of its fused attention on every device.
_NOT_BATCHED = frozenset({"scaled_dot_product_attention"})

STRETCH_BYTES = 1 << 30
"""How much one stretch between two kept places may hold."""


@dataclass(frozen=True, eq=False)
class Visit:
    """One operation on the way back.

    Attributes:
        step: as planned.
        inputs: the floating tensors that it reads and that depend on the program's inputs, by slot.
        outputs: its outputs, by slot.
        at_inputs: gradients at what it reads, of this operation's own part alone: where a value is
            read by several operations, its whole gradient is the sum over them.
        at_outputs: whole gradients at what it makes.
        values: what every slot holds that this operation reads.
    """

    step: Step
    inputs: Mapping[int, Tensor]
    outputs: Mapping[int, Tensor]
    at_inputs: Gradients
    at_outputs: Gradients
    values: Mapping[int, Any]


def walk_back(
    model: Model,
    inputs: Mapping[str, Tensor],
    make_probes: Callable[[Mapping[str, Tensor]], Probes],
    visit: Callable[[Visit], None],
    *,
    stretch_bytes: int = STRETCH_BYTES,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:
    """Walk through ``model`` and back, and return its outputs.

    Args:
        model: in FP32.
        inputs: a float32 tensor for each of the model's inputs, on one device.
        make_probes: gets the outputs, gives the probes.
        visit: called for each operation that the outputs depend on, in reverse order.
        stretch_bytes: memory for values between two places; more is faster by very little.
        advance: called as ``advance(done, total)`` with operations.

    Raises:
        ExecutionError: an operation failed.
    """
    device = next(iter(inputs.values())).device
    executable = model.executable(get_numerics("storage"), device)
    slots = {feature.name: model.plan.slots[feature.name] for feature in model.outputs}
    schedule = build_schedule(model.plan, frozenset(slots.values()), reuse=False)
    given = {model.plan.inputs[name]: tensor for name, tensor in inputs.items()}
    with torch.no_grad():
        stretches = _stretches(executable, schedule.steps, given, schedule.kept, stretch_bytes)
    held = stretches[-1].after
    outputs = {name: held[slot] for name, slot in slots.items()}
    probes = make_probes(outputs)
    gradients = {slot: probes[name] for name, slot in slots.items() if name in probes}
    done, total = 0, len(schedule.steps)
    while stretches:
        stretch = stretches.pop()
        values = stretch.values
        if not values:
            values = dict(stretch.before) | dict(executable.constants)
            with torch.no_grad():
                for scheduled in stretch.steps:
                    _execute(executable, scheduled.step, values)
        for scheduled in reversed(stretch.steps):
            _back(executable, scheduled.step, values, gradients, visit)
            done += 1
            if advance is not None:
                advance(done, total)
    return outputs


@dataclass(frozen=True, eq=False)
class _Stretch:
    steps: tuple[ScheduledStep, ...]
    before: Mapping[int, Tensor]
    after: Mapping[int, Tensor]
    values: dict[int, Any]  # all that it made, of the last one; empty for those before it


def _stretches(
    executable: Executable,
    steps: Sequence[ScheduledStep],
    given: Mapping[int, Tensor],
    kept: frozenset[int],
    limit_bytes: int,
) -> list[_Stretch]:
    """Run forward, cut into stretches, and keep what is alive between them, and the last whole."""
    stretches: list[_Stretch] = []
    values: dict[int, Any] = dict(given) | dict(executable.constants)
    before, chunk, size = dict(given), [], 0
    dead: set[int] = set()
    for index, scheduled in enumerate(steps):
        _execute(executable, scheduled.step, values)
        chunk.append(scheduled)
        if scheduled.step.definition.effect is not Effect.VIEW:
            size += sum(_bytes(values[slot]) for slot in scheduled.step.outputs)
        dead.update(slot for slot in scheduled.free if slot not in kept)
        last = index == len(steps) - 1
        if size >= limit_bytes or last:
            alive = {slot: v for slot, v in values.items() if slot not in dead}
            after = {s: v for s, v in alive.items() if s not in executable.constants}
            stretches.append(_Stretch(tuple(chunk), before, after, values if last else {}))
            before, values, chunk, size = after, alive, [], 0
            dead.clear()
    return stretches


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _execute(executable: Executable, step: Step, values: dict[int, Any]) -> None:
    results = executable.call(step, values)
    values.update(zip(step.outputs, results, strict=True))


def _back(
    executable: Executable,
    step: Step,
    values: dict[int, Any],
    gradients: dict[int, Tensor],
    visit: Callable[[Visit], None],
) -> None:
    """Carry the gradients of a step's outputs to its inputs, show them, and free them."""
    outputs = {slot: values[slot] for slot in step.outputs}
    at_outputs = {slot: gradients.pop(slot) for slot in step.outputs if slot in gradients}
    if at_outputs:
        leaves = {
            slot: values[slot].detach().requires_grad_()
            for slot in dict.fromkeys(step.reads)
            if slot not in executable.constants and values[slot].is_floating_point()
        }
        at_inputs = _pull(executable, step, ChainMap(leaves, values), leaves, at_outputs)
        inputs = {slot: leaf.detach() for slot, leaf in leaves.items()}
        with torch.no_grad():
            visit(Visit(step, inputs, outputs, at_inputs, at_outputs, values))
        for slot, parts in at_inputs.items():
            gradients[slot] = gradients[slot] + parts if slot in gradients else parts
    for slot in step.outputs:
        values.pop(slot, None)


def _pull(
    executable: Executable,
    step: Step,
    values: Mapping[int, Any],
    leaves: Mapping[int, Tensor],
    at_outputs: Gradients,
) -> dict[int, Tensor]:
    """Return the gradients at each leaf that the outputs depend on."""
    with torch.enable_grad():
        results = executable.call(step, values)
    made = [
        (result, at_outputs[slot])
        for slot, result in zip(step.outputs, results, strict=True)
        if slot in at_outputs and result.requires_grad
    ]
    if not made:
        return {}
    pull = _pull_one_by_one if step.operation.type in _NOT_BATCHED else _pull_together
    found = pull([r for r, _ in made], list(leaves.values()), [g for _, g in made])
    return {slot: g for slot, g in zip(leaves, found, strict=True) if g is not None}


def _pull_together(
    results: list[Tensor], leaves: list[Tensor], gradients: list[Tensor]
) -> Sequence[Tensor | None]:
    return torch.autograd.grad(results, leaves, gradients, allow_unused=True, is_grads_batched=True)


def _pull_one_by_one(
    results: list[Tensor], leaves: list[Tensor], gradients: list[Tensor]
) -> Sequence[Tensor | None]:
    rows = [
        torch.autograd.grad(results, leaves, row, retain_graph=True, allow_unused=True)
        for row in zip(*gradients, strict=True)
    ]
    columns = zip(*rows, strict=True)
    return [None if column[0] is None else torch.stack(column) for column in columns]
