"""A function as rules look at it: its graph, the numbers of its constants, and its declarations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from harness.mil import DataType
from harness.mil.constants import ReadArray
from harness.mil.description import Description
from harness.mil.graph import Graph, GraphValue, Node
from harness.mil.opsets import OPSETS
from harness.mil.types import TensorType

Shape = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class View:
    """A function of a program.

    Attributes:
        graph: its operations and values.
        read: returns the array of a numeric constant.
        description: what the model says about the function's inputs and outputs.
        specification_version: of the model; 0 where it isn't known.
        functions: how many functions the program has.
    """

    graph: Graph
    read: ReadArray
    description: Description = field(default_factory=Description)
    specification_version: int = 0
    functions: int = 1
    _arrays: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def opset(self) -> str:
        """Name of the declared operation set."""
        return self.graph.function.opset

    @property
    def release(self) -> int:
        """The release of iOS that the declared operation set came with."""
        known = OPSETS.get(self.opset)
        return known.release if known else 0

    def of(self, *types: str) -> Iterator[Node]:
        """Yield the operations of some types that make something."""
        return (n for n in self.graph.nodes if n.operation.type in types and n.results)

    def array(self, value: GraphValue | None) -> np.ndarray | None:
        """Return the numbers of a constant; ``None`` if ``value`` is none, or holds no numbers."""
        if value is None or value.constant is None or value.dtype in (None, DataType.STRING):
            return None
        key = id(value.constant)
        if key not in self._arrays:
            self._arrays[key] = self.read(value.constant)
        return self._arrays[key]

    def numbers(self, value: GraphValue | None) -> tuple[float, ...]:
        """Return the numbers of a small constant; () where ``value`` is none."""
        array = self.array(value)
        return () if array is None or array.size > 64 else tuple(array.reshape(-1).tolist())

    def number(self, value: GraphValue | None) -> float | None:
        """Return the number that a constant of one element holds."""
        numbers = self.numbers(value)
        return float(numbers[0]) if len(numbers) == 1 else None

    def text(self, value: GraphValue | None) -> str | None:
        """Return the string that a constant holds."""
        held = value.constant.value if value is not None and value.constant is not None else None
        return held if isinstance(held, str) else None

    def floating_constants(self) -> Iterator[tuple[GraphValue, np.ndarray]]:
        """Yield every constant of floating-point numbers that is read, with its numbers."""
        for value in self.graph.values:
            if value.constant is None or value.dtype is None or not value.dtype.is_floating:
                continue
            if value.is_read:
                array = self.array(value)
                if array is not None and array.size:
                    yield value, array


def shape_of(value: GraphValue | None) -> Shape | None:
    """Return the declared shape of a tensor; ``None`` where there is none."""
    return value.type.shape if value is not None and isinstance(value.type, TensorType) else None


def elements(value: GraphValue | None) -> int | None:
    """Return the number of elements of a tensor of fixed shape."""
    declared = value.type if value is not None else None
    return declared.count if isinstance(declared, TensorType) and declared.is_static else None


def is_fixed(value: GraphValue) -> bool:
    """Whether ``value`` is a constant, or what one is expanded to."""
    made_by = value.producer.operation.type if value.producer is not None else ""
    return value.constant is not None or made_by.startswith("constexpr_")


def in_fp16(node: Node) -> bool:
    """Whether an operation makes FP16."""
    return bool(node.results) and node.results[0].dtype is DataType.FLOAT16


MOVES = frozenset(
    {"reshape", "transpose", "expand_dims", "squeeze", "identity", "cast", "slice_by_index"}
)
"""Operations that pass values on as they are, or rounded."""


def origin(value: GraphValue | None) -> Node | None:
    """Return the operation that computed ``value``, through those that only move it."""
    node = value.producer if value is not None else None
    while node is not None and node.operation.type in MOVES:
        moved = node.read("x")
        node = moved.producer if moved is not None else None
    return node
