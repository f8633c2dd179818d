"""Which element types the operations of a package declare: what an audit looks at.

Operations inside branches and loops are among them: they compute at their declared precision, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.conversion.compression import is_compressible, storage_of
from harness.conversion.selector import UNDECIDED_TYPES
from harness.mil import DataType, Model
from harness.mil.constants import ReadArray
from harness.mil.graph import Node, graph_of
from harness.mil.model import opened
from harness.mil.package import Package


def precision_map(package: str | Path | Package | Model) -> dict[str, dict[str, int]]:
    """Return the number of operations by type and by element type of their first output.

    Constants are left out; a cast counts under the type that it casts to.

    Raises:
        PackageError: ``package`` is no package, or a broken one.
    """
    counts: dict[str, dict[str, int]] = {}
    for node in every_node(opened(package)):
        by_type = counts.setdefault(node.operation.type, {})
        dtype = str(node.operation.dtype or "none")
        by_type[dtype] = by_type.get(dtype, 0) + 1
    return {kind: dict(sorted(counts[kind].items())) for kind in sorted(counts)}


def every_node(package: Package) -> Iterator[Node]:
    """Yield the operations of every function but constants, those of inner blocks included."""
    for function in package.program.functions.values():
        yield from graph_of(function).nodes


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


def has_precision(node: Node) -> bool:
    """Whether a recipe has a say in an operation: it makes floats, and is no cast."""
    type_ = node.operation.type
    decided = type_ not in UNDECIDED_TYPES and not type_.startswith("constexpr_")
    return decided and bool(floating_outputs(node))


def floating_outputs(node: Node) -> tuple[DataType, ...]:
    """Return the different floating element types of the values that an operation makes."""
    return _floating(value.dtype for value in node.results)


def floating_inputs(node: Node) -> tuple[tuple[str, DataType], ...]:
    """Return the floating element types of what an operation reads, with the parameter."""
    return tuple(
        (parameter, dtype)
        for parameter, values in node.reads.items()
        for dtype in _floating(value.dtype for value in values)
    )


def stored_weights(node: Node, read: ReadArray) -> tuple[StoredWeight, ...]:
    """Return the weights that an operation reads, and other constants that are compressed."""
    found = []
    for parameter, value in node.inputs:
        compressible = is_compressible(value.type)
        made_by = value.producer.operation if value.producer is not None else None
        if made_by is not None and made_by.type.startswith("constexpr_"):
            found.append(StoredWeight(parameter, storage_of(made_by, read), compressible))
        elif value.constant is not None and compressible:
            found.append(StoredWeight(parameter, "float", True))
    return tuple(found)


def only_feeds_operations(node: Node) -> bool:
    """Whether all that reads the value of an operation is operations with a precision."""
    readers = _readers(node)
    return bool(readers) and all(map(has_precision, readers))


_TOWARDS_A_STATE: Final = ("cast", "slice_update", "concat")


def is_round_trip(node: Node) -> bool:
    """Whether an operation is a cast to FP16 of which only the same value in FP32 is read.

    What is only kept in a state is rounded there anyway: a network may do it itself beforehand.
    """
    readers = _readers(node) if _casts_to(node, DataType.FLOAT16) else []
    widened = bool(readers) and all(_casts_to(reader, DataType.FLOAT32) for reader in readers)
    return widened and not all(_is_only_kept(reader) for reader in readers)


def _is_only_kept(node: Node) -> bool:
    """Whether what an operation makes is put into a state, and read by nothing else."""
    readers = _readers(node) if node.operation.type in _TOWARDS_A_STATE else []
    return bool(readers) and all(
        reader.operation.type == "write_state" or _is_only_kept(reader) for reader in readers
    )


def widens_constant(node: Node) -> bool:
    """Whether an operation casts a constant that is stored in FP16 to FP32."""
    return _casts_to(node, DataType.FLOAT32) and any(
        value.name and value.constant is not None and value.dtype is DataType.FLOAT16
        for _, value in node.inputs
    )


def _casts_to(node: Node, dtype: DataType) -> bool:
    return node.operation.type == "cast" and node.operation.dtype is dtype


def _readers(node: Node) -> list[Node]:
    """Return what reads the first value of an operation; nothing if it leaves its block."""
    value = node.results[0]
    return [] if value.leaves else [reader for reader, _ in value.readers]


def _floating(dtypes: Iterable[DataType | None]) -> tuple[DataType, ...]:
    return tuple(dict.fromkeys(d for d in dtypes if d is not None and d.is_floating))
