"""Statistics of the elements of one value: what FP16 would make of them, what integers lost."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import torch

from harness.mil.numerics.rounding import (
    FP16_MAX,
    FP16_SMALLEST_NORMAL,
    FP16_TO_INFINITY,
    FP16_TO_ZERO,
)
from harness.mil.program import Operation
from harness.mil.types import DataType

_CHUNK: Final = 1 << 18  # elements: what is read several times stays in the cache
_SUMS: Final = (
    "count", "squares", "nan", "inf", "beyond_fp16", "overflows", "subnormal", "vanished", "lost",
)  # fmt: skip
_Statistics = TypeVar("_Statistics", bound="ElementStatistics")


@dataclass(frozen=True)
class ElementStatistics:
    """What some elements were like.

    Attributes:
        count: elements seen; a value inside a loop is seen each time.
        minimum, maximum: of the finite elements; ``nan`` where there is none.
        squares: sum of the squares of the finite elements.
        peak: largest magnitude of all elements but NaN.
        nan, inf: elements.
        beyond_fp16: elements with a magnitude over 65,504 before rounding.
        overflows: those among them that FP16 makes infinite.
        subnormal: elements other than zero that FP16 holds as subnormals, or as zero.
        vanished: those among them that FP16 makes zero.
        lost: elements that the declared type can't hold, where they or it are integers: beyond its
            range, rounded in floating point, or NaN. A fraction that an integer drops is none.
    """

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

    @property
    def rms(self) -> float:
        """Of the finite elements; 0 where there is none."""
        finite = self.count - self.nan - self.inf
        return math.sqrt(self.squares / finite) if finite else 0.0

    @property
    def subnormal_share(self) -> float:
        """Share of elements that FP16 holds as subnormals, or as zero although they are not."""
        return self.subnormal / self.count if self.count else 0.0

    def joined(self: _Statistics, other: ElementStatistics) -> _Statistics:
        """Return the statistics of both sets of elements together; all else is ours."""
        return replace(
            self,
            minimum=float(np.fmin(self.minimum, other.minimum)),  # NaN where both are
            maximum=float(np.fmax(self.maximum, other.maximum)),
            peak=max(self.peak, other.peak),
            **{name: getattr(self, name) + getattr(other, name) for name in _SUMS},
        )


@dataclass(frozen=True, kw_only=True)
class ValueStatistics(ElementStatistics):
    """What the elements of one value of a program were like, in one run or in several.

    Attributes:
        name: of the value.
        operation: what made it: name of the operation.
        type: of the operation.
        dtype: declared element type.
    """

    name: str
    operation: str
    type: str
    dtype: DataType

    @classmethod
    def of(
        cls, elements: ElementStatistics, name: str, operation: Operation, dtype: DataType
    ) -> ValueStatistics:
        """Return the statistics of the value ``name`` with these elements."""
        made_by, kind = operation.name, operation.type
        return cls(**vars(elements), name=name, operation=made_by, type=kind, dtype=dtype)

    @property
    def not_finite(self) -> int:
        """Elements that are NaN or Inf once they are stored in the declared type."""
        if not self.dtype.is_floating:
            return 0
        return self.nan + (self.overflows if self.dtype is DataType.FLOAT16 else self.inf)


def measure(tensor: torch.Tensor) -> ElementStatistics:
    """Return the statistics of all elements of a tensor of numbers."""
    if not tensor.is_floating_point():
        wide = tensor.double()
    else:
        wide = tensor.float() if tensor.dtype is torch.float16 else tensor
    chunks = wide.reshape(-1).split(_CHUNK) if wide.numel() else ()
    return functools.reduce(ElementStatistics.joined, map(_of_chunk, chunks), ElementStatistics())


def _of_chunk(chunk: torch.Tensor) -> ElementStatistics:
    count, nan, infinite = chunk.numel(), 0, 0
    low, high = (float(bound) for bound in chunk.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        nan, infinite = _count(chunk.isnan()), _count(chunk.isinf())
        chunk = chunk[chunk.isfinite()]
        if chunk.numel():
            low, high = (float(bound) for bound in chunk.aminmax())
    peak = max(high, -low) if chunk.numel() else 0.0
    size = chunk.abs()
    loud, small = peak > FP16_MAX, _count(size < FP16_SMALLEST_NORMAL)
    zeros = _count(size == 0) if small else 0
    return ElementStatistics(
        count=count,
        minimum=low if chunk.numel() else math.nan,
        maximum=high if chunk.numel() else math.nan,
        squares=float(torch.linalg.vector_norm(chunk, dtype=torch.float64)) ** 2,
        peak=math.inf if infinite else peak,
        nan=nan,
        inf=infinite,
        beyond_fp16=infinite + (_count(size > FP16_MAX) if loud else 0),
        overflows=infinite + (_count(size >= FP16_TO_INFINITY) if loud else 0),
        subnormal=small - zeros,
        vanished=_count(size <= FP16_TO_ZERO) - zeros if small > zeros else 0,
    )


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
