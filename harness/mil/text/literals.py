"""From what is written in a literal to a constant of its declared type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from harness.errors import PackageError
from harness.mil.program import Constant
from harness.mil.types import (
    DataType,
    DictionaryType,
    ListType,
    TensorType,
    TupleType,
    ValueType,
)

Raw: TypeAlias = "Number | Text | Truth | Items"


class Number(str):
    """A number as it is written."""

    __slots__ = ()  # there may be millions


class Text(str):
    """The content of a string."""


class Truth(str):
    """``true`` or ``false``."""


class Items(tuple[Raw, ...]):
    """The content of brackets, parentheses or braces."""


def constant(type: ValueType, raw: Raw) -> Constant:
    """Return the constant of ``type`` that ``raw`` stands for.

    Raises:
        PackageError: it stands for none.
    """
    if isinstance(type, TensorType):
        return _tensor(type, raw)
    if not isinstance(raw, Items):
        raise PackageError(f"{raw!r} is no value of type {type}")
    if isinstance(type, ListType):
        if type.length not in (None, len(raw)):
            raise PackageError(f"{len(raw)} elements in a value of type {type}")
        return Constant(type, tuple(constant(type.element, item) for item in raw))
    if isinstance(type, TupleType):
        if len(raw) != len(type.elements):
            raise PackageError(f"{len(raw)} elements in a value of type {type}")
        pairs = zip(type.elements, raw, strict=True)
        return Constant(type, tuple(constant(element, item) for element, item in pairs))
    if isinstance(type, DictionaryType):
        return Constant(type, dict(_entry(type, item) for item in raw))
    raise PackageError(f"a value of type {type} can't be written in a program")


def _entry(type: DictionaryType, raw: Raw) -> tuple[object, object]:
    if not isinstance(raw, Items) or len(raw) != 2:
        raise PackageError(f"an entry of a value of type {type} is no pair of key and value")
    key = constant(type.key, raw[0]).value
    if isinstance(key, np.ndarray) and key.ndim == 0:
        key = key.item()
    if not isinstance(key, str | int):
        raise PackageError(f"a key of type {type.key} is neither a string nor an integer")
    return key, constant(type.value, raw[1])


def _tensor(type: TensorType, raw: Raw) -> Constant:
    shape = _shape(raw)
    leaves = list(_leaves(raw))
    if type.shape is not None and not type.accepts(shape):
        # A tensor of several dimensions may also be written as one list of all its elements.
        if not type.is_static or len(shape) != 1 or type.count != len(leaves):
            raise PackageError(f"a literal of shape {list(shape)} is no value of type {type}")
        shape = tuple(size for size in type.shape if size is not None)
    declared = TensorType(type.dtype, shape)
    if declared.count != len(leaves):
        raise PackageError(f"a literal of uneven shape is no value of type {type}")
    if type.dtype is DataType.STRING:
        if not all(isinstance(leaf, Text) for leaf in leaves):
            raise PackageError(f"a literal of type {type} holds something else than strings")
        texts = tuple(str(leaf) for leaf in leaves)
        return Constant(declared, texts if shape else texts[0])
    return Constant(declared, _array(declared, leaves).reshape(shape))


def _shape(raw: Raw) -> tuple[int, ...]:
    shape: list[int] = []
    while isinstance(raw, Items):
        shape.append(len(raw))
        if not raw:
            break
        raw = raw[0]
    return tuple(shape)


def _leaves(raw: Raw) -> Iterator[Raw]:
    if isinstance(raw, Items):
        for item in raw:
            yield from _leaves(item)
    else:
        yield raw


def _array(type: TensorType, leaves: list[Raw]) -> np.ndarray:
    expected = Truth if type.dtype is DataType.BOOL else Number
    for leaf in leaves:
        if not isinstance(leaf, expected):
            raise PackageError(f"{leaf!r} is no element of a value of type {type}")
    if type.dtype is DataType.BOOL:
        return np.array([leaf == "true" for leaf in leaves], np.bool_)
    try:
        if type.dtype.is_floating:
            return _floats(type, [_float(str(leaf)) for leaf in leaves])
        return _integers(type, [int(str(leaf), 0) for leaf in leaves])
    except (ValueError, OverflowError) as error:
        raise PackageError(f"a literal of type {type} can't be read: {error}") from error


def _float(text: str) -> float:
    return float.fromhex(text) if "x" in text.lower() else float(text)


def _floats(type: TensorType, values: list[float]) -> np.ndarray:
    if type.dtype.numpy.itemsize * 8 != max(type.dtype.bits, 16):
        raise ValueError("NumPy has no such type")
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(type.dtype.numpy)


def _integers(type: TensorType, values: list[int]) -> np.ndarray:
    signed = type.dtype.value.startswith("int")
    low = -(1 << (type.dtype.bits - 1)) if signed else 0
    high = (1 << (type.dtype.bits - signed)) - 1
    for value in values:
        if not low <= value <= high:
            raise ValueError(f"{value} is not between {low} and {high}")
    return np.array(values, type.dtype.numpy)
