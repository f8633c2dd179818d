"""How operations are written: one decorated function for each MIL operation type.

A rule has the parameters of the executor's function (`harness.mil.ops`) after the graph, and is
called with the same plain Python values; tensors arrive as `Value`, already in the type in which
the operation is computed (`harness.onnx_export.build.wide`). It returns the name of its result, or
a tuple of names. The rounding to the declared type is not its business.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.errors import ParityError, UnsupportedOperationError
from harness.mil.ops.registry import definition
from harness.mil.program import Operation
from harness.mil.types import DataType


@dataclass(frozen=True)
class Rule:
    """How one operation type is written.

    Attributes:
        function: writes it.
        gives: the types of its results; ``None`` for one that is in the wide form of its declared
            type.
        moves: values are moved only: its tensors arrive as they are stored, and so does its result,
            unless types differ.
        stored: its tensors arrive as they are stored, always.
        run_time: numbers that may be made at run time; they arrive as a `Value`.
        asks_for: of the declared shape ``out_shape`` and element type ``out_type`` of its first
            result.
    """

    function: Callable[..., Any]
    gives: Sequence[DataType | None]
    moves: bool
    stored: bool
    run_time: Sequence[str]
    asks_for: frozenset[str]


_RULES: dict[str, Rule] = {}
_Function = TypeVar("_Function", bound=Callable[..., Any])


def exports(
    type: str,
    *,
    gives: Sequence[DataType | None] = (),
    moves: bool = False,
    stored: bool = False,
    run_time: Sequence[str] = (),
) -> Callable[[_Function], _Function]:
    """Register the decorated function as what writes MIL operation ``type``; see `Rule`.

    Raises:
        ParityError: the type has a rule already, or the function's parameters are not those of the
            executor's.
    """

    def register(function: _Function) -> _Function:
        if type in _RULES:
            raise ParityError(f"operation {type!r} has two rules of export")
        parameters = list(inspect.signature(function).parameters)[1:]
        asked = frozenset({"out_shape", "out_type"}.intersection(parameters))
        lacking = set(definition(type).parameters) ^ (set(parameters) - asked)
        if lacking:
            raise ParityError(f"the rule of {type!r} differs from the executor in {lacking}")
        _RULES[type] = Rule(function, gives, moves, stored, run_time, asked)
        return function

    return register


def find_rule(operation: Operation) -> Rule:
    """Return how an operation of a program is written.

    Raises:
        UnsupportedOperationError: no rule is for its type.
    """
    if operation.type not in _RULES:
        raise UnsupportedOperationError(
            f"operation {operation} can't be exported: no rule is for its type "
            f"({len(_RULES)} types have one, docs/onnx.md lists them); add a function with "
            f'@exports("{operation.type[:60]}") to a module of harness/onnx_export/rules'
        )
    return _RULES[operation.type]


def exported_types() -> tuple[str, ...]:
    """Return the operation types that have a rule, in alphabetical order."""
    return tuple(sorted(_RULES))
