"""Average, maximum and L2 pooling.

Padding is written as a ``Pad`` of its own: what ``ceil_mode`` adds at the end is no padding in MIL,
and runtimes differ in whether it is one.
"""

from __future__ import annotations

import math

import numpy as np

from harness.mil.ops.pooling import window_padding
from harness.onnx_export.build import Graph, Ints, Operand, Value
from harness.onnx_export.registry import exports

_Padding = list[tuple[int, int]]


@exports("max_pool")
def max_pool(
    g: Graph,
    x: Value,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None,
    pad: Ints | None,
    ceil_mode: bool,
) -> str:
    """The largest element of each window; padding never wins."""
    steps = strides or (1,) * len(kernel_sizes)
    padding = window_padding(x.sizes[2:], kernel_sizes, pad_type, steps, pad, ceil_mode)
    padded = _padded(g, x, padding, -math.inf)
    return g("MaxPool", padded, kernel_shape=list(kernel_sizes), strides=list(steps))


@exports("avg_pool")
def avg_pool(
    g: Graph,
    x: Value,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None,
    pad: Ints | None,
    exclude_padding_from_average: bool,
    ceil_mode: bool,
) -> str:
    """The mean of each window; padding counts unless it is excluded."""
    steps = strides or (1,) * len(kernel_sizes)
    counted, padding = (
        window_padding(x.sizes[2:], kernel_sizes, pad_type, steps, pad, beyond)
        for beyond in (False, ceil_mode)
    )
    padded = _padded(g, x, padding, 0.0)
    means = g("AveragePool", padded, kernel_shape=list(kernel_sizes), strides=list(steps))
    if exclude_padding_from_average:
        counted = [(0, 0)] * len(counted)
    if counted == padding:
        return means
    shares = _shares(x.sizes[2:], kernel_sizes, steps, counted, padding)
    return g("Div", means, shares.astype(x.dtype.numpy)[np.newaxis, np.newaxis])


@exports("l2_pool")
def l2_pool(
    g: Graph,
    x: Value,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None,
    pad: Ints | None,
    ceil_mode: bool,
) -> str:
    """The root of the sum of squares of each window."""
    steps = strides or (1,) * len(kernel_sizes)
    padding = window_padding(x.sizes[2:], kernel_sizes, pad_type, steps, pad, ceil_mode)
    padded = _padded(g, x, padding, 0.0)
    return g("LpPool", padded, p=2, kernel_shape=list(kernel_sizes), strides=list(steps))


def _padded(g: Graph, x: Value, padding: _Padding, value: float) -> Operand:
    if not any(map(any, padding)):
        return x
    befores, afters = zip(*padding, strict=True)
    return g("Pad", x, [0, 0, *befores, 0, 0, *afters], x.number(value))


def _shares(
    sizes: Ints, kernel: Ints, strides: Ints, counted: _Padding, padding: _Padding
) -> np.ndarray:
    """Return what part of each window counts: a product of one factor for each axis."""
    shares = np.ones(())
    for size, length, stride, (first, last), (before, after) in zip(
        sizes, kernel, strides, counted, padding, strict=True
    ):
        counts = np.zeros(before + size + after)
        counts[before - first : before + size + last] = 1
        windows = np.lib.stride_tricks.sliding_window_view(counts, length)[::stride]
        shares = np.multiply.outer(shares, windows.mean(-1))
    return shares
