"""Convolutions and transposed convolutions in one and two dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch.nn.functional as F

from harness.packs.problems import OPS, Compute, Draw, Problem

_Row = tuple[tuple[int, ...], tuple[int, ...], int, Mapping[str, Any]]
"""Shapes of x and of the weight, the length of the bias (0 for none), and attributes."""
_LAYOUTS_1D = {"x": "NCL", "weight": "OIL", "bias": "O", "y": "NCL"}
_LAYOUTS_2D = {"x": "NCHW", "weight": "OIHW", "bias": "O", "y": "NCHW"}


def _problems(
    draw: Draw, compute: Compute, rows: Mapping[str, _Row], *, levels: str = ""
) -> Iterator[Problem]:
    """Yield cases whose outputs have about the level of their input; one of them at all levels."""
    for name, (x, weight, bias, attributes) in rows.items():
        parameters = {"weight": draw(*weight, scale=math.prod(weight[1:]) ** -0.5)}
        if bias:
            parameters["bias"] = draw(bias)
        given = {"x": draw(*x)}
        yield Problem(name, compute, given, parameters, attributes, levels=name == levels)


def _with(stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


@OPS.operation("conv1d", _LAYOUTS_1D, padding_mode="zeros")
def conv1d(draw: Draw) -> Iterator[Problem]:
    """Cross-correlation (the kernel is not flipped) with zero padding on both ends."""
    rows: dict[str, _Row] = {
        "basic": ((2, 3, 20), (4, 3, 5), 4, _with(1, 0, 1, 1)),
        "padding": ((1, 3, 16), (4, 3, 5), 4, _with(1, 2, 1, 1)),
        "stride": ((1, 2, 33), (6, 2, 8), 6, _with(4, 2, 1, 1)),
        "dilation": ((1, 2, 24), (3, 2, 3), 3, _with(1, 4, 4, 1)),
        "groups": ((1, 6, 12), (4, 3, 3), 4, _with(1, 1, 1, 2)),
        "depthwise": ((1, 5, 14), (5, 1, 3), 5, _with(2, 1, 2, 5)),
        "pointwise": ((1, 8, 7), (4, 8, 1), 4, _with(1, 0, 1, 1)),
        "without_bias": ((1, 2, 9), (3, 2, 3), 0, _with(1, 1, 1, 1)),
        "one_sample": ((1, 1, 1), (1, 1, 3), 1, _with(1, 1, 1, 1)),
        "only_padding_and_one": ((1, 2, 1), (2, 2, 8), 2, _with(4, 4, 1, 1)),
        "long_sum": ((1, 64, 12), (2, 64, 9), 2, _with(1, 4, 1, 1)),
    }
    yield from _problems(draw, F.conv1d, rows, levels="padding")


@OPS.operation("conv2d", _LAYOUTS_2D, padding_mode="zeros")
def conv2d(draw: Draw) -> Iterator[Problem]:
    """Cross-correlation over height and width; attributes are [height, width]."""
    one, none = [1, 1], [0, 0]
    rows: dict[str, _Row] = {
        "basic": ((2, 3, 7, 9), (4, 3, 3, 2), 4, _with(one, none, one, 1)),
        "padding": ((1, 2, 6, 5), (3, 2, 3, 5), 3, _with(one, [1, 2], one, 1)),
        "frequency_only": ((1, 2, 16, 4), (5, 2, 8, 1), 5, _with([4, 1], [2, 0], one, 1)),
        "dilation": ((1, 2, 9, 8), (2, 2, 3, 3), 2, _with(one, [2, 1], [2, 1], 1)),
        "groups": ((1, 4, 5, 5), (6, 2, 3, 3), 6, _with(one, [1, 1], one, 2)),
        "depthwise": ((1, 3, 6, 6), (3, 1, 3, 3), 3, _with([2, 2], [1, 1], one, 3)),
        "pointwise": ((1, 6, 3, 4), (4, 6, 1, 1), 4, _with(one, none, one, 1)),
    }
    yield from _problems(draw, F.conv2d, rows, levels="frequency_only")


def _transposed(
    stride: Any, padding: Any, output_padding: Any, dilation: Any, groups: int
) -> dict[str, Any]:
    return _with(stride, padding, dilation, groups) | {"output_padding": output_padding}


@OPS.operation("conv_transpose1d", _LAYOUTS_1D | {"weight": "IOL"})
def conv_transpose1d(draw: Draw) -> Iterator[Problem]:
    """The gradient of conv1d with respect to its input; padding is cut from both ends."""
    rows: dict[str, _Row] = {
        "basic": ((2, 3, 8), (3, 4, 5), 4, _transposed(1, 0, 0, 1, 1)),
        "upsampling": ((1, 4, 9), (4, 2, 8), 2, _transposed(4, 0, 0, 1, 1)),
        "padding": ((1, 4, 9), (4, 2, 8), 2, _transposed(4, 2, 0, 1, 1)),
        "output_padding": ((1, 2, 6), (2, 3, 3), 3, _transposed(2, 1, 1, 1, 1)),
        "dilation": ((1, 2, 6), (2, 2, 3), 2, _transposed(2, 1, 0, 3, 1)),
        "groups": ((1, 4, 6), (4, 3, 3), 6, _transposed(1, 0, 0, 1, 2)),
        "square": ((1, 3, 5), (3, 3, 4), 3, _transposed(2, 0, 0, 1, 1)),
        "one_sample": ((1, 1, 1), (1, 1, 4), 1, _transposed(4, 0, 0, 1, 1)),
    }
    yield from _problems(draw, F.conv_transpose1d, rows, levels="upsampling")


@OPS.operation("conv_transpose2d", _LAYOUTS_2D | {"weight": "IOHW"})
def conv_transpose2d(draw: Draw) -> Iterator[Problem]:
    """The gradient of conv2d with respect to its input; attributes are [height, width]."""
    one, none = [1, 1], [0, 0]
    rows: dict[str, _Row] = {
        "basic": ((1, 3, 4, 5), (3, 2, 3, 3), 2, _transposed(one, none, none, one, 1)),
        "frequency_only": ((1, 4, 5, 3), (4, 2, 8, 1), 2, _transposed([4, 1], none, none, one, 1)),
        "padding": ((1, 2, 4, 4), (2, 3, 4, 4), 3, _transposed([2, 2], [1, 1], none, one, 1)),
        "output_padding": ((1, 2, 3, 4), (2, 2, 3, 3), 2, _transposed([2, 3], one, one, one, 1)),
        "groups": ((1, 4, 3, 3), (4, 2, 3, 3), 4, _transposed(one, none, none, one, 2)),
        "dilation": ((1, 2, 3, 4), (2, 2, 2, 3), 2, _transposed(one, none, none, [3, 2], 1)),
    }
    yield from _problems(draw, F.conv_transpose2d, rows)
