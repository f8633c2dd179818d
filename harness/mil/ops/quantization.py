"""Quantized values and their storage: to integers and back, tables, sparse data.

Source: ``converters/mil/mil/ops/defs/iOS17/quantization_ops.py``, ``iOS16/constexpr_ops.py`` and
``iOS18/compression.py`` of coremltools. A ``constexpr`` operation expands what the package stores
compressed; it is executed like any other, on constants, so its result is rounded to its declared
type. Sub-byte integers arrive unpacked, one for each element; iOS 16 packs them itself.
"""

from __future__ import annotations

import math

import torch

from harness.mil.ops.registry import Context, Effect, Ints, Tensor, operation
from harness.mil.types import DataType

_RANGES = {DataType.INT8: (-128, 127), DataType.UINT8: (0, 255)}


def _along(vector: Tensor, x: Tensor, axis: int | None) -> Tensor:
    """Shape a scalar, or a vector that belongs to ``axis``, to broadcast against ``x``."""
    if vector.ndim == 0 or axis is None:
        return vector
    return vector.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def _blocks(small: Tensor, shape: Ints) -> Tensor:
    """Repeat the elements of ``small`` along every axis until it has ``shape``."""
    for axis, size in enumerate(shape):
        if small.shape[axis] not in (1, size):
            small = small.repeat_interleave(size // small.shape[axis], axis)
    return small.expand(shape)


@operation("quantize")
def quantize(
    context: Context,
    input: Tensor,
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """round(input / scale) + zero_point, halves to even, limited to the output's range."""
    y = torch.round(input / _along(scale, input, axis))
    if zero_point is not None:
        y = y + _along(zero_point, input, axis)
    return y.clamp(*_RANGES[context.dtypes[0]])


@operation("dequantize")
def dequantize(
    input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: int | None = None
) -> Tensor:
    """Scale (input - zero_point)."""
    wide = input.to(scale.dtype)
    if zero_point is not None:
        wide = wide - _along(zero_point, input, axis).to(scale.dtype)
    return wide * _along(scale, input, axis)


@operation("constexpr_affine_dequantize")
def constexpr_affine_dequantize(
    quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int
) -> Tensor:
    """Scale (quantized_data - zero_point)."""
    return dequantize(quantized_data, scale, zero_point, axis)


@operation("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(
    data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> Tensor:
    """Scale (data - offset); each scale and offset serves a block of data."""
    shape = tuple(data.shape)
    wide = data.to(scale.dtype)
    if offset is not None:
        wide = wide - _blocks(offset, shape).to(scale.dtype)
    return wide * _blocks(scale, shape)


@operation("constexpr_cast", effect=Effect.VIEW)
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:
    """``source_val`` in a wider type."""
    return source_val


@operation("constexpr_lut_to_dense", effect=Effect.MOVE)
def constexpr_lut_to_dense(
    indices: Tensor, lut: Tensor, shape: Ints | None = None, vector_axis: int | None = None
) -> Tensor:
    """Look ``indices`` up in tables.

    With ``shape`` (iOS 16) there is one table [entries], and ``indices`` are packed bytes. Without
    (iOS 18) ``lut`` is [*tables, entries, vector]: a table serves a block of indices, and the
    vector that an index names is laid along ``vector_axis``.
    """
    if shape is not None:
        bits = (lut.numel() - 1).bit_length()
        return lut[_unpacked(indices, bits, math.prod(shape))].reshape(shape)
    tables = lut.shape[:-2]
    rows = lut.reshape(-1, lut.shape[-1])
    table = torch.arange(math.prod(tables), device=lut.device).reshape(tables)
    row = _blocks(table, tuple(indices.shape)) * lut.shape[-2] + indices.long()
    if lut.shape[-1] == 1:
        return rows[:, 0][row]
    if vector_axis is None:
        raise ValueError("a table of vectors needs vector_axis")
    axis = vector_axis % indices.ndim
    vectors = rows[row].movedim(-1, axis + 1)  # the vector's axis after the one that it extends
    return vectors.flatten(axis, axis + 1)


@operation("constexpr_sparse_to_dense", effect=Effect.MOVE)
def constexpr_sparse_to_dense(
    nonzero_data: Tensor, mask: Tensor, shape: Ints | None = None
) -> Tensor:
    """Lay ``nonzero_data`` where ``mask`` is set, zero elsewhere; with ``shape`` it is packed."""
    if shape is not None:
        mask = _unpacked(mask, 1, math.prod(shape)).reshape(shape)
    return torch.zeros_like(mask, dtype=nonzero_data.dtype).masked_scatter(mask != 0, nonzero_data)


@operation("constexpr_lut_to_sparse", effect=Effect.MOVE)
def constexpr_lut_to_sparse(
    indices_mask: Tensor,
    indices_nonzero_data: Tensor,
    lut: Tensor,
    vector_axis: int | None = None,
) -> tuple[Tensor, ...]:
    """``constexpr_lut_to_dense`` of sparse indices; returns the result's mask and its values."""
    indices = constexpr_sparse_to_dense(indices_nonzero_data, indices_mask)
    dense = constexpr_lut_to_dense(indices, lut, vector_axis=vector_axis)
    mask = indices_mask.clone()
    if vector_axis is not None:
        mask = mask.repeat_interleave(lut.shape[-1], vector_axis)
    return mask, dense[mask != 0]


@operation("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, ...]:
    """``constexpr_blockwise_shift_scale`` of sparse data; returns its mask and the values."""
    dense = constexpr_sparse_to_dense(nonzero_data, data_mask)
    values = constexpr_blockwise_shift_scale(dense, scale, offset)
    return data_mask.clone(), values[data_mask != 0]


def _unpacked(packed: Tensor, bits: int, count: int) -> Tensor:
    """Return ``count`` unsigned integers of ``bits`` bits, packed from the lowest bit of a byte."""
    places = torch.arange(8, device=packed.device)
    stream = ((packed.long().unsqueeze(-1) >> places) & 1).reshape(-1)[: count * bits]
    weights = 1 << torch.arange(bits, device=packed.device)
    return (stream.reshape(count, bits) * weights).sum(-1)
