"""Normalisation over channels, axes and neighbourhoods, written out in elementary operators."""

from __future__ import annotations

import math

from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Operand, Value
from harness.onnx_export.registry import exports
from harness.onnx_export.rules.reduction import mean as mean_along


@exports("batch_norm")
def batch_norm(
    g: Graph,
    x: Value,
    mean: Value,
    variance: Value,
    gamma: Value | None,
    beta: Value | None,
    epsilon: float,
) -> str:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, each along axis 1."""
    centred = g("Sub", x, _channels(g, x, mean))
    deviation = g("Sqrt", g("Add", _channels(g, x, variance), x.number(epsilon)))
    y = g("Div", centred, deviation)
    return _affine(g, y, *(v and _channels(g, x, v) for v in (gamma, beta)))


@exports("instance_norm")
def instance_norm(
    g: Graph, x: Value, gamma: Value | None, beta: Value | None, epsilon: float
) -> str:
    """Normalise over everything behind the channels, for each item and channel."""
    y = _normalised(g, x, list(range(2, x.rank)), epsilon)
    return _affine(g, y, *(v and _channels(g, x, v) for v in (gamma, beta)))


@exports("layer_norm")
def layer_norm(
    g: Graph,
    x: Value,
    axes: tuple[int, ...] | None,
    gamma: Value | None,
    beta: Value | None,
    epsilon: float,
) -> str:
    """Normalise over ``axes``; gamma and beta have the shape of these."""
    chosen = sorted(axis % x.rank for axis in (range(x.rank) if axes is None else axes))
    y = _normalised(g, x, chosen, epsilon)
    if chosen == list(range(x.rank - len(chosen), x.rank)):
        return _affine(g, y, gamma, beta)
    shape = [x.sizes[axis] if axis in chosen else 1 for axis in range(x.rank)]
    return _affine(g, y, *(v and g("Reshape", v, shape) for v in (gamma, beta)))


@exports("l2_norm")
def l2_norm(g: Graph, x: Value, epsilon: float) -> str:
    """``x`` divided by sqrt(sum of squares + epsilon) over its last three axes."""
    wide = g.in_type(x, DataType.FLOAT64)
    sums = g.cast(g("ReduceSumSquare", wide, [-3, -2, -1], keepdims=1), x.dtype)
    return g("Div", x, g("Sqrt", g("Add", sums, x.number(epsilon))))


@exports("local_response_norm")
def local_response_norm(g: Graph, x: Value, size: int, alpha: float, beta: float, k: float) -> str:
    """x / (k + alpha / size * sum of squares of neighbouring channels)^beta."""
    # Not ``LRN``: of an even size it takes the other neighbour.
    before = math.ceil((size - 1) / 2)
    pads = [0] * (2 * x.rank)
    pads[1], pads[x.rank + 1] = before, size - 1 - before
    padded = g("Pad", g("Mul", x, x), pads, x.number(0))
    channels = x.sizes[1]
    parts = [g("Slice", padded, [i], [i + channels], [1]) for i in range(size)]
    sums = g("Sum", *parts)
    base = g("Add", g("Mul", sums, x.number(alpha / size)), x.number(k))
    return g("Div", x, g("Pow", base, x.number(beta)))


def _normalised(g: Graph, x: Value, axes: list[int], epsilon: float) -> str:
    centred = g("Sub", x, mean_along(g, x, axes))
    variance = mean_along(g, g("Mul", centred, centred), axes)
    return g("Div", centred, g("Sqrt", g("Add", variance, x.number(epsilon))))


def _channels(g: Graph, x: Value, vector: Value) -> str:
    return g("Reshape", vector, x.along(1))


def _affine(g: Graph, y: str, gamma: Operand, beta: Operand) -> str:
    y = y if gamma is None else g("Mul", y, gamma)
    return y if beta is None else g("Add", y, beta)
