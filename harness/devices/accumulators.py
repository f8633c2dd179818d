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
``tiles_of_four`` 0.6 ns, ``tensor_unit`` 0.22 ns, ``sequential_fp16`` 0.38 ns. The work
is spread over everything but the axis along which the device goes one by one; what is in work at a
time fits a cache.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Final

import torch
from torch import Tensor

from harness.devices.convolution import Product
from harness.devices.grid import OVERFLOW, limited, rounded
from harness.devices.pieces import by_pieces, padded
from harness.devices.profile import ProfileError
from harness.devices.tiles import CUTS, sums_of_tiles

_TENSOR_UNIT_DEPTH: Final = 16


def products(
    a: Tensor,
    b: Tensor,
    *,
    accumulator: str = "wide",
    alignment: str = "truncated",
    rounding: str = "fused",
    ceiling: float = OVERFLOW,
    bias: Tensor | None = None,
) -> Tensor:
    """Return the matrix product of ``a`` [..., M, K] and ``b`` [..., K, N] as a unit gives it.

    Args:
        a: float32, values of the FP16 grid.
        b: the same; its leading axes are broadcast with those of ``a``.
        accumulator: how terms are summed; the table above.
        alignment: of ``tiles_of_four``: ``truncated`` or ``nearest``.
        rounding: of ``sequential_fp16``: ``fused``, or ``rounded`` if each product becomes FP16
            before it is added.
        ceiling: the magnitude from which on results, and intermediate sums of tiles, are infinite.
        bias: added to the sums before they are rounded; broadcast with [B, M, N], where B are all
            leading axes.

    Returns:
        [..., M, N] in float32, values of the FP16 grid.

    Raises:
        ProfileError: one of the named ways does not exist.
    """
    _choose("alignment", alignment, CUTS)
    _choose("rounding", rounding, ("fused", "rounded"))
    ways: dict[str, Product] = {
        "wide": torch.bmm,
        "tiles_of_four": partial(sums_of_tiles, alignment=alignment, ceiling=ceiling),
        "tensor_unit": _tensor_unit,
        "sequential_fp16": _sequential(rounding == "rounded"),
    }
    _choose("accumulator", accumulator, ways)
    shape = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = (x.expand(*shape, -1, -1).reshape(shape.numel(), *x.shape[-2:]) for x in (a, b))
    sums = ways[accumulator](left, right)
    sums = sums if bias is None else sums + bias
    result = limited(rounded(sums), ceiling)
    return result.reshape(*shape, *result.shape[1:])


def _choose(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ProfileError(f"{name}: expected one of {', '.join(known)}, found {value!r}")


# ----------------------------------------------------------------------------- tensor unit of M5


def _tensor_unit(a: Tensor, b: Tensor) -> Tensor:
    """Add pairs of products, pairs of those four apart, and four such sums one after the other.

    Products of FP16 values are exact in FP32, so each ``+`` here is one rounding to FP32.
    """
    a, b = padded(a, b, _TENSOR_UNIT_DEPTH)

    def compute(a: Tensor, b: Tensor) -> Tensor:
        total = a.new_zeros(a.shape[0], a.shape[1], b.shape[2])

        def pair(first: int) -> Tensor:
            one = a[:, :, first, None] * b[:, None, first]
            return one.add_(a[:, :, first + 1, None] * b[:, None, first + 1])

        for start in range(0, a.shape[2], _TENSOR_UNIT_DEPTH):
            for lane in range(4):
                total += pair(start + 2 * lane).add_(pair(start + 8 + 2 * lane))
        return total

    return by_pieces(a, b, 1, compute)


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

    return lambda a, b: by_pieces(a, b, 1, compute)
