"""Matrix products with the accumulators that were published; FP16 values in, FP16 values out.

===================  ==============================================================================
``wide``             FP32 sums, rounded to FP16 once: Apple's GPUs up to M4; nearly exact
``tiles_of_four``    the Neural Engine of the M1: four products at a time in a window of 12 bits,
                     these sums added wide, rounded to FP16 once
``tensor_unit``      the GPU of the M5: pairs, then pairs of pairs, in FP32, in a fixed order
``sequential_fp16``  one product after the other, the sum rounded to FP16 after each: CPUs
===================  ==============================================================================

Inside a tile of four, terms are added one after the other, and before each addition both sides are
cut to the 12 bits that begin at the larger one's highest. That model gives all that was measured on
an M1: the tests hold it against every published probe. Whether cutting truncates or rounds is not
decided by any of them, so ``alignment`` is to be varied: ``truncated``, which is how adders are
built, and ``nearest`` differ by 3.6 dB.

Sums of tiles are "like FP32" on the device; here they are float64, so that no order of tiles has to
be made up. With a ceiling, an intermediate sum that reaches it makes the result infinite, too.

Cost, on one core of a server CPU, for each multiplication with its addition: ``wide`` 0.03 ns,
``tiles_of_four`` 3.6 ns, ``tensor_unit`` 0.22 ns, ``sequential_fp16`` 0.38 ns. The work
is spread over everything but the axis along which the device goes one by one; what is in work at a
time fits a cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Final

import torch
from torch import Tensor

from harness.devices.convolution import Product
from harness.devices.grid import OVERFLOW, flushed, limited, rounded
from harness.devices.profile import ProfileError

WINDOW_BITS: Final = 12
"""Significant bits that an addition inside a tile of four keeps, the highest one included."""
TILE: Final = 4
"""Lanes that are added before anything wide."""

_CUTS: Final = {"truncated": Tensor.trunc_, "nearest": Tensor.round_}
_TILES_AT_A_TIME: Final = 16
_TENSOR_UNIT_DEPTH: Final = 16
# Elements in work at a time: on a CPU they stay in the second-level cache.
_BUDGET: Final = {"cpu": 1 << 16}
_LARGE_BUDGET: Final = 1 << 25
_SMALLEST_QUANTUM: Final = 1 << 23  # the bits of 2^-126


def products(
    a: Tensor,
    b: Tensor,
    *,
    accumulator: str = "wide",
    alignment: str = "truncated",
    rounding: str = "fused",
    ceiling: float = OVERFLOW,
    subnormals: str = "kept",
    bias: Tensor | None = None,
) -> Tensor:
    """Return the matrix product of ``a`` [..., M, K] and ``b`` [..., K, N] as a unit gives it.

    Args:
        a: float32 or float16, values of the FP16 grid; others are rounded to it first.
        b: the same; its leading axes are broadcast with those of ``a``.
        accumulator: how terms are summed; the table above.
        alignment: of ``tiles_of_four``: ``truncated`` or ``nearest``.
        rounding: of ``sequential_fp16``: ``fused``, or ``rounded`` if each product becomes FP16
            before it is added.
        ceiling: the magnitude from which on results, and intermediate sums of tiles, are infinite.
        subnormals: ``flushed`` if subnormal operands count as zero.
        bias: added to the sums before they are rounded; broadcast with [B, M, N], where B are all
            leading axes.

    Returns:
        [..., M, N] in the type of ``a``, values of the FP16 grid.

    Raises:
        ProfileError: one of the named ways does not exist.
    """
    _choose("alignment", alignment, _CUTS)
    _choose("rounding", rounding, ("fused", "rounded"))
    _choose("subnormals", subnormals, ("kept", "flushed"))
    ways: dict[str, Product] = {
        "wide": torch.bmm,
        "tiles_of_four": _tiles_of_four(_CUTS[alignment], ceiling),
        "tensor_unit": _tensor_unit,
        "sequential_fp16": _sequential(rounding == "rounded"),
    }
    _choose("accumulator", accumulator, ways)
    dtype, shape = a.dtype, torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = (_operand(x, shape, subnormals == "flushed") for x in (a, b))
    sums = ways[accumulator](left, right)
    sums = sums if bias is None else sums + bias
    result = limited(rounded(sums), ceiling)
    return result.reshape(*shape, *result.shape[1:]).to(dtype)


def _choose(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ProfileError(f"{name}: expected one of {', '.join(known)}, found {value!r}")


def _operand(x: Tensor, batch: torch.Size, flushes: bool) -> Tensor:
    """Return ``x`` as [B, rows, columns] in float32, on the FP16 grid."""
    x = flushed(rounded(x)) if flushes else rounded(x)
    return x.expand(*batch, *x.shape[-2:]).reshape(batch.numel(), *x.shape[-2:])


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


def _by_pieces(a: Tensor, b: Tensor, depth: int, compute: Product) -> Tensor:
    result = a.new_empty(a.shape[0], a.shape[1], b.shape[2])
    for batch, rows, columns in _pieces(a, b, depth):
        result[batch, rows, columns] = compute(a[batch, rows], b[batch, :, columns])
    return result


def _padded(a: Tensor, b: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """Return both with zeros up to a whole number of ``multiple`` terms: they change no sum."""
    missing = -a.shape[2] % multiple
    if not missing:
        return a, b
    pad = torch.nn.functional.pad
    return pad(a, (0, missing)), pad(b, (0, 0, 0, missing))


# ----------------------------------------------------------------------------- tiles of four


def _tiles_of_four(cut: Callable[[Tensor], Tensor], ceiling: float) -> Product:
    def compute(a: Tensor, b: Tensor) -> Tensor:
        total = a.new_zeros(a.shape[0], a.shape[1], b.shape[2], dtype=torch.float64)
        over, under = (torch.zeros_like(total, dtype=torch.bool) for _ in range(2))
        for start in range(0, a.shape[2], TILE * _TILES_AT_A_TIME):
            terms = slice(start, start + TILE * _TILES_AT_A_TIME)
            sums = _tile_sums(a[:, :, terms], b[:, terms], cut).double()
            if ceiling >= OVERFLOW:
                total += sums.sum(0)
                continue
            running = sums.cumsum_(0).add_(total)
            over |= running.amax(0) >= ceiling
            under |= running.amin(0) <= -ceiling
            total = running[-1]
        # Both at once is left to the sum: what comes after an infinity is not published.
        result = total.float()
        return result.masked_fill(over & ~under, torch.inf).masked_fill(under & ~over, -torch.inf)

    def whole(a: Tensor, b: Tensor) -> Tensor:
        a, b = _padded(a, b, TILE)
        return _by_pieces(a, b, _TILES_AT_A_TIME, compute)

    return whole


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
    """Return what the last of 12 bits is worth in numbers whose largest magnitude is this."""
    bits = largest.view(torch.int32) & 0x7F800000
    return bits.sub_((WINDOW_BITS - 1) << 23).clamp_min_(_SMALLEST_QUANTUM).view(torch.float32)


def _aligned(x: Tensor, quantum: Tensor, cut: Callable[[Tensor], Tensor]) -> Tensor:
    return cut(x / quantum).mul_(quantum)  # powers of two: nothing but the cut rounds


# ----------------------------------------------------------------------------- tensor unit of M5


def _tensor_unit(a: Tensor, b: Tensor) -> Tensor:
    """Add pairs of products, pairs of those four apart, and four such sums one after the other.

    Products of FP16 values are exact in FP32, so each ``+`` here is one rounding to FP32.
    """
    a, b = _padded(a, b, _TENSOR_UNIT_DEPTH)

    def compute(a: Tensor, b: Tensor) -> Tensor:
        total = a.new_zeros(a.shape[0], a.shape[1], b.shape[2])

        def pair(first: int) -> Tensor:
            one = a[:, :, first, None] * b[:, None, first]
            return one.add_(a[:, :, first + 1, None] * b[:, None, first + 1])

        for start in range(0, a.shape[2], _TENSOR_UNIT_DEPTH):
            for lane in range(4):
                total += pair(start + 2 * lane).add_(pair(start + 8 + 2 * lane))
        return total

    return _by_pieces(a, b, 1, compute)


# ----------------------------------------------------------------------------- one after the other


def _sequential(rounds_products: bool) -> Product:
    def compute(a: Tensor, b: Tensor) -> Tensor:
        total = a.new_zeros(a.shape[0], a.shape[1], b.shape[2], dtype=torch.float16)
        for k in range(a.shape[2]):
            term = a[:, :, k, None] * b[:, None, k]
            if rounds_products:
                term = rounded(term)
            total.add_(term)  # in float32, the wider of the two, then rounded
        return total.float()

    return lambda a, b: _by_pieces(a, b, 1, compute)
