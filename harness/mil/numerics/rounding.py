"""Rounding to FP16 and flushing of FP16 subnormals, on tensors of any layout and device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import torch

# Where FP16 ends: IEEE 754 binary16, 5 bits of exponent and 10 of significand.
FP16_MAX: Final = 65504.0
"""The largest finite number."""
FP16_TO_INFINITY: Final = 65520.0
"""The least magnitude that is rounded to infinity: halfway to what would be the next number."""
FP16_SMALLEST_NORMAL: Final = 2.0**-14
"""Below it the significand loses bits, and some units take what is there for zero."""
FP16_SMALLEST_SUBNORMAL: Final = 2.0**-24
"""The least number but zero, and the step between all numbers below the smallest normal one."""
FP16_TO_ZERO: Final = FP16_SMALLEST_SUBNORMAL / 2
"""The greatest magnitude that is rounded to zero: a tie, and zero is even."""

Rounding: TypeAlias = Callable[[torch.Tensor, bool], torch.Tensor]

# On a CPU a megabyte of float16 stays in the second-level cache between the two copies; smaller
# chunks cost more in waking threads than they save. Elsewhere each copy is a launch: one chunk.
_CHUNK = {"cpu": 1 << 19}


def round_to_float16(tensor: torch.Tensor, writable: bool) -> torch.Tensor:
    """Return float32 ``tensor`` rounded to the FP16 grid, nearest even, still as float32.

    Magnitudes of 65,520 and more become infinite, subnormals are kept. The gradient passes
    unchanged (straight through), because the rounding itself has none.
    """
    if tensor.requires_grad:
        rounded: torch.Tensor = _StraightThrough.apply(tensor, _through_half)  # type: ignore[no-untyped-call]
        return rounded
    if not writable:
        return _through_half(tensor)
    size = _CHUNK.get(tensor.device.type, tensor.numel())
    flat = None if tensor.numel() <= size else _flat(tensor)
    if flat is None:
        return tensor.copy_(tensor.half())
    buffer = torch.empty(size, dtype=torch.float16, device=tensor.device)
    for chunk in flat.split(size):
        half = buffer[: chunk.numel()]
        half.copy_(chunk)
        chunk.copy_(half)
    return tensor


def truncated(tensor: torch.Tensor) -> torch.Tensor:
    """Return floating-point numbers without their fractions, as int64.

    NaN, and what no int64 holds, becomes 0: what a processor makes of these differs (x86 gives the
    least integer, ARM 0 and the limits), and so would what narrower types make of that.
    """
    held = tensor.abs() < 2.0**63
    return torch.where(held, tensor, 0).long()


def _flat(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the memory of a dense tensor as one dimension; ``None`` if it has gaps or overlaps."""
    if tensor.is_contiguous():
        return tensor.view(-1)
    expected = 1
    for size, stride in sorted(
        zip(tensor.shape, tensor.stride(), strict=True), key=lambda pair: pair[1]
    ):
        if size == 1:
            continue
        if stride != expected:
            return None
        expected *= size
    return tensor.as_strided((tensor.numel(),), (1,))


def flush_subnormals(tensor: torch.Tensor, writable: bool) -> torch.Tensor:
    """Return ``tensor`` with every magnitude below 2^-14 replaced by a zero of the same sign.

    On the FP16 grid these are the subnormals and nothing else; NaN stays NaN. The gradient passes
    unchanged.
    """
    if tensor.requires_grad:
        flushed: torch.Tensor = _StraightThrough.apply(tensor, _flush)  # type: ignore[no-untyped-call]
        return flushed
    return _flush(tensor, out=tensor) if writable else _flush(tensor)


def _flush(tensor: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    # Times one or zero: keeps the sign of what it flushes, and NaN.
    return torch.mul(tensor, tensor.abs().ge(FP16_SMALLEST_NORMAL), out=out)


def _through_half(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half().float()


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, tensor: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        return function(tensor)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None
