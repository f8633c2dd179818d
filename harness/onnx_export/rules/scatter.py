"""Writing into tensors: scattering along axes and by coordinates, updating slices."""

from __future__ import annotations

import numpy as np

from harness.errors import UnsupportedOperationError
from harness.mil.ops.movement import slice_limits
from harness.mil.types import DataType
from harness.onnx_export.build import Bools, Graph, Ints, Operand, Value
from harness.onnx_export.registry import exports

_REDUCTIONS = {
    "update": "none",
    "add": "add",
    "sub": "add",
    "mul": "mul",
    "div": "mul",
    "max": "max",
    "min": "min",
}


@exports("scatter")
def scatter(
    g: Graph,
    data: Value,
    indices: Value,
    updates: Value,
    axis: int,
    mode: str,
    validate_indices: bool | None,
) -> str:
    """Write the slices ``updates`` along ``axis`` at ``indices``."""
    axis = axis % data.rank
    shape = [*data.sizes[:axis], int(np.prod(indices.sizes)), *data.sizes[axis + 1 :]]
    index = g("Expand", g("Reshape", _wide(g, indices), data.along(axis)), shape)
    slices = g("Reshape", updates, shape)
    return _written(g, "ScatterElements", data, index, slices, mode, axis=axis)


@exports("scatter_along_axis")
def scatter_along_axis(
    g: Graph,
    data: Value,
    indices: Value,
    updates: Value,
    axis: int,
    mode: str,
    validate_indices: bool | None,
) -> str:
    """Write elements along ``axis``."""
    return _written(g, "ScatterElements", data, _wide(g, indices), updates, mode, axis=axis)


@exports("scatter_nd")
def scatter_nd(
    g: Graph,
    data: Value,
    indices: Value,
    updates: Value,
    mode: str,
    validate_indices: bool | None,
) -> str:
    """Write slices at coordinates, which lie along the last axis of ``indices``."""
    return _written(g, "ScatterND", data, _wide(g, indices), updates, mode)


def _wide(g: Graph, indices: Value) -> Value:
    return g.in_type(indices, DataType.INT64)


def _written(
    g: Graph,
    op_type: str,
    data: Value,
    index: Operand,
    updates: Operand,
    mode: str,
    **attributes: int,
) -> str:
    if mode not in _REDUCTIONS:
        raise UnsupportedOperationError(
            f"operation {data.reader} has the mode {mode!r}; expected {', '.join(_REDUCTIONS)}"
        )
    if mode == "sub":
        updates = g("Neg", updates)
    if mode != "div":
        return g(op_type, data, index, updates, reduction=_REDUCTIONS[mode], **attributes)
    # In FP64: a product of a few divisors may not fit the type that holds each of them.
    ones = np.ones(data.sizes, np.float64)
    factors = g.cast(updates, DataType.FLOAT64)
    divisor = g(op_type, ones, index, factors, reduction="mul", **attributes)
    return g.cast(g("Div", g.in_type(data, DataType.FLOAT64), divisor), data.dtype)


@exports("slice_update", moves=True)
def slice_update(
    g: Graph,
    x: Value,
    update: Value,
    begin: Ints,
    end: Ints,
    stride: Ints | None,
    begin_mask: Bools | None,
    end_mask: Bools | None,
    squeeze_mask: Bools | None,
) -> str:
    """``x`` with ``update`` in place of the slice that ``slice_by_index`` would take."""
    limits = slice_limits(x.sizes, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    places = np.arange(np.prod(x.sizes)).reshape(x.sizes)[tuple(limits)].reshape(-1)
    flat = [g("Reshape", value, [-1]) for value in (x, update)]
    return g("Reshape", g("ScatterElements", flat[0], places, flat[1], axis=0), list(x.sizes))
