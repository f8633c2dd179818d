"""Statistics of the elements of one value: what FP16 would make of them, what integers lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from harness.mil.numerics.rounding import SMALLEST_NORMAL
from harness.mil.program import Operation
from harness.mil.types import DataType

FP16_MAX: Final = 65504.0
_TO_INFINITY: Final = 65520.0  # halfway to what would be FP16's next number
_TO_ZERO: Final = 2.0**-25  # half the smallest subnormal; itself rounded to even, which is zero
_CHUNK: Final = 1 << 18  # elements: what is read several times stays in the cache


@dataclass(frozen=True)
class ValueStatistics:
    """What one value of a program was like, in one run or in several.

    Attributes:
        name: of the value.
        operation: what made it: name of the operation.
        type: of the operation.
        dtype: declared element type.
        count: elements seen; a value inside a loop is seen each time.
        minimum, maximum: of the finite elements; ``nan`` where there is none.
        rms: of the finite elements.
        peak: largest magnitude of all elements but NaN.
        nan, inf: elements.
        beyond_fp16: elements with a magnitude over 65,504 before rounding.
        overflows: those among them that FP16 makes infinite.
        subnormal: elements other than zero that FP16 holds as subnormals, or as zero.
        vanished: those among them that FP16 makes zero.
        lost: elements that the declared type can't hold, where they or it are integers: beyond its
            range, rounded in floating point, or NaN. A fraction that an integer drops is none.
    """

    name: str
    operation: str
    type: str
    dtype: DataType
    count: int
    minimum: float
    maximum: float
    rms: float
    peak: float
    nan: int
    inf: int
    beyond_fp16: int
    overflows: int
    subnormal: int
    vanished: int
    lost: int

    @property
    def not_finite(self) -> int:
        """Elements that are NaN or Inf once they are stored in the declared type."""
        if not self.dtype.is_floating:
            return 0
        return self.nan + (self.overflows if self.dtype is DataType.FLOAT16 else self.inf)

    @property
    def subnormal_share(self) -> float:
        """Share of elements that FP16 holds as subnormals, or as zero although they are not."""
        return self.subnormal / self.count if self.count else 0.0

    def joined(self, other: ValueStatistics) -> ValueStatistics:
        """Return the statistics of both sets of elements together; the names are ours."""
        finite = [s.count - s.nan - s.inf for s in (self, other)]
        squares = self.rms**2 * finite[0] + other.rms**2 * finite[1]
        counts = (
            "count",
            "nan",
            "inf",
            "beyond_fp16",
            "overflows",
            "subnormal",
            "vanished",
            "lost",
        )
        return replace(
            self,
            minimum=_either(min, self.minimum, other.minimum),
            maximum=_either(max, self.maximum, other.maximum),
            rms=math.sqrt(squares / sum(finite)) if sum(finite) else 0.0,
            peak=max(self.peak, other.peak),
            **{name: getattr(self, name) + getattr(other, name) for name in counts},
        )


def _either(choose: Any, one: float, other: float) -> float:
    known = [value for value in (one, other) if not math.isnan(value)]
    return float(choose(known)) if known else math.nan


@dataclass
class Measured:
    """Sums over the elements of one tensor."""

    count: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    squares: float = 0.0
    peak: float = 0.0
    nan: int = 0
    inf: int = 0
    beyond_fp16: int = 0
    overflows: int = 0
    subnormal: int = 0
    vanished: int = 0
    lost: int = 0

    def add(self, chunk: torch.Tensor) -> None:
        """Take in some elements."""
        self.count += chunk.numel()
        low, high = (float(bound) for bound in chunk.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            self.nan += _count(chunk.isnan())
            infinite = _count(chunk.isinf())
            self.inf += infinite
            self.peak = math.inf if infinite else self.peak
            self.overflows += infinite
            self.beyond_fp16 += infinite
            chunk = chunk[chunk.isfinite()]
            if not chunk.numel():
                return
            low, high = (float(bound) for bound in chunk.aminmax())
        self.minimum = _either(min, self.minimum, low)
        self.maximum = _either(max, self.maximum, high)
        self.peak = max(self.peak, high, -low)
        self.squares += float(torch.linalg.vector_norm(chunk, dtype=torch.float64)) ** 2
        size = chunk.abs()
        if max(high, -low) > FP16_MAX:
            self.beyond_fp16 += _count(size > FP16_MAX)
            self.overflows += _count(size >= _TO_INFINITY)
        small = _count(size < SMALLEST_NORMAL)
        zeros = _count(size == 0) if small else 0
        if small > zeros:
            self.subnormal += small - zeros
            self.vanished += _count(size <= _TO_ZERO) - zeros

    def named(self, name: str, operation: Operation, dtype: DataType) -> ValueStatistics:
        """Return the statistics of a value with these elements."""
        finite = self.count - self.nan - self.inf
        return ValueStatistics(
            name,
            operation.name,
            operation.type,
            dtype,
            self.count,
            self.minimum,
            self.maximum,
            math.sqrt(self.squares / finite) if finite else 0.0,
            self.peak,
            self.nan,
            self.inf,
            self.beyond_fp16,
            self.overflows,
            self.subnormal,
            self.vanished,
            self.lost,
        )


def measure(tensor: torch.Tensor) -> Measured:
    """Return the sums over all elements of a tensor of numbers."""
    measured = Measured()
    if not tensor.is_floating_point():
        wide = tensor.double()
    else:
        wide = tensor.float() if tensor.dtype is torch.float16 else tensor
    for chunk in wide.reshape(-1).split(_CHUNK) if wide.numel() else ():
        measured.add(chunk)
    return measured


def count_lost(computed: torch.Tensor, stored: torch.Tensor, dtype: DataType) -> int:
    """Return how many numbers a declared type can't hold: see `ValueStatistics.lost`."""
    if computed.dtype is torch.bool:
        return 0
    if dtype.is_floating:
        return 0 if computed.is_floating_point() else _count(computed.double() != stored.double())
    limits = np.iinfo(dtype.numpy)
    whole = computed.trunc() if computed.is_floating_point() else computed.long()
    return _count(~((whole >= int(limits.min)) & (whole <= int(limits.max))))


def _count(mask: torch.Tensor) -> int:
    return int(torch.count_nonzero(mask))
