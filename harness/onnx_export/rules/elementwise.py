"""Elementwise operations on one and two tensors, and conversion between element types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.mil.types import DataType
from harness.onnx_export.build import Graph, Value, held_as
from harness.onnx_export.registry import exports

# Called alike in ONNX, where a capital begins the name; activations are among them, and ``Round``
# rounds halves to even, as in MIL.
_UNARY = (
    "abs", "acos", "asin", "atan", "atanh", "ceil", "cos", "cosh", "erf", "exp", "floor", "round",
    "sigmoid", "sign", "sin", "sinh", "softplus", "softsign", "sqrt", "tan", "tanh",
)  # fmt: skip
_BINARY = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "maximum": "Max",
    "minimum": "Min",
    "pow": "Pow",
}
_COMPARISONS = {
    "equal": "Equal",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "less": "Less",
    "less_equal": "LessOrEqual",
}
_LOGICAL = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}


def _unary(op_type: str) -> Callable[..., str]:
    return lambda g, x: g(op_type, x)


def _binary(op_type: str) -> Callable[..., str]:
    return lambda g, x, y: g(op_type, *in_one_type(g, x, y))


def in_one_type(g: Graph, x: Value, y: Value) -> tuple[Value, Value]:
    """Return both operands in one type: floating, if one of them is."""
    if x.dtype is y.dtype:
        return x, y
    floating = [v.dtype for v in (x, y) if v.dtype.is_floating]
    common = max(floating or [x.dtype, y.dtype], key=lambda dtype: dtype.bits)
    return g.in_type(x, common), g.in_type(y, common)


for _type in _UNARY:
    exports(_type)(_unary(_type.capitalize()))
for _type, _op_type in _BINARY.items():
    exports(_type)(_binary(_op_type))
for _type, _op_type in _COMPARISONS.items():
    exports(_type, gives=[DataType.BOOL])(_binary(_op_type))


def _logical(op_type: str) -> Callable[..., str]:
    return lambda g, x, y: g(op_type, *(g.in_type(v, DataType.BOOL) for v in (x, y)))


for _type, _op_type in _LOGICAL.items():
    exports(_type, gives=[DataType.BOOL])(_logical(_op_type))


@exports("not_equal", gives=[DataType.BOOL])
def not_equal(g: Graph, x: Value, y: Value) -> str:
    """Whether they differ; NaN differs from everything."""
    return g("Not", g("Equal", *in_one_type(g, x, y)))


@exports("logical_not", gives=[DataType.BOOL])
def logical_not(g: Graph, x: Value) -> str:
    """Whether ``x`` is false."""
    return g("Not", g.in_type(x, DataType.BOOL))


@exports("real_div")
def real_div(g: Graph, x: Value, y: Value) -> str:
    """True division; of integers towards zero."""
    x, y = in_one_type(g, x, y)
    return g("Div", x, y) if x.dtype.is_floating else _whole(g, "Identity", x, y)


@exports("floor_div")
def floor_div(g: Graph, x: Value, y: Value) -> str:
    """The quotient, rounded towards minus infinity."""
    x, y = in_one_type(g, x, y)
    if not x.dtype.is_floating:
        return _whole(g, "Floor", x, y)
    # The quotient of two floats can round up to the next whole number; the remainder can't.
    rest, below = _truncated_rest(g, x, y)
    whole = g("Round", g("Div", g("Sub", x, rest), y))
    whole = g("Where", below, g("Sub", whole, x.number(1)), whole)
    return g("Where", g("Equal", y, x.number(0)), g("Div", x, y), whole)


@exports("mod")
def mod(g: Graph, x: Value, y: Value) -> str:
    """What remains, with the sign of the divisor."""
    x, y = in_one_type(g, x, y)
    if not x.dtype.is_floating:
        return g("Sub", x, g("Mul", _whole(g, "Floor", x, y), y))
    rest, below = _truncated_rest(g, x, y)
    return g("Where", below, g("Add", rest, y), rest)


def _truncated_rest(g: Graph, x: Value, y: Value) -> tuple[str, str]:
    """Return what remains with the sign of ``x``, and where the quotient's floor lies below."""
    zero = x.number(0)
    rest = g("Mod", x, y, fmod=1)
    other_sign = g("Xor", g("Less", rest, zero), g("Less", y, zero))
    return rest, g("And", other_sign, g("Not", g("Equal", rest, zero)))


def _whole(g: Graph, rounding: str, x: Value, y: Value) -> str:
    """Divide integers in FP64, which holds them: of a zero a runtime may die."""
    wide = [g.in_type(v, DataType.FLOAT64) for v in (x, y)]
    return g.cast(g(rounding, g("Div", *wide)), x.dtype)


@exports("square")
def square(g: Graph, x: Value) -> str:
    """``x`` times itself."""
    return g("Mul", x, x)


@exports("exp2")
def exp2(g: Graph, x: Value) -> str:
    """2^x."""
    if x.dtype.is_floating:
        return g("Pow", x.number(2), x)
    power = g("Pow", np.asarray(2.0), g.in_type(x, DataType.FLOAT64))
    return g.cast(power, x.dtype)


@exports("inverse")
def inverse(g: Graph, x: Value, epsilon: float) -> str:
    """1 / (x + epsilon)."""
    return g("Reciprocal", g("Add", x, x.number(epsilon)))


@exports("log")
def log(g: Graph, x: Value, epsilon: float) -> str:
    """The natural logarithm of x + epsilon."""
    return g("Log", g("Add", x, x.number(epsilon)))


@exports("rsqrt")
def rsqrt(g: Graph, x: Value, epsilon: float) -> str:
    """1 / sqrt(x + epsilon)."""
    return g("Reciprocal", g("Sqrt", g("Add", x, x.number(epsilon))))


@exports("clip")
def clip(g: Graph, x: Value, alpha: float, beta: float) -> str:
    """``x`` limited to [alpha, beta]."""
    return g("Min", g("Max", x, x.number(alpha)), x.number(beta))


@exports("threshold")
def threshold(g: Graph, x: Value, alpha: float) -> str:
    """The larger of ``x`` and alpha."""
    return g("Max", x, x.number(alpha))


@exports("cast", stored=True)
def cast(g: Graph, x: Value, dtype: str, out_type: DataType) -> Any:
    """``x`` in another type; from a floating one to a narrow integer by way of a wide one."""
    wanted = held_as(DataType(dtype))
    narrow = not wanted.is_floating and wanted.bits < 32 and wanted is not DataType.BOOL
    source = g.in_type(x, DataType.INT32) if x.dtype.is_floating and narrow else x
    return source if source.dtype is out_type else g.cast(source, out_type)
