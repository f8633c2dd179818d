"""A program without its precision: what is left computes the same, whatever type carries it.

In: any model. Out: the same program with every floating-point value in FP32 and every integer in
INT32, where a cast between two of a kind hands on what it reads. So a package in FP16 stands beside
one in FP32 operation by operation, and what still differs is no matter of types. Constants keep
their numbers: those of an FP16 program are the rounded ones, those of a compressed weight the ones
that it stands for.

Casts of indices to 16 bits, which coremltools puts into FP16 programs, go as well. That such a cast
can wrap is told by the linter and by the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from harness.conversion.packed import PackedWeight, packed_weights
from harness.mil import DataType, Model
from harness.mil.constants import ReadArray
from harness.mil.package import Package
from harness.mil.program import Binding, Block, Constant, Operation, Program, Variable
from harness.mil.types import TensorType, ValueType


def without_precision(model: Model) -> Package:
    """Return the package of ``model`` with its function alone, in FP32 and INT32 throughout.

    Raises:
        PackageError: a constant can't be read.
    """
    function, read = model.plan.function, model.package.constants.array
    inputs = tuple(_retyped(variable) for variable in function.inputs)
    packed = packed_weights(model.package, function)
    made = (variable for operation in function.block.operations for variable in operation.outputs)
    types = {variable.name: variable.type for variable in (*function.inputs, *made)}
    block = _block(_unpacked(function.block, packed), types, read)
    neutral = replace(function, inputs=inputs, block=block)
    program = Program({function.name: neutral})
    return replace(model.package, program=program, default_function=function.name)


def neutral_type(type_: ValueType) -> ValueType:
    """Return FP32 for a tensor of floating-point numbers, INT32 for one of integers."""
    if not isinstance(type_, TensorType) or type_.dtype in (DataType.BOOL, DataType.STRING):
        return type_
    return replace(type_, dtype=DataType.FLOAT32 if type_.dtype.is_floating else DataType.INT32)


def _unpacked(block: Block, packed: Mapping[str, PackedWeight]) -> Block:
    """Return a block with constants where compressed ones are expanded."""

    def expanded(operation: Operation) -> Operation:
        if not operation.outputs or operation.outputs[0].name not in packed:
            return operation
        (variable,) = operation.outputs
        value = Constant(variable.type, packed[variable.name].array)
        return replace(operation, type="const", inputs={}, attributes={"val": value})

    return replace(block, operations=tuple(map(expanded, block.operations)))


def _block(block: Block, types: Mapping[str, ValueType], read: ReadArray) -> Block:
    operations = tuple(_operation(operation, types, read) for operation in block.operations)
    inputs = tuple(_retyped(variable) for variable in block.inputs)
    return replace(block, inputs=inputs, operations=operations)


def _operation(operation: Operation, types: Mapping[str, ValueType], read: ReadArray) -> Operation:
    outputs = tuple(_retyped(variable) for variable in operation.outputs)
    if operation.type.startswith("constexpr_"):
        return replace(operation, outputs=outputs)
    if operation.type == "const":
        attributes = {**operation.attributes, "val": _wide(operation.attributes["val"], read)}
        return replace(operation, outputs=outputs, attributes=attributes)
    if _is_rounding(operation, types):
        return replace(
            operation, type="identity", inputs={"x": operation.inputs["x"]}, outputs=outputs
        )
    inputs: dict[str, tuple[Binding, ...]] = {
        name: tuple(b if isinstance(b, str) else _wide(b, read) for b in bindings)
        for name, bindings in operation.inputs.items()
    }
    blocks = tuple(_block(inner, types, read) for inner in operation.blocks)
    return replace(operation, inputs=inputs, outputs=outputs, blocks=blocks)


def _is_rounding(operation: Operation, types: Mapping[str, ValueType]) -> bool:
    """Whether a cast stays among numbers of a kind; what isn't known is a change of kind."""
    if operation.type != "cast" or not isinstance(operation.inputs["x"][0], str):
        return False
    source = types.get(operation.inputs["x"][0])
    return source is not None and neutral_type(source) == neutral_type(operation.outputs[0].type)


def _retyped(variable: Variable) -> Variable:
    return Variable(variable.name, neutral_type(variable.type))


def _wide(constant: Constant, read: ReadArray) -> Constant:
    wanted = neutral_type(constant.type)
    if wanted == constant.type or not isinstance(wanted, TensorType):
        return constant
    return Constant(wanted, np.asarray(read(constant)).astype(wanted.dtype.numpy))
