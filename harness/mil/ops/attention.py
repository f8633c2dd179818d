"""Attention.

Source: ``converters/mil/mil/ops/defs/iOS18/transformers.py`` of coremltools.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from harness.mil.ops import products
from harness.mil.ops.finite import known_finite
from harness.mil.ops.registry import Tensor, operation


@operation("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """softmax(query key^T / sqrt(E) + mask) value, over the last two axes.

    A query that sees no key gets NaN: all of its scores are -inf, and -inf - (-inf) is NaN.

    Args:
        query: [B, ..., L, E].
        key: [B, ..., S, E].
        value: [B, ..., S, EV].
        attn_mask: broadcast to [B, ..., L, S]; added, or, if boolean, true where attended.
    """
    # Heads are strided views of all heads: one copy costs less than reading them block by block.
    q, k, v = query.contiguous(), key.contiguous(), value.contiguous()
    y = None if attn_mask is not None else products.attention(q, k, v)
    if y is not None:
        return y
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
    finite = known_finite(q, k)
    # On a GPU a look costs launches, and of finite numbers only a mask makes rows of -inf.
    if attn_mask is None and (finite or q.device.type != "cpu"):
        return y
    # PyTorch's kernels return 0 there (a "safe" softmax).
    sees = _sees_a_key(q, k, attn_mask, finite)
    return torch.where(sees.unsqueeze(-1), y, torch.nan)


def _sees_a_key(q: Tensor, k: Tensor, mask: Tensor | None, finite: bool) -> Tensor:
    """Return for each query [B, ..., L], or what broadcasts to it, whether any score is finite.

    A score with an infinite factor is infinite or NaN. Of these, PyTorch's kernels treat all but a
    row of -inf as the definition does, which is NaN for each.
    """
    if mask is None:
        return _is_finite(q) & _is_finite(k).any(-1, keepdim=True)
    visible = mask if mask.dtype is torch.bool else mask != -torch.inf
    if finite:
        return visible.any(-1)
    return _is_finite(q) & (visible & _is_finite(k).unsqueeze(-2)).any(-1)


def _is_finite(rows: Tensor) -> Tensor:
    return rows.abs().amax(-1) < torch.inf  # not of NaN
