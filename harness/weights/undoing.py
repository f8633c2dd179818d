"""A table that a program holds multiplied by factors, as it was before: exactly, or not at all.

A float times a factor is rounded, so several floats may have one product, and some products have no
origin. Multiplication never falls, so the origins of a product lie side by side around its quotient
in exact arithmetic, and a few neighbours on both sides of that hold them all. Where each number of
a table has exactly one, the table is undone bit for bit: so it is for every checkpoint that was
stored in FP16, as the published ones are, because its numbers lie thousands of FP32 steps apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

_NEIGHBOURS: Final = 4
"""On each side: a rounding is half a step of the product, which is at most one of the origin, and
there is one for each factor and one for the quotient."""


def undo(products: Numbers, factors: Sequence[float]) -> Numbers | str:
    """Return the numbers that give ``products``, in their type, or why they can't be told.

    Args:
        products: FP32 or FP16; FP16 ones were rounded once, after FP32 products of FP16 numbers.
        factors: positive; what was multiplied by, one after the other, in FP32.
    """
    dtype = products.dtype
    quotient = (products.astype(np.float64) / math.prod(factors)).astype(dtype)
    candidates = [quotient]
    for end in (-np.inf, np.inf):
        last = quotient
        for _ in range(_NEIGHBOURS):
            last = np.nextafter(last, dtype.type(end))
            candidates.append(last)
    origins = np.zeros(products.shape, np.intp)
    found = quotient.copy()
    for candidate in candidates:
        fits = _multiplied(candidate, factors) == products
        origins += fits
        found[fits] = candidate[fits]
    several, none = int((origins > 1).sum()), int((origins == 0).sum())
    if not several and not none:
        return found
    times = " and ".join(f"{factor:g}" for factor in factors)
    return (
        f"which the program holds times {times}: of its {products.size} numbers {several} have "
        f"several origins and {none} have none in {dtype.name}"
    )


def _multiplied(values: Numbers, factors: Sequence[float]) -> Numbers:
    made = values.astype(np.float32)
    with np.errstate(over="ignore"):
        for factor in factors:
            made = made * np.float32(factor)
        return made.astype(values.dtype)
