"""Constants of a program as the plain Python values that operations take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from harness.errors import PackageError
from harness.mil.ops.registry import ParameterKind
from harness.mil.program import Constant
from harness.mil.types import DataType, TensorType, ValueType
from harness.mil.values import Label

ReadArray: TypeAlias = Callable[[Constant], np.ndarray]


def literal_of(
    constants: Sequence[Constant], kind: ParameterKind, read: ReadArray, what: str
) -> Any:
    """Return what a parameter of ``kind`` is bound to as the Python value that it takes.

    Raises:
        PackageError: it is no such value; says ``what`` it was to be.
    """
    if kind is ParameterKind.LABELS:
        return tuple(_labels(constants, read, what))
    if len(constants) != 1:
        raise PackageError(f"{what} is bound to {len(constants)} values, not 1")
    (constant,) = constants
    if kind is ParameterKind.STRING:
        if not isinstance(constant.value, str):
            raise PackageError(f"{what} must be a string")
        return constant.value
    if not isinstance(constant.type, TensorType) or constant.type.dtype is DataType.STRING:
        raise PackageError(f"{what} is no tensor of numbers")
    try:
        return read_literal(read(constant), kind)
    except ValueError as error:
        raise PackageError(f"{what} {error}") from error


def _labels(constants: Iterable[Constant], read: ReadArray, what: str) -> Iterator[Label]:
    """Yield all strings and integers in ``constants``, those inside lists included."""
    for constant in constants:
        value = constant.value
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from (str(item) for item in value if not isinstance(item, Constant))
            yield from _labels((i for i in value if isinstance(i, Constant)), read, what)
        else:
            array = read(constant)
            if array.dtype.kind not in "iu":
                raise PackageError(f"{what} must hold integers or strings")
            yield from (int(number) for number in array.reshape(-1))


def in_type_of(number: float, first: ValueType | None) -> float:
    """Return a number as an operation has it whose first tensor is of type ``first``.

    coremltools' definitions give defaults that type: in FP16 the default 1e-45 of ``log`` is zero.
    """
    if not isinstance(first, TensorType) or not first.dtype.is_floating:
        return float(number)
    return float(np.asarray(number, first.dtype.numpy))


def read_literal(array: np.ndarray, kind: ParameterKind) -> Any:
    """Return ``array`` as the Python value that a parameter of ``kind`` takes.

    Raises:
        ValueError: the number of elements or the type does not fit.
    """
    if kind in (ParameterKind.INTS, ParameterKind.BOOLS):
        if array.ndim > 1:
            raise ValueError(f"must be a vector, not of shape {list(array.shape)}")
        convert = _integer if kind is ParameterKind.INTS else bool
        return tuple(convert(value) for value in array.reshape(-1).tolist())
    if array.size != 1:
        raise ValueError(f"must be a single value, not of shape {list(array.shape)}")
    value = array.reshape(()).item()
    if kind is ParameterKind.FLOAT:
        return float(value)
    if kind is ParameterKind.BOOL:
        return bool(value)
    return _integer(value)


def _integer(value: float) -> int:
    if not math.isfinite(value) or int(value) != value:
        raise ValueError(f"must be an integer, not {value}")
    return int(value)
