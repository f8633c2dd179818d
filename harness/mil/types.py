"""Types of MIL values: element types, tensors, lists, tuples, dictionaries and states.

Names follow the ``DataType`` and ``ValueType`` messages of ``mlmodel/format/MIL.proto`` in
coremltools; an element type's ``value`` is the spelling that MIL's ``cast`` uses.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

# Ranks above this occur in no Core ML program; a broken file can name billions.
MAX_RANK = 64


class DataType(enum.Enum):
    """The element type of a MIL tensor."""

    BOOL = "bool"
    STRING = "string"
    FLOAT8E4M3FN = "fp8e4m3fn"
    FLOAT8E5M2 = "fp8e5m2"
    FLOAT16 = "fp16"
    BFLOAT16 = "bf16"
    FLOAT32 = "fp32"
    FLOAT64 = "fp64"
    INT4 = "int4"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT1 = "uint1"
    UINT2 = "uint2"
    UINT3 = "uint3"
    UINT4 = "uint4"
    UINT6 = "uint6"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"

    @property
    def bits(self) -> int:
        """Bits of one stored element; 0 for strings."""
        return _BITS[self]

    @property
    def is_floating(self) -> bool:
        """Whether elements are floating-point numbers."""
        return self.value.startswith(("fp", "bf"))

    @property
    def numpy(self) -> np.dtype:
        """The narrowest NumPy type that holds every value of this type."""
        return np.dtype(_NUMPY[self])

    def __str__(self) -> str:
        return self.value


_BITS = {
    DataType.BOOL: 8,
    DataType.STRING: 0,
    DataType.FLOAT8E4M3FN: 8,
    DataType.FLOAT8E5M2: 8,
    DataType.BFLOAT16: 16,
} | {
    member: int("".join(filter(str.isdigit, member.value)))
    for member in DataType
    if member.value.startswith(("fp1", "fp3", "fp6", "int", "uint"))
}

_NUMPY: dict[DataType, DTypeLike] = {
    DataType.BOOL: np.bool_,
    DataType.STRING: np.str_,
    # NumPy has no 8-bit floats and no bfloat16: float32 holds all their values.
    DataType.FLOAT8E4M3FN: np.float32,
    DataType.FLOAT8E5M2: np.float32,
    DataType.BFLOAT16: np.float32,
    DataType.FLOAT16: np.float16,
    DataType.FLOAT32: np.float32,
    DataType.FLOAT64: np.float64,
    DataType.INT4: np.int8,
    DataType.INT8: np.int8,
    DataType.INT16: np.int16,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
    DataType.UINT1: np.uint8,
    DataType.UINT2: np.uint8,
    DataType.UINT3: np.uint8,
    DataType.UINT4: np.uint8,
    DataType.UINT6: np.uint8,
    DataType.UINT8: np.uint8,
    DataType.UINT16: np.uint16,
    DataType.UINT32: np.uint32,
    DataType.UINT64: np.uint64,
}


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
