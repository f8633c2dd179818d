"""Average, maximum and L2 pooling in one, two and three dimensions.

Source: ``converters/mil/mil/ops/defs/iOS15/pool.py`` of coremltools. Output sizes follow
``spatial_dimensions_out_shape`` there; with ``ceil_mode`` a window may begin in the data or the
padding before it, but not after.
"""

from __future__ import annotations

import math

import torch

from harness.mil.ops.convolution import pad_spatial, spatial_padding
from harness.mil.ops.registry import Effect, Ints, Tensor, operation


@operation("max_pool", effect=Effect.MOVE)
def max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window; padding never wins."""
    padding, strides = _geometry(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    return _windows(pad_spatial(x, padding, -math.inf), kernel_sizes, strides).amax(-1)


@operation("avg_pool")
def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """The mean of each window; padding counts unless it is excluded.

    What ``ceil_mode`` adds at the end is no padding and never counts.
    """
    counted = _geometry(x, kernel_sizes, pad_type, strides, pad, False)[0]
    padding, strides = _geometry(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    ones = torch.ones_like(x[:1, :1])
    if not exclude_padding_from_average:
        ones = pad_spatial(ones, counted, 1.0)
        rest = [(0, p[1] - c[1]) for p, c in zip(padding, counted, strict=True)]
    else:
        rest = padding
    counts = _windows(pad_spatial(ones, rest), kernel_sizes, strides).sum(-1)
    return _windows(pad_spatial(x, padding), kernel_sizes, strides).sum(-1) / counts


@operation("l2_pool")
def l2_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The root of the sum of squares of each window."""
    padding, strides = _geometry(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    return _windows(pad_spatial(x.square(), padding), kernel_sizes, strides).sum(-1).sqrt()


def _geometry(
    x: Tensor,
    kernel: Ints,
    pad_type: str,
    strides: Ints | None,
    pad: Ints | None,
    ceil_mode: bool,
) -> tuple[list[tuple[int, int]], Ints]:
    strides = strides or (1,) * len(kernel)
    return window_padding(tuple(x.shape[2:]), kernel, pad_type, strides, pad, ceil_mode), strides


def window_padding(
    sizes: Ints, kernel: Ints, pad_type: str, strides: Ints, pad: Ints | None, ceil_mode: bool
) -> list[tuple[int, int]]:
    """Return the padding of `spatial_padding`; for ``ceil_mode`` with what the last window lacks.

    Args:
        sizes: of the spatial dimensions of the input.
        kernel: sizes of a window.
        pad_type: as of `spatial_padding`.
        strides: of each spatial dimension.
        pad: as of `spatial_padding`.
        ceil_mode: whether a last window may reach beyond data and padding.
    """
    padding = spatial_padding(pad_type, pad, sizes, kernel, strides)
    if not ceil_mode:
        return padding
    extended = []
    for (before, after), size, length, stride in zip(padding, sizes, kernel, strides, strict=True):
        steps = math.ceil((size + before + after - length) / stride)
        if steps * stride >= size + before and before + after > 0:
            steps -= 1  # that window would begin behind the data
        lacking = max(0, steps * stride + length - (size + before + after))
        extended.append((before, after + lacking))
    return extended


def _windows(x: Tensor, kernel: Ints, strides: Ints) -> Tensor:
    """Return all windows, the elements of each along one new last axis."""
    for axis, (length, stride) in enumerate(zip(kernel, strides, strict=True), start=2):
        x = x.unfold(axis, length, stride)
    return x.flatten(-len(kernel))
