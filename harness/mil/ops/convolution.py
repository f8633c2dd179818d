"""Convolution and transposed convolution in one, two and three dimensions.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS17}/conv.py`` and, for the padding types,
``aggregated_pad`` in ``ops/defs/_utils.py`` of coremltools. ``same`` gives an output of
ceil(input / stride) and puts an odd element of padding after the data, ``same_lower`` before it.
"""

from __future__ import annotations

import math

from torch.nn import functional

from harness.mil.ops.registry import Ints, Tensor, operation

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def spatial_padding(
    pad_type: str, pad: Ints | None, sizes: Ints, kernel: Ints, strides: Ints
) -> list[tuple[int, int]]:
    """Return the padding before and after each spatial dimension.

    Args:
        pad_type: ``valid``, ``custom``, ``same`` or ``same_lower``.
        pad: before and after, dimension by dimension; used by ``custom``.
        sizes: of the spatial dimensions of the input.
        kernel: sizes with dilation applied.
        strides: of each spatial dimension.

    Raises:
        ValueError: an unknown type, or ``custom`` without a fitting ``pad``.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        if pad is None or len(pad) != 2 * len(sizes):
            raise ValueError(f"pad_type 'custom' needs {2 * len(sizes)} numbers in pad, not {pad}")
        return list(zip(pad[::2], pad[1::2], strict=True))
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"unknown pad_type {pad_type!r}")
    result = []
    for size, length, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + length - size)
        small, large = total // 2, total - total // 2
        result.append((small, large) if pad_type == "same" else (large, small))
    return result


def pad_spatial(x: Tensor, padding: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    """Pad (or, where negative, crop) the trailing dimensions of ``x`` with ``value``."""
    flat = [amount for pair in reversed(padding) for amount in pair]
    return functional.pad(x, flat, value=value)


@operation("conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """Correlate ``x`` [N, C_in, *D] with ``weight`` [C_out, C_in / groups, *K]."""
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    kernel = _dilated(weight, dilations)
    padding = spatial_padding(pad_type, pad, tuple(x.shape[2:]), kernel, strides)
    if all(before == after for before, after in padding):
        symmetric = tuple(before for before, _ in padding)
    else:
        x, symmetric = pad_spatial(x, padding), (0,) * rank
    return _CONV[rank](x, weight, bias, strides, symmetric, dilations, groups)


@operation("conv_transpose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """Spread ``x`` [N, C_in, *D] with ``weight`` [C_in, C_out / groups, *K].

    ``pad`` crops the full result; ``output_shape`` fixes its length, counted from the crop's start.
    Positions that no input reaches hold the bias.
    """
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    kernel = _dilated(weight, dilations)
    sizes = tuple(x.shape[2:])
    full = [(n - 1) * s + k for n, s, k in zip(sizes, strides, kernel, strict=True)]
    crop = _transposed_crop(pad_type, pad, full, sizes, strides)
    if output_shape is not None:
        crop = [
            (before, length - before - wanted)
            for (before, _), length, wanted in zip(crop, full, output_shape[2:], strict=True)
        ]
    function = _CONV_TRANSPOSE[rank]
    if all(before == after >= 0 for before, after in crop):
        padding = tuple(before for before, _ in crop)
        return function(x, weight, bias, strides, padding, 0, groups, dilations)
    y = function(x, weight, None, strides, 0, 0, groups, dilations)
    y = pad_spatial(y, [(-before, -after) for before, after in crop])
    return y if bias is None else y + bias.reshape([-1] + [1] * rank)


def _transposed_crop(
    pad_type: str, pad: Ints | None, full: list[int], sizes: Ints, strides: Ints
) -> list[tuple[int, int]]:
    """Return how much of the full result to drop before and after; negative: to add."""
    if pad_type not in ("same", "same_lower"):
        return spatial_padding(pad_type, pad, sizes, sizes, strides)
    crop = []
    for length, size, stride in zip(full, sizes, strides, strict=True):
        total = length - size * stride
        small, large = total // 2, total - total // 2
        crop.append((small, large) if pad_type == "same" else (large, small))
    return crop


def _dilated(weight: Tensor, dilations: Ints) -> Ints:
    return tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True))
