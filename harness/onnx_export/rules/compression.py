"""Quantized values, and constants that are stored compressed: they stay so in the file."""

from __future__ import annotations

import math

import numpy as np

from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Ints, Operand, Value
from harness.onnx_export.registry import exports


@exports("quantize")
def quantize(
    g: Graph,
    input: Value,
    scale: Value,
    output_dtype: str,
    zero_point: Value | None,
    axis: int | None,
    out_type: DataType,
) -> str:
    """round(input / scale) + zero_point, limited to the output's range."""
    y = g("Round", g("Div", input, _along(g, scale, input, axis)))
    if zero_point is not None:
        offset = g.in_type(zero_point, input.dtype)
        y = g("Add", y, _along(g, offset, input, axis))
    limits = np.iinfo(out_type.numpy)
    y = g("Min", g("Max", y, input.number(limits.min)), input.number(limits.max))
    return g.cast(y, DataType.INT32)


@exports("dequantize")
def dequantize(
    g: Graph, input: Value, scale: Value, zero_point: Value | None, axis: int | None
) -> str:
    """Scale (input - zero_point)."""
    y: Operand = g.in_type(input, scale.dtype)
    if zero_point is not None:
        offset = g.in_type(zero_point, scale.dtype)
        y = g("Sub", y, _along(g, offset, input, axis))
    return g("Mul", y, _along(g, scale, input, axis))


@exports("constexpr_affine_dequantize")
def constexpr_affine_dequantize(
    g: Graph, quantized_data: Value, zero_point: Value, scale: Value, axis: int
) -> str:
    """Scale (quantized_data - zero_point)."""
    return dequantize(g, quantized_data, scale, zero_point, axis)


def _along(g: Graph, vector: Value, x: Value, axis: int | None) -> Value | str:
    if vector.rank == 0 or axis is None:
        return vector
    return g("Reshape", vector, x.along(axis))


@exports("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(
    g: Graph, data: Value, scale: Value, offset: Value | None
) -> str:
    """Scale (data - offset); each scale and offset serves a block of data."""
    y: Operand = g.in_type(data, scale.dtype)
    if offset is not None:
        y = g("Sub", y, _blocks(g, g.in_type(offset, scale.dtype), data.sizes))
    return g("Mul", y, _blocks(g, scale, data.sizes))


def _blocks(g: Graph, small: Value, shape: Ints) -> Value | str:
    """Repeat the elements of ``small`` along every axis, unless broadcasting does."""
    y: Value | str = small
    for axis, (few, size) in enumerate(zip(small.sizes, shape, strict=True)):
        if few not in (1, size):
            y = g("Gather", y, np.arange(size) // (size // few), axis=axis)
    return y


@exports("constexpr_cast", stored=True)
def constexpr_cast(g: Graph, source_val: Value, output_dtype: str, out_type: DataType) -> str:
    """``source_val`` in a wider type."""
    return g.cast(source_val, out_type)


@exports("constexpr_lut_to_dense", stored=True)
def constexpr_lut_to_dense(
    g: Graph, indices: Value, lut: Value, shape: Ints | None, vector_axis: int | None
) -> str:
    """Look ``indices`` up in tables; each table serves a block of them."""
    if shape is not None:
        bits = (math.prod(lut.sizes) - 1).bit_length()
        places = _unpacked(indices.constant, bits, math.prod(shape)).reshape(shape)
        return g("Gather", lut, places, axis=0)
    *tables, entries, length = lut.sizes
    table = np.arange(math.prod(tables)).reshape(tables)
    for axis, size in enumerate(indices.sizes):
        table = np.repeat(table, size // table.shape[axis], axis)
    places = (table * entries + indices.constant).astype(np.int32)
    rows = g("Gather", g("Reshape", lut, [-1, length]), places, axis=0)
    if vector_axis is None or length == 1:
        return g("Squeeze", rows, [-1])
    axis, rank = vector_axis % indices.rank, indices.rank
    rows = g("Transpose", rows, perm=[*range(axis + 1), rank, *range(axis + 1, rank)])
    sizes = list(indices.sizes)
    sizes[axis] *= length
    return g("Reshape", rows, sizes)


@exports("constexpr_sparse_to_dense", stored=True)
def constexpr_sparse_to_dense(
    g: Graph, nonzero_data: Value, mask: Value, shape: Ints | None, out_shape: Ints
) -> str:
    """Lay ``nonzero_data`` where ``mask`` is set, zero elsewhere."""
    flat = mask.constant.reshape(-1)
    if shape is not None:
        flat = _unpacked(flat, 1, math.prod(shape))
    zeros = g("Expand", nonzero_data.number(0), [flat.size])
    y = g("ScatterElements", zeros, np.flatnonzero(flat), nonzero_data, axis=0)
    return g("Reshape", y, list(out_shape))


def _unpacked(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Return ``count`` unsigned integers of ``bits`` bits, packed from the lowest bit of a byte."""
    stream = np.unpackbits(packed.view(np.uint8).reshape(-1), bitorder="little")
    places = stream[: count * bits].reshape(count, bits).astype(np.int32)
    return places @ (1 << np.arange(bits, dtype=np.int32))
