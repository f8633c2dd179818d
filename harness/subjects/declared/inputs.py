"""What one input of a declared network is like, and an example of it.

In: a table with a ``shape`` and at most one distribution, or a file. Out: an `Example`, and a
tensor of it for a seed: float32, or int32 of ``integers`` and whole constants. A stream of random
numbers belongs to a seed and a name, so an input that is added leaves the others as they were.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from harness.arrayfiles import array_readers
from harness.digests import sha256
from harness.errors import DeclarationError, require_known
from harness.subjects.calls import of_call

Shape = tuple[int, ...]

_DISTRIBUTIONS: Final = ("normal", "uniform", "integers", "constant")
_KEYS: Final = ("shape", "file", "step", *_DISTRIBUTIONS)
_LARGEST: Final = 2**31 - 1
_MOST_ELEMENTS: Final = 2**28


@dataclass(frozen=True)
class Example:
    """How an input is made.

    Attributes:
        where: the place in the file that says so, for messages.
        shape: of it; None for a state's, which is that of its buffer, or for a file's.
        kind: one of normal, uniform, integers, constant, file.
        numbers: deviation; lowest and highest; first and behind the last; the constant.
        file: the ``.npy`` or ``.safetensors`` file that holds it.
        step: of integers, what each call of a case adds to those of the first; 0 to draw each anew.
    """

    where: str
    shape: Shape | None
    kind: str
    numbers: tuple[float, ...] = ()
    file: Path | None = None
    step: int = 0

    @property
    def is_integer(self) -> bool:
        """Whether it is int32."""
        if self.kind == "constant":
            return isinstance(self.numbers[0], int)
        if self.file is not None:
            return read_file(self.file, self._tensor, self.where).dtype == torch.int32
        return self.kind == "integers"

    @property
    def _tensor(self) -> str:
        return self.where.rpartition(": ")[2].partition(".")[2]

    @property
    def identity(self) -> tuple[Any, ...]:
        """What decides its numbers, beside seed and gain; JSON values."""
        content = content_hash(self.file) if self.file else ""
        return (self.shape, self.kind, self.numbers, content, self.step)

    def shaped(self, shape: Shape) -> Shape:
        """Return the shape, which may be said, or else is ``shape``.

        Raises:
            DeclarationError: another one is said.
        """
        if self.shape not in (None, shape):
            raise DeclarationError(
                f"{self.where} says shape {list(self.shape or ())}, but its buffer has "
                f"{list(shape)}; leave the shape out"
            )
        return shape

    def draw(
        self, name: str, seed: int, gain: float, shape: Shape | None = None, call: int = 1
    ) -> Tensor:
        """Return an example: float32, or int32 where it is of integers.

        Args:
            name: of the input.
            seed: of the case.
            gain: factor of what is drawn from a normal or uniform distribution.
            shape: where the declaration leaves it open.
            call: of the case, the first of which is 1.
        """
        if self.file is not None:
            return read_file(self.file, name, self.where)
        size = self.shape or shape or ()
        drawn = f"{name}/{seed}" + (f"/{call}" if call > 1 and not self.step else "")
        generator = torch.Generator().manual_seed(zlib.crc32(drawn.encode()))
        if self.kind == "integers":
            first, end = (int(number) for number in self.numbers)
            made = torch.randint(first, end, size, generator=generator, dtype=torch.int32)
            return made + (call - 1) * self.step
        if self.kind == "constant":
            dtype = torch.int32 if self.is_integer else torch.float32
            return torch.full(size, self.numbers[0], dtype=dtype)
        if self.kind == "uniform":
            low, high = self.numbers
            return gain * (low + (high - low) * torch.rand(size, generator=generator))
        return gain * self.numbers[0] * torch.randn(size, generator=generator)


def read_example(path: Path, key: str, value: Any) -> Example:
    """Return the example that a table of a declaration describes.

    Raises:
        DeclarationError: something is missing, of the wrong kind, or said twice.
        UnknownNameError: a key that means nothing.
    """
    where = f"{path}: {key}"
    if not isinstance(value, dict):
        raise DeclarationError(f"{where} is {value!r}; expected a table like {{ shape = [1, 3] }}")
    require_known(f"key of {key} in {path}", _KEYS, *value)
    kinds = [kind for kind in (*_DISTRIBUTIONS, "file") if kind in value]
    if len(kinds) > 1:
        raise DeclarationError(f"{where} says {' and '.join(kinds)}; expected one of them")
    shape = _shape(where, value["shape"]) if "shape" in value else None
    is_input = key.startswith("inputs.")
    if is_input and (shape is None) != ("file" in value):
        raise DeclarationError(f"{where}: expected a shape, or a file; give one of them")
    kind = kinds[0] if kinds else "normal"
    step = value.get("step", 0)
    if "step" in value and (kind != "integers" or type(step) is not int):
        raise DeclarationError(
            f"{where}: step is {step!r}; expected a whole number beside integers, by which they "
            "rise from call to call"
        )
    if kind == "file":
        file = path.parent / str(value["file"])
        return Example(where, None, kind, file=file)
    return Example(where, shape, kind, _numbers(where, kind, value.get(kind, 1.0)), step=step)


def read_file(path: Path, name: str, where: str) -> Tensor:
    """Return the tensor ``name`` of a ``.safetensors`` file, or that of an ``.npy`` file.

    Raises:
        DeclarationError: it isn't there, or holds no numbers that Core ML takes.
    """
    readers = array_readers(path, DeclarationError)
    name = path.stem if path.suffix == ".npy" else name
    require_known(f"tensor of {path} for {where}", readers, name)
    array = readers[name]()
    if array.dtype.kind == "f":
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if array.dtype.kind in "iu" and np.abs(array.astype(np.float64)).max(initial=0) <= _LARGEST:
        return torch.from_numpy(np.ascontiguousarray(array, np.int32))
    raise DeclarationError(f"{where}: {path} holds {array.dtype}; expected float32 or int32")


def files_of(
    path: Path, names: Mapping[str, Shape], each: Collection[str] = (), calls: int = 1
) -> dict[str, Tensor]:
    """Return those inputs that a case's file holds.

    Args:
        path: the file.
        names: of all inputs, with their shapes.
        each: those that have an axis of calls in front.
        calls: how many.

    Raises:
        DeclarationError: it can't be read, or one has another shape.
        UnknownNameError: a tensor that is no input.
    """
    found: dict[str, Tensor] = {}
    for name in array_readers(path, DeclarationError):
        require_known(f"input in {path}", names, name)
        value = read_file(path, name, str(path))
        shape = (calls, *names[name]) if name in each else names[name]
        if tuple(value.shape) != shape:
            first = f", the first axis for {calls} calls" if name in each else ""
            raise DeclarationError(
                f"{path}: input {name!r} has shape {list(value.shape)}, expected "
                f"{list(shape)}{first}"
            )
        if name in each:
            found |= {of_call(name, call): row.clone() for call, row in enumerate(value, 1)}
        else:
            found[name] = value
    return found


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        DeclarationError: it can't be read.
    """
    try:
        return sha256(path)
    except OSError as error:
        raise DeclarationError(f"{path} can't be read: {error.strerror}") from error


def _shape(where: str, value: Any) -> Shape:
    whole = isinstance(value, list) and all(type(size) is int and size > 0 for size in value)
    if not whole or not value or np.prod(value, dtype=float) > _MOST_ELEMENTS:
        raise DeclarationError(
            f"{where}: shape is {value!r}; expected a list of sizes like [1, 3, 64, 64]"
        )
    return tuple(value)


def _numbers(where: str, kind: str, value: Any) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else [value]
    count = 2 if kind in ("uniform", "integers") else 1
    types = (int,) if kind == "integers" else (int, float)
    sound = all(type(number) in types and abs(number) <= _LARGEST for number in numbers)
    if not sound or len(numbers) != count or (count == 2 and not numbers[0] < numbers[1]):
        expected = {
            "uniform": "[lowest, highest]",
            "integers": "[first, behind the last], whole numbers",
            "normal": "a standard deviation",
            "constant": "a number",
        }
        raise DeclarationError(f"{where}: {kind} is {value!r}; expected {expected[kind]}")
    return tuple(numbers)
