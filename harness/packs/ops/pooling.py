"""Pooling and pixel shuffle."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from harness.packs.problems import EXACT, OPS, Draw, Problem


@OPS.operation("max_pool1d", {"x": "NCL", "y": "NCL"}, bounds=EXACT, padding_wins=False)
def max_pool1d(draw: Draw) -> Iterator[Problem]:
    """The greatest of each window; padding never wins. A gradient goes to the winner alone."""

    def compute(x: Tensor, kernel: int, stride: int, padding: int, ceil_mode: bool) -> Tensor:
        return F.max_pool1d(x, kernel, stride, padding, ceil_mode=ceil_mode)

    for name, shape, row in (
        ("basic", (2, 3, 12), (3, 3, 0, False)),
        ("overlapping", (1, 2, 11), (4, 2, 1, False)),
        ("ceil", (1, 2, 12), (4, 3, 0, True)),
        ("one_window", (1, 1, 5), (5, 5, 0, False)),
    ):
        attributes = dict(zip(("kernel", "stride", "padding", "ceil_mode"), row, strict=True))
        # All below zero: a padding of zeros would win.
        yield Problem(name, compute, {"x": draw(*shape, mean=-9.0)}, attributes=attributes)


@OPS.operation("max_pool2d", {"x": "NCHW", "y": "NCHW"}, bounds=EXACT, padding_wins=False)
def max_pool2d(draw: Draw) -> Iterator[Problem]:
    """The greatest of each window of height and width."""

    def compute(x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> Tensor:
        return F.max_pool2d(x, kernel, stride, padding)

    for name, shape, kernel, stride, padding in (
        ("basic", (1, 2, 6, 8), [2, 2], [2, 2], [0, 0]),
        ("uneven", (2, 1, 7, 6), [3, 2], [2, 1], [1, 0]),
    ):
        attributes = {"kernel": kernel, "stride": stride, "padding": padding}
        yield Problem(name, compute, {"x": draw(*shape, mean=-9.0)}, attributes=attributes)


@OPS.operation("avg_pool1d", {"x": "NCL", "y": "NCL"}, padding_counts=True)
def avg_pool1d(draw: Draw) -> Iterator[Problem]:
    """The mean of each window; zeros of the padding count."""

    def compute(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
        return F.avg_pool1d(x, kernel, stride, padding)

    for name, row in (("basic", (4, 4, 0)), ("padding", (3, 2, 1))):
        attributes = dict(zip(("kernel", "stride", "padding"), row, strict=True))
        yield Problem(name, compute, {"x": draw(1, 2, 12)}, attributes=attributes, levels=True)


@OPS.operation("pixel_shuffle", {"x": "[N, C r r, H, W]", "y": "[N, C, H r, W r]"}, bounds=EXACT)
def pixel_shuffle(draw: Draw) -> Iterator[Problem]:
    """y[n, c, h r + i, w r + j] = x[n, (c r + i) r + j, h, w]."""

    def compute(x: Tensor, factor: int) -> Tensor:
        return F.pixel_shuffle(x, factor)

    yield Problem("two", compute, {"x": draw(1, 8, 3, 2)}, attributes={"factor": 2})
    yield Problem("three", compute, {"x": draw(2, 9, 2, 3)}, attributes={"factor": 3})
