"""Products in pieces whose work fits a cache, and operands of whole tiles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from harness.devices.convolution import Product

# Elements in work at a time: on a CPU they stay in the second-level cache.
_BUDGET: Final = {"cpu": 1 << 16}
_LARGE_BUDGET: Final = 1 << 25


def _pieces(a: Tensor, b: Tensor, depth: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield slices of batch, rows and columns whose product, ``depth`` deep, fits the budget."""
    batches, rows, columns = a.shape[0], a.shape[1], b.shape[2]
    budget = max(1, _BUDGET.get(a.device.type, _LARGE_BUDGET) // depth)
    wide = max(1, min(columns, budget))
    high = max(1, min(rows, budget // wide))
    deep = max(1, min(batches, budget // (wide * high)))
    for one, two, three in itertools.product(
        range(0, batches, deep), range(0, rows, high), range(0, columns, wide)
    ):
        yield slice(one, one + deep), slice(two, two + high), slice(three, three + wide)


def by_pieces(a: Tensor, b: Tensor, depth: int, compute: Product) -> Tensor:
    """Return the product of ``a`` [B, M, K] and ``b`` [B, K, N], of which some is made at a time.

    Args:
        a: the left side.
        b: the right side.
        depth: values that ``compute`` holds for each element of the result.
        compute: makes a piece of it.
    """
    result = a.new_empty(a.shape[0], a.shape[1], b.shape[2])
    for batch, rows, columns in _pieces(a, b, depth):
        result[batch, rows, columns] = compute(a[batch, rows], b[batch, :, columns])
    return result


def padded(a: Tensor, b: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """Return both with zeros up to a whole number of ``multiple`` terms: they change no sum."""
    missing = -a.shape[2] % multiple
    if not missing:
        return a, b
    pad = torch.nn.functional.pad
    return pad(a, (0, missing)), pad(b, (0, 0, 0, missing))
