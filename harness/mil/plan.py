"""From a verified function to numbered steps: names become slots, constants become arguments.

Made once for a function; nothing here depends on numerics, device or inputs. Each operation's
inputs are bound to the parameters of its definition: Python values where the program gives a
constant, slots where a tensor arrives at run time. What the executor can't do is refused here,
before anything runs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import harness.mil.ops  # noqa: F401  (registers the operations)
from harness.errors import PackageError, UnsupportedOperationError
from harness.mil.ops.registry import Definition, Kind, Parameter, find
from harness.mil.program import Binding, Constant, Function, Operation, Variable
from harness.mil.types import DataType, TensorType

ReadArray = Callable[[Constant], np.ndarray]


class Source(enum.Enum):
    """Where an argument comes from at run time."""

    LITERAL = "a Python value"
    SLOT = "the tensor in a slot"
    SLOTS = "the tensors in several slots"
    READ = "a Python value read from the tensor in a slot"


@dataclass(frozen=True)
class Argument:
    """One bound parameter: ``payload`` is the value, a slot or a tuple of slots."""

    name: str
    source: Source
    payload: Any
    kind: Kind

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
    """

    operation: Operation
    definition: Definition
    arguments: tuple[Argument, ...]
    outputs: tuple[int, ...]
    types: tuple[TensorType, ...]
    moves_exactly: bool

    @property
    def reads(self) -> tuple[int, ...]:
        """All slots that the operation reads."""
        return tuple(slot for argument in self.arguments for slot in argument.slots)


@dataclass(frozen=True, eq=False)
class Plan:
    """A function as steps over slots.

    Attributes:
        function: what was planned.
        steps: all operations but ``const``, in program order.
        slots: slot of each tensor's name: inputs, constants and outputs of operations.
        types: declared type of each slot.
        inputs: slot of each input.
        constants: slots that hold constants which are passed as tensors.
        outputs: names that the function returns.
    """

    function: Function
    steps: tuple[Step, ...]
    slots: Mapping[str, int]
    types: tuple[TensorType, ...]
    inputs: Mapping[str, int]
    constants: Mapping[int, Constant]
    outputs: tuple[str, ...]


def build_plan(function: Function, read: ReadArray) -> Plan:
    """Plan ``function``; ``read`` returns the array of a numeric constant.

    Raises:
        UnsupportedOperationError: an operation or one of its inputs is unknown to the executor.
        PackageError: an input is missing or has the wrong kind; names the operation.
    """
    builder = _Builder(function, read)
    for variable in function.inputs:
        builder.inputs[variable.name] = builder.slot(variable, f"input {variable.name!r}")
    steps = [builder.step(o) for o in function.block.operations if o.type != "const"]
    for name in function.block.outputs:
        if name not in builder.slots:
            builder.constant_slot(function.constants[name], name)
    return Plan(
        function=function,
        steps=tuple(steps),
        slots=builder.slots,
        types=tuple(builder.types),
        inputs=builder.inputs,
        constants=builder.tensors,
        outputs=function.block.outputs,
    )


