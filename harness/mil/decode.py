"""From coremltools' protocol buffers to this room's program values.

Nothing in the message is trusted: element counts are compared with declared shapes before arrays
are built, and every name is checked by `harness.mil.program.verify`.

Source: ``mlmodel/format/MIL.proto`` and, for how immediate values are stored,
``converters/mil/backend/mil/helper.py`` of coremltools.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import PackageError
from harness.mil.blob import decode_elements
from harness.mil.opsets import OPSETS
from harness.mil.program import (
    BlobReference,
    Block,
    Constant,
    Function,
    Location,
    Operation,
    Program,
    Variable,
    make_operation,
    verify,
)
from harness.mil.types import (
    MAX_RANK,
    DataType,
    DictionaryType,
    ListType,
    StateType,
    TensorType,
    TupleType,
    ValueType,
)

_TYPES = {dtype.code: dtype for dtype in DataType}
VERSION = 1  # of MIL itself
_MAX_OPERATIONS = 50_000  # of a function, constants included; five bytes can spell one


def decode_program(message: Any) -> Program:
    """Return the ``MILSpec.Program`` message as a verified `Program`.

    Raises:
        PackageError: the message contradicts itself; names the operation and its place.
    """
    if message.version != VERSION:
        raise PackageError(
            f"the ML Program has version {message.version}; only version {VERSION} can be read"
        )
    if not message.functions:
        raise PackageError("the ML Program has no functions; the package is truncated or broken")
    functions = {name: _function(name, body) for name, body in sorted(message.functions.items())}
    for function in functions.values():
        verify(function)
    return Program(functions)


def _function(name: str, message: Any) -> Function:
    if message.opset not in OPSETS:
        raise PackageError(
            f"function {name!r} uses the unknown operation set {message.opset!r} "
            f"(known: {', '.join(OPSETS)})"
        )
    if message.opset not in message.block_specializations:
        known = ", ".join(sorted(message.block_specializations)) or "none"
        raise PackageError(
            f"function {name!r} asks for its block {message.opset!r}, but has: {known}"
        )
    body = message.block_specializations[message.opset]
    if _size(body) > _MAX_OPERATIONS:
        raise PackageError(
            f"function {name!r} has more than {_MAX_OPERATIONS:,} operations, as no sound program"
        )
    block = _block(body, name, "")
    inputs = tuple(_variable(variable) for variable in message.inputs)
    location = Location(name, 0)
    attributes = {key: _constant(value, location) for key, value in message.attributes.items()}
    return Function(name, inputs, message.opset, block, attributes)


def _size(block: Any) -> int:
    """Return the number of operations in a block; of a hostile one, any number above the limit."""
    found = len(block.operations)
    if found <= _MAX_OPERATIONS:
        found += sum(_size(inner) for operation in block.operations for inner in operation.blocks)
    return found


def _block(message: Any, function: str, outer: str) -> Block:
    return Block(
        inputs=tuple(_variable(variable) for variable in message.inputs),
        outputs=tuple(message.outputs),
        operations=tuple(
            _operation(operation, Location(function, index, outer))
            for index, operation in enumerate(message.operations)
        ),
    )


def _operation(message: Any, location: Location) -> Operation:
    outputs = tuple(_variable(variable) for variable in message.outputs)
    attributes = {key: _constant(value, location) for key, value in message.attributes.items()}
    return make_operation(
        type=message.type,
        inputs={
            key: tuple(_binding(binding, location) for binding in argument.arguments)
            for key, argument in message.inputs.items()
        },
        outputs=outputs,
        attributes=attributes,
        location=location,
        blocks=tuple(
            _block(block, location.function, f"{location.outer}[{location.index}].{number}")
            for number, block in enumerate(message.blocks)
        ),
    )


def _binding(message: Any, location: Location) -> str | Constant:
    kind = message.WhichOneof("binding")
    if kind == "name":
        return str(message.name)
    if kind == "value":
        return _constant(message.value, location)
    raise PackageError(f"operation at {location}: an input is neither a name nor a value")


def _variable(message: Any) -> Variable:
    return Variable(message.name, _type(message.type, f"value {message.name!r}"))


def _type(message: Any, what: str) -> ValueType:
    kind = message.WhichOneof("type")
    if kind == "tensorType":
        return _tensor_type(message.tensorType, what)
    if kind == "listType":
        length = _dimension(message.listType.length)
        return ListType(_type(message.listType.type, what), length)
    if kind == "tupleType":
        return TupleType(tuple(_type(element, what) for element in message.tupleType.types))
    if kind == "dictionaryType":
        inner = message.dictionaryType
        return DictionaryType(_type(inner.keyType, what), _type(inner.valueType, what))
    if kind == "stateType":
        return StateType(_type(message.stateType.wrappedType, what))
    raise PackageError(f"{what} has no type")


def _tensor_type(message: Any, what: str) -> TensorType:
    if message.dataType not in _TYPES:
        raise PackageError(f"{what} has the unknown element type {message.dataType}")
    dtype = _TYPES[message.dataType]
    if message.rank == -1 or any(d.unknown.variadic for d in message.dimensions):
        return TensorType(dtype, None)
    if message.rank != len(message.dimensions) or message.rank > MAX_RANK:
        raise PackageError(
            f"{what} declares rank {message.rank}, but has {len(message.dimensions)} dimensions"
        )
    return TensorType(dtype, tuple(_dimension(dimension) for dimension in message.dimensions))


def _dimension(message: Any) -> int | None:
    return int(message.constant.size) if message.WhichOneof("dimension") == "constant" else None


def _constant(message: Any, location: Location) -> Constant:
    declared = _type(message.type, f"a constant at {location}")
    kind = message.WhichOneof("value")
    if kind == "blobFileValue":
        reference = BlobReference(message.blobFileValue.fileName, message.blobFileValue.offset)
        if not isinstance(declared, TensorType) or not declared.is_static:
            raise PackageError(f"constant at {location}: data in a file must be a fixed tensor")
        return Constant(declared, reference)
    if kind != "immediateValue":
        raise PackageError(f"constant at {location} has no value")
    return Constant(declared, _immediate(message.immediateValue, declared, location))


def _immediate(message: Any, declared: ValueType, location: Location) -> Any:
    kind = message.WhichOneof("value")
    if kind == "tensor" and isinstance(declared, TensorType) and declared.is_static:
        return _tensor_value(message.tensor, declared, location)
    if kind == "tuple" and isinstance(declared, TupleType):
        return tuple(_constant(value, location) for value in message.tuple.values)
    if kind == "list" and isinstance(declared, ListType):
        return tuple(_constant(value, location) for value in message.list.values)
    if kind == "dictionary" and isinstance(declared, DictionaryType):
        pairs = message.dictionary.values
        return {
            _key(_constant(p.key, location), location): _constant(p.value, location) for p in pairs
        }
    raise PackageError(f"constant at {location}: a {kind or 'missing'} value for type {declared}")


def _key(constant: Constant, location: Location) -> object:
    value = constant.value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if isinstance(value, str):
        return value
    raise PackageError(f"constant at {location}: a dictionary's key must be a scalar")


def _tensor_value(message: Any, declared: TensorType, location: Location) -> Any:
    kind = message.WhichOneof("value")
    values: Any = getattr(message, kind).values if kind is not None else ()
    shape = tuple(size for size in declared.shape or () if size is not None)
    if declared.dtype is DataType.STRING:
        if kind != "strings" or len(values) != declared.count:
            raise PackageError(f"constant at {location}: no {declared} in its value")
        return str(values[0]) if not shape else tuple(str(value) for value in values)
    if kind == "bytes":
        try:
            return decode_elements(values, declared.dtype, declared.count).reshape(shape)
        except PackageError as error:
            raise PackageError(f"constant at {location} of type {declared}: {error}") from error
    if len(values) != declared.count:
        raise PackageError(
            f"constant at {location} has {len(values)} values, but its type {declared} "
            f"needs {declared.count}"
        )
    if values and kind not in _FIELDS.get(declared.dtype, _INTEGER_FIELDS):
        raise PackageError(f"constant at {location}: {kind} can't hold {declared}")
    array = np.asarray(values, _WIDE[kind] if kind else np.float64)
    return array.astype(declared.dtype.numpy).reshape(shape)


_INTEGER_FIELDS = ("ints", "longInts")
_FIELDS = {
    DataType.BOOL: ("bools",),
    DataType.FLOAT16: (),
    DataType.BFLOAT16: (),
    DataType.FLOAT32: ("floats",),
    DataType.FLOAT64: ("doubles",),
}
_WIDE: dict[str, type[np.generic]] = {
    "floats": np.float32,
    "doubles": np.float64,
    "bools": np.bool_,
    "ints": np.int32,
    "longInts": np.int64,
}
