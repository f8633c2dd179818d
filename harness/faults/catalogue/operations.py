"""Bugs of the executor's own operations: noticed by the ops layer, run with the bug in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harness.faults.registry import CLASSIC, CONVERSIONS, QUIET_MODELS, fault
from harness.mil import DataType, numerics
from harness.mil.numerics import table
from harness.mil.ops import registry

_SUITE = "suites/ops/test_operations.py"
_operation = partial(fault, on="suite", caught_by="ops")


def _compute(type: str, function: Callable[..., Any]) -> None:
    """Let an operation of the executor be computed by another function."""
    found = registry.definition(type)
    registry._DEFINITIONS[type] = replace(found, function=function)


@_operation("operations.gelu-tanh", source=CONVERSIONS, case=f"{_SUITE} -k gelu", sample=True)
def _gelu_tanh() -> None:
    """The exact GELU is computed by its tanh approximation."""

    def wrong(x: Tensor, mode: str = "EXACT", out: Tensor | None = None) -> Tensor:
        return functional.gelu(x, approximate="tanh")

    _compute("gelu", wrong)


@_operation("operations.softmax-axis", source=CLASSIC, case=f"{_SUITE} -k softmax")
def _softmax_axis() -> None:
    """The softmax runs over the last axis whatever the program says."""
    _compute("softmax", lambda x, axis=-1: torch.softmax(x, -1))


@_operation("operations.layer-norm-unbiased", source=CONVERSIONS, case=f"{_SUITE} -k layer_norm")
def _layer_norm_unbiased() -> None:
    """Layer normalisation divides by the unbiased deviation."""

    def wrong(
        x: Tensor,
        axes: tuple[int, ...] | None = None,
        gamma: Tensor | None = None,
        beta: Tensor | None = None,
        epsilon: float = 1e-5,
    ) -> Tensor:
        chosen = tuple(range(x.ndim)) if axes is None else axes
        variance, mean = torch.var_mean(x, chosen, correction=1, keepdim=True)
        y = (x - mean) / torch.sqrt(variance + epsilon)
        shape = [
            size if axis in {a % x.ndim for a in chosen} else 1 for axis, size in enumerate(x.shape)
        ]
        y = y if gamma is None else y * gamma.reshape(shape)
        return y if beta is None else y + beta.reshape(shape)

    _compute("layer_norm", wrong)


@_operation("operations.transposed-crop", source=CONVERSIONS, case=f"{_SUITE} -k conv_transpose")
def _transposed_crop() -> None:
    """A transposed convolution is cropped one position too late."""
    sound = registry.definition("conv_transpose").function
    _compute("conv_transpose", lambda x, **words: sound(x, **words).roll(-1, -1))


@_operation("operations.epsilon-ignored", source=QUIET_MODELS, case=f"{_SUITE} -k 'log or rsqrt'")
def _epsilon_ignored() -> None:
    """The logarithm ignores its epsilon."""
    _compute("log", lambda x, epsilon=0.0, out=None: torch.log(x))


@_operation("operations.rounds-towards-zero", source=CLASSIC, case=f"{_SUITE} -k 'fp16'")
def _rounds_towards_zero() -> None:
    """Results are cut to FP16 in the place of being rounded to the nearest."""

    def cut(tensor: Tensor, writable: bool) -> Tensor:
        half = tensor.half()
        above = half.float().abs() > tensor.abs()
        return torch.where(above, torch.nextafter(half, torch.zeros_like(half)), half).float()

    _round(cut)


@fault(
    "operations.saturates",
    on="suite",
    caught_by="selftest",
    source=CLASSIC,
    case="suites/selftest/mil/test_mil_numerics.py -k test_edges",
)
def _saturates() -> None:
    """FP16 results stop at 65,504 in the place of becoming infinite."""

    def saturated(tensor: Tensor, writable: bool) -> Tensor:
        return tensor.clamp(-65504, 65504).half().float()

    numerics.round_to_float16 = saturated
    _round(saturated)


def _round(rounding: Callable[[Tensor, bool], Tensor]) -> None:
    """Let the default numerics round to FP16 otherwise."""
    form = numerics.Format(torch.float32, rounding)
    changed = replace(
        numerics.STORAGE, formats={**numerics.STORAGE.formats, DataType.FLOAT16: form}
    )
    table._NUMERICS["storage"] = changed
