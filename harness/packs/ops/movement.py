"""Movement: what puts elements elsewhere and computes none; gradients go the same way back."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.packs.problems import EXACT, OPS, Draw, Problem


@OPS.operation("permute", {"x": "any"}, bounds=EXACT)
def permute(draw: Draw) -> Iterator[Problem]:
    """y's axis i is x's axis axes[i]; y is contiguous in its own order."""

    def compute(x: Tensor, axes: list[int]) -> Tensor:
        return x.permute(axes)

    for name, shape, axes in (
        ("matrix", (3, 4), [1, 0]),
        ("rotation", (2, 3, 4), [2, 0, 1]),
        ("heads", (2, 3, 4, 5), [0, 2, 1, 3]),
        ("none", (2, 3), [0, 1]),
    ):
        yield Problem(name, compute, {"x": draw(*shape)}, attributes={"axes": axes})


@OPS.operation("reshape", {"x": "any"}, bounds=EXACT)
def reshape(draw: Draw) -> Iterator[Problem]:
    """The same elements in the same order under another shape."""
    yield Problem("fold", torch.reshape, {"x": draw(2, 3, 4)}, attributes={"shape": [6, 4]})
    yield Problem("flat", torch.reshape, {"x": draw(2, 3, 4)}, attributes={"shape": [24]})


@OPS.operation("expand", {"x": "any"}, bounds=EXACT)
def expand(draw: Draw) -> Iterator[Problem]:
    """Axes of size 1 are repeated; the gradient is the sum over the repetitions."""

    def compute(x: Tensor, shape: list[int]) -> Tensor:
        return x.expand(shape)

    yield Problem("column", compute, {"x": draw(3, 1)}, attributes={"shape": [3, 4]})
    yield Problem("new_axis", compute, {"x": draw(3)}, attributes={"shape": [2, 3]})
    yield Problem("scalar", compute, {"x": draw()}, attributes={"shape": [2, 2]})


@OPS.operation("pad", {"x": "any"}, bounds=EXACT)
def pad(draw: Draw) -> Iterator[Problem]:
    """amounts are before and after on each axis from the first on; reflect leaves out the edge."""

    def compute(x: Tensor, amounts: list[int], mode: str, value: float) -> Tensor:
        pairs = [amounts[i : i + 2] for i in range(0, len(amounts), 2)][::-1]
        flat = [number for pair in pairs for number in pair]
        if mode == "constant":
            return F.pad(x, flat, "constant", value)
        while len(flat) > 2 * (x.dim() - 1):
            del flat[-2:]  # PyTorch reflects all but the leading axes, which have none here
        return F.pad(x, flat, mode)

    for name, shape, amounts, mode, value in (
        ("zeros", (3, 4), [1, 0, 2, 3], "constant", 0.0),
        ("value", (3, 4), [0, 1, 1, 0], "constant", -1.5),
        ("reflect", (1, 2, 8), [0, 0, 0, 0, 3, 2], "reflect", 0.0),
        ("replicate", (1, 2, 5), [0, 0, 0, 0, 2, 4], "replicate", 0.0),
        ("circular", (1, 2, 6), [0, 0, 0, 0, 2, 1], "circular", 0.0),
    ):
        attributes = {"amounts": amounts, "mode": mode, "value": value}
        yield Problem(name, compute, {"x": draw(*shape)}, attributes=attributes)


@OPS.operation("slice", {"x": "any"}, bounds=EXACT)
def slice_axes(draw: Draw) -> Iterator[Problem]:
    """Elements begin, begin + step, ... before end on each axis: shrinking and striding."""

    def compute(x: Tensor, begin: list[int], end: list[int], step: list[int]) -> Tensor:
        return x[tuple(slice(*place) for place in zip(begin, end, step, strict=True))]

    for name, shape, begin, end, step in (
        ("shrink", (5, 6), [1, 2], [4, 6], [1, 1]),
        ("stride", (7, 9), [0, 1], [7, 9], [2, 3]),
        ("one_element", (4, 4), [2, 3], [3, 4], [1, 1]),
        ("nothing", (4, 4), [2, 0], [2, 4], [1, 1]),
    ):
        attributes = {"begin": begin, "end": end, "step": step}
        yield Problem(name, compute, {"x": draw(*shape)}, attributes=attributes)


@OPS.operation("concat", {"a": "any", "b": "any"}, bounds=EXACT)
def concat(draw: Draw) -> Iterator[Problem]:
    """a, then b, along an axis."""

    def compute(a: Tensor, b: Tensor, axis: int) -> Tensor:
        return torch.cat([a, b], axis)

    given = {"a": draw(2, 3), "b": draw(2, 5)}
    yield Problem("last_axis", compute, given, attributes={"axis": 1})
    given = {"a": draw(0, 3), "b": draw(2, 3)}
    yield Problem("with_nothing", compute, given, attributes={"axis": 0})


@OPS.operation("flip", {"x": "any"}, bounds=EXACT)
def flip(draw: Draw) -> Iterator[Problem]:
    """The order of elements along the axes is turned round."""

    def compute(x: Tensor, axes: list[int]) -> Tensor:
        return x.flip(axes)

    yield Problem("time", compute, {"x": draw(2, 3, 4)}, attributes={"axes": [2]})
    yield Problem("two_axes", compute, {"x": draw(3, 4)}, attributes={"axes": [0, 1]})
