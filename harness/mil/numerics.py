"""How declared precision becomes arithmetic: the one place where values are rounded.

An operation computes wide from its inputs as stored, then its result is rounded once to the
declared output type. A `Numerics` says, for each declared element type, in which PyTorch type its
values are carried and how a result is rounded to it. Operations never see declared types: they
compute in the type of the tensors that they get.

``storage``: float32 arithmetic; fp16 results are rounded to nearest even, overflow gives infinity,
subnormals are kept. ``float64``: every floating-point operation in float64 on the constants as
stored, and no rounding: the reference.

FP16 values are carried as float32 tensors that hold only values of the FP16 grid. That is exact
(float32 contains every FP16 value, and FP16 subnormals are normal there), needs no conversion of
inputs, and is faster than float16 tensors: rounding in place costs 0.4 ns an element, while fresh
float16 or float32 buffers cost 2 ns and more in page faults alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.errors import ParityError, UnknownNameError
from harness.mil.types import DataType

Rounding = Callable[[torch.Tensor, bool], torch.Tensor]

# Four megabytes of float16 stay in the last-level cache. Smaller chunks would cost more in waking
# the threads of two parallel copies than they save in memory traffic.
_CHUNK = 1 << 21


@dataclass(frozen=True)
class Format:
    """How values of one declared element type are held.

    Attributes:
        carrier: the PyTorch type of the tensors.
        round: rounds a carrier tensor to the declared type; its second argument says whether it
            may write into that tensor. ``None`` where carrier arithmetic is the declared one.
    """

    carrier: torch.dtype
    round: Rounding | None = None


@dataclass(frozen=True, eq=False)
class Numerics:
    """A named way to execute declared precision."""

    name: str
    formats: Mapping[DataType, Format]

    def format(self, dtype: DataType) -> Format:
        """Return how ``dtype`` is held.

        Raises:
            ParityError: this numerics has no format for it.
        """
        if dtype not in self.formats:
            known = ", ".join(sorted(str(known) for known in self.formats))
            raise ParityError(
                f"numerics {self.name!r} can't hold values of type {dtype} (it can: {known})"
            )
        return self.formats[dtype]

    def store(self, tensor: torch.Tensor, dtype: DataType, *, writable: bool) -> torch.Tensor:
        """Return ``tensor`` as a value of the declared type ``dtype``: carried and rounded.

        Args:
            tensor: a result in any PyTorch type.
            dtype: the declared element type.
            writable: whether the memory of ``tensor`` may be written.
        """
        form = self.format(dtype)
        if tensor.dtype is not form.carrier:
            tensor, writable = tensor.to(form.carrier), True
        return tensor if form.round is None else form.round(tensor, writable)

    def from_numpy(self, array: np.ndarray, dtype: DataType) -> torch.Tensor:
        """Return an array of type ``dtype.numpy`` as a carrier tensor; it may share memory."""
        carrier = self.format(dtype).carrier
        if array.dtype in _UNSIGNED:  # PyTorch computes with no unsigned type but uint8
            array = array.astype(np.int64)
        if not (array.flags.writeable and array.flags.c_contiguous):  # PyTorch can't share these
            array = array.copy(order="C")
        return torch.from_numpy(array).to(carrier)

    def to_numpy(self, tensor: torch.Tensor, dtype: DataType) -> np.ndarray:
        """Return a carrier tensor as an array: ``dtype.numpy``, or float64 in float64 numerics."""
        array: np.ndarray = tensor.detach().cpu().numpy()
        if dtype.is_floating and array.dtype == np.float64:
            return array
        return array.astype(dtype.numpy, copy=False)


def round_to_float16(tensor: torch.Tensor, writable: bool) -> torch.Tensor:
    """Return float32 ``tensor`` rounded to the FP16 grid, nearest even, still as float32.

    Magnitudes of 65,520 and more become infinite, subnormals are kept. The gradient passes
    unchanged (straight through), because the rounding itself has none.
    """
    if tensor.requires_grad:
        rounded: torch.Tensor = _StraightThrough.apply(tensor)  # type: ignore[no-untyped-call]
        return rounded
    if not writable:
        return tensor.half().float()
    flat = _flat(tensor)
    if flat is None:
        return tensor.copy_(tensor.half())
    buffer = torch.empty(min(flat.numel(), _CHUNK), dtype=torch.float16, device=tensor.device)
    for chunk in flat.split(_CHUNK) if flat.numel() else ():
        half = buffer[: chunk.numel()]
        half.copy_(chunk)
        chunk.copy_(half)
    return tensor


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


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.half().float()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


_UNSIGNED = (np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64))

# PyTorch has few operations on uint16 and above, so those are carried in the next signed type.
_INTEGERS = {
    DataType.BOOL: Format(torch.bool),
    DataType.INT4: Format(torch.int8),
    DataType.INT8: Format(torch.int8),
    DataType.INT16: Format(torch.int16),
    DataType.INT32: Format(torch.int32),
    DataType.INT64: Format(torch.int64),
    DataType.UINT1: Format(torch.uint8),
    DataType.UINT2: Format(torch.uint8),
    DataType.UINT3: Format(torch.uint8),
    DataType.UINT4: Format(torch.uint8),
    DataType.UINT6: Format(torch.uint8),
    DataType.UINT8: Format(torch.uint8),
    DataType.UINT16: Format(torch.int32),
    DataType.UINT32: Format(torch.int64),
}

_NUMERICS: dict[str, Numerics] = {}


def register(numerics: Numerics) -> Numerics:
    """Make ``numerics`` known under its name.

    Raises:
        ParityError: the name is taken.
    """
    if numerics.name in _NUMERICS:
        raise ParityError(f"numerics {numerics.name!r} is registered twice")
    _NUMERICS[numerics.name] = numerics
    return numerics


def get_numerics(name: str | Numerics) -> Numerics:
    """Return the numerics of that name; a `Numerics` is returned as it is.

    Raises:
        UnknownNameError: there is none; lists those that exist.
    """
    if isinstance(name, Numerics):
        return name
    if name not in _NUMERICS:
        raise UnknownNameError("numerics", name, _NUMERICS)
    return _NUMERICS[name]


def numerics_names() -> Iterator[str]:
    """Yield the registered names."""
    yield from _NUMERICS


STORAGE = register(
    Numerics(
        "storage",
        {
            **_INTEGERS,
            DataType.FLOAT16: Format(torch.float32, round_to_float16),
            DataType.FLOAT32: Format(torch.float32),
        },
    )
)

FLOAT64 = register(
    Numerics(
        "float64",
        {
            **_INTEGERS,
            DataType.FLOAT16: Format(torch.float64),
            DataType.FLOAT32: Format(torch.float64),
        },
    )
)
