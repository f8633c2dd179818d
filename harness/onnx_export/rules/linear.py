"""Matrix products and attention."""

from __future__ import annotations

import math

import numpy as np

from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Value
from harness.onnx_export.registry import exports
from harness.onnx_export.rules.elementwise import in_one_type


@exports("linear")
def linear(g: Graph, x: Value, weight: Value, bias: Value | None) -> str:
    """``x`` times the transpose of ``weight``, plus ``bias``."""
    x, weight = in_one_type(g, x, weight)
    y = g("MatMul", x, g("Transpose", weight, perm=[1, 0]))
    return y if bias is None else g("Add", y, g.in_type(bias, x.dtype))


@exports("matmul")
def matmul(g: Graph, x: Value, y: Value, transpose_x: bool, transpose_y: bool) -> str:
    """Batched matrix product; vectors are never transposed."""
    x, y = in_one_type(g, x, y)
    return g("MatMul", _turned(g, x, transpose_x), _turned(g, y, transpose_y))


@exports("einsum")
def einsum(g: Graph, values: tuple[Value, ...], equation: str) -> str:
    """Einstein summation over two tensors."""
    return g("Einsum", *values, equation=equation.replace(" ", ""))


def _turned(g: Graph, x: Value, transpose: bool) -> Value | str:
    if not transpose or x.rank < 2:
        return x
    return g("Transpose", x, perm=[*range(x.rank - 2), x.rank - 1, x.rank - 2])


@exports("scaled_dot_product_attention")
def scaled_dot_product_attention(
    g: Graph, query: Value, key: Value, value: Value, attn_mask: Value | None
) -> str:
    """softmax(query key^T / sqrt(E) + mask) value; a boolean mask is true where attended."""
    scores = g("MatMul", query, _turned(g, key, True))
    scores = g("Mul", scores, query.number(1 / math.sqrt(query.sizes[-1])))
    if attn_mask is not None and attn_mask.dtype is DataType.BOOL:
        scores = g("Where", attn_mask, scores, query.number(-np.inf))
    elif attn_mask is not None:
        scores = g("Add", scores, attn_mask)
    return g("MatMul", g("Softmax", scores, axis=-1), value)
