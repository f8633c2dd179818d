"""Other versions of an opened program, made in memory: what a wrong converter would have written.

Operations are frozen values, so an edit makes a new operation, and `edited` a new model in which it
stands instead of the one whose results have the same names. Nothing is written to disk, the
weight files are shared, and the model that was edited stays as it is::

    gelu = find(model, type="gelu")[0]
    faulty = edited(model, with_inputs(gelu, mode=constant("TANH_APPROXIMATION")))

An operation is known by the name of its first result. No edit changes such a name, so taps and
module paths of the original program are valid for the edited one.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from harness.errors import PackageError, UnknownNameError
from harness.mil.model import Model
from harness.mil.plan import Step
from harness.mil.program import (
    Binding,
    Constant,
    Function,
    Location,
    Operation,
    Variable,
    verify,
)
from harness.mil.types import DataType, TensorType

Bindable: TypeAlias = str | Constant | np.ndarray | float | Sequence[int] | Sequence[bool] | None
"""What an input can be bound to: the name of a value, a constant or what `constant` makes one of,
or ``None`` for nothing at all."""


def constant(value: Any, dtype: DataType | None = None) -> Constant:
    """Return a constant that stands in its place in the program.

    Args:
        value: an array, a number, a truth value, a list of them, or a string.
        dtype: element type; by default that of the value: Python's floats are fp32, its integers
            int32.
    """
    if isinstance(value, str):
        return Constant(TensorType(DataType.STRING, ()), value)
    array = np.asarray(value)
    if dtype is None:
        dtype = _DTYPES.get(array.dtype.kind, DataType.FLOAT32)
        if array.dtype == np.float16:
            dtype = DataType.FLOAT16
    return Constant(TensorType(dtype, array.shape), array.astype(dtype.numpy))


_DTYPES = {"b": DataType.BOOL, "i": DataType.INT32, "u": DataType.INT32}


def find(
    model: Model,
    *,
    type: str = "*",
    name: str = "*",
    modules: Mapping[str, str] | None = None,
    module: str = "*",
) -> tuple[Operation, ...]:
    """Return the operations of ``model`` that fit all patterns, in program order.

    Args:
        model: where to look.
        type, name: patterns of the operation's type and of the name of its first result.
        modules: PyTorch module path of each value, as ``harness.conversion.module_paths`` reads it.
        module: pattern of the module path; needs ``modules``.

    Raises:
        UnknownNameError: nothing fits.
    """
    paths = modules or {}
    found = tuple(
        operation
        for operation in model.operations
        if fnmatch.fnmatchcase(operation.type, type)
        and fnmatch.fnmatchcase(key(operation), name)
        and (module == "*" or fnmatch.fnmatchcase(paths.get(key(operation), ""), module))
    )
    if not found:
        known = sorted({operation.type for operation in model.operations})
        raise UnknownNameError("operation", f"{type} {name} in module {module}", known)
    return found


def key(operation: Operation) -> str:
    """Return what an operation is known by: the name of its first result."""
    return operation.outputs[0].name


def known_value(model: Model, operation: Operation, parameter: str) -> np.ndarray | str:
    """Return the constant that an input is bound to, as an array or a string.

    Raises:
        PackageError: the input is bound to nothing, or to what is known only at run time.
    """
    found = _known(model, operation, parameter)
    return found.value if isinstance(found.value, str) else model.package.constants.array(found)


def _known(model: Model, operation: Operation, parameter: str) -> Constant:
    constants = model.plan.function.block.constants
    for binding in operation.inputs.get(parameter, ())[:1]:
        found = constants.get(binding) if isinstance(binding, str) else binding
        if found is not None:
            return found
    raise PackageError(f"operation {operation}: input {parameter!r} is bound to no constant")


def with_inputs(operation: Operation, **values: Bindable) -> Operation:
    """Return ``operation`` with some of its inputs bound otherwise; ``None`` unbinds."""
    inputs = dict(operation.inputs)
    for parameter, value in values.items():
        if value is None:
            inputs.pop(parameter, None)
        else:
            inputs[parameter] = (_binding(value),)
    return replace(operation, inputs=inputs)


def with_constant(
    model: Model, operation: Operation, parameter: str, change: Callable[[np.ndarray], np.ndarray]
) -> Operation:
    """Return ``operation`` with a constant tensor changed; ``change`` gets a copy.

    The element type stays; the shape may change if the program still fits together.

    Raises:
        PackageError: the input is bound to no constant array.
    """
    held = _known(model, operation, parameter)
    if isinstance(held.value, str) or not isinstance(held.type, TensorType):
        raise PackageError(f"operation {operation}: input {parameter!r} is no array of numbers")
    changed = change(model.package.constants.array(held).copy())
    return with_inputs(operation, **{parameter: constant(changed, held.type.dtype)})


def with_swapped(operation: Operation, one: str, other: str) -> Operation:
    """Return ``operation`` with two of its inputs exchanged.

    Raises:
        PackageError: one of them is bound to nothing.
    """
    for parameter in (one, other):
        if not operation.inputs.get(parameter):
            raise PackageError(f"operation {operation} has no input {parameter!r} to exchange")
    inputs = dict(operation.inputs)
    inputs[one], inputs[other] = inputs[other], inputs[one]
    return replace(operation, inputs=inputs)


def with_type(operation: Operation, type: str) -> Operation:
    """Return ``operation`` as one of another type, with the same inputs."""
    return replace(operation, type=type)


def with_dtype(operation: Operation, dtype: DataType) -> Operation:
    """Return ``operation`` with its floating-point results declared as ``dtype``."""
    outputs = tuple(
        Variable(variable.name, replace(variable.type, dtype=dtype))
        if isinstance(variable.type, TensorType) and variable.type.dtype.is_floating
        else variable
        for variable in operation.outputs
    )
    return replace(operation, outputs=outputs)


def skipped(operation: Operation, parameter: str = "x") -> Operation:
    """Return what stands instead of ``operation`` when it is left out: its input, unchanged.

    Raises:
        PackageError: it has no such input, or more than one result.
    """
    if len(operation.outputs) != 1 or len(operation.inputs.get(parameter, ())) != 1:
        raise PackageError(
            f"operation {operation} can't be left out: no single input {parameter!r} could stand "
            "for a single result"
        )
    return replace(operation, type="identity", inputs={"x": operation.inputs[parameter]})


def new_operation(
    type: str, name: str, shape: Sequence[int | None], dtype: DataType, **inputs: Bindable
) -> Operation:
    """Return an operation with one result called ``name``; `edited` can put it into a program."""
    bindings = {
        parameter: (_binding(value),) for parameter, value in inputs.items() if value is not None
    }
    output = Variable(name, TensorType(dtype, tuple(shape)))
    return Operation(type, name, bindings, (output,), {}, Location("", 0))


def edited(
    model: Model,
    *replacements: Operation,
    before: Mapping[str, Sequence[Operation]] | None = None,
) -> Model:
    """Return ``model`` with other operations in it.

    Args:
        model: stays as it is; weight files are shared.
        replacements: each takes the place of the operation whose first result has the same name.
        before: new operations, by the name of the first result of what they stand in front of.

    Raises:
        UnknownNameError: there is no operation to replace, or to stand in front of.
        PackageError: the program doesn't fit together any more.
        UnsupportedOperationError: the executor doesn't know an operation.
    """
    function = model.plan.function
    changed = {key(operation): operation for operation in replacements}
    inserted = dict(before or {})
    _check_known((*changed, *inserted), function.block.operations)
    operations: list[Operation] = []
    for operation in function.block.operations:
        name = key(operation) if operation.outputs else ""
        operations += [*inserted.get(name, ()), changed.get(name, operation)]
    return replanned(
        model, replace(function, block=replace(function.block, operations=tuple(operations)))
    )


def computing(model: Model, functions: Mapping[str, Callable[..., Any]]) -> Model:
    """Return ``model`` with other mathematics in some operations.

    Args:
        model: stays as it is.
        functions: by the name of an operation's first result, a function with the parameters of
            its definition in `harness.mil.ops`, called in its place.

    Raises:
        UnknownNameError: there is no such operation.
        PackageError: a function can't be called in its place. What could not be executed would be
            refused, and whoever asks whether a gate sees the other mathematics would take that for
            an answer.
    """
    _check_known(functions, model.operations)
    steps = tuple(
        _computed_by(step, functions[name]) if (name := key(step.operation)) in functions else step
        for step in model.plan.steps
    )
    return Model(model.package, replace(model.plan, steps=steps))


def _computed_by(step: Step, function: Callable[..., Any]) -> Step:
    extra = ["out"] * step.definition.takes_out + ["context"] * step.definition.takes_context
    extra += ["blocks"] * bool(step.blocks)
    names = [*(argument.name for argument in step.arguments), *extra]
    try:
        inspect.signature(function).bind(**dict.fromkeys(names))
    except TypeError as error:
        raise PackageError(
            f"{step.operation.type} {key(step.operation)!r} is called with {', '.join(names)}, "
            f"which the function in its place does not take: {error}"
        ) from error
    return replace(step, definition=replace(step.definition, function=function))


def _check_known(names: Iterable[str], operations: Iterable[Operation]) -> None:
    known = {key(operation) for operation in operations if operation.outputs}
    for name in names:
        if name not in known:
            raise UnknownNameError("operation", name, known)


def _binding(value: Bindable) -> Binding:
    return value if isinstance(value, str | Constant) else constant(value)


def replanned(model: Model, function: Function) -> Model:
    """Return a model that runs ``function`` instead of the one with its name.

    Args:
        model: stays as it is; its package reads the constants.
        function: operations get the places in which they stand here.

    Raises:
        PackageError: the program doesn't fit together.
        UnsupportedOperationError: the executor doesn't know an operation.
    """
    # Constants that stand in place get a name from their operation's place, so places are unique.
    numbered = tuple(
        replace(operation, location=Location(function.name, index))
        for index, operation in enumerate(function.block.operations)
    )
    changed = replace(function, block=replace(function.block, operations=numbered))
    verify(changed)
    functions = {**model.package.program.functions, function.name: changed}
    program = replace(model.package.program, functions=functions)
    package = replace(model.package, program=program)
    return Model.of(package, changed)
