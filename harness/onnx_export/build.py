"""An ONNX graph under construction: nodes, initializers, and a name for everything.

Plain values, so that nothing here needs the package ``onnx``: `harness.onnx_export.serialize`
writes them. An operand of a node may be given as

- a `Value` (what the program names), or the name of an intermediate result;
- an array, which becomes an initializer of its own type;
- a sequence of integers, which becomes an initializer of 64-bit integers (shapes, axes);
- ``None``: an optional input that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from harness.errors import UnsupportedOperationError
from harness.mil.types import DataType

INT64_LIMIT = 2**63 - 1
"""Beyond every axis: how ``Slice`` spells an open end."""

_CODES = {
    DataType.BOOL: 9,
    DataType.FLOAT16: 10,
    DataType.FLOAT32: 1,
    DataType.FLOAT64: 11,
    DataType.INT8: 3,
    DataType.INT16: 5,
    DataType.INT32: 6,
    DataType.INT64: 7,
    DataType.UINT8: 2,
    DataType.UINT16: 4,
    DataType.UINT32: 12,
    DataType.UINT64: 13,
}
"""Numbers of ``TensorProto.DataType`` in onnx.proto."""

_BY_NUMPY = {dtype.numpy: dtype for dtype in _CODES}
_WIDE = {
    DataType.FLOAT16: DataType.FLOAT32,
    DataType.INT8: DataType.INT32,
    DataType.INT16: DataType.INT32,
    DataType.UINT8: DataType.INT32,
    DataType.UINT16: DataType.INT32,
    DataType.UINT32: DataType.INT64,
}


def code_of(dtype: DataType) -> int:
    """Return ONNX's number of an element type, as ``Cast`` takes it."""
    return _CODES[dtype]


def held_as(dtype: DataType) -> DataType:
    """Return the narrowest type of ONNX that holds every value of ``dtype``, unpacked."""
    return _BY_NUMPY[dtype.numpy]


def wide(dtype: DataType) -> DataType:
    """Return the type in which an operation on ``dtype`` is computed."""
    return _WIDE.get(held_as(dtype), held_as(dtype))


@dataclass(frozen=True, eq=False)
class Value:
    """An operand of an operation.

    Attributes:
        name: in the graph.
        dtype: of its elements, one that ONNX has.
        shape: as declared; ``None`` where a size, or the rank, depends on the inputs.
        array: what it is, where the program says so.
        reader: the operation that reads it, for messages.
    """

    name: str
    dtype: DataType
    shape: tuple[int | None, ...] | None
    array: np.ndarray | None
    reader: str

    @property
    def rank(self) -> int:
        """Number of axes.

        Raises:
            UnsupportedOperationError: it is not known.
        """
        if self.shape is None:
            raise UnsupportedOperationError(
                f"operation {self.reader} reads {self.name!r}, whose rank depends on the inputs; "
                "it can be exported with inputs of one shape"
            )
        return len(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Its shape.

        Raises:
            UnsupportedOperationError: it is not known.
        """
        known = tuple(size for size in self.shape or () if size is not None)
        if len(known) != self.rank:
            raise UnsupportedOperationError(
                f"operation {self.reader} reads {self.name!r}, whose shape depends on the inputs; "
                "it can be exported with inputs of one shape"
            )
        return known

    @property
    def constant(self) -> np.ndarray:
        """Its elements.

        Raises:
            UnsupportedOperationError: they are made at run time.
        """
        if self.array is None:
            raise UnsupportedOperationError(
                f"operation {self.reader} reads {self.name!r}, which is made at run time; it can "
                "be exported where that is a constant"
            )
        return self.array

    def number(self, value: float) -> np.ndarray:
        """Return ``value`` in the type of the elements."""
        return np.asarray(value, self.dtype.numpy)

    def along(self, axis: int) -> list[int]:
        """Return the shape that lays a vector along ``axis`` of this value."""
        return [-1 if i == axis % self.rank else 1 for i in range(self.rank)]


Ints: TypeAlias = tuple[int, ...]
Bools: TypeAlias = tuple[bool, ...]
Operand: TypeAlias = "Value | str | np.ndarray | Sequence[int] | None"


@dataclass
class Node:
    """One node: operator, names of its inputs ("" for one left out) and outputs, attributes."""

    op_type: str
    inputs: list[str]
    outputs: list[str]
    attributes: Mapping[str, Any]
    name: str


@dataclass
class Graph:
    """Collects nodes and initializers.

    Attributes:
        taken: names that an intermediate result must not have.
        scope: the value whose operation is being written; intermediate results are named after it.
    """

    taken: set[str]
    scope: str = ""
    nodes: list[Node] = field(default_factory=list)
    initializers: dict[str, np.ndarray] = field(default_factory=dict)
    _constants: dict[tuple[object, ...], str] = field(default_factory=dict)
    _casts: dict[tuple[str, DataType], str] = field(default_factory=dict)

    def __call__(self, op_type: str, *operands: Operand, **attributes: Any) -> str:
        """Add a node of one output, and return the name of that."""
        return self.several(op_type, 1, *operands, **attributes)[0]

    def several(
        self, op_type: str, count: int, *operands: Operand, **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node, and return the names of its ``count`` outputs."""
        inputs = [self._name_of(operand) for operand in operands]
        outputs = [self.fresh(self.scope) for _ in range(count)]
        self.nodes.append(Node(op_type, inputs, outputs, attributes, outputs[0]))
        return tuple(outputs)

    def cast(self, x: Operand, dtype: DataType) -> str:
        """Convert to an element type."""
        return self("Cast", x, to=code_of(dtype))

    def in_type(self, x: Value, dtype: DataType) -> Value:
        """Return ``x`` in another element type, converted once for all who ask."""
        if x.dtype is dtype:
            return x
        key = x.name, dtype
        if key not in self._casts:
            name = self.fresh(f"{x.name}/{dtype}")
            self.nodes.append(Node("Cast", [x.name], [name], {"to": code_of(dtype)}, name))
            self._casts[key] = name
        array = None if x.array is None else x.array.astype(dtype.numpy)
        return Value(self._casts[key], dtype, x.shape, array, x.reader)

    def bind(self, result: Value | str, made: DataType, name: str, declared: DataType) -> None:
        """Let ``name`` stand for a result of type ``made``, converted to the ``declared`` type."""
        if made is not declared:
            node = Node("Cast", [self._name_of(result)], [name], {"to": code_of(declared)}, name)
            self.nodes.append(node)
        elif isinstance(result, Value) or not self._rename(result, name):
            self.nodes.append(Node("Identity", [self._name_of(result)], [name], {}, name))

    def _rename(self, old: str, new: str) -> bool:
        """Give an intermediate result of the last operation its name in the program."""
        for node in reversed(self.nodes):
            if old in node.outputs:
                node.outputs[node.outputs.index(old)] = node.name = new
                return True
            if old in node.inputs:
                node.inputs = [new if name == old else name for name in node.inputs]
        return False

    def fresh(self, stem: str) -> str:
        """Return an unused name: ``stem``, or that with a number behind a slash."""
        name, number = stem, 0
        while name in self.taken:
            number += 1
            name = f"{stem}/{number}"
        self.taken.add(name)
        return name

    def _name_of(self, operand: Operand) -> str:
        if operand is None:
            return ""
        if isinstance(operand, Value):
            return operand.name
        if isinstance(operand, str):
            return operand
        array = operand if isinstance(operand, np.ndarray) else np.asarray(operand, np.int64)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            name = self._constants[key] = self.fresh(f"constant/{len(self._constants)}")
            self.initializers[name] = array
        return self._constants[key]
