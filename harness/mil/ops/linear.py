"""Matrix products.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS17}/linear.py`` of coremltools. From iOS 17 on one
factor may hold integers where the other does not; they meet in the wider type.
"""

from __future__ import annotations

import torch

from harness.mil.ops import products
from harness.mil.ops.registry import Tensor, Tensors, operation


@operation("linear")
def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """``x`` [..., D_in] times the transpose of ``weight`` [D_out, D_in], plus ``bias`` [D_out]."""
    if x.dtype is not weight.dtype:
        x, weight = _in_one_type(x, weight)
    if bias is not None and bias.dtype is not x.dtype:
        bias = bias.to(x.dtype)
    return products.linear(
        x, weight, bias, out if out is not None and out.dtype is x.dtype else None
    )


@operation("matmul")
def matmul(
    x: Tensor,
    y: Tensor,
    transpose_x: bool = False,
    transpose_y: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Batched matrix product with NumPy's broadcasting; vectors are never transposed."""
    if transpose_x and x.ndim > 1:
        x = x.mT
    if transpose_y and y.ndim > 1:
        y = y.mT
    if x.dtype is not y.dtype:
        x, y = _in_one_type(x, y)
    place = out if out is not None and out.dtype is x.dtype else None
    return products.matmul(x, y, place)


@operation("einsum")
def einsum(values: Tensors, equation: str) -> Tensor:
    """Einstein summation over two tensors; axes of length one are broadcast."""
    x, y = values
    left, output = equation.replace(" ", "").split("->")
    first, second = left.split(",")
    return torch.einsum(f"{first},{second}->{output}", x, y)


def _in_one_type(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    common = torch.result_type(x, y)
    return x.to(common), y.to(common)
