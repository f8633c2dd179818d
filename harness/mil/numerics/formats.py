"""How values of each declared element type are held, computed and stored.

A `Format` belongs to one declared element type, a `Numerics` is a named table of formats. Nothing
here does arithmetic: rounding lives in `rounding`, accumulation in `accumulation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from harness.errors import ParityError
from harness.mil.numerics.rounding import Rounding, flush_subnormals, truncated
from harness.mil.types import DataType


@dataclass(frozen=True)
class Format:
    """How values of one declared element type are held and computed.

    Attributes:
        carrier: the PyTorch type of the tensors.
        round: rounds a carrier tensor to the declared type; its second argument says whether it
            may write into that tensor. ``None`` where carrier arithmetic is the declared one.
        within: makes the context in which an operation whose first output has this type is
            computed: it may replace PyTorch's kernels. ``None`` where PyTorch's own are wanted.
        flush: whether values below FP16's smallest normal number become zero, with their sign.
    """

    carrier: torch.dtype
    round: Rounding | None = None
    within: Callable[[], AbstractContextManager[object]] | None = None
    flush: bool = False

    def store(self, tensor: torch.Tensor, *, writable: bool) -> torch.Tensor:
        """Return ``tensor`` as a value of this element type: carried and rounded.

        Args:
            tensor: a result in any PyTorch type.
            writable: whether the memory of ``tensor`` may be written.
        """
        if tensor.dtype is not self.carrier:
            no_integers = self.carrier.is_floating_point or self.carrier is torch.bool
            if tensor.is_floating_point() and not no_integers:
                tensor = truncated(tensor)
            tensor, writable = tensor.to(self.carrier), True
        if self.round is not None:
            tensor, writable = self.round(tensor, writable), True
        return flush_subnormals(tensor, writable) if self.flush else tensor


@dataclass(frozen=True, eq=False)
class Numerics:
    """A named way to execute declared precision.

    Attributes:
        name: how it is asked for.
        formats: how values of each element type are held and computed.
        functions: what computes operations whose first output is FP16 instead of their definition,
            by type; called with the definition's arguments.
    """

    name: str
    formats: Mapping[DataType, Format]
    functions: Mapping[str, Callable[..., torch.Tensor]] = field(default_factory=dict)

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

    def carries_as(self, other: Numerics) -> bool:
        """Whether every element type has the same carrier in both."""
        return {d: f.carrier for d, f in self.formats.items()} == {
            d: f.carrier for d, f in other.formats.items()
        }

    def store(self, tensor: torch.Tensor, dtype: DataType, *, writable: bool) -> torch.Tensor:
        """Return ``tensor`` as a value of the declared type ``dtype``; see `Format.store`."""
        return self.format(dtype).store(tensor, writable=writable)

    def from_numpy(self, array: np.ndarray, dtype: DataType) -> torch.Tensor:
        """Return an array of type ``dtype.numpy`` as a carrier tensor; it may share memory."""
        form = self.format(dtype)
        if array.dtype in _UNSIGNED:  # PyTorch computes with no unsigned type but uint8
            array = array.astype(np.int64)
        if not (array.flags.writeable and array.flags.c_contiguous):  # PyTorch can't share these
            array = array.copy(order="C")
        tensor = torch.from_numpy(array).to(form.carrier)
        return flush_subnormals(tensor, False) if form.flush else tensor

    def to_numpy(self, tensor: torch.Tensor, dtype: DataType) -> np.ndarray:
        """Return a carrier tensor as an array: ``dtype.numpy``, or float64 in float64 numerics."""
        array: np.ndarray = tensor.detach().cpu().numpy()
        if dtype.is_floating and array.dtype == np.float64:
            return array
        return array.astype(dtype.numpy, copy=False)


def flushing(numerics: Numerics) -> Numerics:
    """Return ``numerics`` with FP16 subnormals flushed to zero, named ``NAME+ftz``.

    It applies to every FP16 value: results as they are stored, inputs and constants.
    """
    half = replace(numerics.format(DataType.FLOAT16), flush=True)
    formats = {**numerics.formats, DataType.FLOAT16: half}
    return replace(numerics, name=f"{numerics.name}+ftz", formats=formats)


_UNSIGNED = (np.dtype(np.uint16), np.dtype(np.uint32), np.dtype(np.uint64))

# PyTorch has few operations on uint16 and above, so those are carried in the next signed type. They
# don't wrap there: coremltools' tests of negative indices pass them through uint16 and back. There
# is none for uint64.
_WIDER = {DataType.UINT16: torch.int32, DataType.UINT32: torch.int64}
INTEGERS: Mapping[DataType, Format] = {
    dtype: Format(_WIDER.get(dtype) or torch.from_numpy(np.empty(0, dtype.numpy)).dtype)
    for dtype in DataType
    if dtype.numpy.kind in "biu" and dtype is not DataType.UINT64
}
