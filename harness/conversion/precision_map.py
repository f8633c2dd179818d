"""Which element types the operations of a package declare: what an audit looks at.

Operations inside branches and loops are among them: they compute at their declared precision, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.conversion.compression import is_compressible, storage_of
from harness.conversion.selector import UNDECIDED_TYPES
from harness.conversion.sidecar import opened
from harness.mil import DataType, Model
from harness.mil.constants import ReadArray
from harness.mil.graph import Node, Value, graph_of
from harness.mil.package import Package
from harness.mil.program import Function, Operation


def precision_map(package: str | Path | Package | Model) -> dict[str, dict[str, int]]:
    """Return the number of operations by type and by element type of their first output.

    Constants are left out; a cast counts under the type that it casts to.

    Raises:
        PackageError: ``package`` is no package, or a broken one.
    """
    counts: dict[str, dict[str, int]] = {}
    for view in views(opened(package)):
        for operation in view.operations:
            by_type = counts.setdefault(operation.type, {})
            dtype = str(operation.dtype or "none")
            by_type[dtype] = by_type.get(dtype, 0) + 1
    return {kind: dict(sorted(counts[kind].items())) for kind in sorted(counts)}


def views(package: Package) -> list[FunctionView]:
    """Return a view of each function of ``package``."""
    read = package.constants.array
    return [FunctionView(function, read) for function in package.program.functions.values()]


@dataclass(frozen=True)
class StoredWeight:
    """A constant of an operation that is compressed, or could be.

    Attributes:
        parameter: as which it is read.
        storage: how it is stored: as recipes call it, or in words where none has it so.
        compressible: whether a recipe has a say in it.
    """

    parameter: str
    storage: str
    compressible: bool


class FunctionView:
    """A function of a program, with what is declared of its values.

    Args:
        function: of the program.
        read: returns the array of a constant.

    Attributes:
        operations: all but constants, those of inner blocks included, in program order.
    """

    def __init__(self, function: Function, read: ReadArray) -> None:
        graph = graph_of(function)
        self._nodes = {node.operation: node for node in graph.nodes}
        self._read = read
        self.operations = tuple(self._nodes)

    def has_precision(self, operation: Operation) -> bool:
        """Whether a recipe has a say in ``operation``: it makes floats, and is no cast."""
        return (
            operation.type not in UNDECIDED_TYPES
            and not operation.type.startswith("constexpr_")
            and bool(self.floating_outputs(operation))
        )

    def floating_outputs(self, operation: Operation) -> tuple[DataType, ...]:
        """Return the different floating element types of the values that ``operation`` makes."""
        return _floating(value.dtype for value in self._nodes[operation].results)

    def floating_inputs(self, operation: Operation) -> tuple[tuple[str, DataType], ...]:
        """Return the floating element types of what ``operation`` reads, with the parameter."""
        return tuple(
            (parameter, dtype)
            for parameter, values in self._nodes[operation].reads.items()
            for dtype in _floating(value.dtype for value in values)
        )

    def weights(self, operation: Operation) -> tuple[StoredWeight, ...]:
        """Return the weights that ``operation`` reads, and other constants that are compressed."""
        found = (self._stored(name, value) for name, value in self._nodes[operation].inputs)
        return tuple(weight for weight in found if weight is not None)

    def only_feeds_operations(self, operation: Operation) -> bool:
        """Whether all that reads the value of ``operation`` is operations with a precision."""
        readers = self._readers(operation)
        return bool(readers) and all(self.has_precision(node.operation) for node in readers)

    def is_round_trip(self, operation: Operation) -> bool:
        """Whether ``operation`` is a cast to FP16 of which only the same value in FP32 is read."""
        if operation.type != "cast" or operation.dtype is not DataType.FLOAT16:
            return False
        readers = [node.operation for node in self._readers(operation)]
        return bool(readers) and all(
            reader.type == "cast" and reader.dtype is DataType.FLOAT32 for reader in readers
        )

    def widens_constant(self, operation: Operation) -> bool:
        """Whether ``operation`` casts a constant that is stored in FP16 to FP32."""
        return (
            operation.type == "cast"
            and operation.dtype is DataType.FLOAT32
            and any(
                value.name and value.constant is not None and value.dtype is DataType.FLOAT16
                for _, value in self._nodes[operation].inputs
            )
        )

    def _readers(self, operation: Operation) -> list[Node]:
        """Return what reads the first value of ``operation``; nothing if it leaves its block."""
        value = self._nodes[operation].results[0]
        return [] if value.leaves else [node for node, _ in value.readers]

    def _stored(self, parameter: str, value: Value) -> StoredWeight | None:
        compressible = is_compressible(value.type)
        made_by = value.producer.operation if value.producer is not None else None
        if made_by is not None and made_by.type.startswith("constexpr_"):
            return StoredWeight(parameter, storage_of(made_by, self._read), compressible)
        if value.constant is None or not compressible:
            return None
        return StoredWeight(parameter, "float", True)


def _floating(dtypes: Iterable[DataType | None]) -> tuple[DataType, ...]:
    return tuple(dict.fromkeys(d for d in dtypes if d is not None and d.is_floating))
