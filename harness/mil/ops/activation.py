"""Activation functions and softmax.

Source: ``converters/mil/mil/ops/defs/iOS15/activation.py`` of coremltools.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from harness.mil.ops.finite import known_finite
from harness.mil.ops.registry import Effect, Tensor, operation


@operation("relu", effect=Effect.MOVE, reuse=("x",))
def relu(x: Tensor, out: Tensor | None = None) -> Tensor:
    """max(x, 0)."""
    return torch.clamp(x, min=0, out=out)


@operation("relu6", effect=Effect.MOVE, reuse=("x",))
def relu6(x: Tensor, out: Tensor | None = None) -> Tensor:
    """min(max(x, 0), 6)."""
    return torch.clamp(x, 0, 6, out=out)


@operation("leaky_relu")
def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    """``x`` where it is not negative, alpha x elsewhere."""
    return torch.where(x < 0, alpha * x, x)


@operation("clamped_relu")
def clamped_relu(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(beta, x) where x is not negative, min(beta, alpha x) elsewhere."""
    return leaky_relu(x, alpha).clamp(max=beta)


@operation("thresholded_relu")
def thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    """``x`` where it reaches alpha, 0 where it is less; NaN is neither, and stays."""
    return torch.where(x < alpha, torch.zeros_like(x), x)


@operation("prelu")
def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """``x`` where it is positive, alpha x elsewhere; alpha [C] belongs to axis 1."""
    return torch.where(x > 0, x, _channels(alpha, x) * x)


@operation("elu")
def elu(x: Tensor, alpha: float) -> Tensor:
    """``x`` where it is positive, alpha (e^x - 1) elsewhere."""
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


@operation("gelu", reuse=("x",))
def gelu(x: Tensor, mode: str = "EXACT", out: Tensor | None = None) -> Tensor:
    """``x`` times the normal distribution's function, or one of two approximations of it."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    if mode not in _GELU:
        raise ValueError(f"mode {mode!r} is none of {', '.join(_GELU)}, SIGMOID_APPROXIMATION")
    if x.device.type == "cpu" and mode == "EXACT" and not known_finite(x):
        # PyTorch's kernel for CPUs makes NaN of infinity.
        return torch.where(x > _GELU_IS_X, x, functional.gelu(x))
    if out is None:
        return functional.gelu(x, approximate=_GELU[mode])
    return torch.ops.aten.gelu.out(x, approximate=_GELU[mode], out=out)  # type: ignore[no-any-return]


_GELU = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}
_GELU_IS_X = 10.0  # from here on to the last bit, in float64 too


@operation("sigmoid", reuse=("x",))
def sigmoid(x: Tensor, out: Tensor | None = None) -> Tensor:
    """1 / (1 + e^-x)."""
    return torch.sigmoid(x, out=out)


@operation("sigmoid_hard")
def sigmoid_hard(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(max(alpha x + beta, 0), 1)."""
    return (alpha * x + beta).clamp(0, 1)


@operation("silu", reuse=("x",))
def silu(x: Tensor, out: Tensor | None = None) -> Tensor:
    """X sigmoid(x)."""
    if out is None:
        return functional.silu(x)
    return torch.ops.aten.silu.out(x, out=out)  # type: ignore[no-any-return]


@operation("softplus")
def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x)."""
    # torch's softplus switches to the identity above a threshold; this form has no such step.
    return torch.logaddexp(x, torch.zeros_like(x))


@operation("softplus_parametric")
def softplus_parametric(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Alpha log(1 + e^(beta x)); alpha and beta [C] belong to axis 1."""
    return _channels(alpha, x) * softplus(_channels(beta, x) * x)


@operation("softsign")
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return x / (1 + x.abs())


@operation("scaled_tanh")
def scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Alpha tanh(beta x)."""
    return alpha * torch.tanh(beta * x)


@operation("linear_activation")
def linear_activation(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Alpha x + beta."""
    return alpha * x + beta


@operation("softmax")
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x divided by its sum along ``axis``."""
    return torch.softmax(x, axis)


def _channels(vector: Tensor, x: Tensor) -> Tensor:
    return vector.reshape([-1 if axis == 1 else 1 for axis in range(x.ndim)])
