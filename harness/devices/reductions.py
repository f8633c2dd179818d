"""Sums and means with wide and with narrow accumulators; FP16 values in, float32 out, unrounded.

``wide`` is float64 here, on the device "like FP32": what is left of the difference is far below
FP16's rounding. ``narrow`` is an FP16 accumulator that takes one element after the other, one axis
after the other from the last to the first, which is the order of memory. Its cost grows with the
sum of the axes' lengths, not with their product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def total(x: Tensor, axes: Sequence[int], accumulator: str) -> Tensor:
    """Return the sum of ``x`` over ``axes``, which are kept with length 1, in float32."""
    if accumulator == "wide":
        return x.double().sum(list(axes), keepdim=True).float()
    for axis in sorted({axis % x.ndim for axis in axes}, reverse=True):
        running = torch.zeros_like(x.narrow(axis, 0, 1), dtype=torch.float16)
        for part in x.split(1, axis):
            running.add_(part)  # in float32, the wider of the two, then rounded
        x = running.float()
    return x


def mean(x: Tensor, axes: Sequence[int], accumulator: str, way: str) -> Tensor:
    """Return the mean of ``x`` over ``axes``, which are kept with length 1, in float32.

    Args:
        x: values of the FP16 grid.
        axes: over which.
        accumulator: ``wide`` or ``narrow``.
        way: ``product_with_reciprocal``, with the reciprocal in FP32, or ``division``.
    """
    elements = math.prod(x.shape[axis] for axis in {axis % x.ndim for axis in axes})
    sums = total(x, axes, accumulator)
    if way == "division":
        return sums / elements
    reciprocal = torch.tensor(1 / elements if elements else torch.nan, dtype=torch.float32)
    return sums * reciprocal.to(sums.device)
