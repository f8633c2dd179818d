"""Reductions along axes; no axes means all."""

from __future__ import annotations

from collections.abc import Callable

from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Value
from harness.onnx_export.registry import exports

_REDUCTIONS = {
    "reduce_l1_norm": "ReduceL1",
    "reduce_l2_norm": "ReduceL2",
    "reduce_log_sum": "ReduceLogSum",
    "reduce_log_sum_exp": "ReduceLogSumExp",
    "reduce_max": "ReduceMax",
    "reduce_mean": "ReduceMean",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_sum": "ReduceSum",
    "reduce_sum_square": "ReduceSumSquare",
}
_NOT_WHOLE = ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean")


def _reduction(op_type: str) -> Callable[..., str]:
    def function(g: Graph, x: Value, axes: tuple[int, ...] | None, keep_dims: bool) -> str:
        whole = not x.dtype.is_floating and op_type in _NOT_WHOLE
        given = g.in_type(x, DataType.FLOAT64) if whole else x
        y = g(op_type, given, None if axes is None else list(axes), keepdims=int(keep_dims))
        return g.cast(y, x.dtype) if whole else y

    return function


for _type, _op_type in _REDUCTIONS.items():
    exports(_type)(_reduction(_op_type))


def _position(op_type: str) -> Callable[..., str]:
    def function(g: Graph, x: Value, axis: int, keep_dims: bool, output_dtype: str) -> str:
        return g(op_type, x, axis=axis, keepdims=int(keep_dims))  # the first of equal elements

    return function


for _type, _op_type in {"reduce_argmax": "ArgMax", "reduce_argmin": "ArgMin"}.items():
    exports(_type, gives=[DataType.INT64])(_position(_op_type))
