"""Integers that are cast into a type which can't hold them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.lint.finding import Hit
from harness.lint.opset import SMALL_INTEGERS
from harness.lint.registry import code, error, issue, warning
from harness.lint.view import View, shape_of
from harness.mil import DataType
from harness.mil.graph import GraphValue, Node
from harness.mil.numerics.rounding import FP16_MAX

_INDEXING: Final = {"gather": "indices", "gather_along_axis": "indices"}
_NARROWER: Final = SMALL_INTEGERS | {DataType.INT32}


@error(
    source=code("converters/mil/mil/passes/defs/quantization.py (add_int16_cast)"),
    next_step="keep the constant in int32 (FP32), or see why it is that large",
)
def constant_overflows_cast(view: View) -> Iterator[Hit]:
    """A constant is cast to an integer type, or to FP16, that can't hold its numbers."""
    for node in view.of("cast"):
        array, target = view.array(node.read("x")), node.operation.dtype
        if array is None or target is None or not array.size:
            continue
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if target is DataType.FLOAT16:
            low, high = -FP16_MAX, FP16_MAX
        elif target in _NARROWER:
            limits = np.iinfo(target.numpy)
            low, high = float(limits.min), float(limits.max)
        else:
            continue
        outside = finite[(finite < low) | (finite > high)]
        if outside.size:
            yield Hit(f"casts {outside.flat[0]:.6g} to {target}, which ends at {high:.6g}", node)


@error(
    source=issue(2222),
    next_step="remove the pass common::add_int16_cast from the pipeline, or shorten the axis",
)
def index_overflows_cast(view: View) -> Iterator[Hit]:
    """Indices are cast to a type that can't name every place of the axis that they index."""
    for node in view.of("cast"):
        if node.operation.dtype not in SMALL_INTEGERS:
            continue
        highest = np.iinfo(node.operation.dtype.numpy).max
        for reader, parameter in node.results[0].readers:
            size = _indexed(view, reader, parameter)
            if size is not None and size - 1 > highest:
                what = f"indexes {size} places for {reader.operation.name!r}"
                yield Hit(f"{what}, but {node.operation.dtype} ends at {highest}", node)


def _indexed(view: View, reader: Node, parameter: str) -> int | None:
    """Return how many places an operation's indices choose from; ``None`` if that isn't known."""
    if _INDEXING.get(reader.operation.type) != parameter:
        return None
    shape, axis = shape_of(reader.read("x")), view.number(reader.read("axis"))
    axis = 0.0 if axis is None and reader.read("axis") is None else axis
    if not shape or axis is None or not -len(shape) <= axis < len(shape):
        return None
    return shape[int(axis)]


@warning(
    source=issue(2222),
    next_step="remove the pass common::add_int16_cast, or make sure that no value is larger",
)
def integers_narrowed(view: View) -> Iterator[Hit]:
    """Values that arrive in int32 are cast to fewer bits, and are no indices: large ones wrap."""
    for node in view.of("cast"):
        x = node.read("x")
        if node.operation.dtype not in SMALL_INTEGERS or x is None or x.constant is not None:
            continue
        if x.dtype is DataType.INT32 and not _only_indices(node.results[0]):
            yield Hit(f"casts {x.name!r} from int32 to {node.operation.dtype}", node)


def _only_indices(value: GraphValue) -> bool:
    return not value.leaves and all(
        _INDEXING.get(node.operation.type) == parameter or parameter == "indices"
        for node, parameter in value.readers
    )


@warning(source=issue(2568), next_step="take the minimum with the largest value that is meant")
def uniform_reaches_its_end(view: View) -> Iterator[Hit]:
    """A uniform random number is made an integer: Core ML draws the upper end, too."""
    for node in view.of("random_uniform"):
        for value in node.results:
            for reader, _ in value.readers:
                whole = reader.operation.type == "floor" or (
                    reader.operation.type == "cast" and reader.operation.dtype in _NARROWER
                )
                if whole:
                    yield Hit(f"is made whole by {reader.operation.name!r}", node)
