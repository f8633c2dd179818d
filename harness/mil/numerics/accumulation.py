"""Sums whose accumulator is FP16: what the pessimistic bound computes, and in which order.

A sum of n terms (of products, for matrix products and convolutions) is taken in blocks of `BLOCK`
terms, in the order of memory. A block's terms and the accumulator are added wide (float32; products
of FP16 values are exact there) and the result is rounded to FP16, nearest even, so the accumulator
is an FP16 number after every block::

    accumulator = fp16(accumulator + (t[0] + t[1] + t[2] + t[3]))        for each four terms

This is the model of a block fused multiply-add with an FP16 accumulator (Blanchard, Higham, Lopez,
Mary and Pranesh, "Mixed precision block fused multiply-add", 2020). Measured units sum 4 (V100), 8
(A100) or 16 (H100) products between two roundings (Fasi, Higham, Mikaitis and Pranesh, "Numerical
behavior of NVIDIA tensor cores", 2021); what the Neural Engine does is not published. Four is the
least of those and the accumulator is one, not several lanes that are joined at the end, so a device
with FP16 accumulators is expected to do better, not worse. A long sum shows what such accumulators
show: it overflows above 65,504, and it stops growing where a block is less than half a unit in the
accumulator's last place (a sum of ones stops at 8,192).

What has a sum inside is computed around it: a mean divides the accumulated sum, a softmax its
exponentials, attention is two products and a softmax. Everything but the accumulator stays wide.

Order of the terms: as PyTorch lays them out; a convolution's run over input channels, then the
kernel; a transposed convolution accumulates over input channels for every kernel position, then
adds the positions that overlap, in order, one at a time. A bias is added last.

All functions here work on float32 tensors that hold the terms' factors, on any device.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BLOCK = 4
"""Terms that are summed wide between two roundings of the accumulator."""

# Accumulators that are in work at a time: on a CPU they fit the second-level cache.
_TILE = {"cpu": 1 << 16}
_LARGE_TILE = 1 << 24


def half_sum(x: Tensor, axes: Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """Return the sum of ``x`` over ``axes`` (all by default), accumulated in FP16."""
    rank = x.ndim
    chosen = sorted({axis % rank for axis in axes}) if axes else list(range(rank))
    kept = [axis for axis in range(rank) if axis not in chosen]
    shape = [x.shape[axis] for axis in kept]
    length = math.prod(x.shape[axis] for axis in chosen)
    terms = x.permute(*kept, *chosen).reshape(math.prod(shape), length)
    total = _sum_rows(terms).reshape(shape)
    return (
        total.reshape([1 if a in chosen else x.shape[a] for a in range(rank)]) if keepdim else total
    )


def _sum_rows(terms: Tensor) -> Tensor:
    rows, count = terms.shape
    padded = torch.constant_pad_nd(terms, [0, -count % BLOCK])
    blocks = padded.reshape(rows, padded.shape[1] // BLOCK, BLOCK).sum(-1).t().contiguous()
    accumulator = blocks.new_zeros(rows, dtype=torch.float16)
    for block in blocks.unbind():
        accumulator.add_(block)  # added in the wider type of the two, then rounded
    return accumulator.to(terms.dtype)


def half_running_sum(x: Tensor, axis: int, **_: object) -> Tensor:
    """Return the running sum of ``x`` along ``axis``, rounded to FP16 after every element."""
    if not x.shape[axis]:
        return x.clone()
    accumulator = torch.zeros_like(x.select(axis, 0), dtype=torch.float16)
    sums = [accumulator.add_(term).to(x.dtype) for term in x.unbind(axis)]
    return torch.stack(sums, axis)


def half_product(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of ``a`` [B, M, K] and ``b`` [B, K, N], accumulated in FP16."""
    batches, rows, inner = a.shape
    columns = b.shape[2]
    result = a.new_zeros(batches, rows, columns)
    tile = _tile(a)
    deep = max(1, min(batches, tile // max(1, rows * columns)))
    high = max(1, min(rows, tile // max(1, columns)))
    for first, top in itertools.product(range(0, batches, deep), range(0, rows, high)):
        accumulator = result[first : first + deep, top : top + high].clone()
        half = torch.empty_like(accumulator, dtype=torch.float16)
        left, right = a[first : first + deep, top : top + high], b[first : first + deep]
        for start in range(0, inner, BLOCK):
            terms = slice(start, start + BLOCK)
            accumulator.baddbmm_(left[:, :, terms], right[:, terms])
            accumulator.copy_(half.copy_(accumulator))
        result[first : first + deep, top : top + high] = accumulator
    return result


def _tile(x: Tensor) -> int:
    return _TILE.get(x.device.type, _LARGE_TILE)


def half_convolution(
    x: Tensor,
    weight: Tensor,
    strides: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Tensor:
    """Return the convolution of ``x`` [N, C_in, *D] with ``weight`` [C_out, C_in / groups, *K]."""
    amounts = [amount for size in reversed(padding) for amount in (size, size)]
    windows = torch.constant_pad_nd(x, amounts)
    for axis, (k, stride, dilation) in enumerate(
        zip(weight.shape[2:], strides, dilations, strict=True)
    ):
        windows = windows.unfold(axis + 2, (k - 1) * dilation + 1, stride)[..., ::dilation]
    rank = x.ndim - 2
    sizes = windows.shape[2 : 2 + rank]
    result = x.new_empty(x.shape[0], weight.shape[0], *sizes)
    channels, outputs = weight.shape[1], weight.shape[0] // groups
    # Channels and kernel first: these are the terms; batch and positions are what stays.
    terms = windows.permute(1, *range(2 + rank, 2 + 2 * rank), 0, *range(2, 2 + rank))
    for group in range(groups):
        kernels = weight[group * outputs : (group + 1) * outputs].reshape(1, outputs, -1)
        mine = terms[group * channels : (group + 1) * channels]
        for items, rows in _pieces(x.shape[0], sizes, max(1, _tile(x) // outputs)):
            piece = mine[(slice(None),) * (1 + rank) + (items, rows)]
            patches = piece.reshape(1, kernels.shape[2], -1)
            product = half_product(kernels, patches)[0].reshape(outputs, *piece.shape[1 + rank :])
            result[items, group * outputs : (group + 1) * outputs, rows] = product.transpose(0, 1)
    return result


def _pieces(items: int, sizes: Sequence[int], limit: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of the batch and of the first axis that hold about ``limit`` positions each."""
    row = math.prod(sizes[1:])
    if row * sizes[0] <= limit:
        step = max(1, limit // max(1, row * sizes[0]))
        yield from ((slice(i, i + step), slice(None)) for i in range(0, items, step))
        return
    step = max(1, limit // max(1, row))
    for item, top in itertools.product(range(items), range(0, sizes[0], step)):
        yield slice(item, item + 1), slice(top, top + step)


def half_transposed_convolution(
    x: Tensor,
    weight: Tensor,
    strides: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """Return ``x`` [N, C_in, *D] spread by ``weight`` [C_in, C_out / groups, *K]."""
    kernel, sizes = weight.shape[2:], x.shape[2:]
    items, outputs, inputs = x.shape[0], weight.shape[1], weight.shape[0] // groups
    left = weight.reshape(groups, inputs, -1).transpose(1, 2)  # [groups, C_out K, C_in]
    right = x.reshape(items * groups, inputs, -1)
    spread = half_product(left.repeat(items, 1, 1), right)
    spread = spread.reshape(items, groups * outputs, *kernel, *sizes)
    full = [(n - 1) * s + (k - 1) * d + 1 + extra for n, s, k, d, extra in zip(
        sizes, strides, kernel, dilations, output_padding, strict=True)]  # fmt: skip
    result = x.new_zeros(items, groups * outputs, *full)
    for number, tap in enumerate(itertools.product(*(range(k) for k in kernel))):
        place = [
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilations, sizes, strides, strict=True)
        ]
        region = result[(slice(None), slice(None), *place)]
        reached = spread.flatten(2, 1 + len(kernel))[:, :, number]
        region.copy_(region.add(reached).half())
    for axis, (p, length) in enumerate(zip(padding, full, strict=True), start=2):
        result = result.narrow(axis, p, length - 2 * p)
    return result.contiguous()
