"""Reductions along axes.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS17}/reduction.py`` of coremltools. No ``axes``
means all. ``reduce_argmax`` and ``reduce_argmin`` return the first of equal elements.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from harness.mil.ops.registry import Effect, Ints, Tensor, operation


def _axes(x: Tensor, axes: Ints | None) -> list[int]:
    return [axis % x.ndim for axis in (range(x.ndim) if axes is None else axes)]


def _reduction(compute: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Tensor]:
    def function(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
        return compute(x, _axes(x, axes), keep_dims)

    return function


def _wide(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.double()


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


for _type, _compute in {
    "reduce_mean": lambda x, axes, keep: _wide(x).mean(axes, keep),
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keep),
    "reduce_prod": _prod,
    "reduce_log_sum_exp": lambda x, axes, keep: _wide(x).logsumexp(axes, keep),
    "reduce_l2_norm": lambda x, axes, keep: _wide(x).square().sum(axes, keep).sqrt(),
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keep),
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keep),
    "reduce_log_sum": lambda x, axes, keep: x.sum(axes, keep).log(),
}.items():
    operation(_type)(_reduction(_compute))

for _type, _compute in {
    "reduce_max": lambda x, axes, keep: x.amax(axes, keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keep),
}.items():
    operation(_type, effect=Effect.MOVE)(_reduction(_compute))


def _first_index(extreme: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def function(
        x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32"
    ) -> Tensor:
        # argmax of a truth value: torch does not promise which of several equal elements it names.
        length = x.shape[axis]
        shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
        positions = torch.arange(length, device=x.device).reshape(shape)
        found = (x == extreme(x, axis, keepdim=True)) | (x != x)  # NaN is extreme, as in NumPy
        return torch.where(found, positions, length).amin(axis, keepdim=keep_dims)

    return function


for _type, _extreme in {"reduce_argmax": torch.amax, "reduce_argmin": torch.amin}.items():
    operation(_type, effect=Effect.MOVE)(_first_index(_extreme))
