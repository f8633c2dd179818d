"""Small programs made in memory, and random ones, for what the comparison must and must not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from harness.mil import DataType, Model
from harness.mil.editing import constant, key, new_operation, with_inputs, with_type
from harness.mil.opened import ConstantReader, Package
from harness.mil.program import Block, Function, Operation, Program, Variable, verify
from harness.mil.types import TensorType

SHAPE = (2, 3)
UNARY = ("square", "relu", "tanh", "abs", "sigmoid")
BINARY = ("add", "sub", "mul", "maximum", "minimum")


def op(type: str, name: str, to: Sequence[int] = SHAPE, **inputs: Any) -> Operation:
    return with_inputs(new_operation(type, name, to, DataType.FLOAT32), **inputs)


def program(
    operations: Sequence[Operation],
    outputs: Sequence[str] = ("y",),
    inputs: Sequence[str] = ("x",),
) -> Model:
    """Return a model of ``operations`` over inputs of `SHAPE`."""
    taken = tuple(Variable(name, TensorType(DataType.FLOAT32, SHAPE)) for name in inputs)
    function = Function("main", taken, "CoreML8", Block((), tuple(outputs), tuple(operations)))
    verify(function)
    here = Path("made in memory")
    package = Package(
        path=here,
        specification_version=9,
        program=Program({"main": function}),
        default_function="main",
        descriptions={},
        metadata={},
        constants=ConstantReader(here, here),
    )
    return Model.of(package, function)


@dataclass(frozen=True)
class Sketch:
    """A random program: each operation reads the input, earlier results or a constant."""

    operations: tuple[Operation, ...]

    @property
    def model(self) -> Model:
        return program(self.operations, (key(self.operations[-1]), key(self.operations[0])))


@st.composite
def sketches(draw: st.DrawFn) -> Sketch:
    operations: list[Operation] = []
    for index in range(draw(st.integers(2, 9))):
        known = ["x", *map(key, operations)]
        if draw(st.booleans()):
            type_, inputs = draw(st.sampled_from(UNARY)), {"x": draw(st.sampled_from(known))}
        else:
            other = draw(st.sampled_from([*known, 0.5, 2.0, 3.0]))
            type_ = draw(st.sampled_from(BINARY))
            inputs = {"x": draw(st.sampled_from(known)), "y": other}
        operations.append(op(type_, f"v{index}", **inputs))
    return Sketch(tuple(operations))


Mutation = Callable[[st.DrawFn, Operation, list[str]], Operation]


def _another_type(draw: st.DrawFn, operation: Operation, known: list[str]) -> Operation:
    types = UNARY if operation.type in UNARY else BINARY
    return with_type(operation, draw(st.sampled_from(types)))


def _another_operand(draw: st.DrawFn, operation: Operation, known: list[str]) -> Operation:
    return with_inputs(operation, x=draw(st.sampled_from(known)))


def _another_constant(draw: st.DrawFn, operation: Operation, known: list[str]) -> Operation:
    if operation.type in UNARY:
        return operation
    return with_inputs(operation, y=constant(np.float32(draw(st.sampled_from([0.5, 2.0, 7.0])))))


@st.composite
def mutated(draw: st.DrawFn, sketch: Sketch) -> Sketch:
    """Return a sketch with up to three changes, of which some change nothing."""
    operations = list(sketch.operations)
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(operations) - 1))
        change = draw(st.sampled_from([_another_type, _another_operand, _another_constant]))
        known = ["x", *map(key, operations[:index])]
        operations[index] = change(draw, operations[index], known)
    return Sketch(tuple(operations))


def renamed(model: Model, name: Callable[[str], str]) -> Model:
    """Return a model whose inner values are called otherwise."""
    block = model.plan.function.block
    kept = {"x", *block.outputs}

    def called(old: str) -> str:
        return old if old in kept else name(old)

    operations = [
        replace(
            o,
            inputs={
                p: tuple(called(b) if isinstance(b, str) else b for b in bindings)
                for p, bindings in o.inputs.items()
            },
            outputs=tuple(Variable(called(v.name), v.type) for v in o.outputs),
        )
        for o in block.operations
    ]
    return program(operations, block.outputs)
