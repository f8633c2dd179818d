"""Cases of convolutions, matrix products, attention, normalisation and pooling."""

from __future__ import annotations

import itertools

import numpy as np

from suites.ops.cases import Case, integers, normal, positive


def conv(x, weight, bias=None, strides=None, pad_type="valid", pad=None, dilations=None, groups=1):
    """Every output position by itself, from the definition."""
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    amounts = padding(pad_type, pad, x.shape[2:], kernel, strides)
    x = np.pad(x, [(0, 0), (0, 0), *amounts])
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, strides, strict=True)]
    c_out, c_in = weight.shape[:2]
    y = np.zeros((x.shape[0], c_out, *sizes))
    for place in itertools.product(*map(range, sizes)):
        window = tuple(
            slice(p * s, p * s + k, d)
            for p, s, k, d in zip(place, strides, kernel, dilations, strict=True)
        )
        for out in range(c_out):
            first = out // (c_out // groups) * c_in
            patch = x[(slice(None), slice(first, first + c_in), *window)]
            y[(slice(None), out, *place)] = (patch * weight[out]).reshape(len(x), -1).sum(1)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def padding(pad_type, pad, sizes, kernel, strides):
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        return [tuple(pad[2 * i : 2 * i + 2]) for i in range(len(sizes))]
    amounts = []
    for size, length, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + length - size)
        odd = (total // 2, total - total // 2)
        amounts.append(odd if pad_type == "same" else odd[::-1])
    return amounts


def conv_transpose(
    x,
    weight,
    bias=None,
    pad=None,
    output_shape=None,
    pad_type="valid",
    strides=None,
    dilations=None,
    groups=1,
):
    """Every input element spread by itself, from the definition."""
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel, strict=True)]
    c_in, per_group = weight.shape[:2]
    y = np.zeros((x.shape[0], per_group * groups, *[n + 16 for n in full]))
    for place in itertools.product(*map(range, x.shape[2:])):
        window = tuple(
            slice(p * s, p * s + k, d)
            for p, s, k, d in zip(place, strides, kernel, dilations, strict=True)
        )
        for source in range(c_in):
            group = source // (c_in // groups)
            target = (slice(None), slice(group * per_group, (group + 1) * per_group), *window)
            values = x[(slice(None), source, *place)]
            y[target] += values.reshape(-1, *[1] * (rank + 1)) * weight[source]
    begin = [0] * rank
    end = list(full)
    if pad_type == "custom":
        begin, end = list(pad[::2]), [n - p for n, p in zip(full, pad[1::2], strict=True)]
    elif pad_type == "same":
        wanted = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
        begin = [(n - w) // 2 for n, w in zip(full, wanted, strict=True)]
        end = [b + w for b, w in zip(begin, wanted, strict=True)]
    if output_shape is not None:
        end = [b + w for b, w in zip(begin, output_shape[2:], strict=True)]
    y = y[(..., *[slice(b, e) for b, e in zip(begin, end, strict=True)])]
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def conv_case(name, x, weight, bias=True, **params):
    constants = {"weight": normal(*weight, seed=1, scale=0.3)}
    if bias:
        constants["bias"] = normal(weight[0], seed=2)
    return Case(f"conv_{name}", "conv", conv, {"x": normal(*x)}, constants, params)


def transpose_case(name, x, weight, channels, bias=True, **params):
    constants = {"weight": normal(*weight, seed=1, scale=0.3)}
    if bias:
        constants["bias"] = normal(channels, seed=2)
    return Case(
        f"conv_transpose_{name}",
        "conv_transpose",
        conv_transpose,
        {"x": normal(*x)},
        constants,
        params,
    )


CONVOLUTIONS = [
    conv_case("1d", (2, 3, 11), (4, 3, 3)),
    conv_case("1d_no_bias", (1, 3, 11), (4, 3, 3), bias=False),
    conv_case("1d_dilated", (1, 4, 16), (2, 4, 3), dilations=[2], pad_type="custom", pad=[2, 2]),
    conv_case("1d_asymmetric", (1, 2, 9), (3, 2, 4), pad_type="custom", pad=[3, 0], strides=[2]),
    conv_case("1d_grouped", (2, 6, 9), (9, 2, 3), groups=3),
    conv_case("1d_depthwise", (1, 4, 9), (4, 1, 3), groups=4, pad_type="same"),
    conv_case("1d_same_odd", (1, 2, 10), (3, 2, 4), pad_type="same", strides=[3]),
    conv_case("1d_same_lower", (1, 2, 10), (3, 2, 4), pad_type="same_lower", strides=[3]),
    conv_case(
        "2d_like_encoder",
        (1, 4, 16, 5),
        (6, 4, 8, 1),
        strides=[4, 1],
        pad_type="custom",
        pad=[2, 2, 0, 0],
    ),
    conv_case("1d_pointwise", (3, 4, 9), (5, 4, 1)),
    conv_case("2d_pointwise_no_bias", (2, 3, 4, 5), (6, 3, 1, 1), bias=False),
    conv_case("2d_same", (1, 2, 7, 6), (3, 2, 3, 2), pad_type="same", strides=[2, 3]),
    conv_case("2d_grouped_dilated", (1, 4, 9, 8), (6, 2, 2, 3), groups=2, dilations=[3, 2]),
    conv_case("3d", (1, 2, 5, 4, 6), (3, 2, 2, 3, 2), strides=[1, 1, 2]),
    transpose_case("1d", (2, 3, 5), (3, 4, 8), 4, strides=[4]),
    transpose_case("1d_no_bias", (1, 3, 5), (3, 4, 3), 4, bias=False),
    transpose_case(
        "1d_cropped", (1, 3, 5), (3, 4, 8), 4, strides=[4], pad_type="custom", pad=[2, 2]
    ),
    transpose_case(
        "1d_asymmetric", (1, 3, 5), (3, 4, 8), 4, strides=[4], pad_type="custom", pad=[3, 1]
    ),
    transpose_case("1d_same", (1, 3, 5), (3, 4, 5), 4, strides=[2], pad_type="same"),
    transpose_case("1d_grouped", (1, 6, 5), (6, 2, 4), 4, strides=[3], groups=2),
    transpose_case("1d_dilated", (1, 2, 6), (2, 3, 3), 3, strides=[2], dilations=[3]),
    transpose_case(
        "1d_output_shape", (1, 3, 5), (3, 4, 8), 4, strides=[4], output_shape=[1, 4, 24]
    ),
    transpose_case(
        "1d_output_shape_cropped",
        (1, 3, 5),
        (3, 4, 8),
        4,
        strides=[4],
        pad_type="custom",
        pad=[2, 2],
        output_shape=[1, 4, 21],
    ),
    transpose_case(
        "1d_output_shape_longer", (1, 2, 4), (2, 3, 3), 3, strides=[4], output_shape=[1, 3, 17]
    ),
    transpose_case(
        "2d_like_decoder", (1, 6, 4, 5), (6, 3, 8, 1), 3, strides=[4, 1], output_shape=[1, 3, 20, 5]
    ),
    transpose_case("3d", (1, 2, 3, 2, 3), (2, 2, 2, 3, 2), 2, strides=[2, 1, 2]),
]


def linear(x, weight, bias=0.0):
    return x @ weight.T + bias


def matmul(x, y, transpose_x=False, transpose_y=False):
    x = np.swapaxes(x, -1, -2) if transpose_x else x
    y = np.swapaxes(y, -1, -2) if transpose_y else y
    return np.matmul(x, y)


def attention(query, key, value, attn_mask=None):
    scores = query @ np.swapaxes(key, -1, -2) / np.sqrt(query.shape[-1])
    if attn_mask is not None and attn_mask.dtype == bool:
        attn_mask = np.where(attn_mask, 0.0, -np.inf)
    if attn_mask is not None:
        scores = scores + attn_mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value


QKV = {
    "query": normal(2, 3, 5, 8),
    "key": normal(2, 3, 7, 8, seed=1),
    "value": normal(2, 3, 7, 6, seed=2),
}
MASK = np.tril(np.ones((5, 7), bool), 2)

PRODUCTS = [
    Case(
        "linear",
        "linear",
        linear,
        {"x": normal(2, 5, 6)},
        {"weight": normal(4, 6, seed=1), "bias": normal(4, seed=2)},
    ),
    Case("linear_vector", "linear", linear, {"x": normal(6)}, {"weight": normal(4, 6, seed=1)}),
    Case(
        "linear_integer_weight",
        "linear",
        linear,
        {"x": normal(2, 5, 6)},
        {"weight": integers(-9, 9, 4, 6), "bias": integers(-9, 9, 4)},
    ),
    Case(
        "matmul_integer_factor",
        "matmul",
        matmul,
        {"x": normal(2, 3, 4)},
        {"y": integers(-9, 9, 4, 6)},
    ),
    Case("matmul", "matmul", matmul, {"x": normal(2, 1, 3, 4), "y": normal(5, 4, 6, seed=1)}),
    Case(
        "matmul_transposed",
        "matmul",
        matmul,
        {"x": normal(2, 4, 3), "y": normal(2, 6, 4, seed=1)},
        params={"transpose_x": True, "transpose_y": True},
    ),
    Case(
        "matmul_int",
        "matmul",
        matmul,
        {
            "x": np.arange(6, dtype=np.int32).reshape(2, 3),
            "y": np.arange(12, dtype=np.int32).reshape(3, 4),
        },
        dtypes=("int32",),
        exact=True,
    ),
    Case(
        "einsum",
        "einsum",
        lambda values, equation: np.einsum(equation, *values),
        {"values": [normal(2, 3, 4, 5), normal(2, 5, 4, 6, seed=1)]},
        params={"equation": "nchw,nwhu->nchu"},
    ),
    Case("attention", "scaled_dot_product_attention", attention, QKV),
    Case(
        "attention_rank_3",
        "scaled_dot_product_attention",
        attention,
        {name: array[0] for name, array in QKV.items()},
    ),
    Case(
        "attention_bias",
        "scaled_dot_product_attention",
        attention,
        QKV | {"attn_mask": normal(5, 7, seed=3)},
    ),
    Case("attention_mask", "scaled_dot_product_attention", attention, QKV, {"attn_mask": MASK}),
]


def normalise(x, axes, epsilon):
    axes = tuple(axes)
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + epsilon)


