"""From this room's program values to coremltools' protocol buffers: the reverse of `decode`.

Constants that lie in a weight file are read and written to a new one, and so are larger ones that
stand in place; what no operation names is the caller's to leave out.

Source: ``mlmodel/format/MIL.proto`` and, for how immediate values are stored,
``converters/mil/backend/mil/helper.py`` of coremltools.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness._coremltools import import_coremltools
from harness.errors import PackageError
from harness.mil.blob import BlobWriter, encode_elements
from harness.mil.constants import ReadArray
from harness.mil.decode import VERSION
from harness.mil.program import Binding, BlobReference, Block, Constant, Function, Operation
from harness.mil.types import (
    DataType,
    DictionaryType,
    ListType,
    StateType,
    TensorType,
    ValueType,
)

_FILE_TYPES = (DataType.FLOAT16, DataType.FLOAT32)
_FILE_COUNT = 10  # elements from which on coremltools uses the weight file
_IN_BYTES = frozenset(
    {"fp16", "bf16", "int4", "int8", "uint1", "uint2", "uint3", "uint4", "uint6", "uint8", "uint32"}
)
_FIELDS = {
    DataType.BOOL: "bools",
    DataType.FLOAT32: "floats",
    DataType.FLOAT64: "doubles",
    DataType.INT64: "longInts",
    DataType.UINT64: "longInts",
}


def encode_program(
    function: Function, read: ReadArray, weights: BlobWriter, weights_name: str
) -> Any:
    """Return a ``MILSpec.Program`` message with one function.

    Args:
        function: what to write.
        read: returns the array of a constant in ``function``.
        weights: gets the larger constants.
        weights_name: what the program calls that file.

    Raises:
        PackageError: a constant is of a type that can't be written.
    """
    import_coremltools()
    from coremltools.proto import MIL_pb2

    encoder = _Encoder(MIL_pb2, read, weights, weights_name)
    program = MIL_pb2.Program(version=VERSION)
    message = program.functions[function.name]
    message.opset = function.opset
    for variable in function.inputs:
        message.inputs.add(name=variable.name, type=encoder.type(variable.type))
    for key, attribute in function.attributes.items():
        message.attributes[key].CopyFrom(encoder.constant(attribute))
    encoder.block(message.block_specializations[function.opset], function.block)
    return program


class _Encoder:
    def __init__(self, mil: Any, read: ReadArray, weights: BlobWriter, name: str) -> None:
        self._mil, self._read, self._weights, self._name = mil, read, weights, name

    def block(self, message: Any, block: Block) -> None:
        for variable in block.inputs:
            message.inputs.add(name=variable.name, type=self.type(variable.type))
        message.outputs.extend(block.outputs)
        for operation in block.operations:
            self._operation(message.operations.add(), operation)

    def _operation(self, message: Any, operation: Operation) -> None:
        message.type = operation.type
        for variable in operation.outputs:
            message.outputs.add(name=variable.name, type=self.type(variable.type))
        for key, attribute in operation.attributes.items():
            # The inputs of a constexpr operation may stand here, and an edit changes inputs.
            given = operation.inputs.get(key, (attribute,))[0]
            held = given if isinstance(given, Constant) else attribute
            message.attributes[key].CopyFrom(self.constant(held))
        for key, bindings in operation.inputs.items():
            if key not in operation.attributes:
                message.inputs[key].arguments.extend(self._binding(b) for b in bindings)
        for block in operation.blocks:
            self.block(message.blocks.add(), block)

    def _binding(self, binding: Binding) -> Any:
        make = self._mil.Argument.Binding
        if isinstance(binding, str):
            return make(name=binding)
        return make(value=self.constant(binding))

    def type(self, type: ValueType) -> Any:
        message = self._mil.ValueType()
        if isinstance(type, TensorType):
            self._tensor_type(message.tensorType, type)
        elif isinstance(type, ListType):
            message.listType.type.CopyFrom(self.type(type.element))
            _set_dimension(message.listType.length, type.length)
        elif isinstance(type, StateType):
            message.stateType.wrappedType.CopyFrom(self.type(type.wrapped))
        elif isinstance(type, DictionaryType):
            message.dictionaryType.keyType.CopyFrom(self.type(type.key))
            message.dictionaryType.valueType.CopyFrom(self.type(type.value))
        else:
            message.tupleType.types.extend(self.type(element) for element in type.elements)
        return message

    def _tensor_type(self, message: Any, type: TensorType) -> None:
        message.dataType = type.dtype.code
        if type.shape is None:
            message.rank = -1
            return
        message.rank = len(type.shape)
        for size in type.shape:
            _set_dimension(message.dimensions.add(), size)

    def constant(self, constant: Constant) -> Any:
        message, value = self._mil.Value(type=self.type(constant.type)), constant.value
        if isinstance(constant.type, TensorType) and not isinstance(value, str | tuple):
            self._numbers(message, constant, constant.type.dtype)
        elif isinstance(constant.type, TensorType):
            texts = value if isinstance(value, tuple) else (value,)
            message.immediateValue.tensor.strings.values.extend(texts)
        elif isinstance(constant.type, DictionaryType) and isinstance(value, dict):
            for key, held in value.items():
                pair = message.immediateValue.dictionary.values.add()
                text = isinstance(key, str)
                known = Constant(constant.type.key, str(key) if text else np.asarray(key))
                pair.key.CopyFrom(self.constant(known))
                pair.value.CopyFrom(self.constant(_held(held)))
        elif isinstance(value, tuple):
            kind = "list" if isinstance(constant.type, ListType) else "tuple"
            values = getattr(message.immediateValue, kind).values
            values.extend(self.constant(_held(held)) for held in value)
        else:
            raise PackageError(f"a constant of type {constant.type} can't be written")
        return message

    def _numbers(self, message: Any, constant: Constant, dtype: DataType) -> None:
        array = self._read(constant)
        large = dtype in _FILE_TYPES and array.size >= _FILE_COUNT
        if large or isinstance(constant.value, BlobReference):
            message.blobFileValue.fileName = self._name
            message.blobFileValue.offset = self._weights.write(array, dtype)
            return
        tensor = message.immediateValue.tensor
        if dtype.value in _IN_BYTES:
            tensor.bytes.values = encode_elements(array, dtype)
            return
        field = getattr(tensor, _FIELDS.get(dtype, "ints"))
        field.SetInParent()
        field.values.extend(array.reshape(-1).tolist())


def _held(value: object) -> Constant:
    if not isinstance(value, Constant):
        raise PackageError(f"{value!r} inside a constant can't be written: it has no type")
    return value


def _set_dimension(message: Any, size: int | None) -> None:
    if size is None:
        message.unknown.variadic = False
    else:
        message.constant.size = size
