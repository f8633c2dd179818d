"""Attention.

Source: ``converters/mil/mil/ops/defs/iOS18/transformers.py`` of coremltools.
"""

from __future__ import annotations

from torch.nn import functional

from harness.mil.ops.registry import Tensor, operation


@operation("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """softmax(query key^T / sqrt(E) + mask) value, over the last two axes.

    Args:
        query: [B, ..., L, E].
        key: [B, ..., S, E].
        value: [B, ..., S, EV].
        attn_mask: broadcast to [B, ..., L, S]; added, or, if boolean, true where attended.
    """
    # Heads are strided views of all heads: one copy costs less than reading them block by block.
    q, k, v = query.contiguous(), key.contiguous(), value.contiguous()
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
