"""Reductions over axes, long and ill-conditioned ones among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from harness.packs.problems import EXACT, OPS, SEVERAL, Bounds, Draw, Problem

_CANCELLING = Bounds(1e-2, 1e-4, 60.0)
"""A sum that is a hundredth of its terms keeps four digits, whatever the order."""

_PLAIN: Final = {"keepdims": False}


def _reduced(x: Tensor, function: str, axes: list[int], keepdims: bool, ddof: int = 0) -> Tensor:
    known = torch.linalg.vector_norm if function == "l2_norm" else getattr(torch, function)
    divisor = {"correction": ddof} if function in ("var", "std") else {}
    result: Tensor = known(x, dim=axes, keepdim=keepdims, **divisor)
    return result


@OPS.operation("reduce", {"x": "any"})
def reduce(draw: Draw) -> Iterator[Problem]:
    """One number for all elements along the axes; var and std divide by the count less ddof."""

    def case(
        name: str,
        function: str,
        shape: tuple[int, ...],
        axes: list[int],
        *,
        mean: float = 0.0,
        options: Mapping[str, Any] = _PLAIN,
        bounds: Bounds | None = None,
        levels: bool = False,
    ) -> Problem:
        attributes = {"function": function, "axes": axes, **options}
        given = {"x": draw(*shape, mean=mean)}
        return Problem(name, _reduced, given, attributes=attributes, bounds=bounds, levels=levels)

    biased, unbiased = ({**_PLAIN, "ddof": ddof} for ddof in (0, 1))
    yield case("sum", "sum", (3, 4, 5), [1], levels=True)
    yield case("sum_of_all", "sum", (3, 4), [0, 1])
    yield case("sum_keepdims", "sum", (3, 4), [-1], options={"keepdims": True})
    yield case("sum_of_none", "sum", (2, 0), [1])
    yield case("sum_long", "sum", (2, 1 << 16), [1], bounds=SEVERAL, mean=0.5)
    yield case("sum_cancelling", "sum", (2, 1 << 14), [1], bounds=_CANCELLING)
    yield case("mean", "mean", (4, 6), [0])
    yield case("mean_long", "mean", (1, 1 << 16), [1], bounds=SEVERAL, mean=0.5)
    yield case("var_biased", "var", (3, 20), [1], options=biased)
    yield case("var_unbiased", "var", (3, 20), [1], options=unbiased)
    yield case("std_unbiased", "std", (2, 3, 8), [1, 2], options=unbiased, levels=True)
    yield case("amax", "amax", (4, 7), [1], bounds=EXACT)
    yield case("amin", "amin", (4, 7), [0], bounds=EXACT)
    yield case("l2_norm", "l2_norm", (3, 9), [1])
    yield case("one_element", "sum", (1,), [0])


@OPS.operation("cumsum", {"x": "any"}, bounds=SEVERAL)
def cumsum(draw: Draw) -> Iterator[Problem]:
    """Running sums along an axis, the element itself among them."""
    yield Problem("basic", torch.cumsum, {"x": draw(3, 9)}, attributes={"axis": 1})
    yield Problem("first_axis", torch.cumsum, {"x": draw(6, 2)}, attributes={"axis": 0})
