"""The grid of FP16 numbers, and how values get onto it.

Everything here is correct from float64: NumPy converts it to float16 in one rounding, while PyTorch
goes by float32, which rounds twice. Tensors are float32 at most, so there PyTorch's is right.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from harness.devices.reference import FloatArray

LARGEST: Final = 65504.0
"""The largest finite FP16 number."""
SMALLEST_NORMAL: Final = 2.0**-14
"""The smallest normal FP16 number."""
OVERFLOW: Final = 65520.0
"""The magnitude from which on rounding to FP16 gives infinity: no ceiling below FP16's own."""


def every_number() -> FloatArray:
    """Return all 65,536 FP16 values, NaN and infinities included, in the order of their bits."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)


def nearest_even(x: FloatArray) -> FloatArray:
    """Return ``x`` rounded to FP16, ties to even; 65,520 and more become infinite."""
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float64)


def nearest_away(x: FloatArray) -> FloatArray:
    """Return ``x`` rounded to FP16, ties away from zero; 65,520 and more become infinite."""
    with np.errstate(invalid="ignore"):
        _, exponent = np.frexp(np.where(np.isfinite(x), x, 0.0))
        quantum = np.exp2(np.maximum(exponent, -13) - 11.0)  # 2^-24 among the subnormals
        rounded = np.copysign(np.floor(np.abs(x) / quantum + 0.5) * quantum, x)
    return np.where(np.abs(rounded) > LARGEST, np.copysign(np.inf, x), rounded)


def rounded(tensor: Tensor) -> Tensor:
    """Return a float32 tensor rounded to the FP16 grid, ties to even, still as float32."""
    return tensor.half().float()


def flushed(tensor: Tensor) -> Tensor:
    """Return ``tensor`` with every magnitude below 2^-14 replaced by a zero of the same sign."""
    return torch.where(tensor.abs() < SMALLEST_NORMAL, tensor * 0.0, tensor)


def limited(tensor: Tensor, ceiling: float) -> Tensor:
    """Return ``tensor`` with every magnitude of ``ceiling`` and more replaced by an infinity."""
    if ceiling >= OVERFLOW:
        return tensor
    return torch.where(tensor.abs() >= ceiling, tensor * torch.inf, tensor)