@dataclass
class _Builder:
    function: Function
    read: ReadArray
    slots: dict[str, int] = field(default_factory=dict)
    types: list[TensorType] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    tensors: dict[int, Constant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = self.function.constants

    def slot(self, variable: Variable, owner: object) -> int:
        if not isinstance(variable.type, TensorType):
            raise UnsupportedOperationError(
                f"{owner}: value {variable.name!r} is a {type(variable.type).__name__}; "
                "the executor handles tensors only"
            )
        self.slots[variable.name] = len(self.types)
        self.types.append(variable.type)
        return self.slots[variable.name]

    def constant_slot(self, constant: Constant, name: str) -> int:
        if name in self.slots:
            return self.slots[name]
        slot = self.slot(Variable(name, constant.type), f"constant {name!r}")
        self.tensors[slot] = constant
        return slot

    def step(self, operation: Operation) -> Step:
        definition = find(operation)
        arguments = [self._argument(operation, p) for p in definition.parameters.values()]
        arguments = [self._round_default(operation, definition, a, arguments) for a in arguments]
        outputs = tuple(self.slot(v, f"operation {operation}") for v in operation.outputs)
        types = tuple(self.types[slot] for slot in outputs)
        return Step(
            operation=operation,
            definition=definition,
            arguments=tuple(arguments),
            outputs=outputs,
            types=types,
            moves_exactly=self._moves_exactly(definition, arguments, types),
        )

    def _argument(self, operation: Operation, parameter: Parameter) -> Argument:
        bindings = operation.inputs.get(parameter.name, ())
        name, kind = parameter.name, parameter.kind
        if not bindings:
            if parameter.required:
                raise PackageError(f"operation {operation} lacks its required input {name!r}")
            return Argument(name, Source.LITERAL, parameter.default, kind)
        if kind is Kind.TENSORS:
            slots = tuple(self._tensor(operation, name, i, b) for i, b in enumerate(bindings))
            return Argument(name, Source.SLOTS, slots, kind)
        if len(bindings) != 1:
            raise PackageError(
                f"operation {operation}: input {name!r} is bound to {len(bindings)} values, not 1"
            )
        if kind is Kind.TENSOR:
            return Argument(name, Source.SLOT, self._tensor(operation, name, 0, bindings[0]), kind)
        constant = self._known(bindings[0])
        if constant is None:
            return Argument(name, Source.READ, self.slots[str(bindings[0])], kind)
        return Argument(name, Source.LITERAL, self._literal(operation, name, kind, constant), kind)

    def _known(self, binding: Binding) -> Constant | None:
        return binding if isinstance(binding, Constant) else self.constants.get(binding)

    def _tensor(self, operation: Operation, name: str, index: int, binding: Binding) -> int:
        constant = self._known(binding)
        if constant is None:
            return self.slots[str(binding)]
        if not isinstance(constant.type, TensorType) or constant.type.dtype is DataType.STRING:
            raise PackageError(f"operation {operation}: input {name!r} is no tensor of numbers")
        unnamed = f"{operation.location}.{name}.{index}"  # not an identifier: no name collides
        return self.constant_slot(constant, binding if isinstance(binding, str) else unnamed)

    def _literal(self, operation: Operation, name: str, kind: Kind, constant: Constant) -> Any:
        if kind is Kind.STRING:
            if not isinstance(constant.value, str):
                raise PackageError(f"operation {operation}: input {name!r} must be a string")
            return constant.value
        if not isinstance(constant.type, TensorType) or constant.type.dtype is DataType.STRING:
            raise PackageError(f"operation {operation}: input {name!r} is no tensor of numbers")
        try:
            return read_literal(self.read(constant), kind)
        except ValueError as error:
            raise PackageError(f"operation {operation}: input {name!r} {error}") from error

    def _round_default(
        self, operation: Operation, definition: Definition, argument: Argument, all_: list[Argument]
    ) -> Argument:
        """Give an absent ``epsilon`` and the like the element type of the first tensor.

        coremltools' definitions do so: in FP16 the default 1e-45 of ``log`` is zero.
        """
        given = bool(operation.inputs.get(argument.name))
        if given or argument.kind is not Kind.FLOAT or argument.payload is None:
            return argument
        first = next((self.types[slot] for other in all_ for slot in other.slots), None)
        if first is None or not first.dtype.is_floating:
            return argument
        rounded = float(np.asarray(argument.payload, first.dtype.numpy))
        return Argument(argument.name, argument.source, rounded, argument.kind)

    def _moves_exactly(
        self, definition: Definition, arguments: list[Argument], types: tuple[TensorType, ...]
    ) -> bool:
        if definition.effect.name == "COMPUTE":
            return False
        tensors = (Kind.TENSOR, Kind.TENSORS)
        read = [self.types[slot] for a in arguments if a.kind in tensors for slot in a.slots]
        floating = {t.dtype for t in read if t.dtype.is_floating}
        written = {t.dtype for t in types if t.dtype.is_floating}
        return len(floating) <= 1 and written <= floating


def read_literal(array: np.ndarray, kind: Kind) -> Any:
    """Return ``array`` as the Python value that a parameter of ``kind`` takes.

    Raises:
        ValueError: the number of elements or the type does not fit.
    """
    if kind in (Kind.INTS, Kind.BOOLS):
        if array.ndim > 1:
            raise ValueError(f"must be a vector, not of shape {list(array.shape)}")
        convert = int if kind is Kind.INTS else bool
        return tuple(convert(value) for value in array.reshape(-1).tolist())
    if array.size != 1:
        raise ValueError(f"must be a single value, not of shape {list(array.shape)}")
    value = array.reshape(()).item()
    if kind is Kind.FLOAT:
        return float(value)
    if kind is Kind.BOOL:
        return bool(value)
    if int(value) != value:
        raise ValueError(f"must be an integer, not {value}")
    return int(value)
