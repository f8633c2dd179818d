"""Edges that no draw of `suites.ops.edges` reaches: limits, masks, epsilons, large numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from suites.ops.cases import FLOATS, Case, by_position, normal
from suites.ops.cases_layers import MASK, QKV, attention, layer_norm
from suites.ops.cases_writing import written

INF, NAN = np.inf, np.nan
INT_MIN, INT_MAX = -(2**31), 2**31 - 1


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an oracle in int64 whose result wraps in int32."""

    def oracle(**inputs: Any) -> Any:
        arguments = [
            i.astype(np.int64) if isinstance(i, np.ndarray) else i for i in inputs.values()
        ]
        return np.asarray(function(*arguments)).astype(np.int32)

    return oracle


def towards_zero(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))


LIMITS = np.array([INT_MIN, INT_MIN, INT_MIN, INT_MAX, INT_MAX, -7, 7, 0, 65_536], np.int32)
OTHERS = np.array([-1, 1, INT_MIN, -1, INT_MAX, 2, -2, 5, 65_536], np.int32)
POWERS = np.array([0, 1, 2, 3, 0, 5, 6, 7, 1], np.int32)

_BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": towards_zero,
    "floor_div": np.floor_divide,
    "mod": np.mod,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "less": np.less,
    "greater_equal": np.greater_equal,
}
_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_sum": np.sum,
    "reduce_prod": np.prod,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_l1_norm": lambda x: np.abs(x).sum(),
    "reduce_sum_square": lambda x: np.square(x).sum(),
    "reduce_mean": lambda x: np.trunc(np.mean(x)),
}


def _int(op: str, expected: Callable[..., Any], name: str = "", **given: Any) -> Case:
    tensors = {n: v for n, v in given.items() if n in ("x", "y", "data", "updates")}
    constants = {n: v for n, v in given.items() if n not in tensors and isinstance(v, np.ndarray)}
    params = {n: v for n, v in given.items() if n not in tensors | constants}
    case_id = f"{op}_integer_limits{name}"
    return Case(case_id, op, expected, tensors, constants, params, ("int32",), exact=True)


INTEGERS = [
    *(_int(op, wrapped(f), x=LIMITS, y=OTHERS) for op, f in _BINARY.items()),
    *(_int(op, wrapped(f), x=LIMITS) for op, f in _REDUCTIONS.items()),
    _int("abs", wrapped(np.abs), x=LIMITS),
    _int("sign", wrapped(np.sign), x=LIMITS),
    _int("square", wrapped(np.square), x=LIMITS),
    _int("pow", wrapped(np.power), x=np.minimum(LIMITS, 9), y=POWERS),
    _int("cumsum", wrapped(lambda x, axis: np.cumsum(x, axis)), x=LIMITS, axis=0),
    _int("reduce_argmax", wrapped(lambda x, axis: np.argmax(x, axis)), x=LIMITS, axis=0),
    _int("reduce_argmin", wrapped(lambda x, axis: np.argmin(x, axis)), x=LIMITS, axis=0),
    # -x of the least integer is itself.
    _int(
        "argsort",
        wrapped(lambda x, axis, ascending: np.argsort(-x, axis, kind="stable")),
        x=LIMITS,
        axis=0,
        ascending=False,
    ),
    _int("exp2", lambda x: np.trunc(np.exp2(x)), x=np.array([-9, -1, 0, 30], np.int32)),
    # The product of the divisors of the first is zero in 64 bits.
    _int(
        "scatter",
        lambda data, updates, indices, axis, mode: np.array([0, INT_MIN, 3, -2]),
        data=np.array([INT_MAX, INT_MIN, 7, 5], np.int32),
        updates=np.array([65_536, 65_536, 65_536, 65_536, 1, 2, -2], np.int32),
        indices=np.array([0, 0, 0, 0, 1, 2, 3], np.int32),
        axis=0,
        mode="div",
    ),
]


def _cast(dtype: str, x: np.ndarray, declared: str, held: list[int]) -> Case:
    expected = np.array(held)
    case_id = f"cast_{declared}_to_{dtype}_limits"
    return Case(
        case_id, "cast", lambda **_: expected, {"x": x}, params={"dtype": dtype}, dtypes=(declared,)
    )


