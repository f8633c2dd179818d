"""Runs a schedule: fetch arguments, call the operation, round, check, store, free.

The loop returns to Python between operations, so Ctrl-C stops it there, and the memory in use is
the constants plus the values that are alive. The number of threads is PyTorch's.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch

from harness.errors import ExecutionError
from harness.mil.arena import Arena, Spare
from harness.mil.assignment import Assignment, assignment
from harness.mil.constants import ReadArray, read_literal
from harness.mil.numerics import Format, Numerics
from harness.mil.ops.registry import Context
from harness.mil.plan import Argument, Plan, Source, Step
from harness.mil.program import Operation
from harness.mil.schedule import Schedule, ScheduledStep
from harness.mil.types import (
    DataType,
    DictionaryType,
    ListType,
    TensorType,
    ValueType,
    element_type,
)
from harness.mil.values import FAILURES, Cell, TensorList, Value, allocating

# A loop that a broken or hostile program never leaves has to end some time; an honest program of
# this many steps would take minutes here.
MAX_BLOCK_RUNS = 2_000_000

Observer = Callable[[Operation, tuple[torch.Tensor, ...]], None]
Values: TypeAlias = Sequence[Any] | Mapping[int, Any]
"""What each slot holds."""


@dataclass(frozen=True, eq=False)
class Executable:
    """A plan with its constants in the carrier types of one numerics, on one device.

    Attributes:
        plan: what to run.
        numerics: how values are carried and rounded.
        device: where tensors live.
        constants: carrier tensor of each constant slot, and of what is expanded from them.
        blocks: executables of the blocks of those steps that have any.
        spare: memory that the last run has left.
    """

    plan: Plan
    numerics: Numerics
    device: torch.device
    constants: Mapping[int, torch.Tensor]
    blocks: Mapping[Step, tuple[Executable, ...]]
    spare: Spare = field(default_factory=Spare)

    @classmethod
    def of(
        cls, plan: Plan, numerics: Numerics, device: torch.device, read: ReadArray
    ) -> Executable:
        """Load the constants of ``plan`` and of its blocks; ``read`` returns a constant's array."""
        constants = {}
        for slot, constant in plan.constants.items():
            dtype = element_type(plan.types[slot])
            assert dtype is not None  # the plan makes slots for tensors only
            with allocating(f"a constant of type {plan.types[slot]}"):
                constants[slot] = numerics.from_numpy(read(constant), dtype).to(device)
        blocks = {
            step: tuple(cls.of(block, numerics, device, read) for block in step.blocks)
            for step in plan.steps
            if step.blocks
        }
        found = cls(plan, numerics, device, constants, blocks)
        for step in plan.expansions:
            constants.update(zip(step.outputs, found.call(step, constants), strict=True))
        return found

    @property
    def memory(self) -> Iterator[int]:
        """The addresses of all constants, those of blocks included."""
        yield from map(address, self.constants.values())
        for blocks in self.blocks.values():
            for block in blocks:
                yield from block.memory

    def run(
        self,
        schedule: Schedule,
        inputs: Mapping[int, Value],
        observe: Observer | None = None,
        assign: Assignment | None = None,
    ) -> dict[int, Value]:
        """Return the values in the kept slots, tensors in their carrier types.

        Args:
            schedule: of this executable's plan.
            inputs: value for each input slot and each captured slot.
            observe: called after each operation whose results are tensors, inside blocks each time
                that it runs. The tensors are valid during the call only: later operations may
                write over them.
            assign: gives each operation its numerics, where that is not this executable's.

        Raises:
            ExecutionError: an operation failed, or its result is not what the program declares.
        """
        return self._run(schedule, inputs, _Run(observe, assign or assignment(self.numerics, None)))

    def _run(self, schedule: Schedule, inputs: Mapping[int, Value], run: _Run) -> dict[int, Value]:
        values: list[Any] = [None] * len(self.plan.types)
        arena = self._arena(schedule)
        for slot, value in (*self.constants.items(), *inputs.items()):
            values[slot] = value
        for index, scheduled in enumerate(schedule.steps):
            step = scheduled.step
            if scheduled.overwrite is not None:
                out = values[scheduled.overwrite]
            else:
                out = None if arena is None else arena.tensor(index)
            results = self._call(scheduled, values, out, run)
            for slot, value in zip(step.outputs, results, strict=True):
                values[slot] = value
            if run.observe is not None and all(isinstance(r, torch.Tensor) for r in results):
                run.observe(step.operation, results)
            for slot in scheduled.free:
                values[slot] = None
            del results, out
        if arena is not None:
            self.spare.leave(schedule, arena)
        return {slot: values[slot] for slot in schedule.kept}

    def _arena(self, schedule: Schedule) -> Arena | None:
        if self.device.type != "cpu":  # elsewhere PyTorch's allocator keeps memory of any size
            return None
        with allocating("what lives at once in a run"):
            return self.spare.take(schedule) or Arena(
                schedule.lifetimes, lambda declared: self.numerics.format(declared.dtype).carrier
            )

    def call(self, step: Step, values: Values, numerics: Numerics | None = None) -> tuple[Any, ...]:
        """Return what one step without blocks makes of ``values``: in carrier types, rounded.

        For tools that go their own way through a plan.

        Args:
            step: of this executable's plan, or one that differs from it in its arguments.
            values: what each slot holds that the step reads.
            numerics: the step's, where it is not this executable's; it must carry values alike.

        Raises:
            ExecutionError: the operation failed, or its result is not what the program declares.
        """
        run = _Run(
            None, assignment(self.numerics, None if numerics is None else lambda _: numerics)
        )
        return self._call(ScheduledStep(step, None, ()), values, None, run)

    def _call(
        self,
        scheduled: ScheduledStep,
        values: Values,
        out: torch.Tensor | None,
        run: _Run,
    ) -> tuple[Any, ...]:
        step, keywords = scheduled.step, {}
        numerics = run.assign(step.operation)
        try:
            for argument in step.arguments:
                keywords[argument.name] = _fetch(argument, values)
            if step.definition.takes_out:
                keywords["out"] = out
            if step.definition.takes_context:
                keywords["context"] = self._context(step, numerics)
            if step.blocks:
                pairs = zip(self.blocks[step], scheduled.blocks, strict=True)
                keywords["blocks"] = tuple(
                    partial(block._run_block, schedule, values, run) for block, schedule in pairs
                )
            with _within(step, numerics):
                returned = step.definition.function(**keywords)
            results = returned if isinstance(returned, tuple) else (returned,)
            _refuse_shared_memory(step, keywords, results, out)
            return self._stored(scheduled, numerics, results)
        except FAILURES as error:
            raise ExecutionError(_failure(step, keywords, error)) from error

    def _run_block(
        self, schedule: Schedule, outer: Values, run: _Run, *arguments: Value
    ) -> tuple[Value, ...]:
        """Return the block's results for ``arguments``, with the enclosing values at hand."""
        run.blocks += 1
        if run.blocks > MAX_BLOCK_RUNS:
            raise RuntimeError(f"blocks ran {MAX_BLOCK_RUNS:,} times without coming to an end")
        inputs = dict(zip(self.plan.inputs.values(), arguments, strict=True))
        inputs.update((slot, outer[there]) for slot, there in self.plan.captures.items())
        kept = self._run(schedule, inputs, run)
        results = (kept[self.plan.slots[name]] for name in self.plan.outputs)
        # Outside, nobody knows that this memory is a constant's.
        own = {address(tensor) for tensor in self.constants.values()}
        return tuple(_cloned(result, own) for result in results)

    def _context(self, step: Step, numerics: Numerics) -> Context:
        found = (element_type(declared) for declared in step.types)
        dtypes = tuple(d for d in found if d is not None and d is not DataType.STRING)
        form = numerics.format(dtypes[0]) if dtypes else Format(torch.float32)
        return Context(form.carrier, self.device, dtypes, sums_are_wide=form.within is None)

    def _stored(
        self, scheduled: ScheduledStep, numerics: Numerics, results: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        step = scheduled.step
        if len(results) != len(step.types):
            raise ExecutionError(
                f"operation {step.operation} gave {len(results)} outputs, "
                f"but the program declares {len(step.types)}"
            )
        writable = scheduled.sole or not step.definition.effect.shares_memory
        # Values that only move were rounded before, unless this operation has a rule of its own.
        keeps = step.moves_exactly and numerics is self.numerics
        stored = []
        for value, declared, variable in zip(
            results, step.types, step.operation.outputs, strict=True
        ):
            if not isinstance(value, torch.Tensor) or not isinstance(declared, TensorType):
                _check_other(step, value, declared)
                stored.append(value)
                continue
            if not declared.accepts(tuple(value.shape)):
                raise ExecutionError(
                    f"operation {step.operation} gave {variable.name!r} the shape "
                    f"{list(value.shape)}, but the program declares {declared}"
                )
            if not (keeps and value.dtype is numerics.format(declared.dtype).carrier):
                value = numerics.store(value, declared.dtype, writable=writable)
            stored.append(value)
        return tuple(stored)


@dataclass
class _Run:
    """One execution of a whole program.

    Attributes:
        observe: who looks on.
        assign: which numerics each operation has.
        blocks: how often a block has run so far.
    """

    observe: Observer | None
    assign: Assignment
    blocks: int = 0


def _within(step: Step, numerics: Numerics) -> contextlib.AbstractContextManager[object]:
    """Return the context in which the step's function is called."""
    dtype = element_type(step.types[0]) if step.types else None
    # Operations inside blocks have contexts of their own.
    if dtype is None or dtype is DataType.STRING or step.blocks:
        return contextlib.nullcontext()
    make = numerics.format(dtype).within
    return contextlib.nullcontext() if make is None else make()


def _cloned(value: Value, memory: Collection[int]) -> Value:
    """Return ``value``, copied where it lives in ``memory``."""
    if isinstance(value, torch.Tensor):
        return value.clone() if address(value) in memory else value
    if isinstance(value, TensorList):
        elements = {
            index: tensor.clone() if address(tensor) in memory else tensor
            for index, tensor in value.elements.items()
        }
        return dataclasses.replace(value, elements=elements)
    return value


def _check_other(step: Step, value: Any, declared: ValueType) -> None:
    """Refuse a result that is no tensor where one is declared, and the reverse."""
    fits = (
        (isinstance(declared, ListType) and isinstance(value, TensorList))
        or (isinstance(declared, DictionaryType) and isinstance(value, dict))
        or (declared == TensorType(DataType.STRING, ()) and isinstance(value, str))
    )
    if not fits:
        raise ExecutionError(
            f"operation {step.operation} gave a {type(value).__name__}, "
            f"but the program declares {declared}"
        )


def _refuse_shared_memory(
    step: Step, keywords: Mapping[str, Any], results: tuple[Any, ...], out: Any
) -> None:
    """Refuse a result in an operand's memory unless the operation is declared to share it.

    The schedule trusts that declaration: a later operation may write over such memory.
    """
    if step.definition.effect.shares_memory:
        return
    allowed = 0 if out is None else address(out)
    owners = {address(value) for value in keywords.values() if isinstance(value, torch.Tensor)}
    owners -= {allowed, 0}
    if any(isinstance(r, torch.Tensor) and address(r) in owners for r in results):
        raise ExecutionError(
            f"operation {step.operation} returned the memory of an input; "
            "its definition must be registered with effect=Effect.VIEW"
        )


def address(tensor: torch.Tensor) -> int:
    """Return where the memory begins that ``tensor`` shares with its views."""
    return tensor.untyped_storage().data_ptr()


def _fetch(argument: Argument, values: Values) -> Any:
    if argument.source is Source.LITERAL:
        return argument.payload
    if argument.source is Source.SLOT:
        return values[argument.payload]
    if argument.source is Source.SLOTS:
        return tuple(values[slot] for slot in argument.payload)
    return read_literal(values[argument.payload].detach().cpu().numpy(), argument.kind)


def _failure(step: Step, keywords: Mapping[str, Any], error: Exception) -> str:
    given = ", ".join(
        f"{name}={_describe(value)}"
        for name, value in keywords.items()
        if value is not None and name not in ("context", "blocks")
    )
    return f"operation {step.operation} failed on {given}: {error}"


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{list(value.shape)}".removeprefix("torch.")
    if isinstance(value, TensorList):
        return f"list of {value.length}"
    if isinstance(value, Cell):
        return f"state of {_describe(value.value)}"
    if isinstance(value, tuple) and value and isinstance(value[0], torch.Tensor | TensorList):
        return "(" + ", ".join(_describe(item) for item in value) + ")"
    return repr(value)
