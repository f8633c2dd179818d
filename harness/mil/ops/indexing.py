"""Gathering, selecting and sorting.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS16,iOS17}/scatter_gather.py`` and
``{iOS15,iOS16,iOS17}/tensor_operation.py``, ``iOS15/control_flow.py`` (``select``) of coremltools.
Negative indices count from the end. Of equal elements the first comes first. ``validate_indices``
is accepted; an index out of range is always an error here.
"""

from __future__ import annotations

import torch

from harness.mil.ops.registry import Effect, Tensor, Tensors, operation


@operation("gather", effect=Effect.MOVE)
def gather(
    x: Tensor,
    indices: Tensor,
    axis: int = 0,
    batch_dims: int = 0,
    validate_indices: bool = False,
) -> Tensor:
    """Take the slices ``indices`` along ``axis``; the first ``batch_dims`` axes are paired."""
    axis = axis % x.ndim
    index = _from_start(indices, x.shape[axis])
    if batch_dims == 0:
        taken = x.index_select(axis, index.reshape(-1))
        return taken.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    batch, inner = x.shape[:batch_dims], index.shape[batch_dims:]
    rows = x.reshape(-1, *x.shape[batch_dims:])
    picks = index.reshape(rows.shape[0], -1)
    taken = torch.stack(
        [row.index_select(axis - batch_dims, pick) for row, pick in zip(rows, picks, strict=True)]
    )
    return taken.reshape(*batch, *x.shape[batch_dims:axis], *inner, *x.shape[axis + 1 :])


@operation("gather_along_axis", effect=Effect.MOVE)
def gather_along_axis(
    x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False
) -> Tensor:
    """Take elements along ``axis``: numpy.take_along_axis."""
    return torch.take_along_dim(x, _from_start(indices, x.shape[axis]), axis)


@operation("gather_nd", effect=Effect.MOVE)
def gather_nd(
    x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """Take slices by coordinates, which lie along the last axis of ``indices``."""
    depth = indices.shape[-1]
    sizes = x.shape[batch_dims : batch_dims + depth]
    index = indices.long()
    coordinates = [_from_start(index[..., k], size) for k, size in enumerate(sizes)]
    batches = []
    for k in range(batch_dims):
        shape = [-1 if axis == k else 1 for axis in range(indices.ndim - 1)]
        batches.append(torch.arange(x.shape[k], device=x.device).reshape(shape))
    return x[tuple(batches + coordinates)]


@operation("select", effect=Effect.MOVE)
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a`` where ``cond`` holds, ``b`` elsewhere, with broadcasting."""
    return torch.where(cond.bool(), a, b)


@operation("argsort", effect=Effect.MOVE)
def argsort(
    x: Tensor, axis: int = -1, ascending: bool = False, output_dtype: str = "int32"
) -> Tensor:
    """Indices that sort ``x`` along ``axis``."""
    return torch.argsort(x, dim=axis, descending=not ascending, stable=True)


@operation("topk", effect=Effect.MOVE)
def topk(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> Tensors:
    """The ``k`` largest (or, ``ascending``, smallest) elements along ``axis``, and where."""
    if k == -1:
        k = x.shape[axis]
    indices = torch.argsort(x, dim=axis, descending=not ascending, stable=True)
    indices = indices.narrow(axis, 0, k)
    values = torch.take_along_dim(x, indices, axis)
    return (values, indices) if return_indices else (values,)


@operation("non_zero", effect=Effect.MOVE)
def non_zero(x: Tensor) -> Tensor:
    """Coordinates [N, rank] of the elements that are not zero."""
    return torch.nonzero(x)


def _from_start(indices: Tensor, size: int) -> Tensor:
    index = indices.long()
    return torch.where(index < 0, index + size, index)
