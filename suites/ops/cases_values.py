"""Cases of elementwise operations, activations, reductions, casts and made tensors."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from suites.ops.cases import Case, by_position, distinct, integers, normal, positive, unit

X = {"x": normal(3, 4, 5)}
XY = {"x": normal(3, 4, 5), "y": normal(4, 1, seed=1)}
XY_POSITIVE = {"x": positive(3, 4, 5), "y": positive(4, 1, seed=1)}
INTS = {"x": integers(-9, 9, 3, 4), "y": integers(1, 5, 3, 4, seed=1)}


def sigmoid(x):
    return special.expit(x)


def where_negative(x, low):
    return np.where(x < 0, low, x)


UNARY = {
    "acos": (np.arccos, unit),
    "asin": (np.arcsin, unit),
    "atan": (np.arctan, normal),
    "atanh": (np.arctanh, unit),
    "cos": (np.cos, normal),
    "cosh": (np.cosh, normal),
    "erf": (special.erf, normal),
    "exp": (np.exp, normal),
    "exp2": (np.exp2, normal),
    "sin": (np.sin, normal),
    "sinh": (np.sinh, normal),
    "sqrt": (np.sqrt, positive),
    "square": (np.square, normal),
    "tan": (np.tan, unit),
    "tanh": (np.tanh, normal),
    "softsign": (lambda x: x / (1 + np.abs(x)), normal),
    "softplus": (lambda x: np.logaddexp(x, 0), normal),
    "sigmoid": (sigmoid, normal),
    "silu": (lambda x: x * sigmoid(x), normal),
}
EXACT_UNARY = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "round": np.round,
    "sign": np.sign,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
}
BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
COMPARISONS = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}
HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 7.25, -7.75, 0.0])

ELEMENTWISE = [
    *(Case(op, op, by_position(f), {"x": make(3, 4, 5)}) for op, (f, make) in UNARY.items()),
    *(Case(op, op, by_position(f), {"x": HALVES}, exact=True) for op, f in EXACT_UNARY.items()),
    *(Case(op, op, by_position(f), XY) for op, f in BINARY.items()),
    *(
        Case(f"{op}_int", op, by_position(f), INTS, dtypes=("int32",), exact=True)
        for op, f in BINARY.items()
    ),
    *(
        Case(op, op, by_position(f), {"x": HALVES, "y": HALVES[::-1].copy()}, exact=True)
        for op, f in COMPARISONS.items()
    ),
    Case("real_div", "real_div", by_position(np.divide), XY_POSITIVE),
    Case("pow", "pow", by_position(np.power), XY_POSITIVE),
    Case(
        "floor_div", "floor_div", by_position(np.floor_divide), {"x": 4 * HALVES, "y": HALVES[[6]]}
    ),
    Case("mod", "mod", by_position(np.mod), {"x": HALVES, "y": np.array([-2.0])}, exact=True),
    Case(
        "floor_div_int",
        "floor_div",
        by_position(np.floor_divide),
        INTS,
        dtypes=("int32",),
        exact=True,
    ),
    Case("mod_int", "mod", by_position(np.mod), INTS, dtypes=("int32",), exact=True),
    Case(
        "square_int",
        "square",
        by_position(np.square),
        {"x": INTS["x"]},
        dtypes=("int32",),
        exact=True,
    ),
    Case("add_same_operand", "add", by_position(np.add), {"x": X["x"], "y": X["x"]}),
    Case("add_constant", "add", by_position(np.add), X, constants={"y": normal(3, 4, 5, seed=2)}),
    Case(
        "inverse",
        "inverse",
        lambda x, epsilon: 1 / (x + epsilon),
        {"x": positive(7)},
        params={"epsilon": 0.25},
    ),
    Case("inverse_default", "inverse", lambda x: 1 / (x + 1e-4), {"x": positive(7)}),
    Case(
        "log",
        "log",
        lambda x, epsilon: np.log(x + epsilon),
        {"x": positive(7)},
        params={"epsilon": 0.5},
    ),
    Case("log_default", "log", by_position(np.log), {"x": positive(7)}),
    Case(
        "rsqrt",
        "rsqrt",
        lambda x, epsilon: 1 / np.sqrt(x + epsilon),
        {"x": positive(7)},
        params={"epsilon": 0.125},
    ),
    Case(
        "clip",
        "clip",
        lambda x, alpha, beta: np.clip(x, alpha, beta),
        X,
        params={"alpha": -0.5, "beta": 0.75},
        exact=True,
    ),
    Case(
        "threshold",
        "threshold",
        lambda x, alpha: np.maximum(x, alpha),
        X,
        params={"alpha": 0.3},
        exact=True,
    ),
    Case(
        "threshold_int",
        "threshold",
        lambda x, alpha: np.maximum(x, alpha),
        {"x": INTS["x"]},
        params={"alpha": 2},
        dtypes=("int32",),
        exact=True,
    ),
]

TRUTHS = {
    "x": np.array([True, True, False, False]),
    "y": np.array([True, False, True, False]),
}
LOGICAL = {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
ELEMENTWISE += [
    Case(op, op, by_position(f), TRUTHS, dtypes=("fp32",), exact=True) for op, f in LOGICAL.items()
]
ELEMENTWISE.append(
    Case(
        "logical_not",
        "logical_not",
        by_position(np.logical_not),
        {"x": TRUTHS["x"]},
        dtypes=("fp32",),
        exact=True,
    )
)

ALPHA_BETA = {"alpha": 0.375, "beta": 0.625}
C4 = {"alpha": positive(4), "beta": positive(4, seed=1)}
SQRT_2 = math.sqrt(2)

ACTIVATIONS = [
    Case("gelu_default", "gelu", lambda x: 0.5 * x * (1 + special.erf(x / SQRT_2)), X),
    Case("gelu_exact", "gelu", lambda x, mode: x * special.ndtr(x), X, params={"mode": "EXACT"}),
    Case(
        "gelu_tanh",
        "gelu",
        lambda x, mode: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        X,
        params={"mode": "TANH_APPROXIMATION"},
    ),
    Case(
        "gelu_sigmoid",
        "gelu",
        lambda x, mode: x * sigmoid(1.702 * x),
        X,
        params={"mode": "SIGMOID_APPROXIMATION"},
    ),
    Case(
        "leaky_relu",
        "leaky_relu",
        lambda x, alpha: where_negative(x, alpha * x),
        X,
        params={"alpha": 0.375},
    ),
    Case(
        "clamped_relu",
        "clamped_relu",
        lambda x, alpha, beta: np.minimum(beta, where_negative(x, alpha * x)),
        X,
        params=ALPHA_BETA,
    ),
    Case(
        "thresholded_relu",
        "thresholded_relu",
        lambda x, alpha: np.where(x < alpha, 0, x),
        X,
        params={"alpha": 0.375},
        exact=True,
    ),
    Case(
        "elu",
        "elu",
        lambda x, alpha: where_negative(x, alpha * np.expm1(x)),
        X,
        params={"alpha": 0.375},
    ),
    Case(
        "prelu",
        "prelu",
        lambda x, alpha: where_negative(x, alpha[:, None, None] * x),
        {"x": normal(2, 4, 3, 2)},
        constants={"alpha": C4["alpha"]},
    ),
    Case(
        "sigmoid_hard",
        "sigmoid_hard",
        lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
        X,
        params=ALPHA_BETA,
    ),
    Case(
        "softplus_parametric",
        "softplus_parametric",
        lambda x, alpha, beta: alpha[:, None, None] * np.log1p(np.exp(beta[:, None, None] * x)),
        {"x": normal(2, 4, 3, 2)},
        constants=C4,
    ),
    Case(
        "scaled_tanh",
        "scaled_tanh",
        lambda x, alpha, beta: alpha * np.tanh(beta * x),
        X,
        params=ALPHA_BETA,
    ),
    Case(
        "linear_activation",
        "linear_activation",
        lambda x, alpha, beta: alpha * x + beta,
        X,
        params=ALPHA_BETA,
    ),
    Case("softmax_default", "softmax", lambda x: special.softmax(x, -1), X),
    Case(
        "softmax_axis", "softmax", lambda x, axis: special.softmax(x, axis), X, params={"axis": 1}
    ),
    Case(
        "softmax_large",
        "softmax",
        lambda x: special.softmax(x, -1),
        {"x": 200 * unit(3, 5)},
    ),
]

REDUCTIONS = {
    "reduce_mean": np.mean,
    "reduce_sum": np.sum,
    "reduce_prod": np.prod,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_l1_norm": lambda x, axis, keepdims: np.abs(x).sum(axis, keepdims=keepdims),
    "reduce_l2_norm": lambda x, axis, keepdims: np.sqrt((x**2).sum(axis, keepdims=keepdims)),
    "reduce_sum_square": lambda x, axis, keepdims: (x**2).sum(axis, keepdims=keepdims),
    "reduce_log_sum": lambda x, axis, keepdims: np.log(x.sum(axis, keepdims=keepdims)),
    "reduce_log_sum_exp": lambda x, axis, keepdims: special.logsumexp(x, axis, keepdims=keepdims),
}


def reduce_with(function):
    def expected(x, axes=None, keep_dims=False):
        axis = None if axes is None else tuple(axes)
        return function(x, axis=axis, keepdims=keep_dims)

    return expected


def arg_with(function):
    def expected(x, axis=-1, keep_dims=False):
        return function(x, axis=axis, keepdims=keep_dims)

    return expected


REDUCED = [
    Case(f"{op}_{name}", op, reduce_with(f), {"x": positive(3, 4, 5)}, params=params)
    for op, f in REDUCTIONS.items()
    for name, params in {
        "all": {},
        "axes": {"axes": [0, -1]},
        "keep": {"axes": [1], "keep_dims": True},
    }.items()
] + [
    Case(
        "reduce_sum_int",
        "reduce_sum",
        reduce_with(np.sum),
        {"x": INTS["x"]},
        params={"axes": [1]},
        dtypes=("int32",),
        exact=True,
    ),
    Case("reduce_argmax", "reduce_argmax", arg_with(np.argmax), {"x": distinct(3, 4, 5)}),
    Case(
        "reduce_argmin",
        "reduce_argmin",
        arg_with(np.argmin),
        {"x": distinct(3, 4, 5)},
        params={"axis": 1, "keep_dims": True},
    ),
    Case(
        "reduce_argmax_ties",
        "reduce_argmax",
        arg_with(np.argmax),
        {"x": np.ones((2, 5))},
    ),
]


def one_hot(indices, one_hot_vector_size, axis=-1, on_value=1.0, off_value=0.0):
    hot = np.where(np.eye(one_hot_vector_size)[indices] == 1, on_value, off_value)
    return np.moveaxis(hot, -1, axis)


MADE = [
    Case(
        "one_hot",
        "one_hot",
        one_hot,
        {"indices": integers(0, 4, 2, 3)},
        dtypes=("int32",),
        params={"one_hot_vector_size": 4, "axis": 1, "on_value": 3, "off_value": -1},
        exact=True,
    ),
    Case("cumsum", "cumsum", lambda x, axis: np.cumsum(x, axis), X, params={"axis": 1}),
    Case(
        "cumsum_exclusive_reverse",
        "cumsum",
        lambda x, axis, exclusive, reverse: np.stack(
            [x[..., i + 1 :].sum(axis) for i in range(x.shape[axis])], axis
        ),
        X,
        params={"axis": 2, "exclusive": True, "reverse": True},
    ),
    Case(
        "band_part",
        "band_part",
        lambda x, lower, upper: np.triu(np.tril(x, upper), -lower),
        {"x": normal(2, 4, 5)},
        params={"lower": 1, "upper": 2},
        exact=True,
    ),
    Case(
        "fill",
        "fill",
        lambda shape, value: np.full(shape, value),
        {"shape": np.array([2, 3], np.int32)},
        params={"value": 1.5},
        exact=True,
    ),
    Case(
        "range_1d",
        "range_1d",
        lambda start, end, step: np.arange(start, end, step),
        params={"start": 0.5, "end": 4.25, "step": 0.25},
        dtypes=("fp32",),  # coremltools overflows on FP16 while it builds the operation
    ),
    Case(
        "range_1d_int",
        "range_1d",
        lambda start, end, step: np.arange(start, end, step),
        params={"start": 7, "end": -4, "step": -3},
        dtypes=("int32",),
        exact=True,
    ),
    Case(
        "non_zero",
        "non_zero",
        lambda x: np.argwhere(x),
        {"x": np.array([[0.0, 1.5, 0.0], [-2.0, 0.0, 0.0]])},
        exact=True,
    ),
    Case(
        "fill_like",
        "fill_like",
        lambda ref_tensor, value: np.full(ref_tensor.shape, value),
        {"ref_tensor": normal(2, 3)},
        params={"value": 1.5},
        exact=True,
    ),
    Case(
        "shape",
        "shape",
        lambda x: np.array(x.shape),
        X,
        exact=True,
    ),
    Case(
        "cast_to_int",
        "cast",
        lambda x, dtype: np.trunc(x),
        {"x": HALVES},
        params={"dtype": "int32"},
        exact=True,
    ),
    Case(
        "cast_to_fp16",
        "cast",
        lambda x, dtype: x.astype(np.float16),
        {"x": normal(5, 7)},
        params={"dtype": "fp16"},
        exact=True,
    ),
    Case(
        "cast_to_fp32",
        "cast",
        lambda x, dtype: x,
        {"x": normal(5, 7)},
        params={"dtype": "fp32"},
        exact=True,
    ),
    Case(
        "cast_int_to_fp16",
        "cast",
        lambda x, dtype: x.astype(np.float16),
        {"x": integers(-70_000, 70_000, 40)[:1] * 0 + 2049},
        params={"dtype": "fp16"},
        dtypes=("int32",),
        exact=True,
    ),
    Case(
        "cast_to_bool",
        "cast",
        lambda x, dtype: x != 0,
        {"x": HALVES},
        params={"dtype": "bool"},
        exact=True,
    ),
]

CASES = [*ELEMENTWISE, *ACTIVATIONS, *REDUCED, *MADE]
