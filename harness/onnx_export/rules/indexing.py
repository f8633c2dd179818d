"""Gathering, selecting and sorting; of equal elements the first comes first."""

from __future__ import annotations

from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Value
from harness.onnx_export.registry import exports


@exports("gather", moves=True)
def gather(
    g: Graph,
    x: Value,
    indices: Value,
    axis: int,
    batch_dims: int,
    validate_indices: bool | None,
) -> str:
    """Take the slices ``indices`` along ``axis``; the first ``batch_dims`` axes are paired."""
    index = g.in_type(indices, DataType.INT64)
    if batch_dims == 0:
        return g("Gather", x, index, axis=axis)
    # The operator of coordinates pairs axes; the axis that is indexed has to follow them.
    axis, paired = axis % x.rank, list(range(batch_dims))
    between = [a for a in range(batch_dims, x.rank) if a < axis]
    after = [a for a in range(x.rank) if a > axis]
    turned = g("Transpose", x, perm=[*paired, axis, *between, *after])
    y = g("GatherND", turned, g("Unsqueeze", index, [-1]), batch_dims=batch_dims)
    first = indices.rank  # of the axes of ``x``, behind those of the indices
    rest = first + len(between)
    order = [*paired, *range(first, rest), *range(batch_dims, first)]
    return g("Transpose", y, perm=[*order, *range(rest, rest + len(after))])


@exports("gather_along_axis", moves=True)
def gather_along_axis(
    g: Graph, x: Value, indices: Value, axis: int, validate_indices: bool | None
) -> str:
    """Take elements along ``axis``."""
    return g("GatherElements", x, g.in_type(indices, DataType.INT64), axis=axis)


@exports("gather_nd", moves=True)
def gather_nd(
    g: Graph, x: Value, indices: Value, batch_dims: int, validate_indices: bool | None
) -> str:
    """Take slices by coordinates, which lie along the last axis of ``indices``."""
    return g("GatherND", x, g.in_type(indices, DataType.INT64), batch_dims=batch_dims)


@exports("select")
def select(g: Graph, cond: Value, a: Value, b: Value) -> str:
    """``a`` where ``cond`` holds, ``b`` elsewhere."""
    return g("Where", g.in_type(cond, DataType.BOOL), a, b)


@exports("argsort", gives=[DataType.INT64])
def argsort(g: Graph, x: Value, axis: int, ascending: bool, output_dtype: str) -> str:
    """Indices that sort ``x`` along ``axis``."""
    return _sorted(g, x, x.sizes[axis], axis, ascending)[1]


@exports("topk", gives=[None, DataType.INT64])
def topk(
    g: Graph,
    x: Value,
    k: int,
    axis: int,
    ascending: bool,
    sort: bool,
    return_indices: bool,
    output_indices_dtype: str,
) -> tuple[str, ...]:
    """The ``k`` largest (or, ``ascending``, smallest) elements along ``axis``, and where."""
    found = _sorted(g, x, x.sizes[axis] if k == -1 else k, axis, ascending)
    return found if return_indices else found[:1]


def _sorted(g: Graph, x: Value, count: int, axis: int, ascending: bool) -> tuple[str, ...]:
    return g.several("TopK", 2, x, [count], axis=axis, largest=int(not ascending), sorted=1)


@exports("non_zero", gives=[DataType.INT64])
def non_zero(g: Graph, x: Value) -> str:
    """Coordinates [N, rank] of the elements that are not zero."""
    return g("Transpose", g("NonZero", x), perm=[1, 0])
