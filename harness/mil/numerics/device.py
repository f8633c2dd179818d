"""What is known of a device as a numerics: its profile says how FP16 operations are computed.

`harness.devices` knows tables, accumulators and what is unknown; this module says which operations
of ML Programs they are. An operation whose first output is FP16 and whose type is in
`OPERATIONS` is computed by the device, stage by stage where stages are published. Any other is
computed as in ``storage``, and so are FP32 operations, which another unit runs.

    get_numerics("ane-m1")
    get_numerics("ane-m1, normalisation=stages")      # one unknown, settled otherwise

Not modelled: which of the operations another unit would run (`harness.devices.place` says which of
them have to), the gain of slices along the width, recurrent layers, and a NaN in an input of the
M1, which counts as 0 instead of +inf if nothing but moves touches it. There are no gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import gelu

from harness.bounded import TOML_LIMIT_BYTES, read_text
from harness.devices import Device, ProfileError, device
from harness.devices.convolution import Window
from harness.devices.grid import OVERFLOW
from harness.errors import ParityError
from harness.mil.numerics.formats import INTEGERS, Format, Numerics
from harness.mil.numerics.rounding import Rounding, flush_subnormals, round_to_float16
from harness.mil.types import DataType

Ints: TypeAlias = tuple[int, ...]


def named_device(name: str) -> Numerics:
    """Return the numerics ``PROFILE`` or ``PROFILE, PROPERTY=VALUE, ...``.

    A name has one numerics, as long as the file that it may lead to is the same.

    Raises:
        ParityError: no such profile, property or variant, or no such form.
    """
    path = Path(name.partition(",")[0].strip())
    own = path.suffix == ".toml"
    return _named(name, read_text(path, TOML_LIMIT_BYTES, ProfileError) if own else "")


@cache
def _named(name: str, content: str) -> Numerics:
    """Return the numerics of a name; ``content`` is that of its file."""
    return device_numerics(device_of(name))


def device_of(name: str) -> Device:
    """Return the device ``PROFILE`` or ``PROFILE, PROPERTY=VALUE, ...``.

    Raises:
        ParityError: no such profile, property or variant, or no such form.
    """
    profile, *choices = (part.strip() for part in name.split(","))
    settings = {}
    for choice in choices:
        key, equals, value = choice.partition("=")
        if not equals:
            raise ParityError(f"device {name!r}: expected PROPERTY=VALUE, found {choice!r}")
        key = key.strip()
        if key in settings:
            raise ParityError(f"device {name!r}: {key} is given twice; give it one value")
        settings[key] = _value(value.strip())
    return device(profile, **settings)


def _value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def device_numerics(unit: Device) -> Numerics:
    """Return a numerics that computes as ``unit``, named by its label."""
    functions = {type_: partial(function, unit) for type_, function in OPERATIONS.items()}
    if _sums_as_storage(unit):  # and faster
        for type_ in _PRODUCTS:
            functions.pop(type_, None)
    formats = {
        **INTEGERS,
        DataType.FLOAT16: Format(torch.float32, _rounding(unit)),
        DataType.FLOAT32: Format(torch.float32),
    }
    return Numerics(unit.label, formats, functions)


def _sums_as_storage(unit: Device) -> bool:
    settings = unit.settings
    return (
        settings["accumulator"] == settings["convolution_accumulator"] == "wide"
        and settings["product_ceiling"] == OVERFLOW
        and settings["convolution"] == "direct"
        and settings["transposed_convolution"] == "as_convolution"
        and settings["specials"] == "ieee"
        and settings["bias"] == "wide"
        and settings["product_subnormals"] == settings["elementwise_subnormals"] == "kept"
    )


def _rounding(unit: Device) -> Rounding:
    never_nan = unit.settings["specials"] == "never_nan"
    flushes = unit.settings["elementwise_subnormals"] == "flushed"

    def rounded(tensor: Tensor, writable: bool) -> Tensor:
        y = round_to_float16(tensor, writable)
        if never_nan:
            y = torch.where(y.isnan(), 0.0, y)
        return flush_subnormals(y, True) if flushes else y

    return rounded


# ------------------------------------------------- one function for each type, as MIL spells it


def _function(name: str) -> Callable[..., Tensor]:
    return lambda unit, x, out=None: unit.function(name, x)


def _function_of_sum(name: str, usual: float) -> Callable[..., Tensor]:
    def compute(unit: Device, x: Tensor, epsilon: float = usual, out: Any = None) -> Tensor:
        return unit.function(name, unit.elementwise(lambda v: v + epsilon, x))

    return compute


def _gelu(unit: Device, x: Tensor, mode: str = "EXACT", out: Any = None) -> Tensor:
    if mode == "TANH_APPROXIMATION" and unit.settings["activations"] == "rounded_once":
        return unit.elementwise(lambda v: gelu(v, approximate="tanh"), x)
    if mode != "SIGMOID_APPROXIMATION":
        return unit.function("gelu", x)
    gate = unit.function("sigmoid", unit.elementwise(lambda v: 1.702 * v, x))
    return unit.elementwise(torch.mul, x, gate)


def _reduction(compute: Callable[[Device, Tensor, list[int]], Tensor]) -> Callable[..., Tensor]:
    def function(
        unit: Device, x: Tensor, axes: Ints | None = None, keep_dims: bool = False
    ) -> Tensor:
        chosen = _axes(x, axes)
        y = compute(unit, x, chosen)
        return y if keep_dims else y.squeeze(chosen)

    return function


def _axes(x: Tensor, axes: Ints | None) -> list[int]:
    return sorted({axis % x.ndim for axis in (range(x.ndim) if axes is None else axes)})


def _layer_norm(
    unit: Device,
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    chosen = _axes(x, axes)
    shape = [n if axis in chosen else 1 for axis, n in enumerate(x.shape)]
    scale, offset = (None if v is None else v.reshape(shape) for v in (gamma, beta))
    return unit.layer_norm(x, chosen, scale, offset, epsilon)


def _instance_norm(
    unit: Device,
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    shape = [-1] + [1] * (x.ndim - 2)
    scale, offset = (None if v is None else v.reshape(shape) for v in (gamma, beta))
    return unit.layer_norm(x, list(range(2, x.ndim)), scale, offset, epsilon)


def _matmul(
    unit: Device,
    x: Tensor,
    y: Tensor,
    transpose_x: bool = False,
    transpose_y: bool = False,
    out: Any = None,
) -> Tensor:
    left = x.mT if transpose_x and x.ndim > 1 else x
    right = y.mT if transpose_y and y.ndim > 1 else y
    left, right = left.to(torch.float32), right.to(torch.float32)  # one may hold integers
    result = unit.matmul(
        left[None] if left.ndim == 1 else left, right[:, None] if right.ndim == 1 else right
    )
    result = result.squeeze(-1) if right.ndim == 1 else result
    return result.squeeze(-2 if right.ndim > 1 else -1) if left.ndim == 1 else result


def _linear(
    unit: Device, x: Tensor, weight: Tensor, bias: Tensor | None = None, out: Any = None
) -> Tensor:
    bias = None if bias is None else bias.to(torch.float32)
    return unit.linear(x.to(torch.float32), weight.to(torch.float32), bias)


def _conv(
    unit: Device,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
    context: Any = None,
    out: Any = None,
) -> Tensor:
    from harness.mil.ops.convolution import spatial_padding  # it imports the numerics

    ones = (1,) * (x.ndim - 2)
    strides, dilations = strides or ones, dilations or ones
    reach = tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True))
    padding = spatial_padding(pad_type, pad, tuple(x.shape[2:]), reach, strides)
    return unit.convolution(x, weight, bias, Window(strides, padding, dilations, groups))


def _conv_transpose(
    unit: Device,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
    out: Any = None,
) -> Tensor:
    from harness.mil.ops.convolution import transposed_crop  # it imports the numerics

    ones = (1,) * (x.ndim - 2)
    strides, dilations = strides or ones, dilations or ones
    crop = transposed_crop(
        tuple(x.shape[2:]), tuple(weight.shape[2:]), strides, dilations, pad_type, pad, output_shape
    )
    return unit.transposed_convolution(x, weight, bias, Window(strides, crop, dilations, groups))


def _attention(
    unit: Device, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """Two products and a softmax, each stored in FP16: the form is the guide's, appendix A."""
    scale = 1 / math.sqrt(query.shape[-1])
    scores = unit.elementwise(lambda v: v * scale, unit.matmul(query, key.mT))
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        scores = torch.where(attn_mask, scores, -torch.inf)
    elif attn_mask is not None:
        scores = unit.elementwise(torch.add, scores, attn_mask)
    return unit.matmul(unit.softmax(scores, -1), value)


