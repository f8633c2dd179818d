"""What a plan must be sound in before it runs: sizes, signatures, and types that are passed on."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import PackageError, UnsupportedOperationError
from harness.mil.ops.registry import Effect, ParameterKind
from harness.mil.plan import Plan, Step
from harness.mil.types import (
    DataType,
    DictionaryType,
    ListType,
    StateType,
    TensorType,
    ValueType,
    element_type,
)

# No model holds a single value of this size; a broken or hostile file can declare one.
_MAX_VALUE_BYTES = 1 << 34


def check_type(type: ValueType, owner: str) -> None:
    """Check that the executor can hold a value of ``type``.

    Raises:
        PackageError: it is declared too large; ``owner`` says what it is.
        UnsupportedOperationError: it is a tuple.
    """
    if isinstance(type, ListType):
        check_type(type.element, owner)
    elif isinstance(type, StateType):
        check_type(type.wrapped, owner)
    elif isinstance(type, TensorType):
        if type.is_static and type.count * type.dtype.bits > 8 * _MAX_VALUE_BYTES:
            raise PackageError(
                f"{owner} is declared as {type}, more than {_MAX_VALUE_BYTES >> 30} GiB; "
                "the package is broken or hostile"
            )
    elif not isinstance(type, DictionaryType):
        raise UnsupportedOperationError(f"{owner} is a {type}; the executor handles no tuples")


def check_signature(plan: Plan) -> None:
    """Check that a function takes tensors and states, and returns tensors and dictionaries.

    Raises:
        UnsupportedOperationError: it does not.
    """
    name = plan.function.name
    for kind, names, allowed in (
        ("takes", plan.inputs, (TensorType, StateType)),
        ("returns", plan.outputs, (TensorType, DictionaryType)),
    ):
        for value in names:
            type = plan.types[plan.slots[value]]
            if not isinstance(type, allowed):
                raise UnsupportedOperationError(
                    f"function {name!r} {kind} {value!r}, a {type}; the executor can't"
                )


def check_passed_types(step: Step, types: Sequence[ValueType]) -> None:
    """Check element types where values pass through unrounded: blocks, lists and states.

    Args:
        step: the operation.
        types: declared type of each slot of its plan.

    Raises:
        PackageError: they differ.
    """
    if step.definition.takes_blocks:
        _check_blocks(step, types)
    elif step.definition.effect in (Effect.ALIAS, Effect.WRITE):
        read = [slot for a in step.arguments if a.kind.is_value for slot in a.slots]
        found = {element_type(types[slot]) for slot in (*read, *step.outputs)}
        if len(found) > 1:
            raise PackageError(
                f"operation {step.operation} mixes the element types "
                f"{', '.join(sorted(map(str, found)))}, but can only pass values on"
            )


def _check_blocks(step: Step, types: Sequence[ValueType]) -> None:
    passed = [a for a in step.arguments if a.kind is ParameterKind.VALUES]
    given = [element_type(types[slot]) for a in passed for slot in a.slots]
    declared = [element_type(type) for type in step.types]
    # The first block of a loop is its condition; all others give the operation's results.
    conditions = 1 if passed else 0
    if len(step.blocks) != 2:
        raise PackageError(f"operation {step.operation} has {len(step.blocks)} blocks, not 2")
    for number, block in enumerate(step.blocks):
        takes = [element_type(block.types[slot]) for slot in block.inputs.values()]
        gives = [element_type(block.types[block.slots[name]]) for name in block.outputs]
        expected = [DataType.BOOL] if number < conditions else declared
        if takes != given or gives != expected:
            raise PackageError(
                f"operation {step.operation}: block {number} goes from {_listed(takes)} to "
                f"{_listed(gives)}, but must go from {_listed(given)} to {_listed(expected)}"
            )


def _listed(types: Sequence[DataType | None]) -> str:
    return f"({', '.join(map(str, types))})"
