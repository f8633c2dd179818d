"""Bugs of the executor's own operations: noticed by the ops layer, run with the bug in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from harness.faults.registry import CLASSIC, CONVERSIONS, QUIET_MODELS, fault
from harness.mil import DataType, numerics
from harness.mil.numerics import table
from harness.mil.ops import registry

_SUITE = "suites/ops/test_operations.py"
_operation = partial(fault, judge="suite", caught_by="ops")
_CONV_TRANSPOSE = registry.definition("conv_transpose").function


_Patch: TypeAlias = Callable[[], None]


def _computed(type: str) -> Callable[[Callable[..., Tensor]], _Patch]:
    """Let an operation of the executor be computed by the decorated function."""

    def decorate(function: Callable[..., Tensor]) -> _Patch:
        @wraps(function)
        def patch() -> None:
            found = registry.definition(type)
            registry._DEFINITIONS[type] = replace(found, function=function)

        return patch

    return decorate


def _rounded(rounding: Callable[[Tensor, bool], Tensor]) -> _Patch:
    """Let the default numerics round to FP16 by the decorated function."""

    @wraps(rounding)
    def patch() -> None:
        form = numerics.Format(torch.float32, rounding)
        formats = {**numerics.STORAGE.formats, DataType.FLOAT16: form}
        table._NUMERICS["storage"] = replace(numerics.STORAGE, formats=formats)

    return patch


@_operation("operations.gelu-tanh", source=CONVERSIONS, case=f"{_SUITE} -k gelu", sample=True)
@_computed("gelu")
def _gelu_tanh(x: Tensor, mode: str = "EXACT", out: Tensor | None = None) -> Tensor:
    """The exact GELU is computed by its tanh approximation."""
    return functional.gelu(x, approximate="tanh")


_operation("operations.softmax-axis", source=CLASSIC, case=f"{_SUITE} -k softmax")(
    _computed("softmax")(lambda x, axis=-1: torch.softmax(x, -1)),
    "The softmax runs over the last axis whatever the program says.",
)


@_operation("operations.layer-norm-unbiased", source=CONVERSIONS, case=f"{_SUITE} -k layer_norm")
@_computed("layer_norm")
def _layer_norm_unbiased(
    x: Tensor,
    axes: tuple[int, ...] | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Layer normalisation divides by the unbiased deviation."""
    chosen = tuple(range(x.ndim)) if axes is None else axes
    variance, mean = torch.var_mean(x, chosen, correction=1, keepdim=True)
    y = (x - mean) / torch.sqrt(variance + epsilon)
    kept = {axis % x.ndim for axis in chosen}
    shape = [size if axis in kept else 1 for axis, size in enumerate(x.shape)]
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


@_operation("operations.transposed-crop", source=CONVERSIONS, case=f"{_SUITE} -k conv_transpose")
@_computed("conv_transpose")
def _transposed_crop(x: Tensor, **inputs: Any) -> Tensor:
    """A transposed convolution is cropped one position too late."""
    result: Tensor = _CONV_TRANSPOSE(x, **inputs)
    return result.roll(-1, -1)


_operation("operations.epsilon-ignored", source=QUIET_MODELS, case=f"{_SUITE} -k 'log or rsqrt'")(
    _computed("log")(lambda x, epsilon=0.0, out=None: torch.log(x)),
    "The logarithm ignores its epsilon.",
)


@_operation("operations.rounds-towards-zero", source=CLASSIC, case=f"{_SUITE} -k 'fp16'")
@_rounded
def _rounds_towards_zero(tensor: Tensor, writable: bool) -> Tensor:
    """Results are cut to FP16 instead of being rounded to the nearest."""
    half = tensor.half()
    above = half.float().abs() > tensor.abs()
    return torch.where(above, torch.nextafter(half, torch.zeros_like(half)), half).float()


@fault(
    "operations.saturates",
    judge="suite",
    caught_by="selftest",
    source=CLASSIC,
    case="suites/selftest/mil/test_mil_numerics.py -k test_edges",
)
def _saturates() -> None:
    """FP16 results stop at 65,504 instead of becoming infinite."""
    _rounded(_saturated)()
    numerics.round_to_float16 = _saturated


def _saturated(tensor: Tensor, writable: bool) -> Tensor:
    return tensor.clamp(-65504, 65504).half().float()
