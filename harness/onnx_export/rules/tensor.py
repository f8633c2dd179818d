"""Operations that make tensors, or that depend on positions in them."""

from __future__ import annotations

import numpy as np

from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Operand, Value, wide
from harness.onnx_export.registry import exports


@exports("shape", stored=True, gives=[DataType.INT64])
def shape(g: Graph, x: Value) -> str:
    """The sizes of the axes of ``x``."""
    return g("Shape", x)


@exports("fill", run_time=["shape"])
def fill(g: Graph, shape: tuple[int, ...] | Value, value: float, out_type: DataType) -> str:
    """A tensor of ``shape`` that holds ``value`` everywhere."""
    sizes = g.in_type(shape, DataType.INT64) if isinstance(shape, Value) else list(shape)
    return g("Expand", np.asarray(value, wide(out_type).numpy), sizes)


@exports("fill_like", stored=True)
def fill_like(g: Graph, ref_tensor: Value, value: float, out_type: DataType) -> str:
    """A tensor of the shape of ``ref_tensor`` that holds ``value`` everywhere."""
    return g("Expand", np.asarray(value, out_type.numpy), g("Shape", ref_tensor))


@exports("range_1d", run_time=["start", "end", "step"], gives=[DataType.FLOAT64])
def range_1d(g: Graph, start: float | Value, end: float | Value, step: float | Value) -> str:
    """start, start + step, ... as long as it is before ``end``."""
    # In FP64: the length of a range of FP32 can be off by one.
    limits = [
        g("Reshape", g.in_type(v, DataType.FLOAT64), np.zeros(0, np.int64))
        if isinstance(v, Value)
        else np.asarray(v, np.float64)
        for v in (start, end, step)
    ]
    return g("Range", *limits)


@exports("one_hot")
def one_hot(
    g: Graph,
    indices: Value,
    one_hot_vector_size: int,
    axis: int,
    on_value: float,
    off_value: float,
    out_type: DataType,
) -> str:
    """Vectors along a new ``axis``, ``on_value`` at the index."""
    # Not ``OneHot``, in which a negative index counts from the end.
    axis = axis % (indices.rank + 1)
    positions = np.arange(one_hot_vector_size, dtype=indices.dtype.numpy)
    place = positions.reshape([-1 if i == axis else 1 for i in range(indices.rank + 1)])
    hot = g("Equal", g("Unsqueeze", indices, [axis]), place)
    on, off = (np.asarray(value, wide(out_type).numpy) for value in (on_value, off_value))
    return g("Where", hot, on, off)


@exports("cumsum")
def cumsum(g: Graph, x: Value, axis: int, exclusive: bool, reverse: bool) -> str:
    """Running sum along ``axis``."""
    where = np.asarray(axis, np.int64)
    return g("CumSum", x, where, exclusive=int(exclusive), reverse=int(reverse))


@exports("band_part")
def band_part(g: Graph, x: Value, lower: int, upper: int) -> str:
    """Keep ``lower`` diagonals below the main one and ``upper`` above (negative: all)."""
    rows, columns = np.indices(x.sizes[-2:])
    kept: Operand = ((lower < 0) | (rows - columns <= lower)) & (
        (upper < 0) | (columns - rows <= upper)
    )
    return g("Where", kept, x, x.number(0))
