"""Runs a schedule: fetch arguments, call the operation, round, check, store, free.

The loop returns to Python between operations, so Ctrl-C stops it there, and the memory in use is
the constants plus the values that are alive. The number of threads is PyTorch's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from harness.mil.arena import Arena, Scratch, common_scratch
from harness.mil.assignment import Assignment, assignment
from harness.mil.bound import BoundStep, Values, address
from harness.mil.constants import ReadArray
from harness.mil.numerics import Numerics
from harness.mil.plan import Plan, Step
from harness.mil.program import Operation
from harness.mil.schedule import Schedule, ScheduledStep
from harness.mil.timing import Watchdog
from harness.mil.types import element_type
from harness.mil.values import TensorList, Value, allocating

Observer = Callable[[Operation, tuple[torch.Tensor, ...]], None]


@dataclass(frozen=True, eq=False)
class Executable:
    """A plan with its constants in the carrier types of one numerics, on one device.

    Attributes:
        plan: what to run.
        numerics: how values are carried and rounded.
        device: where tensors live.
        constants: carrier tensor of each constant slot, and of what is expanded from them.
        blocks: executables of the blocks of those steps that have any.
        scratch: where runs have their large results, one at a time.
        arenas: the places of results, by the schedule of a run.
        bound: steps of the plan that have run in its numerics.
    """

    plan: Plan
    numerics: Numerics
    device: torch.device
    constants: Mapping[int, torch.Tensor]
    blocks: Mapping[Step, tuple[Executable, ...]]
    scratch: Scratch = field(default_factory=common_scratch)
    arenas: dict[Schedule, Arena] = field(default_factory=dict)
    bound: dict[Step, BoundStep] = field(default_factory=dict)

    @classmethod
    def of(
        cls, plan: Plan, numerics: Numerics, device: torch.device, read: ReadArray
    ) -> Executable:
        """Load the constants of ``plan`` and of its blocks; ``read`` returns a constant's array."""
        keep_float32(device)
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
            ExecutionError: an operation failed, its result is not what the program declares, a loop
                doesn't end, or the time of `harness.mil.time_limit` is over.
        """
        return self._run(schedule, inputs, _Run(observe, assign or assignment(self.numerics, None)))

    def _run(self, schedule: Schedule, inputs: Mapping[int, Value], run: _Run) -> dict[int, Value]:
        values: list[Any] = [None] * len(self.plan.types)
        for slot, value in (*self.constants.items(), *inputs.items()):
            values[slot] = value
        with self._memory(schedule) as memory_of:
            for index, scheduled in enumerate(schedule.steps):
                step = scheduled.step
                run.watchdog.before(step.operation)
                overwritten = scheduled.overwrite
                out = memory_of(index) if overwritten is None else values[overwritten]
                bound = self._bind(step, run.assign(step.operation))
                blocks = self._blocks(scheduled, values, run) if step.blocks else ()
                results = bound(values, out, sole=scheduled.sole, blocks=blocks)
                run.watchdog.after(step.operation)
                for slot, value in zip(step.outputs, results, strict=True):
                    values[slot] = value
                if run.observe is not None and all(isinstance(r, torch.Tensor) for r in results):
                    run.observe(step.operation, results)
                for slot in scheduled.free:
                    values[slot] = None
                del results, out
        return {slot: values[slot] for slot in schedule.kept}

    @contextmanager
    def _memory(self, schedule: Schedule) -> Iterator[Callable[[int], torch.Tensor | None]]:
        """Lend a run its memory: what is yielded returns that of the result of a step."""
        if self.device.type != "cpu":  # elsewhere PyTorch's allocator keeps memory of any size
            yield lambda step: None
            return
        if schedule not in self.arenas:
            self.arenas[schedule] = Arena(
                schedule.lifetimes, lambda declared: self.numerics.format(declared.dtype).carrier
            )
        arena = self.arenas[schedule]
        with self.scratch.lend(arena.size) as memory:
            yield partial(arena.tensor, memory)

    def _bind(self, step: Step, numerics: Numerics) -> BoundStep:
        bound = self.bound.get(step) if numerics is self.numerics else None
        if bound is None:
            bound = BoundStep(step, numerics, self.numerics, self.device)
            if numerics is self.numerics and step in self.plan.own:
                self.bound[step] = bound
        return bound

    def _blocks(
        self, scheduled: ScheduledStep, values: Values, run: _Run
    ) -> tuple[Callable[..., tuple[Value, ...]], ...]:
        pairs = zip(self.blocks[scheduled.step], scheduled.blocks, strict=True)
        return tuple(
            partial(block._run_block, number, schedule, values, run)
            for number, (block, schedule) in enumerate(pairs)
        )

    def call(self, step: Step, values: Values, numerics: Numerics | None = None) -> tuple[Any, ...]:
        """Return what one step without blocks makes of ``values``: in carrier types, rounded.

        For tools that go their own way through a plan.

        Args:
            step: of this executable's plan, or one that differs from it in its arguments.
            values: what each slot holds that the step reads.
            numerics: the step's, where it is not this executable's; it must carry values alike.

        Raises:
            ContractError: ``numerics`` carries values in other types.
            ExecutionError: the operation failed, or its result is not what the program declares.
        """
        chosen = assignment(self.numerics, None if numerics is None else lambda _: numerics)
        return self._bind(step, chosen(step.operation))(values)

    def _run_block(
        self, number: int, schedule: Schedule, outer: Values, run: _Run, *arguments: Value
    ) -> tuple[Value, ...]:
        """Return the block's results for ``arguments``, with the enclosing values at hand."""
        run.watchdog.block(number)
        inputs = dict(zip(self.plan.inputs.values(), arguments, strict=True))
        inputs.update((slot, outer[there]) for slot, there in self.plan.captures.items())
        kept = self._run(schedule, inputs, run)
        results = (kept[self.plan.slots[name]] for name in self.plan.outputs)
        # Outside, nobody knows that this memory is a constant's.
        own = {address(tensor) for tensor in self.constants.values()}
        return tuple(_cloned(result, own) for result in results)


@dataclass
class _Run:
    """One execution of a whole program.

    Attributes:
        observe: who looks on.
        assign: which numerics each operation has.
        watchdog: sees that it comes to an end.
    """

    observe: Observer | None
    assign: Assignment
    watchdog: Watchdog = field(default_factory=Watchdog)


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


def keep_float32(device: torch.device) -> None:
    """Have this process compute float32 as float32 on ``device``.

    Unless told not to, cuDNN rounds the operands of a convolution to 10 bits (TF32), as FP16 does.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
