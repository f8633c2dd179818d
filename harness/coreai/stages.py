"""Long means, variances and norms, written so that no sum has many terms.

Core AI's runtime on a CPU adds FP32 numbers one after the other: of a sum of n terms it loses
digits as n grows. PyTorch adds in blocks. HTDemucs takes means over 2.7 million elements, and these
sums are all that FP32 loses there (docs/coreai.md). Here a long mean is the mean of the means of
its rows, and of those again, until none has more than `LONGEST_SUM` terms. In exact arithmetic
nothing changes.

Each function is a decomposition of one operation of ATen, for
``ExportedProgram.run_decompositions``: it takes that operation's arguments and returns what the
operation returns, or NotImplemented where the operation may stay as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

LONGEST_SUM: Final = 1024
"""Terms of one sum. Serial FP32 loses about half the bits of this number, as a random walk."""
_SMALLEST_ROW: Final = 32  # rows of fewer terms make more stages than padding costs

Decomposition = Callable[..., Any]
_aten = torch.ops.aten


def mean(x: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """``aten.mean.dim`` over many elements."""
    axes = _axes(x, dim)
    count = math.prod(x.shape[axis] for axis in axes)
    if count <= LONGEST_SUM or not x.is_floating_point():
        return NotImplemented
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    flat = x.permute(*kept, *axes).reshape(*(x.shape[axis] for axis in kept), count)
    if flat.dtype is torch.float16:  # a mean of rounded means would be rounded at every stage
        flat = flat.float()
    row, padding = _row(count), 0
    if row < _SMALLEST_ROW:
        row, padding = LONGEST_SUM, -count % LONGEST_SUM
        flat = torch.nn.functional.pad(flat, (0, padding))
    rows = flat.reshape(*flat.shape[:-1], (count + padding) // row, row)
    result = rows.mean(-1).mean(-1)  # decomposed again if there are many rows
    if padding:
        result = result * ((count + padding) / count)
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    result = result.reshape(shape) if keepdim else result
    return result.to(dtype or x.dtype)


def total(x: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """``aten.sum.dim_IntList`` over many elements."""
    count = math.prod(x.shape[axis] for axis in _axes(x, dim))
    if count <= LONGEST_SUM or not x.is_floating_point():
        return NotImplemented
    wide = x.float() if x.dtype is torch.float16 else x
    return (wide.mean(_axes(x, dim), keepdim) * count).to(dtype or x.dtype)


def variance(
    x: Tensor, dim: Sequence[int] | None, *, correction: float | None = 1, keepdim: bool = False
) -> Tensor:
    """``aten.var.correction``, which Core AI's converter doesn't know, of any length."""
    axes = _axes(x, dim)
    count = math.prod(x.shape[axis] for axis in axes)
    wide = x.float() if x.dtype is torch.float16 else x
    centred = wide - wide.mean(axes, True)
    freedom = count - (1 if correction is None else correction)
    return ((centred * centred).mean(axes, keepdim) * (count / freedom)).to(x.dtype)


def group_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    batch: int,
    channels: int,
    positions: int,
    groups: int,
    eps: float,
) -> Any:
    """``aten.native_group_norm`` of large groups."""
    size = channels // groups * positions
    if size <= LONGEST_SUM:
        return NotImplemented
    normed, centre, scale = _normed(x.reshape(batch, groups, size), [-1], eps)
    result = normed.reshape(x.shape).to(x.dtype)
    affine = [1, channels] + [1] * (x.ndim - 2)
    if weight is not None:
        result = result * weight.reshape(affine)
    if bias is not None:
        result = result + bias.reshape(affine)
    return result, centre.reshape(batch, groups), scale.reshape(batch, groups)


def layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Any:
    """``aten.native_layer_norm`` over many elements."""
    if math.prod(shape) <= LONGEST_SUM:
        return NotImplemented
    normed, centre, scale = _normed(x, list(range(-len(shape), 0)), eps)
    result = normed.to(x.dtype)
    if weight is not None:
        result = result * weight
    if bias is not None:
        result = result + bias
    return result, centre, scale


NEEDED: Final[Mapping[Any, Decomposition]] = {_aten.var.correction: variance}
"""Operations that the converter lacks, each over others that it has."""

IN_STAGES: Final[Mapping[Any, Decomposition]] = {
    _aten.mean.dim: mean,
    _aten.mean.default: lambda x, **options: mean(x, None, **options),
    _aten.sum.dim_IntList: total,
    _aten.sum.default: lambda x, **options: total(x, None, **options),
    _aten.native_group_norm.default: group_norm,
    _aten.native_layer_norm.default: layer_norm,
}
"""Operations with long sums, written in stages."""


def _normed(x: Tensor, axes: list[int], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``x`` with mean 0 and variance 1 over ``axes``, the mean, and the factor."""
    wide = x.float() if x.dtype is torch.float16 else x
    centre = wide.mean(axes, True)
    centred = wide - centre
    scale = torch.rsqrt((centred * centred).mean(axes, True) + eps)
    return centred * scale, centre, scale


def _axes(x: Tensor, dim: Sequence[int] | None) -> list[int]:
    """Return the axes that a reduction is over, none given being all."""
    return sorted({axis % x.ndim for axis in dim}) if dim else list(range(x.ndim))


def _row(count: int) -> int:
    """Return the largest divisor of ``count`` that is no longer than a sum may be."""
    return next(row for row in range(LONGEST_SUM, 0, -1) if count % row == 0)