WIDE = np.array([70_000, -100_000, -1, 65_535, 300, 7], np.int32)
CASTS = [
    _cast("int16", WIDE, "int32", [4_464, 31_072, -1, -1, 300, 7]),
    # Beyond its range: see docs/operations.md.
    _cast("uint16", np.array([0, 65_535], np.int32), "int32", [0, 65_535]),
    _cast("int8", WIDE, "int32", [112, 96, -1, -1, 44, 7]),
    _cast("uint8", WIDE, "int32", [112, 96, 255, 255, 44, 7]),
    _cast("int32", np.array([-2.9, 2.9, NAN, INF, -INF, -0.5]), "fp32", [-2, 2, 0, 0, 0, 0]),
    _cast("int32", np.array([-2.9, 2.9, NAN, INF, -INF, -0.5]), "fp16", [-2, 2, 0, 0, 0, 0]),
    _cast("bool", np.array([NAN, INF, -0.0, 6e-8]), "fp32", [1, 1, 0, 1]),
]

HIDDEN = MASK.copy()
HIDDEN[2] = False
_FLAT = {"query": np.ones((1, 2, 4)), "key": np.ones((1, 3, 4)), "value": normal(1, 3, 2)}
_OPPOSED = _FLAT | {"query": np.array([[[1.0, 1, 1, 1], [-INF, 1, 1, 1]]])}
_DEAD = _FLAT | {"key": np.where(np.arange(4) == 1, -INF, _FLAT["key"])}
_ONE_DEAD = _FLAT | {"key": np.where(np.arange(3)[:, None] == 1, -INF, _FLAT["key"])}


def _attention(
    name: str, tensors: dict[str, Any], dtypes: Sequence[str] = FLOATS, **constants: Any
) -> Case:
    op = "scaled_dot_product_attention"
    return Case(f"attention_{name}", op, attention, tensors, constants, dtypes=dtypes)


ATTENTION = [
    _attention("hidden_row", QKV, attn_mask=HIDDEN),
    _attention("hidden_row_of_one_head", QKV, attn_mask=np.stack([HIDDEN, MASK, ~MASK])),
    _attention("all_hidden", QKV, attn_mask=np.zeros_like(MASK)),
    _attention("hidden_keys", QKV, attn_mask=HIDDEN[2:3]),
    _attention("minus_infinity", QKV | {"attn_mask": np.where(HIDDEN, 0.0, -INF)}),
    _attention("beyond_fp16", QKV | {"attn_mask": np.where(HIDDEN, 0.0, -65_520.0)}, ("fp16",)),
    _attention("opposed", _OPPOSED),
    _attention("dead_keys", _DEAD),
    _attention("one_dead_key", _ONE_DEAD),
    _attention("one_dead_key_seen", _ONE_DEAD, attn_mask=np.array([[False, True, False]])),
    _attention("masked_opposed", _OPPOSED, attn_mask=np.ones((2, 3), bool)),
]

ZEROS = np.array([0.0, -0.0, 0.25, 6e-8, INF, NAN])
# Beside FP16 an epsilon may be FP32 from iOS 17 on; it is added to a number in FP16.
_TINY = {"log": 1e-45, "rsqrt": 1e-12, "inverse": 1e-9}
_OF: dict[str, Callable[..., Any]] = {
    "log": np.log,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "inverse": lambda x: 1 / x,
}
_ALIKE = np.tile([3.0, -2.0], (5, 1)).T


def _epsilon(op: str, name: str, epsilon: Any, added: float) -> Case:
    def expected(x: np.ndarray, **_: Any) -> Any:
        return _OF[op](np.abs(x) + added)

    tensors = {"x": np.abs(ZEROS)}
    params = {} if epsilon is None else {"epsilon": epsilon}
    return Case(f"{op}_epsilon_{name}", op, expected, tensors, params=params, dtypes=("fp16",))


EPSILONS = [
    *(_epsilon(op, "given", tiny, 0.0) for op, tiny in _TINY.items()),
    *(_epsilon(op, "in_fp32", np.float32(tiny), 0.0) for op, tiny in _TINY.items()),
    _epsilon("log", "default", None, 0.0),
    _epsilon("rsqrt", "held", np.float32(1e-3), float(np.float16(1e-3))),
    _epsilon("log", "held", np.float32(0.25), 0.25),
    Case(
        "log_epsilon_of_float32",
        "log",
        lambda x: np.log(np.abs(x) + float(np.float32(1e-45))),
        {"x": np.abs(ZEROS)},
        dtypes=("fp32",),
    ),
    Case(
        "layer_norm_epsilon_lost",
        "layer_norm",
        lambda x, axes, epsilon: layer_norm(x, axes, epsilon=0.0),
        {"x": _ALIKE},
        params={"axes": [1], "epsilon": np.float32(1e-12)},
        dtypes=("fp16",),
    ),
    Case(
        "layer_norm_epsilon_held",
        "layer_norm",
        layer_norm,
        {"x": _ALIKE},
        params={"axes": [1], "epsilon": 1e-3},
    ),
]

