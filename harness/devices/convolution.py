"""Convolutions as sums of products: windows are unfolded, and any accumulator adds them up.

The order in which a unit takes the terms of a convolution is not published. Here it is the order of
memory: input channels, then the kernel. A transposed convolution is what it is on paper: the input
with zeros between its elements, convolved with the kernel turned around.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Product = Callable[[Tensor, Tensor], Tensor]
"""From [B, M, K] and [B, K, N] to [B, M, N]."""


@dataclass(frozen=True)
class Window:
    """Where the kernel of a convolution goes, for each spatial axis.

    Attributes:
        strides: from one place to the next; of a transposed convolution, of its output.
        padding: zeros before and after; of a transposed convolution, what is cut off its output.
        dilations: from one element of the kernel to the next.
        groups: parts of the channels that don't see each other.
    """

    strides: Sequence[int]
    padding: Sequence[tuple[int, int]]
    dilations: Sequence[int]
    groups: int = 1


def convolution(x: Tensor, weight: Tensor, product: Product, window: Window) -> Tensor:
    """Return the convolution of ``x`` with ``weight``, without a bias.

    Args:
        x: [N, C_in, *D], any number of spatial axes.
        weight: [C_out, C_in / groups, *K].
        product: sums the products, `harness.devices.accumulators.products` with its settings.
        window: where the kernel goes.

    Returns:
        [N, C_out, *D'].
    """
    windows = torch.constant_pad_nd(x, [n for pair in reversed(window.padding) for n in pair])
    steps = zip(weight.shape[2:], window.strides, window.dilations, strict=True)
    for axis, (k, stride, dilation) in enumerate(steps):
        windows = windows.unfold(axis + 2, (k - 1) * dilation + 1, stride)[..., ::dilation]
    rank = x.ndim - 2
    items, sizes = x.shape[0], windows.shape[2 : 2 + rank]
    # [groups, C_in / groups, *K, N, *D']: terms first, then what each of them is a term of.
    order = (1, 2, *range(3 + rank, 3 + 2 * rank), 0, *range(3, 3 + rank))
    groups = window.groups
    terms = windows.unflatten(1, (groups, -1)).permute(order)
    patches = terms.reshape(groups, weight.shape[1:].numel(), items * sizes.numel())
    kernels = weight.reshape(groups, weight.shape[0] // groups, -1)
    sums = product(kernels, patches).reshape(weight.shape[0], items, *sizes)
    return sums.transpose(0, 1)


def transposed_convolution(x: Tensor, weight: Tensor, product: Product, window: Window) -> Tensor:
    """Return ``x`` [N, C_in, *D] spread by ``weight`` [C_in, C_out / groups, *K], without a bias.

    Other arguments are as of `convolution`; a negative part of the padding adds to the output.
    """
    full = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], window.strides, strict=True)]
    stuffed = x.new_zeros(*x.shape[:2], *full)
    places: list[slice] = [slice(None, None, s) for s in window.strides]
    stuffed[(slice(None), slice(None), *places)] = x
    reach = [(k - 1) * d for k, d in zip(weight.shape[2:], window.dilations, strict=True)]
    around = [(r - a, r - b) for r, (a, b) in zip(reach, window.padding, strict=True)]
    turned = weight.flip(*range(2, weight.ndim)).unflatten(0, (window.groups, -1)).transpose(1, 2)
    dense = replace(window, strides=[1] * len(reach), padding=around)
    return convolution(stuffed, turned.flatten(0, 1), product, dense)