def layer_norm(x, axes=None, gamma=1.0, beta=0.0, epsilon=1e-5):
    axes = sorted(axis % x.ndim for axis in (range(x.ndim) if axes is None else axes))
    shape = [x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)]
    scale = np.reshape(gamma, shape) if np.ndim(gamma) else gamma
    shift = np.reshape(beta, shape) if np.ndim(beta) else beta
    return normalise(x, axes, epsilon) * scale + shift


def per_channel(vector, x):
    return np.reshape(vector, [-1] + [1] * (x.ndim - 2))


def batch_norm(x, mean, variance, gamma, beta, epsilon):
    scale = per_channel(gamma / np.sqrt(variance + epsilon), x)
    return (x - per_channel(mean, x)) * scale + per_channel(beta, x)


def instance_norm(x, gamma, beta, epsilon):
    y = normalise(x, range(2, x.ndim), epsilon)
    return y * per_channel(gamma, x) + per_channel(beta, x)


def local_response_norm(x, size, alpha, beta, k):
    y = np.empty_like(x)
    for channel in range(x.shape[1]):
        first = max(0, channel - size // 2)
        last = min(x.shape[1], channel + (size - 1) // 2 + 1)
        squares = (x[:, first:last] ** 2).sum(1)
        y[:, channel] = x[:, channel] / (k + alpha / size * squares) ** beta
    return y


CHANNELS_3 = {"gamma": positive(3, seed=1), "beta": normal(3, seed=2)}

NORMALISATIONS = [
    Case(
        "layer_norm_last",
        "layer_norm",
        layer_norm,
        {"x": normal(2, 4, 6)},
        {"gamma": positive(6), "beta": normal(6, seed=1)},
        {"axes": [-1], "epsilon": 1e-3},
    ),
    Case(
        "layer_norm_plain", "layer_norm", layer_norm, {"x": normal(2, 4, 6)}, params={"axes": [2]}
    ),
    Case(
        "layer_norm_middle",
        "layer_norm",
        layer_norm,
        {"x": normal(2, 4, 6)},
        {"gamma": positive(4), "beta": normal(4, seed=1)},
        {"axes": [1], "epsilon": 1e-3},
    ),
    Case(
        "layer_norm_two_axes",
        "layer_norm",
        layer_norm,
        {"x": normal(2, 4, 6)},
        {"gamma": positive(4, 6), "beta": normal(4, 6, seed=1)},
        {"axes": [1, 2]},
    ),
    Case(
        "batch_norm",
        "batch_norm",
        batch_norm,
        {"x": normal(2, 3, 4, 5)},
        CHANNELS_3 | {"mean": normal(3, seed=3), "variance": positive(3, seed=4)},
        {"epsilon": 1e-3},
    ),
    Case(
        "instance_norm",
        "instance_norm",
        instance_norm,
        {"x": normal(2, 3, 4, 5)},
        CHANNELS_3,
        {"epsilon": 1e-3},
    ),
    Case(
        "l2_norm",
        "l2_norm",
        lambda x, epsilon: x / np.sqrt((x**2).sum((-3, -2, -1), keepdims=True) + epsilon),
        {"x": normal(2, 3, 4, 5)},
        params={"epsilon": 1e-3},
    ),
    Case(
        "local_response_norm",
        "local_response_norm",
        local_response_norm,
        {"x": normal(2, 7, 3, 2)},
        params={"size": 3, "alpha": 0.5, "beta": 0.75, "k": 1.5},
    ),
]


def pool(function):
    def expected(
        x,
        kernel_sizes,
        pad_type,
        strides=None,
        pad=None,
        ceil_mode=False,
        exclude_padding_from_average=False,
    ):
        rank = len(kernel_sizes)
        strides = strides or [1] * rank
        amounts = padding(pad_type, pad, x.shape[2:], kernel_sizes, strides)
        sizes = []
        for n, k, s, (a, b) in zip(x.shape[2:], kernel_sizes, strides, amounts, strict=True):
            steps = -(-(n + a + b - k) // s) if ceil_mode else (n + a + b - k) // s
            sizes.append(steps if ceil_mode and a + b and steps * s >= n + a else steps + 1)
        y = np.zeros((*x.shape[:2], *sizes))
        for place in itertools.product(*map(range, sizes)):
            inside, counted = [], 1
            for p, n, k, s, (a, b) in zip(
                place, x.shape[2:], kernel_sizes, strides, amounts, strict=True
            ):
                start = p * s - a
                stop = min(start + k, n + b)
                inside.append(slice(max(start, 0), min(stop, n)))
                counted *= stop - start
            window = x[(..., *inside)].reshape(*x.shape[:2], -1)
            if exclude_padding_from_average:
                counted = window.shape[-1]
            y[(slice(None), slice(None), *place)] = function(window, counted)
        return y

    return expected


POOLS = {
    "max_pool": pool(lambda window, counted: window.max(-1)),
    "avg_pool": pool(lambda window, counted: window.sum(-1) / counted),
    "l2_pool": pool(lambda window, counted: np.sqrt((window**2).sum(-1))),
}
POOLED = {
    "1d": ((2, 3, 9), {"kernel_sizes": [3], "strides": [2], "pad_type": "valid"}),
    "2d_padded": (
        (1, 2, 7, 6),
        {"kernel_sizes": [3, 2], "strides": [2, 1], "pad_type": "custom", "pad": [1, 1, 1, 0]},
    ),
    "2d_same": ((1, 2, 7, 6), {"kernel_sizes": [3, 2], "strides": [2, 3], "pad_type": "same"}),
    "2d_ceil": (
        (1, 2, 8, 6),
        {
            "kernel_sizes": [3, 3],
            "strides": [2, 2],
            "pad_type": "custom",
            "pad": [1, 1, 0, 0],
            "ceil_mode": True,
        },
    ),
}

POOLING = [
    Case(f"{op}_{name}", op, expected, {"x": normal(*shape)}, params=params)
    for op, expected in POOLS.items()
    for name, (shape, params) in POOLED.items()
] + [
    Case(
        "avg_pool_exclude",
        "avg_pool",
        POOLS["avg_pool"],
        {"x": normal(1, 2, 7, 6)},
        params=POOLED["2d_padded"][1] | {"exclude_padding_from_average": True},
    ),
    Case(
        "max_pool_3d",
        "max_pool",
        POOLS["max_pool"],
        {"x": normal(1, 2, 4, 5, 6)},
        params={"kernel_sizes": [2, 3, 2], "strides": [2, 1, 3], "pad_type": "valid"},
    ),
]

CASES = [*CONVOLUTIONS, *PRODUCTS, *NORMALISATIONS, *POOLING]
