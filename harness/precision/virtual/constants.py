"""Constants of an FP32 program as coremltools stores them in a package of another precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.conversion.compression import compress
from harness.conversion.recipes import Weights
from harness.mil import DataType
from harness.mil.constants import ReadArray
from harness.mil.numerics.rounding import FP16_MAX
from harness.mil.program import Constant
from harness.mil.types import TensorType, ValueType

_INFINITE: Final = 1e38  # a mask's "minus infinity": coremltools lets it become FP16's
_SMALL: Final = 400  # elements, below which coremltools keeps constants from becoming zero
_TINY: Final = np.nextafter(np.float16(0), np.float16(1))


@dataclass(frozen=True)
class Stored:
    """How a constant is stored.

    Attributes:
        name: tells constants apart.
        dtype: FP16 or FP32.
        weights: how it is compressed.
        axis: its output channels, where it is compressed as ``int8``.
    """

    name: str
    dtype: DataType
    weights: Weights
    axis: int


class ConstantStore:
    """Makes each constant once in each way in which it is stored.

    Args:
        read: returns the array of a constant.
    """

    def __init__(self, read: ReadArray) -> None:
        self._read = read
        self._made: dict[Stored, Constant] = {}

    def stored(self, constant: Constant, how: Stored) -> Constant:
        """Return an FP32 constant as coremltools stores it: rounded, then compressed."""
        if how not in self._made:
            array = self._read(constant)
            assert isinstance(constant.type, TensorType)
            rounded = round_constant(array) if how.dtype is DataType.FLOAT16 else array
            type_ = TensorType(how.dtype, constant.type.shape)
            self._made[how] = Constant(type_, compress(rounded, how.weights, how.axis))
        return self._made[how]

    def overflows(self, constant: Constant) -> bool:
        """Whether an FP32 constant has finite numbers that FP16 has not."""
        if not is_fp32(constant.type):
            return False
        magnitude = np.abs(self._read(constant))
        return bool(np.max(magnitude, where=magnitude < _INFINITE, initial=0.0) > FP16_MAX)


def is_fp32(type_: ValueType) -> bool:
    """Whether a value is a tensor in FP32."""
    return isinstance(type_, TensorType) and type_.dtype is DataType.FLOAT32


def round_constant(array: np.ndarray) -> np.ndarray:
    """Return float32 ``array`` in float16 as coremltools rounds constants."""
    with np.errstate(over="ignore"):
        rounded: np.ndarray = np.asarray(array, np.float32).astype(np.float16)
    if rounded.size < _SMALL:
        vanished = (np.abs(rounded) <= _TINY) & (
            np.abs(array) > np.finfo(np.float32).smallest_subnormal
        )
        rounded = np.where(vanished, np.copysign(_TINY, array).astype(np.float16), rounded)
    return rounded
