"""PyTorch's kernels that sum, replaced by ones with FP16 accumulators.

Operations are not rewritten for FP16 accumulation. While one runs inside `HalfAccumulation`, each
ATen kernel that it reaches is looked up here: those that sum are replaced, those that are known to
have no sum inside run as they are, any other is refused. The replacement happens below automatic
differentiation, so gradients are those of the wide kernels.

Interpolations and scatters add a handful of terms and stay wide.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from harness.errors import ExecutionError
from harness.mil.numerics.accumulation import (
    half_convolution,
    half_product,
    half_running_sum,
    half_sum,
    half_transposed_convolution,
)
from harness.mil.ops.products import plain_products


class HalfAccumulation(contextlib.ExitStack):
    """A context in which PyTorch's sums of floating-point numbers keep an FP16 accumulator.

    Raises, at the call of a kernel that is neither replaced nor known to have no sum inside:
        ExecutionError: names the kernel.
    """

    def __enter__(self) -> HalfAccumulation:
        # Only the plain kernel is made of products and a softmax that can be replaced.
        self.enter_context(sdpa_kernel(SDPBackend.MATH))
        self.enter_context(plain_products())
        self.enter_context(_Mode())  # type: ignore[no-untyped-call]
        return self


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        packet, keywords = function.overloadpacket, dict(kwargs or {})
        floating = any(isinstance(a, Tensor) and a.is_floating_point() for a in args)
        if not floating or _has_no_sum(function):
            return function(*args, **keywords)
        if packet not in _REPLACED:
            raise ExecutionError(
                f"numerics fp16_accumulate does not know whether {function} sums; add it to "
                "harness/mil/numerics/kernels.py"
            )
        out = keywords.pop("out", None)
        result = _REPLACED[packet](*args, **keywords)
        return result if out is None else out.copy_(result)


def _has_no_sum(function: Any) -> bool:
    packet = function.overloadpacket
    if function.is_view or packet in _NO_SUM:
        return True
    # Variants with ``out`` are not always labelled themselves.
    return any(torch.Tag.pointwise in getattr(packet, o).tags for o in packet.overloads())


def _mm(a: Tensor, b: Tensor) -> Tensor:
    return half_product(a[None], b[None])[0]


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return beta * bias + alpha * _mm(a, b)


def _baddbmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return beta * bias + alpha * half_product(a, b)


def _mean(x: Tensor, axes: Sequence[int] | None = None, keepdim: bool = False, **_: Any) -> Tensor:
    total = half_sum(x, axes, keepdim)
    return total / _terms(x, axes)


def _terms(x: Tensor, axes: Sequence[int] | None) -> int:
    """Return how many elements each sum over ``axes`` has."""
    return math.prod(x.shape[axis] for axis in axes) if axes else x.numel()


def _var_mean(
    x: Tensor,
    axes: Sequence[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> tuple[Tensor, Tensor]:
    mean = _mean(x, axes, True)
    count = _terms(x, axes)
    squares = half_sum((x - mean).square(), axes, keepdim)
    divisor = count - (1 if correction is None else correction)
    return squares / divisor, mean.reshape(squares.shape)


def _softmax(x: Tensor, axis: int, *_: Any) -> Tensor:
    exponentials = torch.exp(x - x.amax(axis, keepdim=True))
    return exponentials / half_sum(exponentials, [axis], True)


def _log_softmax(x: Tensor, axis: int, *_: Any) -> Tensor:
    return x - _log_sum_exp(x, [axis], True)


def _log_sum_exp(x: Tensor, axes: Sequence[int], keepdim: bool = False) -> Tensor:
    largest = x.amax(tuple(axes), keepdim=True)
    offset = torch.where(largest.isinf(), 0, largest)  # inf - inf is NaN
    total = half_sum(torch.exp(x - offset), axes, True).log() + offset
    return total if keepdim else total.squeeze(tuple(axes))


def _layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(x.ndim - len(shape), x.ndim))
    variance, mean = _var_mean(x, axes, correction=0, keepdim=True)
    rstd = torch.rsqrt(variance + epsilon)
    y = (x - mean) * rstd
    y = y if weight is None else y * weight
    return y if bias is None else y + bias, mean, rstd


def _norm(
    x: Tensor, order: float = 2, axes: Sequence[int] | None = None, keepdim: bool = False, **_: Any
) -> Tensor:
    return half_sum(x.abs() ** order, axes, keepdim) ** (1 / order)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    if transposed:
        y = half_transposed_convolution(
            x, weight, strides, padding, dilations, output_padding, groups
        )
    else:
        y = half_convolution(x, weight, strides, padding, dilations, groups)
    return y if bias is None else y + bias.reshape([-1] + [1] * (x.ndim - 2))


_aten = torch.ops.aten

_REPLACED: dict[Any, Callable[..., Any]] = {
    _aten.mm: _mm,
    _aten.addmm: _addmm,
    _aten.bmm: half_product,
    _aten.baddbmm: _baddbmm,
    _aten.mv: lambda a, b: _mm(a, b[:, None])[:, 0],
    _aten.dot: lambda a, b: _mm(a[None], b[:, None])[0, 0],
    _aten.sum: lambda x, axes=None, keepdim=False, **_: half_sum(x, axes, keepdim),
    _aten.mean: _mean,
    _aten.var_mean: _var_mean,
    _aten.var: lambda *arguments, **keywords: _var_mean(*arguments, **keywords)[0],
    _aten.cumsum: half_running_sum,
    _aten.linalg_vector_norm: _norm,
    _aten.logsumexp: _log_sum_exp,
    _aten._softmax: _softmax,
    _aten._safe_softmax: _softmax,
    _aten._log_softmax: _log_softmax,
    _aten.native_layer_norm: _layer_norm,
    _aten.convolution: _convolution,
}

# Neither views nor labelled as elementwise, and without a sum: they make, move, compare and order.
_NO_SUM = {
    getattr(_aten, name)
    for name in (
        "floor_divide", "_to_copy", "clone", "copy_", "_unsafe_view", "resize_", "contiguous",
        "empty_like", "zeros_like", "ones_like", "full_like", "new_empty", "new_zeros", "new_ones",
        "new_full", "scalar_tensor", "_local_scalar_dense", "item", "cat", "stack",
        "constant_pad_nd", "repeat", "flip", "roll", "tril", "triu", "pixel_shuffle",
        "pixel_unshuffle", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
        "replication_pad1d", "replication_pad2d", "replication_pad3d", "index", "index_select",
        "index_put", "index_put_", "_index_put_impl_", "gather", "take", "scatter", "scatter_",
        "scatter_add", "scatter_add_", "scatter_reduce", "scatter_reduce_", "index_add",
        "index_add_", "select_scatter", "slice_scatter", "masked_fill", "masked_fill_",
        "masked_scatter", "nonzero", "bucketize", "searchsorted", "amax", "amin", "max", "min",
        "argmax", "argmin", "aminmax", "any", "all", "sort", "argsort", "topk", "cummax", "cummin",
        "prod", "cumprod", "equal", "max_pool2d_with_indices", "max_pool3d_with_indices",
        "native_batch_norm", "_native_batch_norm_legit_no_training", "upsample_nearest1d",
        "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d",
        "upsample_bicubic2d", "upsample_trilinear3d", "grid_sampler_2d", "grid_sampler_3d"
    )
}  # fmt: skip
