"""A function as numbered steps: what the executor runs, and tools that go their own way through it.

Names have become slots and constants arguments. Nothing here depends on numerics, device or inputs;
`harness.mil.planning` makes plans.

A block inside an operation is a plan of its own with its own slots. What it reads from outside is
captured: the operation then counts as reading it, so that it lives long enough.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.mil.ops.registry import Definition, Effect, ParameterKind
from harness.mil.program import Constant, Function, Operation
from harness.mil.types import ValueType


class Source(enum.Enum):
    """Where an argument comes from at run time."""

    LITERAL = "a Python value"
    SLOT = "the value in a slot"
    SLOTS = "the values in several slots"
    READ = "a Python value read from the tensor in a slot"


@dataclass(frozen=True)
class Argument:
    """One bound parameter: ``payload`` is the value, a slot or a tuple of slots."""

    name: str
    source: Source
    payload: Any
    kind: ParameterKind

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots that this argument reads."""
        if self.source is Source.LITERAL:
            return ()
        return self.payload if self.source is Source.SLOTS else (self.payload,)


@dataclass(frozen=True, eq=False)
class Step:
    """One operation, ready to be called.

    Attributes:
        operation: as it stands in the program.
        definition: what computes it.
        arguments: its bound parameters; those left at their default are literals, too.
        outputs: a slot for each output.
        types: declared type of each output.
        moves_exactly: the result needs no rounding: values are moved between equal element types.
        blocks: plans of the operation's blocks.
    """

    operation: Operation
    definition: Definition
    arguments: tuple[Argument, ...]
    outputs: tuple[int, ...]
    types: tuple[ValueType, ...]
    moves_exactly: bool
    blocks: tuple[Plan, ...] = ()

    @property
    def reads(self) -> tuple[int, ...]:
        """All slots that the operation reads, those that its blocks capture included."""
        own = tuple(slot for argument in self.arguments for slot in argument.slots)
        return own + tuple(slot for block in self.blocks for slot in block.captures.values())

    def literal(self, name: str) -> Any:
        """Return what is known of a parameter beforehand; ``None`` where nothing is, or given."""
        known = (a for a in self.arguments if a.name == name and a.source is Source.LITERAL)
        return next((argument.payload for argument in known), None)

    @property
    def writes(self) -> bool:
        """Whether it changes a state."""
        return self.definition.effect is Effect.WRITE or any(
            step.writes for block in self.blocks for step in block.steps
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """A function, or a block inside one, as steps over slots.

    Attributes:
        function: what was planned, or what the planned block belongs to.
        steps: all operations but ``const``, in program order.
        slots: slot of each value's name: inputs, constants, captures and outputs of operations.
        types: declared type of each slot.
        inputs: slot of each input.
        captures: slots that hold values of the enclosing plan, with their slots there.
        constants: slots that hold constants which are passed as tensors.
        outputs: names that the function or block returns.
        expansions: those steps that decompress constants; once is enough.
    """

    function: Function
    steps: tuple[Step, ...]
    slots: Mapping[str, int]
    types: tuple[ValueType, ...]
    inputs: Mapping[str, int]
    captures: Mapping[int, int]
    constants: Mapping[int, Constant]
    outputs: tuple[str, ...]
    expansions: tuple[Step, ...]

    @cached_property
    def own(self) -> frozenset[Step]:
        """The steps, to tell them from others."""
        return frozenset(self.steps)

    @cached_property
    def fixed(self) -> frozenset[int]:
        """Slots whose values are the same in every run: constants, and what is made of them."""
        return frozenset(self.constants).union(*(step.outputs for step in self.expansions))