_IMAGE = normal(1, 1, 2, 3)
_IMAGE[0, 0, 0, 1], _IMAGE[0, 0, 1, 2] = INF, NAN
_ON_PIXELS = np.stack(np.meshgrid(np.arange(3.0), np.arange(2.0)), -1)[None]
_NOWHERE = np.array([[[[NAN, 0.0], [99.0, 0.0], [0.0, -99.0]]]])
_SAMPLING = {
    "sampling_mode": "bilinear",
    "padding_mode": "constant",
    "padding_value": 0.0,
    "align_corners": True,
}
_PIXELS = _SAMPLING | {"coordinates_mode": "unnormalized"}
_SIGNED = _SAMPLING | {"coordinates_mode": "normalized_minus_one_to_one"}


def _phases(x: np.ndarray, weight: np.ndarray, **_: Any) -> np.ndarray:
    """Spread one item and channel by a kernel of three taps with a stride of two."""
    y = np.zeros((1, 1, 2 * x.shape[2] + 1))
    for i, tap in np.ndindex(x.shape[2], 3):
        y[0, 0, 2 * i + tap] += x[0, 0, i] * weight[0, 0, tap]
    return y


OTHER = [
    Case(
        "gelu_of_large_numbers",
        "gelu",
        lambda x, mode: np.where(x > 0, x, np.where(np.isfinite(x), 0.0, NAN)),
        {"x": np.array([3e38, INF, -3e38, -INF, NAN, 65_504.0, 11.0])},
        params={"mode": "EXACT"},
        dtypes=("fp32",),
    ),
    Case(
        "batch_norm_of_a_large_mean",
        "batch_norm",
        lambda x, mean, variance, epsilon: (
            (x - mean[:, None]) / np.sqrt(variance + epsilon)[:, None]
        ),
        {"x": 1e4 + np.arange(-4.0, 4).reshape(1, 1, 8) / 4},
        {"mean": np.array([1e4]), "variance": np.array([1e-4])},
        {"epsilon": 1e-5},
        ("fp32",),
    ),
    Case(
        "conv_transpose_of_infinity",
        "conv_transpose",
        _phases,
        {"x": np.array([[[1.0, INF, 2.0, -1.0]]])},
        {"weight": np.array([[[1.0, 2.0, 0.5]]])},
        {"strides": [2]},
    ),
    Case(
        "resample_on_pixels",
        "resample",
        lambda x, **_: x,
        {"x": _IMAGE, "coordinates": _ON_PIXELS},
        params=_PIXELS,
    ),
    Case(
        "resample_nowhere",
        "resample",
        lambda x, **_: np.array([[[[NAN, 0.0, 0.0]]]]),
        {"x": normal(1, 1, 2, 3), "coordinates": _NOWHERE},
        params=_PIXELS,
    ),
    Case(
        "affine_identity",
        "affine",
        lambda x, **_: x,
        {"x": _IMAGE, "transform_matrix": np.array([[1.0, 0, 0, 0, 1, 0]])},
        params=_SIGNED | {"output_height": 2, "output_width": 3},
    ),
    Case(
        "instance_norm_of_one_element",
        "instance_norm",
        lambda x, epsilon: np.where(np.isfinite(x), 0.0, NAN),
        {"x": np.array([[[3.0], [-2.0], [INF], [NAN]]])},
        params={"epsilon": 1e-3},
    ),
    Case(
        "topk_of_nan",
        "topk",
        lambda x, k, axis, ascending: (
            np.array([INF, 3.0, -1.0, -INF, NAN]),
            np.array([2, 0, 3, 4, 1]),
        ),
        {"x": np.array([3.0, NAN, INF, -1.0, -INF])},
        params={"k": 5, "axis": 0, "ascending": False},
    ),
    Case(
        "reduce_log_sum_exp_of_infinity",
        "reduce_log_sum_exp",
        lambda x, axes: np.array([INF, -INF, NAN, np.log(2.0)]),
        {"x": np.array([[INF, 1.0], [-INF, -INF], [NAN, 1.0], [0.0, 0.0]])},
        params={"axes": [1]},
    ),
    Case(
        "scatter_max_of_nan",
        "scatter",
        lambda data, updates, indices, axis, mode: written(
            data, [((i,), u) for i, u in zip(indices, updates, strict=True)], mode
        ),
        {"data": np.array([1.0, NAN, 2.0]), "updates": np.array([NAN, 5.0, -INF])},
        {"indices": np.array([0, 1, 2], np.int32)},
        {"axis": 0, "mode": "max"},
    ),
    Case(
        "maximum_of_nan",
        "maximum",
        by_position(np.maximum),
        {"x": np.array([NAN, 1.0, INF]), "y": np.array([1.0, NAN, NAN])},
        exact=True,
    ),
]

EDGES = [*INTEGERS, *CASTS, *ATTENTION, *EPSILONS, *OTHER]
