"""Whether weights are sound: values, shapes and names, and types that loaders misread.

A complaint is an error where the weights can't be right (NaN, an infinity, another shape, a tensor
that is missing), and a warning where they may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from harness.subjects.weights import LARGE_MAGNITUDE

_MISREAD: Final = {
    torch.bfloat16: "BF16: loaders that know two bytes as FP16 alone read other numbers",
    torch.float64: "F64: loaders of FP32 read each half of a number as one",
    torch.bool: "BOOL: one byte for each value; loaders that count four run past the end",
    torch.int64: "I64: loaders that cast bytes to FP32 read denormals and zeros",
}
"""Types of safetensors that some loaders of other languages reinterpret without a word."""


@dataclass(frozen=True)
class Complaint:
    """What is wrong, or odd, with a tensor."""

    level: Literal["error", "warning"]
    tensor: str
    what: str


def check_weights(
    state: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]] | None = None
) -> tuple[Complaint, ...]:
    """Return what is wrong with weights, errors first.

    Args:
        state: tensors by name.
        shapes: what a network needs, by name; None where no network is known.
    """
    found = [complaint for name, tensor in state.items() for complaint in _of_values(name, tensor)]
    if shapes is not None:
        found += _of_shapes(state, shapes)
    return tuple(sorted(found, key=lambda complaint: complaint.level != "error"))


def _of_values(name: str, tensor: Tensor) -> Iterator[Complaint]:
    if tensor.dtype in _MISREAD:
        yield Complaint("warning", name, _MISREAD[tensor.dtype])
    if tensor.numel() == 0:
        yield Complaint("warning", name, f"it has shape {list(tensor.shape)}, no element")
        return
    if not tensor.is_floating_point() and not tensor.is_complex():
        return
    # PyTorch asks no FP8 whether it is infinite.
    wide = tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
    for what, count in (
        ("NaN", int(wide.isnan().sum())),
        ("infinite", int(wide.isinf().sum())),
    ):
        if count:
            yield Complaint("error", name, f"{count} of {tensor.numel()} values are {what}")
    finite = wide[wide.isfinite()].abs()
    largest = float(finite.max()) if finite.numel() else 0.0
    if largest > LARGE_MAGNITUDE:
        what = f"its greatest magnitude is {largest:.3g}, above {LARGE_MAGNITUDE:g}"
        yield Complaint("warning", name, what)
    if tensor.dim() > 1 and finite.numel() == tensor.numel() and largest == 0:
        yield Complaint("warning", name, "it is all zeros")


def _of_shapes(
    state: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]
) -> Iterator[Complaint]:
    for name, wanted in shapes.items():
        if name not in state:
            yield Complaint("error", name, "it is missing")
        elif list(state[name].shape) != list(wanted):
            what = f"it has shape {list(state[name].shape)}, expected {list(wanted)}"
            yield Complaint("error", name, what)
    for name in state:
        if name not in shapes:
            yield Complaint("error", name, "the network has no such tensor")
