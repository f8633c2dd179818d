"""Which element types the operations of a package declare: what an audit looks at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.conversion.selector import UNDECIDED_TYPES
from harness.conversion.sidecar import opened
from harness.mil import DataType, Model
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
    return [FunctionView(function) for function in package.program.functions.values()]


class FunctionView:
    """A function of a program, with what is declared of its values.

    Attributes:
        operations: all but constants, in program order.
    """

    def __init__(self, function: Function) -> None:
        everything = list(walk(function.block))
        self.operations = tuple(op for op in everything if op.type != "const")
        self._dtypes = {variable.name: _dtype(variable.type) for variable in function.inputs} | {
            variable.name: _dtype(variable.type) for op in everything for variable in op.outputs
        }
        self._constants = {v.name for op in everything if op.type == "const" for v in op.outputs}
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
                name in self._constants and self._dtypes[name] is DataType.FLOAT16
                for name in operation.input_names
            )
        )

    def _read(self, binding: Binding) -> DataType | None:
        return self._dtypes[binding] if isinstance(binding, str) else _dtype(binding.type)


def _floating(dtypes: Iterator[DataType | None]) -> tuple[DataType, ...]:
    return tuple(dict.fromkeys(d for d in dtypes if d is not None and d.is_floating))


def _dtype(type_: ValueType) -> DataType | None:
    return type_.dtype if isinstance(type_, TensorType) else None
