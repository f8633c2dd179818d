"""Types of MIL values: element types, tensors, lists, tuples, dictionaries and states.

Names follow the ``DataType`` and ``ValueType`` messages of ``mlmodel/format/MIL.proto`` in
coremltools; an element type's ``value`` is the spelling that MIL's ``cast`` uses.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

# Ranks above this occur in no Core ML program; a broken file can name billions.
MAX_RANK = 64


class DataType(enum.Enum):
    """The element type of a MIL tensor.

    Attributes:
        bits: of one stored element; 0 for strings.
        numpy: the narrowest NumPy type that holds every value of this type.
        code: its number in the ``DataType`` enumeration of MIL.proto.
        blob_code: its number in the ``BlobDataType`` enumeration of weight files; 0 for none.
    """

    bits: int
    numpy: np.dtype
    code: int
    blob_code: int

    def __new__(cls, name: str, *row: Any) -> DataType:
        """Make a member whose value is ``name``, with the rest of its row as attributes."""
        member = object.__new__(cls)
        member._value_ = name
        member.bits, held_in, member.code, *blob_code = row
        member.numpy, member.blob_code = np.dtype(held_in), sum(blob_code)
        return member

    BOOL = "bool", 8, np.bool_, 1
    STRING = "string", 0, np.str_, 2
    # NumPy has no 8-bit floats and no bfloat16: float32 holds all their values.
    FLOAT8E4M3FN = "fp8e4m3fn", 8, np.float32, 40, 16
    FLOAT8E5M2 = "fp8e5m2", 8, np.float32, 41, 17
    FLOAT16 = "fp16", 16, np.float16, 10, 1
    BFLOAT16 = "bf16", 16, np.float32, 13, 5
    FLOAT32 = "fp32", 32, np.float32, 11, 2
    FLOAT64 = "fp64", 64, np.float64, 12
    INT4 = "int4", 4, np.int8, 25, 8
    INT8 = "int8", 8, np.int8, 21, 4
    INT16 = "int16", 16, np.int16, 22, 6
    INT32 = "int32", 32, np.int32, 23, 14
    INT64 = "int64", 64, np.int64, 24
    UINT1 = "uint1", 1, np.uint8, 37, 9
    UINT2 = "uint2", 2, np.uint8, 36, 10
    UINT3 = "uint3", 3, np.uint8, 39, 12
    UINT4 = "uint4", 4, np.uint8, 35, 11
    UINT6 = "uint6", 6, np.uint8, 38, 13
    UINT8 = "uint8", 8, np.uint8, 31, 3
    UINT16 = "uint16", 16, np.uint16, 32, 7
    UINT32 = "uint32", 32, np.uint32, 33, 15
    UINT64 = "uint64", 64, np.uint64, 34

    @property
    def is_floating(self) -> bool:
        """Whether elements are floating-point numbers."""
        return str(self.value).startswith(("fp", "bf"))

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class TensorType:
    """A tensor: element type and shape.

    ``shape`` is ``None`` where the rank is unknown; a dimension is ``None`` where its size is.
    """

    dtype: DataType
    shape: tuple[int | None, ...] | None

    @property
    def is_static(self) -> bool:
        """Whether rank and every dimension are known."""
        return self.shape is not None and None not in self.shape

    @property
    def count(self) -> int:
        """Number of elements of a static type."""
        if self.shape is None or None in self.shape:
            raise ValueError(f"{self} has no fixed number of elements")
        return math.prod(size for size in self.shape if size is not None)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of ``shape`` has this type's shape."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            declared is None or declared == size
            for declared, size in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[...]"
        return f"{self.dtype}[{', '.join('?' if s is None else str(s) for s in self.shape)}]"


@dataclass(frozen=True)
class ListType:
    """A list of ``length`` elements; ``None`` where the length is unknown."""

    element: ValueType
    length: int | None

    def __str__(self) -> str:
        return f"list of {'?' if self.length is None else self.length} {self.element}"


@dataclass(frozen=True)
class TupleType:
    """A tuple."""

    elements: tuple[ValueType, ...]

    def __str__(self) -> str:
        return f"tuple of ({', '.join(map(str, self.elements))})"


@dataclass(frozen=True)
class DictionaryType:
    """A dictionary."""

    key: ValueType
    value: ValueType

    def __str__(self) -> str:
        return f"dictionary from {self.key} to {self.value}"


@dataclass(frozen=True)
class StateType:
    """A state: a tensor that lives between predictions."""

    wrapped: ValueType

    def __str__(self) -> str:
        return f"state of {self.wrapped}"


ValueType: TypeAlias = TensorType | ListType | TupleType | DictionaryType | StateType


def element_type(type: ValueType) -> DataType | None:
    """Return the element type of the tensors that a value of ``type`` holds, if it holds any."""
    if isinstance(type, ListType):
        return element_type(type.element)
    if isinstance(type, StateType):
        return element_type(type.wrapped)
    return type.dtype if isinstance(type, TensorType) else None
