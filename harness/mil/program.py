"""ML Programs as plain frozen values: what the rest of this room works on.

Names follow ``mlmodel/format/MIL.proto`` of coremltools: a program holds functions, a function one
active block, a block operations in the order in which they run, and an operation names its inputs
and outputs. Every name is bound once (static single assignment); an input is either such a name
or a constant written in place. A ``const`` operation's value is its attribute ``val``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np

from harness.errors import PackageError
from harness.mil.types import DataType, TensorType, ValueType


@dataclass(frozen=True)
class BlobReference:
    """Where a constant's data lies: file name as in the package, offset of the blob's metadata."""

    file_name: str
    offset: int


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that is known before the program runs.

    ``value`` is an array (tensors of numbers or booleans, 0-dimensional for scalars), a string, a
    tuple of strings or constants (string tensors, lists, tuples), a dictionary of constants, or a
    reference to data in a weight file.
    """

    type: ValueType
    value: np.ndarray | str | tuple[object, ...] | dict[object, object] | BlobReference


@dataclass(frozen=True)
class Variable:
    """A name and its declared type."""

    name: str
    type: ValueType


Binding: TypeAlias = str | Constant


@dataclass(frozen=True)
class Location:
    """The place of an operation: function, enclosing operations and blocks, index in the block."""

    function: str
    index: int
    outer: str = ""

    def __str__(self) -> str:
        return f"{self.function}{self.outer}[{self.index}]"


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation; ``location.index`` is its place in program order."""

    type: str
    name: str
    inputs: Mapping[str, tuple[Binding, ...]]
    outputs: tuple[Variable, ...]
    attributes: Mapping[str, Constant]
    location: Location
    blocks: tuple[Block, ...] = ()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the values that this operation reads, without those inside its blocks."""
        return tuple(b for bindings in self.inputs.values() for b in bindings if isinstance(b, str))

    @property
    def dtype(self) -> DataType | None:
        """Declared element type of the first output; ``None`` if that is no tensor."""
        first = self.outputs[0].type if self.outputs else None
        return first.dtype if isinstance(first, TensorType) else None

    def __str__(self) -> str:
        return f"{self.type} {self.name!r} at {self.location}"


@dataclass(frozen=True, eq=False)
class Block:
    """Operations in program order, and the names of the values that the block returns."""

    inputs: tuple[Variable, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]

    @cached_property
    def constants(self) -> Mapping[str, Constant]:
        """The values of all ``const`` operations outside nested blocks, by name."""
        return {
            operation.outputs[0].name: operation.attributes["val"]
            for operation in self.operations
            if operation.type == "const"
        }


def make_operation(
    type: str,
    inputs: Mapping[str, tuple[Binding, ...]],
    outputs: tuple[Variable, ...],
    attributes: Mapping[str, Constant],
    location: Location,
    blocks: tuple[Block, ...],
) -> Operation:
    """Return the operation that a program spells so.

    It has the name that its attribute ``name`` says, or else that of its first output. Before
    iOS 18 the inputs of a ``constexpr`` operation stand among its attributes.
    """
    named = attributes.get("name")
    name = named.value if named is not None and isinstance(named.value, str) else ""
    if type.startswith("constexpr_"):
        inputs = {**inputs, **{k: (v,) for k, v in attributes.items() if k != "name"}}
    name = name or (outputs[0].name if outputs else "")
    return Operation(type, name, inputs, outputs, attributes, location, blocks)


@dataclass(frozen=True, eq=False)
class Function:
    """A named entry point with its active block.

    ``opset`` is the set of operations as protocol buffers spell it: ``CoreML8`` is iOS 18.
    """

    name: str
    inputs: tuple[Variable, ...]
    opset: str
    block: Block
    attributes: Mapping[str, Constant] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Program:
    """All functions of a package, by name."""

    functions: Mapping[str, Function]

    def function(self, name: str) -> Function:
        """Return the function of that name.

        Raises:
            PackageError: there is none.
        """
        if name not in self.functions:
            known = ", ".join(sorted(self.functions)) or "none"
            raise PackageError(f"the program has no function {name!r} (it has: {known})")
        return self.functions[name]


def verify(function: Function) -> None:
    """Check that names are bound once and before use, and that constants are well formed.

    Operations run in the order in which they are listed, so a cycle shows as a use before the
    definition.

    Raises:
        PackageError: names the operation, its place and the offending name.
    """
    bound: set[str] = set()
    for variable in function.inputs:
        _bind(variable.name, bound, f"input of function {function.name!r}")
    _verify_block(function.block, bound, f"function {function.name!r}")


def _verify_block(block: Block, bound: set[str], owner: str) -> None:
    """Check ``block``, which sees the names in ``bound``; those of its own are gone afterwards."""
    own: list[str] = []
    for variable in block.inputs:
        own.append(_bind(variable.name, bound, f"block input of {owner}"))
    for operation in block.operations:
        for name in operation.input_names:
            if name not in bound:
                raise PackageError(
                    f"operation {operation} reads {name!r} before anything defines it; "
                    "the program is broken or has a cycle"
                )
        for nested in operation.blocks:
            _verify_block(nested, bound, f"operation {operation}")
        if operation.type == "const":
            _verify_const(operation)
        for variable in operation.outputs:
            own.append(_bind(variable.name, bound, f"output of operation {operation}"))
    for name in block.outputs:
        if name not in bound:
            raise PackageError(f"{owner} returns {name!r}, which nothing defines")
    bound.difference_update(own)


def _bind(name: str, bound: set[str], what: str) -> str:
    if not name:
        raise PackageError(f"an {what} has no name")
    if name in bound:
        raise PackageError(f"the name {name!r} ({what}) is defined twice")
    bound.add(name)
    return name


def _verify_const(operation: Operation) -> None:
    if "val" not in operation.attributes or len(operation.outputs) != 1:
        raise PackageError(f"operation {operation} must have one output and an attribute 'val'")
    declared, held = operation.outputs[0].type, operation.attributes["val"].type
    if declared != held:
        raise PackageError(f"operation {operation} declares {declared}, but its value is {held}")


def walk(block: Block) -> Iterator[Operation]:
    """Yield every operation of ``block`` in program order, those of nested blocks first."""
    for operation in block.operations:
        for nested in operation.blocks:
            yield from walk(nested)
        yield operation
