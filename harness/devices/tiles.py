"""Sums in tiles of four: what ``tiles_of_four`` in the table of accumulators stands for.

The rule takes some twenty operations for each product. PyTorch makes each of them a pass through
memory, so on a CPU the rule is compiled into one loop, which is five times as fast. Both
give the same numbers, and the tests hold one against the other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from harness.devices.grid import OVERFLOW
from harness.devices.pieces import by_pieces, padded

WINDOW_BITS: Final = 12
"""Significant bits that an addition inside a tile of four keeps, the highest one included."""
TILE: Final = 4
"""Lanes that are added before anything wide."""
CUTS: Final = {"truncated": (Tensor.trunc_, np.trunc), "nearest": (Tensor.round_, np.rint)}
"""How both sides of an addition are cut to the window: by PyTorch, and by NumPy."""

_EXPONENT: Final = 0x7F800000
_WINDOW: Final = (WINDOW_BITS - 1) << 23
_SMALLEST_QUANTUM: Final = 1 << 23  # the bits of 2^-126
_TILES_AT_A_TIME: Final = 16
_ROWS, _COLUMNS = 32, 512  # of a result that a thread makes: three rows of sums fit a first cache


def sums_of_tiles(a: Tensor, b: Tensor, *, alignment: str, ceiling: float) -> Tensor:
    """Return the products of ``a`` [B, M, K] and ``b`` [B, K, N] before they are rounded to FP16.

    Args:
        a: float32, values of the FP16 grid.
        b: the same.
        alignment: of `CUTS`.
        ceiling: the magnitude from which on an intermediate sum makes the result infinite; none if
            it is that of FP16.

    Returns:
        [B, M, N] in float32.
    """
    a, b = padded(a, b, TILE)
    bound = ceiling if ceiling < OVERFLOW else math.nan  # which nothing reaches
    if a.device.type == "cpu":
        return _by_loop(a, b, alignment, bound)
    return sums_by_torch(a, b, alignment, bound)


# ----------------------------------------------------------------------------- pass by pass


def sums_by_torch(a: Tensor, b: Tensor, alignment: str, ceiling: float) -> Tensor:
    """Return what `sums_of_tiles` does, on any device; K is a multiple of `TILE`."""
    cut, _ = CUTS[alignment]

    def compute(a: Tensor, b: Tensor) -> Tensor:
        total = a.new_zeros(a.shape[0], a.shape[1], b.shape[2], dtype=torch.float64)
        over, under = (torch.zeros_like(total, dtype=torch.bool) for _ in range(2))
        for start in range(0, a.shape[2], TILE * _TILES_AT_A_TIME):
            terms = slice(start, start + TILE * _TILES_AT_A_TIME)
            sums = _tile_sums(a[:, :, terms], b[:, terms], cut).double()
            if math.isnan(ceiling):
                total += sums.sum(0)
                continue
            running = sums.cumsum_(0).add_(total)
            over |= (running >= ceiling).any(0)
            under |= (running <= -ceiling).any(0)
            total = running[-1]
        # Both at once is left to the sum: what comes after an infinity is not published.
        result = total.float()
        return result.masked_fill(over & ~under, torch.inf).masked_fill(under & ~over, -torch.inf)

    return by_pieces(a, b, _TILES_AT_A_TIME, compute)


def _tile_sums(a: Tensor, b: Tensor, cut: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the sum of each four products, [T, B, M, N] for 4 T terms."""
    left = a.permute(2, 0, 1).unflatten(0, (-1, TILE)).unsqueeze(-1)  # [T, 4, B, M, 1]
    right = b.transpose(0, 1).unflatten(0, (-1, TILE)).unsqueeze(-2)  # [T, 4, B, 1, N]
    first = left[:, 0] * right[:, 0]
    total = _aligned(first, _quantum(first.abs()), cut)
    for lane in range(1, TILE):
        term = left[:, lane] * right[:, lane]
        quantum = _quantum(torch.maximum(total.abs(), term.abs()))
        total = _aligned(total, quantum, cut).add_(_aligned(term, quantum, cut))
    return total


def _quantum(largest: Tensor) -> Tensor:
    """Return what the last bit of the window is worth in numbers of at most this magnitude."""
    bits = largest.view(torch.int32) & _EXPONENT
    return bits.sub_(_WINDOW).clamp_min_(_SMALLEST_QUANTUM).view(torch.float32)


def _aligned(x: Tensor, quantum: Tensor, cut: Callable[[Tensor], Tensor]) -> Tensor:
    return cut(x / quantum).mul_(quantum)  # powers of two: nothing but the cut rounds


# ----------------------------------------------------------------------------- in one loop


def _by_loop(a: Tensor, b: Tensor, alignment: str, ceiling: float) -> Tensor:
    left, right = (x.contiguous().numpy() for x in (a, b))
    sums = np.empty((left.shape[0], left.shape[1], right.shape[2]), np.float32)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        work = partial(_loop(alignment), left, right, sums, ceiling)
        places = itertools.product(
            range(0, left.shape[1], _ROWS), range(0, right.shape[2], _COLUMNS)
        )
        for _ in threads.map(work, *zip(*places, strict=True)):
            pass
    return torch.from_numpy(sums)


@cache
def _loop(alignment: str) -> Callable[..., None]:
    """Return the loop over a piece of each product, compiled when it is first called.

    Columns don't know each other, and nothing branches: LLVM makes vectors of them.
    """
    import numba  # half a second, which nobody else needs to wait

    _, cut = CUTS[alignment]
    exponent, window, smallest = map(np.int32, (_EXPONENT, _WINDOW, _SMALLEST_QUANTUM))
    of_reciprocal = np.int32(254 << 23)  # less the bits of a power of two

    def quantum(x: Any) -> Any:
        return np.int32(max(np.int32(x.view(np.int32) & exponent) - window, smallest))

    def aligned(x: Any, bits: Any) -> Any:
        reciprocal = np.int32(of_reciprocal - bits).view(np.float32)
        return np.float32(cut(x * reciprocal) * bits.view(np.float32))

    inlined = partial(numba.njit, inline="always", error_model="numpy")
    quantum, aligned = inlined(quantum), inlined(aligned)

    def piece(a: Any, b: Any, sums: Any, ceiling: float, top: int, start: int) -> None:
        count = min(_COLUMNS, b.shape[2] - start)
        total = np.empty(_COLUMNS, np.float64)
        highest, lowest = np.empty_like(total), np.empty_like(total)
        for item in range(a.shape[0]):
            for row in range(top, min(top + _ROWS, a.shape[1])):
                total[:count] = highest[:count] = lowest[:count] = 0.0
                for first in range(0, a.shape[2], TILE):
                    for j in range(count):
                        one = a[item, row, first] * b[item, first, start + j]
                        one = aligned(one, quantum(np.float32(abs(one))))
                        for k in range(first + 1, first + TILE):
                            other = a[item, row, k] * b[item, k, start + j]
                            bits = quantum(np.float32(max(abs(one), abs(other))))
                            one = aligned(one, bits) + aligned(other, bits)
                        total[j] += one
                    for j in range(count):
                        highest[j] = max(highest[j], total[j])
                        lowest[j] = min(lowest[j], total[j])
                for j in range(count):
                    over, under = highest[j] >= ceiling, lowest[j] <= -ceiling
                    end = np.inf if over else -np.inf
                    sums[item, row, start + j] = total[j] if over == under else end

    compiled: Callable[..., None] = numba.njit(piece, nogil=True, error_model="numpy")
    return compiled
