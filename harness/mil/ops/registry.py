"""The operations that the executor knows, and the one decorator that adds one.

An operation's function is only its mathematics on PyTorch tensors; its signature is its
specification. Parameter names are MIL's input names, a parameter without default is required, and
its annotation says how it is passed:

- ``Tensor``: a tensor in its carrier type, evaluated at run time;
- ``Tensors``: a tuple of tensors (variadic inputs such as ``values`` of ``concat``);
- ``bool``, ``int``, ``float``, ``str``, ``Ints``, ``Bools``: plain Python values, known before the
  run wherever the program binds a constant;
- ``Context``: not an input; carrier type, device and declared output types.

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
from harness.mil.types import DataType

Tensor: TypeAlias = torch.Tensor
Tensors: TypeAlias = tuple[torch.Tensor, ...]
Ints: TypeAlias = tuple[int, ...]
Bools: TypeAlias = tuple[bool, ...]


class Effect(enum.Enum):
    """What an operation does to its values and its memory."""

    COMPUTE = "new values in new memory: the result is rounded to the declared type"
    MOVE = "values of the inputs in new memory: nothing to round"
    VIEW = "values of the first input, whose memory the result may share"


@dataclass(frozen=True)
class Context:
    """What a function may know beyond its inputs.

    Attributes:
        carrier: PyTorch type in which the first output is held.
        device: where tensors live.
        dtypes: declared element types of the outputs.
    """

    carrier: torch.dtype
    device: torch.device
    dtypes: tuple[DataType, ...]


class Kind(enum.Enum):
    """How a parameter is passed."""

    TENSOR = "tensor"
    TENSORS = "tensors"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STRING = "string"
    INTS = "ints"
    BOOLS = "bools"


_KINDS: dict[Any, Kind] = {
    Tensor: Kind.TENSOR,
    Tensors: Kind.TENSORS,
    bool: Kind.BOOL,
    int: Kind.INT,
    float: Kind.FLOAT,
    str: Kind.STRING,
    Ints: Kind.INTS,
    Bools: Kind.BOOLS,
}


@dataclass(frozen=True)
class Parameter:
    """One input of an operation."""

    name: str
    kind: Kind
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
        takes_context: whether the function asks for a `Context`.
    """

    type: str
    function: Callable[..., Any]
    parameters: dict[str, Parameter]
    effect: Effect
    reuse: tuple[str, ...]
    takes_context: bool


_DEFINITIONS: dict[str, Definition] = {}
_Function = TypeVar("_Function", bound=Callable[..., Any])


def operation(
    type: str, *, effect: Effect = Effect.COMPUTE, reuse: tuple[str, ...] = ()
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
    type: str, function: Callable[..., Any], effect: Effect, reuse: tuple[str, ...]
) -> Definition:
    hints = typing.get_type_hints(function)
    parameters: dict[str, Parameter] = {}
    takes_context = False
    for name, parameter in inspect.signature(function).parameters.items():
        hint = _without_none(hints[name])
        if hint is Context:
            takes_context = True
        elif name != "out":
            required = parameter.default is inspect.Parameter.empty
            default = None if required else parameter.default
            parameters[name] = Parameter(name, _KINDS[hint], required, default)
    unknown = [name for name in reuse if name not in parameters]
    if unknown or (reuse and "out" not in hints):
        raise ParityError(f"operation {type!r} can't reuse {unknown or 'without a parameter out'}")
    return Definition(type, function, parameters, effect, reuse, takes_context)


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
        near = difflib.get_close_matches(operation.type, _DEFINITIONS, n=3, cutoff=0.6)
        hint = f"; similar: {', '.join(near)}" if near else ""
        raise UnsupportedOperationError(
            f"operation {operation} has a type that the executor does not know{hint} "
            f"({len(_DEFINITIONS)} are known: {', '.join(known_types())}); add a function with "
            f'@operation("{operation.type}") to a module of harness/mil/ops'
        )
    unknown = sorted(set(operation.inputs) - set(definition.parameters))
    if unknown:
        raise UnsupportedOperationError(
            f"operation {operation} binds {', '.join(map(repr, unknown))}, which the executor's "
            f"{operation.type} does not know (it knows: {', '.join(definition.parameters)})"
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
