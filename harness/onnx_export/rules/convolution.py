"""Convolution and transposed convolution in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

from harness.mil.ops.convolution import transposed_crop
from harness.onnx_export.build import Graph, Value
from harness.onnx_export.registry import exports

_AUTOMATIC = {"valid": "VALID", "same": "SAME_UPPER", "same_lower": "SAME_LOWER"}

Ints = tuple[int, ...]


@exports("conv")
def conv(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value | None,
    strides: Ints | None,
    pad_type: str,
    pad: Ints | None,
    dilations: Ints | None,
    groups: int,
) -> str:
    """Correlate ``x`` [N, C_in, *D] with ``weight`` [C_out, C_in / groups, *K]."""
    attributes: dict[str, Any] = {"auto_pad": _AUTOMATIC[pad_type]} if pad_type != "custom" else {}
    if pad_type == "custom":
        attributes["pads"] = [*(pad or ())[::2], *(pad or ())[1::2]]
    ones = [1] * (x.rank - 2)
    return g(
        "Conv",
        *(x, weight, bias),
        strides=list(strides or ones),
        dilations=list(dilations or ones),
        group=groups,
        kernel_shape=list(weight.sizes[2:]),
        **attributes,
    )


@exports("conv_transpose")
def conv_transpose(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value | None,
    pad: Ints | None,
    output_shape: Ints | None,
    pad_type: str,
    strides: Ints | None,
    dilations: Ints | None,
    groups: int,
) -> str:
    """Spread ``x`` [N, C_in, *D] with ``weight`` [C_in, C_out / groups, *K]; ``pad`` crops."""
    rank = x.rank - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    kernel = weight.sizes[2:]
    crop = transposed_crop(x.sizes[2:], kernel, strides, dilations, pad_type, pad, output_shape)
    plain = all(before >= 0 <= after for before, after in crop)
    pads = [before for before, _ in crop] + [after for _, after in crop]
    y = g(
        "ConvTranspose",
        *(x, weight, bias if plain else None),
        strides=list(strides),
        dilations=list(dilations),
        group=groups,
        kernel_shape=list(kernel),
        pads=pads if plain else [0] * (2 * rank),
    )
    if plain:
        return y
    # What is added holds the bias alone, so that comes last.
    y = g("Pad", y, [0, 0, *(-n for n in pads[:rank]), 0, 0, *(-n for n in pads[rank:])])
    return y if bias is None else g("Add", y, g("Reshape", bias, x.along(1)))
