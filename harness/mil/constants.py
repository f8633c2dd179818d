"""Constants of a program as the plain Python values that operations take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from harness.errors import PackageError
from harness.mil.ops.registry import Kind
from harness.mil.program import Constant
from harness.mil.types import DataType, TensorType
from harness.mil.values import Label

ReadArray: TypeAlias = Callable[[Constant], np.ndarray]


def literal_of(constant: Constant, kind: Kind, read: ReadArray, what: str) -> Any:
    """Return ``constant`` as the Python value that a parameter of ``kind`` takes.

    Raises:
        PackageError: it is no such value; says ``what`` it was to be.
    """
    if kind is Kind.STRING:
        if not isinstance(constant.value, str):
            raise PackageError(f"{what} must be a string")
        return constant.value
    if not isinstance(constant.type, TensorType) or constant.type.dtype is DataType.STRING:
        raise PackageError(f"{what} is no tensor of numbers")
    try:
        return read_literal(read(constant), kind)
    except ValueError as error:
        raise PackageError(f"{what} {error}") from error


def labels_of(
    constants: Iterable[Constant | None], read: ReadArray, what: str
) -> tuple[Label, ...]:
    """Return all strings and integers in ``constants``, those inside lists included.

    Raises:
        PackageError: one of them is known only at run time, or holds something else.
    """
    labels: list[Label] = []
    for constant in constants:
        if constant is None:
            raise PackageError(f"{what} must be a constant")
        value = constant.value
        if isinstance(value, str):
            labels.append(value)
        elif isinstance(value, tuple):
            labels += (str(item) for item in value if not isinstance(item, Constant))
            inner = [item for item in value if isinstance(item, Constant)]
            labels += labels_of(inner, read, what)
        else:
            array = read(constant)
            if array.dtype.kind not in "iu":
                raise PackageError(f"{what} must hold integers or strings")
            labels += (int(number) for number in array.reshape(-1))
    return tuple(labels)


def read_literal(array: np.ndarray, kind: Kind) -> Any:
    """Return ``array`` as the Python value that a parameter of ``kind`` takes.

    Raises:
        ValueError: the number of elements or the type does not fit.
    """
    if kind in (Kind.INTS, Kind.BOOLS):
        if array.ndim > 1:
            raise ValueError(f"must be a vector, not of shape {list(array.shape)}")
        convert = _integer if kind is Kind.INTS else bool
        return tuple(convert(value) for value in array.reshape(-1).tolist())
    if array.size != 1:
        raise ValueError(f"must be a single value, not of shape {list(array.shape)}")
    value = array.reshape(()).item()
    if kind is Kind.FLOAT:
        return float(value)
    if kind is Kind.BOOL:
        return bool(value)
    return _integer(value)


def _integer(value: float) -> int:
    if not math.isfinite(value) or int(value) != value:
        raise ValueError(f"must be an integer, not {value}")
    return int(value)
