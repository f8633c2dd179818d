"""A model with states as a function: what they hold before a call goes in, what they hold after it
comes out.

A state ``NAME`` is an input of that name and an output ``state.NAME``, both float32 outside; inside
it has the type that the program declares. `call` executes the program as it is, with a state that
lives for one call. `functional` rewrites it to one that has no states, for tools that go through a
program from its inputs to its outputs, and computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from harness.errors import PackageError
from harness.mil.model import Model
from harness.mil.numerics import Numerics
from harness.mil.program import Binding, Constant, Function, Location, Operation, Variable
from harness.mil.taps import Taps
from harness.mil.types import DataType, StateType, TensorType, ValueType


def output_of(state: str) -> str:
    """Return the name of what a call leaves in a state."""
    return f"state.{state}"


def call(
    model: Model,
    inputs: Mapping[str, np.ndarray],
    *,
    taps: Taps | str = (),
    numerics: str | Numerics = "storage",
) -> dict[str, Any]:
    """Execute ``model`` once, with what its states hold among the inputs and the outputs.

    Raises:
        As `Model.predict`.
    """
    if not model.states:
        return model.predict(inputs, taps=taps, numerics=numerics)
    state = model.new_state()
    names = {feature.name for feature in model.states}
    for feature in model.states:
        if feature.name in inputs:
            state.write(feature.name, inputs[feature.name].astype(feature.dtype.numpy))
    given = {name: array for name, array in inputs.items() if name not in names}
    made = model.predict(given, state=state, taps=taps, numerics=numerics)
    return made | {output_of(name): state.read(name).astype(np.float32) for name in names}


def functional(model: Model) -> Model:
    """Return ``model`` with its states as inputs and outputs; itself if it has none.

    What is read from a state is what went in, rounded to the state's type, or what was written to
    it before; other values keep their names.

    Raises:
        PackageError: a state is used inside a branch or a loop.
    """
    if not model.states:
        return model
    return Model.of(model.package, _Unfolding(model.plan.function).function())


class _Unfolding:
    """One function on its way to one without states."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._operations: list[Operation] = []
        self._held = {v.name: _held(v) for v in function.inputs if isinstance(v.type, StateType)}
        self._names: dict[str, str] = {}  # of what was read, the value that it is
        self._types: dict[str, ValueType] = {}
        self._now: dict[str, str] = {}  # of each state, the value that it holds

    def function(self) -> Function:
        start = Location(self._function.name, 0)
        for name, held in self._held.items():
            self._now[name] = f"{name}.before"
            self._cast(name, self._now[name], held, start)
        for operation in self._function.block.operations:
            self._take(operation)
        outputs = list(self._function.block.outputs)
        for name in outputs:
            if name in self._names:  # what was read is returned as it is
                self._add("identity", name, self._types[name], start, x=(self._names[name],))
        for name, held in self._held.items():
            outputs.append(output_of(name))
            wide = TensorType(DataType.FLOAT32, held.shape)
            self._cast(self._now[name], outputs[-1], wide, start)
        old = self._function.block
        block = replace(old, operations=tuple(self._operations), outputs=tuple(outputs))
        inputs = tuple(
            Variable(v.name, TensorType(DataType.FLOAT32, self._held[v.name].shape))
            if v.name in self._held
            else v
            for v in self._function.inputs
        )
        return replace(self._function, inputs=inputs, block=block)

    def _take(self, operation: Operation) -> None:
        touched = [name for name in operation.input_names if name in self._held]
        if operation.blocks and self._held:
            raise PackageError(f"{operation} has blocks; states are followed in none")
        if operation.type == "read_state" and touched:
            (read,) = operation.outputs
            self._names[read.name], self._types[read.name] = self._now[touched[0]], read.type
        elif operation.type == "write_state" and touched:
            (data,) = operation.inputs["data"]
            if not isinstance(data, str):
                raise PackageError(f"{operation} writes a constant; expected a value")
            self._now[touched[0]] = self._names.get(data, data)
        else:
            inputs = {
                parameter: tuple(
                    self._names.get(item, item) if isinstance(item, str) else item
                    for item in bindings
                )
                for parameter, bindings in operation.inputs.items()
            }
            self._operations.append(replace(operation, inputs=inputs))

    def _cast(self, source: str, target: str, made: TensorType, where: Location) -> None:
        word = Constant(TensorType(DataType.STRING, ()), str(made.dtype))
        self._add("cast", target, made, where, x=(source,), dtype=(word,))

    def _add(
        self, type: str, name: str, made: ValueType, where: Location, **inputs: tuple[Binding, ...]
    ) -> None:
        variable = Variable(name, made)
        self._operations.append(Operation(type, name, inputs, (variable,), {}, where))


def _held(variable: Variable) -> TensorType:
    assert isinstance(variable.type, StateType)
    held = variable.type.wrapped
    if not isinstance(held, TensorType):
        raise PackageError(f"state {variable.name!r} is a {held}, expected a tensor")
    return held
