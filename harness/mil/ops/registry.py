"""The operations that the executor knows, and the one decorator that adds one.

An operation's function is only its mathematics on PyTorch tensors; its signature is its
specification. Parameter names are MIL's input names, a parameter without default is required, and
its annotation says how it is passed:

- ``Tensor``: a tensor in its carrier type, evaluated at run time;
- ``Tensors``: a tuple of tensors (variadic inputs such as ``values`` of ``concat``);
- ``TensorList``, ``StateCell``: a list, a state; ``Values``: a tuple of tensors and lists;
- ``bool``, ``int``, ``float``, ``str``, ``Ints``, ``Bools``: plain Python values, known before the
  run wherever the program binds a constant; ``Labels``: a tuple of strings and integers that must
  be constants;
- ``Context``: not an input; carrier type, device, declared output types and how sums are taken;
- ``Blocks``: not an input; the operation's blocks as functions from values to a tuple of values.

A parameter ``out`` is not an input either: the executor passes a tensor of the result's shape and
type whose old contents nobody needs, or ``None``. With ``out=None`` every function is a plain
differentiable PyTorch function, unless its result is an index or a truth value.
"""

from __future__ import annotations

import difflib
import enum
import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch

from harness.errors import ParityError, UnsupportedOperationError
from harness.mil.program import Operation
from harness.mil.types import DataType, ListType, StateType, TensorType
from harness.mil.values import Label, StateCell, TensorList

Tensor: TypeAlias = torch.Tensor
Tensors: TypeAlias = tuple[torch.Tensor, ...]
Values: TypeAlias = tuple[torch.Tensor | TensorList, ...]
Labels: TypeAlias = tuple[Label, ...]
Blocks: TypeAlias = tuple[Callable[..., Values], ...]
Ints: TypeAlias = tuple[int, ...]
Bools: TypeAlias = tuple[bool, ...]


class Effect(enum.Enum):
    """What an operation does to its values and its memory."""

    COMPUTE = "new values in new memory: the result is rounded to the declared type"
    MOVE = "values of the inputs in new memory: nothing to round"
    VIEW = "values of the first input, whose memory the result may share"
    ALIAS = "values of any input, whose memory any result may share"
    WRITE = "as ALIAS, and a state changes: it runs even where nobody reads a result"

    @property
    def shares_memory(self) -> bool:
        """Whether a result may live in the memory of an input."""
        return self in (Effect.VIEW, Effect.ALIAS, Effect.WRITE)


@dataclass(frozen=True)
class Context:
    """What a function may know beyond its inputs.

    Attributes:
        carrier: PyTorch type in which the first output is held.
        device: where tensors live.
        dtypes: declared element types of the outputs.
        sums_are_wide: whether PyTorch's own kernels add; where they are replaced, the order in
            which an operation adds is part of what it computes.
    """

    carrier: torch.dtype
    device: torch.device
    dtypes: tuple[DataType, ...]
    sums_are_wide: bool


class ParameterKind(enum.Enum):
    """How a parameter is passed."""

    TENSOR = "tensor"
    TENSORS = "tensors"
    LIST = "list"
    STATE = "state"
    VALUES = "tensors or lists"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STRING = "string"
    INTS = "ints"
    BOOLS = "bools"
    LABELS = "strings or integers"

    @property
    def is_value(self) -> bool:
        """Whether it is passed as the program's own value, not as a plain Python value."""
        return self in HELD


HELD: dict[ParameterKind, tuple[type, ...]] = {
    ParameterKind.TENSOR: (TensorType,),
    ParameterKind.TENSORS: (TensorType,),
    ParameterKind.LIST: (ListType,),
    ParameterKind.STATE: (StateType,),
    ParameterKind.VALUES: (TensorType, ListType),
}
"""The declared types that the program's own value may have, by how it is passed."""

_KINDS: dict[Any, ParameterKind] = {
    Tensor: ParameterKind.TENSOR,
    Tensors: ParameterKind.TENSORS,
    TensorList: ParameterKind.LIST,
    StateCell: ParameterKind.STATE,
    Values: ParameterKind.VALUES,
    bool: ParameterKind.BOOL,
    int: ParameterKind.INT,
    float: ParameterKind.FLOAT,
    str: ParameterKind.STRING,
    Ints: ParameterKind.INTS,
    Bools: ParameterKind.BOOLS,
    Labels: ParameterKind.LABELS,
}


