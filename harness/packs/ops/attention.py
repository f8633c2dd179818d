"""Attention: scaled dot products, heads with packed projections, a layer of cross-attention."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.packs.problems import OPS, SEVERAL, Array, Draw, Problem

_HEADS = "[batch, heads, length, width]"


@OPS.operation(
    "scaled_dot_product_attention",
    {"query": _HEADS, "key": _HEADS, "value": _HEADS, "mask": "[query, key], added", "y": _HEADS},
    bounds=SEVERAL,
)
def scaled_dot_product_attention(draw: Draw) -> Iterator[Problem]:
    """softmax(query key^T / sqrt(width) + mask) value."""

    def compute(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = query @ key.mT / query.shape[-1] ** 0.5
        return torch.softmax(scores if mask is None else scores + mask, -1) @ value

    def given(queries: int, keys: int) -> dict[str, Array]:
        return {
            "query": draw(2, 3, queries, 8),
            "key": draw(2, 3, keys, 8),
            "value": draw(2, 3, keys, 8),
        }

    yield Problem("basic", compute, given(5, 5), levels=True)
    yield Problem("longer_keys", compute, given(4, 9))
    yield Problem("one_key", compute, given(3, 1))
    yield Problem("mask", compute, given(4, 6) | {"mask": draw(4, 6, scale=3.0)})


def attention(
    query: Tensor,
    memory: Tensor,
    in_proj_weight: Tensor,
    in_proj_bias: Tensor,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor,
    heads: int,
) -> Tensor:
    """Attend from ``query`` [N, Q, C] to ``memory`` [N, K, C] by a packed projection [3C, C]."""
    y, _ = F.multi_head_attention_forward(
        query.transpose(0, 1),
        memory.transpose(0, 1),
        memory.transpose(0, 1),
        query.shape[-1],
        heads,
        in_proj_weight,
        in_proj_bias,
        None,
        None,
        False,
        0.0,
        out_proj_weight,
        out_proj_bias,
        training=False,
        need_weights=False,
    )
    return y.transpose(0, 1)


def _projections(draw: Draw, width: int) -> dict[str, Array]:
    scale = width**-0.5
    return {
        "in_proj_weight": draw(3 * width, width, scale=scale),
        "in_proj_bias": draw(3 * width, scale=0.3),
        "out_proj_weight": draw(width, width, scale=scale),
        "out_proj_bias": draw(width, scale=0.3),
    }


_PROJECTED = {
    "query": "[batch, query, C]",
    "memory": "[batch, key, C]",
    "in_proj_weight": "[q k v * C, C]: rows of the query, then the key, then the value",
    "in_proj_bias": "[q k v * C]",
    "out_proj_weight": "[out, in]",
    "out_proj_bias": "[out]",
    "y": "[batch, query, C]",
}


@OPS.operation("multi_head_attention", _PROJECTED, bounds=SEVERAL, head_order="head, width")
def multi_head_attention(draw: Draw) -> Iterator[Problem]:
    """Projections by one packed matrix, heads as consecutive channels, scaled dot products, and a
    projection of the result.
    """
    four, one = {"heads": 4}, {"heads": 1}
    same, other = draw(2, 6, 16), draw(2, 5, 16)
    projections = _projections(draw, 16)
    yield Problem("self", attention, {"query": same, "memory": same}, projections, four)
    given = {"query": other, "memory": same}
    yield Problem("cross", attention, given, projections, four, levels=True)
    yield Problem("one_head", attention, given, projections, one)


@OPS.operation(
    "cross_attention_layer",
    {
        "x": "[batch, query, C]",
        "memory": "[batch, key, C]",
        **_PROJECTED,
        "linear1_weight": "[out, in]",
        "linear2_weight": "[out, in]",
        "norm_out_weight": "[C]; statistics over query and C together",
    },
    bounds=SEVERAL,
    activation="gelu, exact",
    order="x += gamma1 * attention(norm1(x), norm2(memory)); x += gamma2 * linear2(gelu(linear1("
    "norm3(x)))); y = norm_out(x)",
)
def cross_attention_layer(draw: Draw) -> Iterator[Problem]:
    """A layer of HTDemucs' cross-transformer: norms first, layer scales, a group norm last."""
    width, hidden = 16, 32
    parameters = _projections(draw, width)
    for name, out, inner in (("linear1", hidden, width), ("linear2", width, hidden)):
        parameters[f"{name}_weight"] = draw(out, inner, scale=inner**-0.5)
        parameters[f"{name}_bias"] = draw(out, scale=0.3)
    for name in ("norm1", "norm2", "norm3", "norm_out"):
        parameters[f"{name}_weight"] = draw(width, mean=1.0, scale=0.3)
        parameters[f"{name}_bias"] = draw(width, scale=0.3)
    parameters |= {"gamma1": draw(width, scale=0.5), "gamma2": draw(width, scale=0.5)}
    given = {"x": draw(1, 5, width), "memory": draw(1, 7, width)}
    attributes = {"heads": 4, "eps": 1e-5}
    yield Problem("basic", _layer, given, parameters, attributes, levels=True)


def _layer(x: Tensor, memory: Tensor, heads: int, eps: float, **p: Tensor) -> Tensor:
    width = x.shape[-1:]

    def norm(name: str, values: Tensor) -> Tensor:
        return F.layer_norm(values, width, p[f"{name}_weight"], p[f"{name}_bias"], eps)

    projections = {name: p[name] for name in p if "proj" in name}
    x = x + p["gamma1"] * attention(
        norm("norm1", x), norm("norm2", memory), **projections, heads=heads
    )
    hidden = F.gelu(F.linear(norm("norm3", x), p["linear1_weight"], p["linear1_bias"]))
    x = x + p["gamma2"] * F.linear(hidden, p["linear2_weight"], p["linear2_bias"])
    weight, bias = p["norm_out_weight"], p["norm_out_bias"]
    return F.group_norm(x.transpose(1, 2), 1, weight, bias, eps).transpose(1, 2)