_PRODUCTS: Final = ("matmul", "linear", "conv", "conv_transpose")

OPERATIONS: Final[Mapping[str, Callable[..., Tensor]]] = {
    **{name: _function(name) for name in ("sigmoid", "tanh", "silu", "exp", "exp2", "sqrt")},
    "softplus": _function("softplus"),
    "gelu": _gelu,
    "inverse": _function_of_sum("reciprocal", 1e-4),
    "log": _function_of_sum("log", 1e-45),
    "rsqrt": _function_of_sum("rsqrt", 1e-12),
    "real_div": lambda unit, x, y, out=None: unit.real_div(x, y),
    "round": lambda unit, x, out=None: unit.round(x),
    "softmax": lambda unit, x, axis=-1: unit.softmax(x, axis),
    "reduce_sum": _reduction(Device.sum),
    "reduce_mean": _reduction(Device.mean),
    "reduce_log_sum_exp": _reduction(Device.log_sum_exp),
    "layer_norm": _layer_norm,
    "instance_norm": _instance_norm,
    "matmul": _matmul,
    "linear": _linear,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "scaled_dot_product_attention": _attention,
}
"""What a device computes, by the type of the operation: called with it and MIL's arguments."""

_STORED: Final = ("specials", "elementwise_subnormals")
_SUMS: Final = (*_STORED, "reduce_sum")
_FUNCTIONS: Final = (
    *_STORED,
    "activations",
    "table_rounding",
    "log_of_zero",
    "softplus_collapse",
)
_QUOTIENTS: Final = (*_FUNCTIONS, "real_div")
_PRODUCTS_BY: Final = (
    *_STORED,
    "tile_alignment",
    "product_rounding",
    "product_ceiling",
    "product_subnormals",
)
_MATRICES: Final = (*_PRODUCTS_BY, "accumulator")
_CONVOLUTIONS: Final = (*_PRODUCTS_BY, "convolution_accumulator", "bias")
_SOFTMAX: Final = (*_FUNCTIONS, *_SUMS, "softmax")
_NORMS: Final = (*_FUNCTIONS, *_SUMS, "reduce_mean", "normalisation")

_DEPENDS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(OPERATIONS, _FUNCTIONS),
    "real_div": _QUOTIENTS,
    "round": (*_STORED, "round"),
    "softmax": _SOFTMAX,
    "reduce_sum": _SUMS,
    "reduce_mean": (*_SUMS, "reduce_mean"),
    "reduce_log_sum_exp": (*_FUNCTIONS, *_SUMS),
    "layer_norm": _NORMS,
    "instance_norm": _NORMS,
    "matmul": _MATRICES,
    "linear": (*_MATRICES, "bias"),
    "conv": (*_CONVOLUTIONS, "convolution"),
    "conv_transpose": (*_CONVOLUTIONS, "transposed_convolution"),
    "scaled_dot_product_attention": (*_MATRICES, *_SOFTMAX),
}


def depends_on(operation: str) -> tuple[str, ...]:
    """Return the properties of a device that the result of an operation in FP16 depends on."""
    return _DEPENDS.get(operation, _STORED)
