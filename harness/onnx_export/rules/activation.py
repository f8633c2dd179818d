"""Activation functions and softmax."""

from __future__ import annotations

import math

import numpy as np

from harness.errors import UnsupportedOperationError
from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Value
from harness.onnx_export.registry import exports


@exports("relu")
def relu(g: Graph, x: Value) -> str:
    """max(x, 0)."""
    return g("Max", x, x.number(0))  # ``Relu`` has no integers everywhere


@exports("relu6")
def relu6(g: Graph, x: Value) -> str:
    """min(max(x, 0), 6)."""
    return g("Min", g("Max", x, x.number(0)), x.number(6))


@exports("leaky_relu")
def leaky_relu(g: Graph, x: Value, alpha: float) -> str:
    """``x`` where it is not negative, alpha x elsewhere."""
    return g("Where", g("Less", x, x.number(0)), g("Mul", x, x.number(alpha)), x)


@exports("clamped_relu")
def clamped_relu(g: Graph, x: Value, alpha: float, beta: float) -> str:
    """``leaky_relu``, limited to beta."""
    return g("Min", leaky_relu(g, x, alpha), x.number(beta))


@exports("thresholded_relu")
def thresholded_relu(g: Graph, x: Value, alpha: float) -> str:
    """``x`` where it reaches alpha, 0 where it is less."""
    return g("Where", g("Less", x, x.number(alpha)), x.number(0), x)


@exports("prelu")
def prelu(g: Graph, x: Value, alpha: Value) -> str:
    """``x`` where it is positive, alpha x elsewhere; alpha belongs to axis 1."""
    scaled = g("Mul", g("Reshape", alpha, x.along(1)), x)
    return g("Where", g("Greater", x, x.number(0)), x, scaled)


@exports("elu")
def elu(g: Graph, x: Value, alpha: float) -> str:
    """``x`` where it is positive, alpha (e^x - 1) elsewhere."""
    # In FP64, not by ``Elu``: of a small x, e^x - 1 has lost its digits in FP32.
    grown = g("Sub", g("Exp", g.in_type(x, DataType.FLOAT64)), np.asarray(1.0))
    below = g.cast(g("Mul", grown, np.asarray(alpha, np.float64)), x.dtype)
    return g("Where", g("Greater", x, x.number(0)), x, below)


@exports("gelu")
def gelu(g: Graph, x: Value, mode: str) -> str:
    """``x`` times the normal distribution's function, or one of two approximations of it."""
    half, one = x.number(0.5), x.number(1)
    if mode == "SIGMOID_APPROXIMATION":
        return g("Mul", x, g("Sigmoid", g("Mul", x, x.number(1.702))))
    if mode == "EXACT":
        curve = g("Erf", g("Mul", x, x.number(math.sqrt(0.5))))
    elif mode == "TANH_APPROXIMATION":
        cube = g("Mul", g("Mul", x, x), x)
        inner = g("Add", x, g("Mul", cube, x.number(0.044715)))
        curve = g("Tanh", g("Mul", inner, x.number(math.sqrt(2 / math.pi))))
    else:
        raise UnsupportedOperationError(
            f"gelu {x.reader} has the mode {mode!r}; expected EXACT, TANH_APPROXIMATION or "
            "SIGMOID_APPROXIMATION"
        )
    return g("Mul", g("Mul", x, half), g("Add", curve, one))


@exports("sigmoid_hard")
def sigmoid_hard(g: Graph, x: Value, alpha: float, beta: float) -> str:
    """min(max(alpha x + beta, 0), 1)."""
    return g("HardSigmoid", x, alpha=alpha, beta=beta)


@exports("silu")
def silu(g: Graph, x: Value) -> str:
    """X sigmoid(x)."""
    return g("Mul", x, g("Sigmoid", x))


@exports("softplus_parametric")
def softplus_parametric(g: Graph, x: Value, alpha: Value, beta: Value) -> str:
    """Alpha log(1 + e^(beta x)); alpha and beta belong to axis 1."""
    scale, slope = (g("Reshape", v, x.along(1)) for v in (alpha, beta))
    return g("Mul", scale, g("Softplus", g("Mul", slope, x)))


@exports("scaled_tanh")
def scaled_tanh(g: Graph, x: Value, alpha: float, beta: float) -> str:
    """Alpha tanh(beta x)."""
    return g("Mul", g("Tanh", g("Mul", x, x.number(beta))), x.number(alpha))


@exports("linear_activation")
def linear_activation(g: Graph, x: Value, alpha: float, beta: float) -> str:
    """Alpha x + beta."""
    return g("Add", g("Mul", x, x.number(alpha)), x.number(beta))


@exports("softmax")
def softmax(g: Graph, x: Value, axis: int) -> str:
    """e^x divided by its sum along ``axis``."""
    return g("Softmax", x, axis=axis)