@dataclass(frozen=True)
class Parameter:
    """One input of an operation."""

    name: str
    kind: ParameterKind
    required: bool
    default: Any


@dataclass(frozen=True)
class Definition:
    """An operation type that the executor knows.

    Attributes:
        type: MIL's name of it.
        function: its mathematics.
        parameters: its inputs by name.
        effect: what it does to values and memory.
        reuse: names of tensor inputs whose memory may become the output's, if nobody needs them
            afterwards and shape and type agree.
        takes_out: whether the function can write its result into memory that it is given.
        takes_context: whether the function asks for a `Context`.
        takes_blocks: whether the function asks for `Blocks`.
    """

    type: str
    function: Callable[..., Any]
    parameters: dict[str, Parameter]
    effect: Effect
    reuse: tuple[str, ...]
    takes_out: bool
    takes_context: bool
    takes_blocks: bool


_DEFINITIONS: dict[str, Definition] = {}
_Function = TypeVar("_Function", bound=Callable[..., Any])


def operation(
    type: str,
    *,
    effect: Effect = Effect.COMPUTE,
    reuse: tuple[str, ...] = (),
) -> Callable[[_Function], _Function]:
    """Register the decorated function as MIL operation ``type``.

    Raises:
        ParityError: the type is registered already, or the signature can't be read.
    """

    def register(function: _Function) -> _Function:
        if type in _DEFINITIONS:
            raise ParityError(f"operation {type!r} is registered twice")
        _DEFINITIONS[type] = _define(type, function, effect, reuse)
        return function

    return register


def _define(
    type: str,
    function: Callable[..., Any],
    effect: Effect,
    reuse: tuple[str, ...],
) -> Definition:
    hints = typing.get_type_hints(function)
    parameters: dict[str, Parameter] = {}
    takes_context = takes_blocks = False
    for name, parameter in inspect.signature(function).parameters.items():
        hint = _without_none(hints[name])
        if hint is Context:
            takes_context = True
        elif hint == Blocks:
            takes_blocks = True
        elif name != "out":
            required = parameter.default is inspect.Parameter.empty
            default = None if required else parameter.default
            parameters[name] = Parameter(name, _KINDS[hint], required, default)
    unknown = [name for name in reuse if name not in parameters]
    if unknown or (reuse and "out" not in hints):
        raise ParityError(f"operation {type!r} can't reuse {unknown or 'without a parameter out'}")
    return Definition(
        type=type,
        function=function,
        parameters=parameters,
        effect=effect,
        reuse=reuse,
        takes_out="out" in hints,
        takes_context=takes_context,
        takes_blocks=takes_blocks,
    )


def _without_none(hint: Any) -> Any:
    arguments = [argument for argument in typing.get_args(hint) if argument is not type(None)]
    if type(None) in typing.get_args(hint) and len(arguments) == 1:
        return arguments[0]
    return hint


def find(operation: Operation) -> Definition:
    """Return the definition of an operation of a program.

    Raises:
        UnsupportedOperationError: the type, or an input that the program binds, is not known.
    """
    definition = _DEFINITIONS.get(operation.type)
    if definition is None:
        near = difflib.get_close_matches(operation.type[:100], _DEFINITIONS, n=3, cutoff=0.6)
        hint = f"; similar: {', '.join(near)}" if near else ""
        raise UnsupportedOperationError(
            f"operation {operation} has a type that the executor does not know{hint} "
            f"({len(_DEFINITIONS)} are known, docs/operations.md lists them); add a function with "
            f'@operation("{operation.type[:60]}") to a module of harness/mil/ops'
        )
    unknown = sorted(set(operation.inputs) - set(definition.parameters))
    if unknown:
        raise UnsupportedOperationError(
            f"operation {operation} binds {', '.join(map(repr, unknown))}, which the executor's "
            f"{operation.type} does not know (it knows: {', '.join(definition.parameters)})"
        )
    if operation.blocks and not definition.takes_blocks:
        raise UnsupportedOperationError(
            f"operation {operation} has {len(operation.blocks)} blocks, but the executor's "
            f"{operation.type} runs none"
        )
    return definition


def known_types() -> Iterator[str]:
    """Yield the known operation types in alphabetical order, ``const`` included."""
    yield from sorted([*_DEFINITIONS, "const"])


def definition(type: str) -> Definition:
    """Return the definition of a known type, for tests and tools.

    Raises:
        KeyError: it is not known.
    """
    return _DEFINITIONS[type]
