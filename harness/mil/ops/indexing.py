"""Gathering, selecting and sorting.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS16,iOS17}/scatter_gather.py`` and
``{iOS15,iOS16,iOS17}/tensor_operation.py``, ``iOS15/control_flow.py`` (``select``) of coremltools.
Of equal elements the first comes first.
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
    validate_indices: bool | None = None,
) -> Tensor:
    """Take the slices ``indices`` along ``axis``; the first ``batch_dims`` axes are paired."""
    axis = axis % x.ndim
    index = from_start(indices, x.shape[axis], validate_indices)
    if batch_dims == 0:
        taken = x.index_select(axis, index.reshape(-1))
        return taken.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))
    batch, inner = x.shape[:batch_dims], index.shape[batch_dims:]
    rows = x.reshape(-1, *x.shape[batch_dims:])
    picks = index.reshape(rows.shape[0], -1)
    taken = torch.stack(
        [row.index_select(axis - batch_dims, pick) for row, pick in zip(rows, picks, strict=True)]
    )
    return taken.reshape(*batch, *x.shape[batch_dims:axis], *inner, *x.shape[axis + 1 :])


@operation("gather_along_axis", effect=Effect.MOVE)
def gather_along_axis(
    x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool | None = None
) -> Tensor:
    """Take elements along ``axis``: numpy.take_along_axis."""
    return torch.take_along_dim(x, from_start(indices, x.shape[axis], validate_indices), axis)


@operation("gather_nd", effect=Effect.MOVE)
def gather_nd(
    x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool | None = None
) -> Tensor:
    """Take slices by coordinates, which lie along the last axis of ``indices``."""
    depth = indices.shape[-1]
    sizes = x.shape[batch_dims : batch_dims + depth]
    index = indices.long()
    coordinates = [
        from_start(index[..., k], size, validate_indices) for k, size in enumerate(sizes)
    ]
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
    return _sorting(x, axis, ascending)


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
    indices = _sorting(x, axis, ascending).narrow(axis, 0, k)
    values = torch.take_along_dim(x, indices, axis)
    return (values, indices) if return_indices else (values,)


def _sorting(x: Tensor, axis: int, ascending: bool) -> Tensor:
    """Return the indices that sort ``x``; NaN comes last in either order, as in NumPy."""
    if not ascending:
        # PyTorch's descending order would put NaN first. Of integers ~x has no overflow.
        x = -x if x.is_floating_point() else ~x
    return torch.argsort(x, dim=axis, stable=True)


@operation("non_zero", effect=Effect.MOVE)
def non_zero(x: Tensor) -> Tensor:
    """Coordinates [N, rank] of the elements that are not zero."""
    return torch.nonzero(x)


def from_start(indices: Tensor, size: int, validate_indices: bool | None) -> Tensor:
    """Return indices into an axis of ``size`` elements, counted from its start.

    Before iOS 17 negative indices count from the end. iOS 17 brings ``validate_indices``, and with
    it, true or false, they are out of range. What a device then does is undefined, unless it
    validates; here it is an error either way.

    Raises:
        IndexError: an index is out of range.
    """
    index = indices.long()
    lowest = -size if validate_indices is None else 0
    if index.numel() and not bool(((index >= lowest) & (index < size)).all()):
        raise IndexError(
            f"index {int(index.min())} or {int(index.max())} is out of range "
            f"for {size} elements (allowed: {lowest} to {size - 1})"
        )
    return torch.where(index < 0, index + size, index)
