"""Convolution and transposed convolution in one, two and three dimensions."""

from __future__ import annotations

from harness.mil.ops.convolution import spatial_padding, transposed_crop
from harness.onnx_export.build import Graph, Ints, Value
from harness.onnx_export.registry import exports


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
    rank, kernel = x.rank - 2, weight.sizes[2:]
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    dilated = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    # Not ``auto_pad``: with dilations ONNX Runtime refuses it, and where a stride is longer than
    # the kernel it drops elements of ``x``.
    sizes = x.sizes[2:] if pad_type.startswith("same") else (0,) * rank
    befores, afters = zip(*spatial_padding(pad_type, pad, sizes, dilated, strides), strict=True)
    return g(
        "Conv",
        *(x, weight, bias),
        strides=list(strides),
        dilations=list(dilations),
        group=groups,
        kernel_shape=list(kernel),
        pads=[*befores, *afters],
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
