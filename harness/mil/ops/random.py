"""Random tensors.

Source: ``converters/mil/mil/ops/defs/iOS15/random.py`` of coremltools. The definitions fix the
distributions and that a ``seed`` makes results repeat; they leave open the generator and what a
second prediction draws. Here an operation with a seed draws the same values in every prediction, on
every device and in every numerics, but not those of Core ML: they can be compared in distribution
only. Without a seed (-1) values come from PyTorch's default generator (``torch.manual_seed``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from harness.mil.ops.registry import Context, Effect, Ints, Tensor, operation


def _draw(fill: Callable[..., Tensor], shape: Ints, seed: int, device: torch.device) -> Tensor:
    # Wide and on the CPU, so that numerics and device change nothing but the rounding.
    generator = None if seed == -1 else torch.Generator().manual_seed(seed)
    return fill(shape, dtype=torch.float64, generator=generator).to(device)


@operation("random_uniform")
def random_uniform(
    context: Context, shape: Ints, low: float = 0.0, high: float = 1.0, seed: int = -1
) -> Tensor:
    """Uniform over [low, high)."""
    y = low + (high - low) * _draw(torch.rand, shape, seed, context.device)
    # Rounding to the declared type would reach the open end.
    number = context.dtypes[0].numpy.type
    return y.clamp(max=float(np.nextafter(number(high), number(low)))) if high > low else y


@operation("random_normal")
def random_normal(
    context: Context, shape: Ints, mean: float = 0.0, stddev: float = 1.0, seed: int = -1
) -> Tensor:
    """Normal with mean ``mean`` and standard deviation ``stddev``."""
    return mean + stddev * _draw(torch.randn, shape, seed, context.device)


@operation("random_bernoulli", effect=Effect.MOVE)
def random_bernoulli(context: Context, shape: Ints, prob: float = 0.5, seed: int = -1) -> Tensor:
    """1 with probability ``prob``, 0 otherwise."""
    return (_draw(torch.rand, shape, seed, context.device) < prob).to(context.carrier)


@operation("random_categorical", effect=Effect.MOVE)
def random_categorical(x: Tensor, mode: str = "logits", size: int = 1, seed: int = -1) -> Tensor:
    """``size`` indices for each distribution along the last axis of ``x``.

    ``mode`` says what ``x`` holds: ``logits`` (logarithms, up to a constant) or ``probs``.
    """
    if mode not in ("logits", "probs"):
        raise ValueError(f"mode {mode!r} is none of logits, probs")
    weights = torch.softmax(x.double(), -1) if mode == "logits" else x.double()
    steps = weights.cumsum(-1)
    # The index of a number in the running sum: one draw for each sample, however many classes.
    draws = _draw(torch.rand, (*x.shape[:-1], size), seed, x.device) * steps[..., -1:]
    return torch.searchsorted(steps, draws, right=True).clamp(max=x.shape[-1] - 1).to(x.dtype)
