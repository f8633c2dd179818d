"""Writing into tensors: scattering along axes and by coordinates, updating slices.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS17}/scatter_gather.py`` and, for ``slice_update``,
``iOS18/tensor_transformation.py`` of coremltools. Every element of ``updates`` is combined with the
element of ``data`` at its place by ``mode``; several may meet at one place, but what ``update``
leaves there is then undefined. Indices follow `harness.mil.ops.indexing.from_start`.
"""

from __future__ import annotations

import math

import torch

from harness.mil.ops.indexing import from_start
from harness.mil.ops.movement import slice_limits
from harness.mil.ops.registry import Bools, Effect, Ints, Tensor, operation

_REDUCTIONS = {"mul": "prod", "div": "prod", "max": "amax", "min": "amin"}


@operation("scatter")
def scatter(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool | None = None,
) -> Tensor:
    """Write the slices ``updates`` along ``axis`` at ``indices``, the inverse of ``gather``."""
    axis = axis % data.ndim
    index = from_start(indices, data.shape[axis], validate_indices)
    shape = [1] * axis + [-1] + [1] * (data.ndim - axis - 1)
    updates = updates.reshape(*data.shape[:axis], -1, *data.shape[axis + 1 :])
    return _combine(data, axis, index.reshape(shape).expand(updates.shape), updates, mode)


@operation("scatter_along_axis")
def scatter_along_axis(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool | None = None,
) -> Tensor:
    """Write elements along ``axis``: the inverse of ``gather_along_axis``."""
    index = from_start(indices, data.shape[axis], validate_indices)
    return _combine(data, axis % data.ndim, index, updates, mode)


@operation("scatter_nd")
def scatter_nd(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    mode: str = "add",
    validate_indices: bool | None = None,
) -> Tensor:
    """Write slices at coordinates, which lie along the last axis of ``indices``."""
    depth = indices.shape[-1]
    row = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=data.device)
    for k, size in enumerate(data.shape[:depth]):
        row = row * size + from_start(indices[..., k], size, validate_indices)
    rows = data.reshape(math.prod(data.shape[:depth]), -1)
    values = updates.reshape(-1, rows.shape[1])
    index = row.reshape(-1, 1).expand(values.shape)
    return _combine(rows, 0, index, values, mode).reshape(data.shape)


def _combine(data: Tensor, axis: int, index: Tensor, updates: Tensor, mode: str) -> Tensor:
    if mode == "update":
        return data.scatter(axis, index, updates)
    if mode in ("add", "sub"):
        return data.scatter_add(axis, index, updates if mode == "add" else -updates)
    if mode not in _REDUCTIONS:
        raise ValueError(f"mode {mode!r} is none of update, add, sub, {', '.join(_REDUCTIONS)}")
    if mode != "div":
        return data.scatter_reduce(axis, index, updates, _REDUCTIONS[mode])
    # In float64: a product of a few divisors may not fit the type that holds each of them. One that
    # float64 has to round is larger than any 32-bit dividend.
    ones = torch.ones_like(data, dtype=torch.float64)
    divisor = ones.scatter_reduce(axis, index, updates.double(), "prod")
    if data.is_floating_point():
        return (data.double() / divisor).to(data.dtype)
    if bool((divisor == 0).any()):
        raise ValueError("an integer can't be divided by zero")
    return (data.double() / divisor).trunc()


@operation("slice_update", effect=Effect.MOVE)
def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Bools | None = None,
    end_mask: Bools | None = None,
    squeeze_mask: Bools | None = None,
) -> Tensor:
    """``x`` with ``update`` in place of the slice that ``slice_by_index`` would take."""
    limits = slice_limits(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    positions = [range(size)[limit] for size, limit in zip(x.shape, limits, strict=True)]
    values = update.reshape([len(places) for places in positions])
    if values.numel() == 0:
        return x.clone()
    # PyTorch has no negative steps: such axes are written from their far end.
    values = values.flip([axis for axis, places in enumerate(positions) if places.step < 0])
    ascending = [places if places.step > 0 else places[::-1] for places in positions]
    y = x.clone()
    y[tuple(slice(p[0], p[-1] + 1, p.step) for p in ascending)] = values
    return y
