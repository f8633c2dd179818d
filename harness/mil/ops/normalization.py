"""Normalisation over channels, axes and neighbourhoods.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS17}/normalization.py`` of coremltools. Variances
are biased, ``epsilon`` is added inside the root.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from harness.mil.ops.registry import Ints, Tensor, operation


@operation("batch_norm")
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, each [C] along axis 1."""
    # Not PyTorch's: it makes scale x + (beta - scale mean) of it, which cancels where the mean is
    # large beside the deviation.
    scale = torch.rsqrt(variance + epsilon)
    scale = scale if gamma is None else scale * gamma
    shape = [-1] + [1] * (x.ndim - 2)
    centred, scale = x - mean.reshape(shape), scale.reshape(shape)
    return centred * scale if beta is None else torch.addcmul(beta.reshape(shape), centred, scale)


@operation("instance_norm")
def instance_norm(
    x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    """Normalise ``x`` [N, C, *D] over D for each item and channel."""
    shape = [-1] + [1] * (x.ndim - 2)
    return _normalised(x, list(range(2, x.ndim)), shape, gamma, beta, epsilon)


@operation("layer_norm")
def layer_norm(
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Normalise ``x`` over ``axes`` (all by default); gamma and beta have the shape of these."""
    chosen = sorted(axis % x.ndim for axis in (range(x.ndim) if axes is None else axes))
    sizes = [x.shape[axis] for axis in chosen]
    if chosen == list(range(x.ndim - len(chosen), x.ndim)):
        return functional.layer_norm(x, sizes, gamma, beta, epsilon)
    shape = [x.shape[axis] if axis in chosen else 1 for axis in range(x.ndim)]
    return _normalised(x, chosen, shape, gamma, beta, epsilon)


def _normalised(
    x: Tensor,
    axes: list[int],
    shape: list[int],
    gamma: Tensor | None,
    beta: Tensor | None,
    epsilon: float,
) -> Tensor:
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    y = (x - mean) / torch.sqrt(variance + epsilon)
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


@operation("l2_norm")
def l2_norm(x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """``x`` divided by sqrt(sum of squares + epsilon) over its last three axes."""
    squares = x.square().sum(dim=(-3, -2, -1), keepdim=True)
    return x / torch.sqrt(squares + epsilon)


@operation("local_response_norm")
def local_response_norm(
    x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha / size * sum of squares of ``size`` neighbouring channels)^beta."""
    before = math.ceil((size - 1) / 2)
    squares = x.square().flatten(2).transpose(1, 2)
    padded = functional.pad(squares, (before, size - 1 - before))
    sums = padded.unfold(2, size, 1).sum(-1).transpose(1, 2).reshape(x.shape)
    return x / (k + alpha / size * sums) ** beta
