"""Runs a schedule: fetch arguments, call the operation, round, check, store, free.

The loop returns to Python between operations, so Ctrl-C stops it there, and the memory in use is
the constants plus the values that are alive. The number of threads is PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from harness.errors import ExecutionError
from harness.mil.numerics import Numerics
from harness.mil.ops.registry import Context, Effect
from harness.mil.plan import Argument, Plan, Source, Step, read_literal
from harness.mil.program import Operation
from harness.mil.schedule import Schedule

Observer = Callable[[Operation, tuple[torch.Tensor, ...]], None]


@dataclass(frozen=True, eq=False)
class Executable:
    """A plan with its constants in the carrier types of one numerics, on one device."""

    plan: Plan
    numerics: Numerics
    device: torch.device
    constants: Mapping[int, torch.Tensor]

    def run(
        self,
        schedule: Schedule,
        inputs: Mapping[int, torch.Tensor],
        observe: Observer | None = None,
    ) -> dict[int, torch.Tensor]:
        """Return the tensors in the kept slots, in their carrier types.

        Args:
            schedule: of this executable's plan.
            inputs: carrier tensor for each input slot.
            observe: called after each operation with its outputs. They are valid during the call
                only: later operations may write over them.

        Raises:
            ExecutionError: an operation failed, or its result is not what the program declares.
        """
        values: list[Any] = [None] * len(self.plan.types)
        for slot, tensor in (*self.constants.items(), *inputs.items()):
            values[slot] = tensor
        for scheduled in schedule.steps:
            step = scheduled.step
            out = None if scheduled.overwrite is None else values[scheduled.overwrite]
            results = self._call(step, values, out)
            for slot, tensor in zip(step.outputs, results, strict=True):
                values[slot] = tensor
            if observe is not None:
                observe(step.operation, results)
            for slot in scheduled.free:
                values[slot] = None
            del results, out
        return {slot: values[slot] for slot in schedule.kept}

    def _call(
        self, step: Step, values: list[Any], out: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        keywords = {a.name: _fetch(a, values) for a in step.arguments}
        if step.definition.reuse:
            keywords["out"] = out
        if step.definition.takes_context:
            dtypes = tuple(declared.dtype for declared in step.types)
            carrier = self.numerics.format(dtypes[0]).carrier
            keywords["context"] = Context(carrier, self.device, dtypes)
        try:
            returned = step.definition.function(**keywords)
            results = returned if isinstance(returned, tuple) else (returned,)
            _refuse_shared_memory(step, keywords, results, out)
            return self._stored(step, results)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise ExecutionError(_failure(step, keywords, error)) from error

    def _stored(self, step: Step, results: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        if len(results) != len(step.types):
            raise ExecutionError(
                f"operation {step.operation} gave {len(results)} outputs, "
                f"but the program declares {len(step.types)}"
            )
        writable = step.definition.effect is not Effect.VIEW
        stored = []
        for tensor, declared, variable in zip(
            results, step.types, step.operation.outputs, strict=True
        ):
            if not declared.accepts(tuple(tensor.shape)):
                raise ExecutionError(
                    f"operation {step.operation} gave {variable.name!r} the shape "
                    f"{list(tensor.shape)}, but the program declares {declared}"
                )
            carrier = self.numerics.format(declared.dtype).carrier
            if not (step.moves_exactly and tensor.dtype is carrier):
                tensor = self.numerics.store(tensor, declared.dtype, writable=writable)
            stored.append(tensor)
        return tuple(stored)


def _refuse_shared_memory(
    step: Step, keywords: Mapping[str, Any], results: tuple[torch.Tensor, ...], out: Any
) -> None:
    """Refuse a result that lives in an operand's memory unless the operation is declared a view.

    The schedule trusts that declaration: a later operation may write over such memory.
    """
    if step.definition.effect is Effect.VIEW:
        return
    allowed = 0 if out is None else _memory(out)
    owners = {_memory(value) for value in keywords.values() if isinstance(value, torch.Tensor)}
    if any(_memory(result) in owners - {allowed, 0} for result in results):
        raise ExecutionError(
            f"operation {step.operation} returned the memory of an input; "
            "its definition must be registered with effect=Effect.VIEW"
        )


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _fetch(argument: Argument, values: list[Any]) -> Any:
    if argument.source is Source.LITERAL:
        return argument.payload
    if argument.source is Source.SLOT:
        return values[argument.payload]
    if argument.source is Source.SLOTS:
        return tuple(values[slot] for slot in argument.payload)
    return read_literal(values[argument.payload].detach().cpu().numpy(), argument.kind)


def _failure(step: Step, keywords: Mapping[str, Any], error: Exception) -> str:
    given = ", ".join(
        f"{name}={_describe(value)}" for name, value in keywords.items() if value is not None
    )
    return f"operation {step.operation} failed on {given}: {error}"


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{list(value.shape)}".removeprefix("torch.")
    if isinstance(value, tuple) and value and isinstance(value[0], torch.Tensor):
        return "(" + ", ".join(_describe(item) for item in value) + ")"
    return repr(value)
