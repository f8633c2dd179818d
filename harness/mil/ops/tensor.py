"""Operations that make tensors, or that depend on positions in them.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS16,iOS17}/tensor_operation.py`` of coremltools.
"""

from __future__ import annotations

import torch

from harness.mil.ops.registry import Context, Effect, Ints, Tensor, operation


@operation("shape", effect=Effect.MOVE)
def shape(x: Tensor) -> Tensor:
    """The sizes of the axes of ``x``."""
    return torch.tensor(x.shape, dtype=torch.int32, device=x.device)


@operation("fill")
def fill(context: Context, shape: Ints, value: float = 0.0) -> Tensor:
    """A tensor of ``shape`` that holds ``value`` everywhere."""
    return torch.full(shape, value, dtype=context.carrier, device=context.device)


@operation("fill_like")
def fill_like(context: Context, ref_tensor: Tensor, value: float = 0.0) -> Tensor:
    """A tensor of the shape of ``ref_tensor`` that holds ``value`` everywhere."""
    return torch.full(ref_tensor.shape, value, dtype=context.carrier, device=context.device)


@operation("range_1d")
def range_1d(context: Context, start: float, end: float, step: float) -> Tensor:
    """start, start + step, ... as long as it is before ``end``; nothing if that is behind."""
    if step and (end - start) / step <= 0:
        return torch.empty(0, dtype=context.carrier, device=context.device)
    # Computed wide: arange in float32 accumulates, and its length can be off by one.
    values = torch.arange(start, end, step, dtype=torch.float64, device=context.device)
    return values.to(context.carrier)


@operation("one_hot")
def one_hot(
    context: Context,
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: float = 1.0,
    off_value: float = 0.0,
) -> Tensor:
    """Vectors of ``one_hot_vector_size`` along a new ``axis``, ``on_value`` at the index."""
    axis = axis % (indices.ndim + 1)
    size = [-1 if i == axis else 1 for i in range(indices.ndim + 1)]
    positions = torch.arange(one_hot_vector_size, device=context.device).reshape(size)
    hot = indices.long().unsqueeze(axis) == positions
    values = torch.tensor([off_value, on_value], dtype=context.carrier, device=context.device)
    return values[hot.long()]


@operation("cumsum")
def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sum along ``axis``; exclusive: of the elements before; reverse: from the end."""
    y = x.flip(axis) if reverse else x
    if exclusive:
        zero = torch.zeros_like(y.narrow(axis, 0, 1))
        y = torch.cat([zero, y.narrow(axis, 0, y.shape[axis] - 1)], axis)
    y = y.cumsum(axis)
    return y.flip(axis) if reverse else y


@operation("band_part", effect=Effect.MOVE)
def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """Keep ``lower`` diagonals below the main one and ``upper`` above (negative: all)."""
    y = x.triu(-lower) if lower >= 0 else x
    y = y.tril(upper) if upper >= 0 else y
    return y.clone() if y is x else y
