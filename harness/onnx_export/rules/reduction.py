"""Reductions along axes; no axes means all.

Sums are taken in FP64. ONNX does not say how they are taken, and what ONNX Runtime 1.32 makes of
the mean and variance of 2.7 million FP32 elements, a spectrogram of HTDemucs, leaves the normalised
one 68 dB from PyTorch's; in FP64 it is beyond 120 dB. Sums of integers are taken in 64 bits, so
that they wrap as 32 bits do: of what no integer holds a runtime makes another number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Ints, Operand, Value
from harness.onnx_export.registry import exports

_Reduce = Callable[[Graph, Value, Ints | None, bool], str]


def mean(g: Graph, x: Operand, axes: Sequence[int]) -> str:
    """Return the FP32 mean of a tensor of FP32 along ``axes``, which stay."""
    wide = g.cast(x, DataType.FLOAT64)
    return g.cast(g("ReduceMean", wide, axes, keepdims=1), DataType.FLOAT32)


def _summed(term: Callable[[Graph, Value], Operand]) -> _Reduce:
    def reduce(g: Graph, x: Value, axes: Ints | None, keep_dims: bool) -> str:
        if x.dtype.is_floating:
            terms = term(g, g.in_type(x, DataType.FLOAT64))
        else:
            terms = g.cast(term(g, x), DataType.INT64)
        return g.cast(g("ReduceSum", terms, axes, keepdims=int(keep_dims)), x.dtype)

    return reduce


def _in_double(op_type: str, after: str = "") -> _Reduce:
    def reduce(g: Graph, x: Value, axes: Ints | None, keep_dims: bool) -> str:
        y = g(op_type, g.in_type(x, DataType.FLOAT64), axes, keepdims=int(keep_dims))
        return g.cast(g(after, y) if after else y, x.dtype)

    return reduce


def _directly(op_type: str) -> _Reduce:
    def reduce(g: Graph, x: Value, axes: Ints | None, keep_dims: bool) -> str:
        return g(op_type, x, axes, keepdims=int(keep_dims))

    return reduce


for _type, _reduce in {
    "reduce_l1_norm": _summed(lambda g, x: g("Abs", x)),
    "reduce_l2_norm": _in_double("ReduceSumSquare", "Sqrt"),
    "reduce_log_sum": _in_double("ReduceSum", "Log"),
    "reduce_log_sum_exp": _in_double("ReduceLogSumExp"),
    "reduce_max": _directly("ReduceMax"),
    "reduce_mean": _in_double("ReduceMean"),
    "reduce_min": _directly("ReduceMin"),
    "reduce_prod": _directly("ReduceProd"),
    "reduce_sum": _summed(lambda g, x: x),
    "reduce_sum_square": _summed(lambda g, x: g("Mul", x, x)),
}.items():
    exports(_type)(_reduce)


def _position(op_type: str) -> Callable[..., str]:
    def function(g: Graph, x: Value, axis: int, keep_dims: bool, output_dtype: str) -> str:
        return g(op_type, x, axis=axis, keepdims=int(keep_dims))  # the first of equal elements

    return function


for _type, _op_type in {"reduce_argmax": "ArgMax", "reduce_argmin": "ArgMin"}.items():
    exports(_type, gives=[DataType.INT64])(_position(_op_type))
