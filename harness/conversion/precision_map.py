"""Which element types the operations of a package declare: what an audit looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.conversion.compression import is_compressible, storage_of
from harness.conversion.selector import UNDECIDED_TYPES
from harness.conversion.sidecar import opened
from harness.mil import DataType, Model
from harness.mil.constants import ReadArray
from harness.mil.package import Package
from harness.mil.program import Binding, Function, Operation, walk
from harness.mil.types import TensorType, ValueType


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
        operations: all but constants, in program order.
    """

    def __init__(self, function: Function, read: ReadArray) -> None:
        everything = list(walk(function.block))
        self.operations = tuple(op for op in everything if op.type != "const")
        self._types = {variable.name: variable.type for variable in function.inputs} | {
            variable.name: variable.type for op in everything for variable in op.outputs
        }
        self._constants = {v.name for op in everything if op.type == "const" for v in op.outputs}
        self._compressed = {
            op.outputs[0].name: storage_of(op, read)
            for op in everything
            if op.type.startswith("constexpr_") and op.outputs
        }
        self._returned = set(function.block.outputs)
        self._readers: dict[str, list[Operation]] = {}
        for operation in self.operations:
            for name in operation.input_names:
                self._readers.setdefault(name, []).append(operation)

    def has_precision(self, operation: Operation) -> bool:
        """Whether a recipe has a say in ``operation``: it makes floats, and is no cast."""
        return (
            operation.type not in UNDECIDED_TYPES
            and not operation.type.startswith("constexpr_")
            and bool(self.floating_outputs(operation))
        )

    def floating_outputs(self, operation: Operation) -> tuple[DataType, ...]:
        """Return the different floating element types of the values that ``operation`` makes."""
        return _floating(_dtype(variable.type) for variable in operation.outputs)

    def floating_inputs(self, operation: Operation) -> tuple[tuple[str, DataType], ...]:
        """Return the floating element types of what ``operation`` reads, with the parameter."""
        return tuple(
            (parameter, dtype)
            for parameter, bindings in operation.inputs.items()
            for dtype in _floating(self._read(binding) for binding in bindings)
        )

    def weights(self, operation: Operation) -> tuple[StoredWeight, ...]:
        """Return the weights that ``operation`` reads, and other constants that are compressed."""
        found = (
            self._stored(parameter, binding)
            for parameter, bindings in operation.inputs.items()
            for binding in bindings
        )
        return tuple(weight for weight in found if weight is not None)

    def only_feeds_operations(self, operation: Operation) -> bool:
        """Whether all that reads the value of ``operation`` is operations with a precision."""
        name = operation.outputs[0].name
        readers = self._readers.get(name, [])
        return (
            name not in self._returned and bool(readers) and all(map(self.has_precision, readers))
        )

    def is_round_trip(self, operation: Operation) -> bool:
        """Whether ``operation`` is a cast to FP16 of which only the same value in FP32 is read."""
        if operation.type != "cast" or operation.dtype is not DataType.FLOAT16:
            return False
        name = operation.outputs[0].name
        readers = self._readers.get(name, [])
        return (
            name not in self._returned
            and bool(readers)
            and all(
                reader.type == "cast" and reader.dtype is DataType.FLOAT32 for reader in readers
            )
        )

    def widens_constant(self, operation: Operation) -> bool:
        """Whether ``operation`` casts a constant that is stored in FP16 to FP32."""
        return (
            operation.type == "cast"
            and operation.dtype is DataType.FLOAT32
            and any(
                name in self._constants and _dtype(self._types[name]) is DataType.FLOAT16
                for name in operation.input_names
            )
        )

    def _stored(self, parameter: str, binding: Binding) -> StoredWeight | None:
        held = self._types[binding] if isinstance(binding, str) else binding.type
        if isinstance(binding, str) and binding in self._compressed:
            return StoredWeight(parameter, self._compressed[binding], is_compressible(held))
        if isinstance(binding, str) and binding not in self._constants:
            return None
        return StoredWeight(parameter, "float", True) if is_compressible(held) else None

    def _read(self, binding: Binding) -> DataType | None:
        return _dtype(self._types[binding] if isinstance(binding, str) else binding.type)


def _floating(dtypes: Iterator[DataType | None]) -> tuple[DataType, ...]:
    return tuple(dict.fromkeys(d for d in dtypes if d is not None and d.is_floating))


def _dtype(type_: ValueType) -> DataType | None:
    return type_.dtype if isinstance(type_, TensorType) else None
