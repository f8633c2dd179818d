"""Winograd's minimal filtering for 3x3 kernels, with FP16 between its steps.

The Neural Engine may choose F(2x2, 3x3) or F(4x4, 3x3) for a dense 3x3 convolution of stride 1, by
cost (guide, chapter 20). The coefficients lie in the hardware, and no accuracy was published: what
is here is the textbook's form (Lavin and Gray, "Fast algorithms for convolutional neural networks",
2016) with transformed inputs and kernels rounded to FP16, sums of products in FP32, and one
rounding of the result. It is a variant for a band, not a description.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from harness.devices.grid import rounded

# For each output tile: B^T of the input, G of the kernel, A^T of the output.
_FORMS: Final[dict[int, tuple[list[list[float]], list[list[float]], list[list[float]]]]] = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}


def winograd(
    x: Tensor,
    weight: Tensor,
    tile: int,
    padding: list[tuple[int, int]],
    bias: Tensor | None = None,
) -> Tensor:
    """Return the convolution of ``x`` [N, C_in, H, W] with ``weight`` [C_out, C_in, 3, 3].

    Args:
        x: float32, values of the FP16 grid.
        weight: the same.
        tile: outputs along each axis that are made at once, 2 or 4.
        padding: zeros before and after, for both axes.
        bias: [C_out], added before the result is rounded.

    Returns:
        [N, C_out, H', W'] in float32, on the FP16 grid.
    """
    into, of_kernel, out = (torch.tensor(m, dtype=x.dtype, device=x.device) for m in _FORMS[tile])
    kernels = rounded(of_kernel @ weight @ of_kernel.T)  # [C_out, C_in, t + 2, t + 2]
    x = torch.constant_pad_nd(x, [n for pair in reversed(padding) for n in pair])
    height, width = (n - 2 for n in x.shape[2:])
    x = torch.constant_pad_nd(x, [0, -width % tile, 0, -height % tile])
    windows = x.unfold(2, tile + 2, tile).unfold(3, tile + 2, tile)
    windows = rounded(into @ windows @ into.T)  # [N, C_in, rows, columns, t + 2, t + 2]
    sums = torch.einsum("ocij,ncrsij->norsij", kernels, windows)
    results = out @ sums @ out.T
    results = results if bias is None else results + bias.reshape(-1, 1, 1, 1, 1)
    tiles = rounded(results).permute(0, 1, 2, 4, 3, 5)
    return tiles.flatten(4, 5).flatten(2, 3)[:, :, :height, :width]
