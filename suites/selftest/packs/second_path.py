"""Every operation of the packs once more: NumPy, SciPy and formulas, in float64, without PyTorch.

A function gets the given tensors by their short names and the attributes of a case, and returns the
outputs by name. The names of the functions are those of the operations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import fft, signal, special

Array = np.ndarray
Outputs = Mapping[str, Array]


def linear(x: Array, weight: Array, bias: Array | float = 0.0) -> Array:
    return np.einsum("...i,oi->...o", x, weight) + bias


def linear_in_out(x: Array, weight: Array, bias: Array) -> Array:
    return np.einsum("...i,io->...o", x, weight) + bias


def matmul(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> Array:
    left = "...ki" if transpose_a else "...ik"
    right = "...jk" if transpose_b else "...kj"
    return np.einsum(f"{left},{right}->...ij", a, b)


def embedding(indices: Array, weight: Array, scale: float = 1.0) -> Array:
    return np.stack([weight[i] * scale for i in indices.ravel()]).reshape(*indices.shape, -1)


# --- convolution ----------------------------------------------------------------------------------


def _each(value: Any, axes: int) -> list[int]:
    return list(value) if isinstance(value, (list, tuple)) else [value] * axes


def convolution(
    x: Array,
    weight: Array,
    bias: Array | float = 0.0,
    *,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    padding_mode: str,
) -> Array:
    """Add up shifted copies of the input, one for each tap."""
    axes = x.ndim - 2
    stride, padding, dilation = (_each(v, axes) for v in (stride, padding, dilation))
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    taps = weight.shape[2:]
    size = [
        (padded.shape[2 + i] - dilation[i] * (taps[i] - 1) - 1) // stride[i] + 1
        for i in range(axes)
    ]
    y = np.zeros((x.shape[0], weight.shape[0], *size))
    for k in itertools.product(*map(range, taps)):
        place = tuple(
            slice(k[i] * dilation[i], k[i] * dilation[i] + stride[i] * (size[i] - 1) + 1, stride[i])
            for i in range(axes)
        )
        parts = np.split(padded[(..., *place)], groups, axis=1)
        rows = np.split(weight[(..., *k)], groups, axis=0)
        y += np.concatenate(
            [np.einsum("oi,ni...->no...", w, p) for w, p in zip(rows, parts, strict=True)], axis=1
        )
    return y + np.reshape(bias, (-1, *[1] * axes))


def transposed_convolution(
    x: Array,
    weight: Array,
    bias: Array,
    *,
    stride: Any,
    padding: Any,
    output_padding: Any,
    dilation: Any,
    groups: int,
) -> Array:
    """Scatter the input with each tap, then cut the padding."""
    axes = x.ndim - 2
    stride, padding, output_padding, dilation = (
        _each(v, axes) for v in (stride, padding, output_padding, dilation)
    )
    taps, size = weight.shape[2:], x.shape[2:]
    whole = [(size[i] - 1) * stride[i] + dilation[i] * (taps[i] - 1) + 1 for i in range(axes)]
    room = [whole[i] + output_padding[i] for i in range(axes)]
    y = np.zeros((x.shape[0], weight.shape[1] * groups, *room))
    for k in itertools.product(*map(range, taps)):
        place = tuple(
            slice(k[i] * dilation[i], k[i] * dilation[i] + stride[i] * (size[i] - 1) + 1, stride[i])
            for i in range(axes)
        )
        parts, rows = np.split(x, groups, axis=1), np.split(weight[(..., *k)], groups, axis=0)
        y[(..., *place)] += np.concatenate(
            [np.einsum("io,ni...->no...", w, p) for w, p in zip(rows, parts, strict=True)], axis=1
        )
    cut = tuple(slice(padding[i], room[i] - padding[i]) for i in range(axes))
    return y[(..., *cut)] + bias.reshape(-1, *[1] * axes)


# --- normalisation and activation -----------------------------------------------------------------


def _normal(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + eps)


def _channels(values: Array, x: Array) -> Array:
    return values.reshape(-1, *[1] * (x.ndim - 2))


def group_norm(x: Array, weight: Array, bias: Array, groups: int, eps: float) -> Array:
    grouped = x.reshape(x.shape[0], groups, -1)
    normal = _normal(grouped, (2,), eps).reshape(x.shape)
    return normal * _channels(weight, x) + _channels(bias, x)


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    return _normal(x, (-1,), eps) * weight + bias


def batch_norm(
    x: Array, weight: Array, bias: Array, running_mean: Array, running_var: Array, eps: float
) -> Array:
    shifted = x - _channels(running_mean, x)
    normal = shifted / np.sqrt(_channels(running_var, x) + eps)
    return normal * _channels(weight, x) + _channels(bias, x)


def gelu(x: Array, approximation: str) -> Array:
    return x * special.ndtr(x)


def gelu_tanh(x: Array, approximation: str) -> Array:
    return x * special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


def silu(x: Array) -> Array:
    return x * special.expit(x)


def sigmoid(x: Array) -> Array:
    return special.expit(x)


def tanh(x: Array) -> Array:
    return np.tanh(x)


def softplus(x: Array) -> Array:
    return np.logaddexp(x, 0.0)


def elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def leaky_relu(x: Array, negative_slope: float) -> Array:
    return np.where(x > 0, x, negative_slope * x)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def glu(x: Array, dim: int) -> Array:
    value, gate = np.split(x, 2, axis=dim)
    return value * special.expit(gate)


def softmax(x: Array, dim: int) -> Array:
    return special.softmax(x, axis=dim)


def log_softmax(x: Array, dim: int) -> Array:
    return special.log_softmax(x, axis=dim)


# --- attention and recurrence ---------------------------------------------------------------------


def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, mask: Array | float = 0.0
) -> Array:
    scores = np.einsum("bhqd,bhkd->bhqk", query, key) / np.sqrt(query.shape[-1])
    return np.einsum("bhqk,bhkd->bhqd", special.softmax(scores + mask, axis=-1), value)


def multi_head_attention(
    query: Array,
    memory: Array,
    in_proj_weight: Array,
    in_proj_bias: Array,
    out_proj_weight: Array,
    out_proj_bias: Array,
    heads: int,
    head_order: str = "head, width",
) -> Array:
    sources = (query, memory, memory)
    weights, biases = np.split(in_proj_weight, 3), np.split(in_proj_bias, 3)
    projected = [
        linear(x, w, b).reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)
        for x, w, b in zip(sources, weights, biases, strict=True)
    ]
    attended = scaled_dot_product_attention(*projected).transpose(0, 2, 1, 3)
    return linear(attended.reshape(query.shape), out_proj_weight, out_proj_bias)


def cross_attention_layer(
    x: Array, memory: Array, heads: int, eps: float, activation: str, order: str, **p: Array
) -> Array:
    def norm(name: str, values: Array) -> Array:
        return layer_norm(values, p[f"{name}_weight"], p[f"{name}_bias"], eps)

    projections = {name: p[name] for name in p if "proj" in name}
    x = x + p["gamma1"] * multi_head_attention(
        norm("norm1", x), norm("norm2", memory), **projections, heads=heads
    )
    hidden = gelu(linear(norm("norm3", x), p["linear1_weight"], p["linear1_bias"]), "none")
    x = x + p["gamma2"] * linear(hidden, p["linear2_weight"], p["linear2_bias"])
    return _normal(x, (1, 2), eps) * p["norm_out_weight"] + p["norm_out_bias"]


def _directions(direction: str) -> list[tuple[str, bool]]:
    return {
        "forward": [("", False)],
        "reverse": [("", True)],
        "both": [("", False), ("_reverse", True)],
    }[direction]


def lstm(
    x: Array, h0: Array, c0: Array, direction: str, gate_order: str, biases: str, **p: Array
) -> Outputs:
    ys, hs, cs = [], [], []
    for row, (suffix, backwards) in enumerate(_directions(direction)):
        h, c, y = h0[row], c0[row], np.zeros((*x.shape[:2], h0.shape[2]))
        bias = (
            p["bias" + suffix]
            if biases == "summed"
            else p["bias_ih" + suffix] + p["bias_hh" + suffix]
        )
        for t in reversed(range(len(x))) if backwards else range(len(x)):
            sums = x[t] @ p["weight_ih" + suffix].T + h @ p["weight_hh" + suffix].T + bias
            gate = dict(zip(gate_order.split(","), np.split(sums, 4, axis=-1), strict=True))
            c = special.expit(gate["f"]) * c + special.expit(gate["i"]) * np.tanh(gate["g"])
            h = y[t] = special.expit(gate["o"]) * np.tanh(c)
        ys.append(y)
        hs.append(h)
        cs.append(c)
    return {"y": np.concatenate(ys, axis=-1), "h": np.stack(hs), "c": np.stack(cs)}


def gru(x: Array, h0: Array, direction: str, gate_order: str, biases: str, **p: Array) -> Outputs:
    ys, hs = [], []
    for row, (suffix, backwards) in enumerate(_directions(direction)):
        h, y = h0[row], np.zeros((*x.shape[:2], h0.shape[2]))
        for t in reversed(range(len(x))) if backwards else range(len(x)):
            given = x[t] @ p["weight_ih" + suffix].T + p["bias_ih" + suffix]
            held = h @ p["weight_hh" + suffix].T + p["bias_hh" + suffix]
            (ri, zi, ni), (rh, zh, nh) = np.split(given, 3, -1), np.split(held, 3, -1)
            r, z = special.expit(ri + rh), special.expit(zi + zh)
            h = y[t] = (1 - z) * np.tanh(ni + r * nh) + z * h
        ys.append(y)
        hs.append(h)
    return {"y": np.concatenate(ys, axis=-1), "h": np.stack(hs)}


# --- pooling, elementwise, reduction, movement ----------------------------------------------------


def _windows(
    x: Array, kernel: Any, stride: Any, padding: Any, fill: float, ceil_mode: bool = False
) -> Array:
    axes = x.ndim - 2
    kernel, stride, padding = (_each(v, axes) for v in (kernel, stride, padding))
    ends = [p + (s - 1 if ceil_mode else 0) for p, s in zip(padding, stride, strict=True)]
    room = [(0, 0), (0, 0), *zip(padding, ends, strict=True)]
    padded = np.pad(x, room, constant_values=fill)
    last = tuple(range(2, 2 + axes))
    found = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=last)
    return found[(slice(None), slice(None), *(slice(None, None, s) for s in stride))]


def max_pool1d(
    x: Array, kernel: int, stride: int, padding: int, ceil_mode: bool, padding_wins: bool
) -> Array:
    return _windows(x, kernel, stride, padding, -np.inf, ceil_mode).max(-1)


def max_pool2d(x: Array, kernel: Any, stride: Any, padding: Any, padding_wins: bool) -> Array:
    return _windows(x, kernel, stride, padding, -np.inf).max((-2, -1))


def avg_pool1d(x: Array, kernel: int, stride: int, padding: int, padding_counts: bool) -> Array:
    return _windows(x, kernel, stride, padding, 0.0).mean(-1)


def pixel_shuffle(x: Array, factor: int) -> Array:
    n, c, h, w = x.shape
    y = np.zeros((n, c // factor**2, h * factor, w * factor))
    for i, j in itertools.product(range(factor), range(factor)):
        y[:, :, i::factor, j::factor] = x[:, i * factor + j :: factor**2]
    return y


def binary(a: Array, b: Array, function: str) -> Array:
    names = {"sub": "subtract", "mul": "multiply", "div": "true_divide", "pow": "power"}
    return np.asarray(getattr(np, names.get(function, function))(a, b))


def unary(x: Array, function: str) -> Array:
    own: dict[str, Callable[[Array], Array]] = {
        "neg": np.negative,
        "rsqrt": lambda v: v**-0.5,
        "erf": special.erf,
    }
    return own.get(function, getattr(np, function, np.negative))(x)


def clamp(x: Array, low: float, high: float) -> Array:
    return np.minimum(np.maximum(x, low), high)


def reduce(x: Array, function: str, axes: list[int], keepdims: bool, ddof: int = 0) -> Array:
    options: dict[str, Any] = {"axis": tuple(axes), "keepdims": keepdims}
    if function == "l2_norm":
        return np.sqrt(np.sum(x**2, **options))
    if function in ("var", "std"):
        options["ddof"] = ddof
    return np.asarray(getattr(np, function)(x, **options))


def cumsum(x: Array, axis: int) -> Array:
    return np.cumsum(x, axis)


def permute(x: Array, axes: list[int]) -> Array:
    return np.transpose(x, axes)


def reshape(x: Array, shape: list[int]) -> Array:
    return x.reshape(shape)


def expand(x: Array, shape: list[int]) -> Array:
    return np.broadcast_to(x, shape)


def pad(x: Array, amounts: list[int], mode: str, value: float) -> Array:
    pairs = [tuple(amounts[i : i + 2]) for i in range(0, len(amounts), 2)]
    if mode == "constant":
        return np.pad(x, pairs, constant_values=value)
    return np.pad(x, pairs, {"replicate": "edge", "circular": "wrap"}.get(mode, mode))  # type: ignore[call-overload]


def slice_axes(x: Array, begin: list[int], end: list[int], step: list[int]) -> Array:
    for axis, place in enumerate(zip(begin, end, step, strict=True)):
        x = np.take(x, range(*place), axis=axis)
    return x


def concat(a: Array, b: Array, axis: int) -> Array:
    return np.concatenate([a, b], axis)


def flip(x: Array, axes: list[int]) -> Array:
    return np.flip(x, axes)


# --- signal processing ----------------------------------------------------------------------------


def _pairs(spectrum: Array) -> Array:
    return np.stack([spectrum.real, spectrum.imag], axis=-1)


def rfft(x: Array, scale: float) -> Array:
    return _pairs(fft.fft(x)[..., : x.shape[-1] // 2 + 1] * scale)


def rfft_packed(x: Array, scale: float) -> Array:
    pairs = rfft(x, scale)
    packed = pairs[..., :-1, :].copy()
    packed[..., 0, 1] = pairs[..., -1, 0]
    return packed


def irfft(x: Array, n: int, scale: float) -> Array:
    half = x[..., 0] + 1j * x[..., 1]
    alone = [0, n // 2] if n % 2 == 0 else [0]  # bins without a mirror
    half[..., alone] = half[..., alone].real
    mirrored = half[..., 1 : (n + 1) // 2].conj()[..., ::-1]
    y = fft.ifft(np.concatenate([half, mirrored], axis=-1))
    assert np.max(np.abs(y.imag)) < 1e-12
    return y.real * scale


def stft(x: Array, n_fft: int, hop: int, scale: float, window: str, center: str) -> Array:
    padded = np.pad(x, [(0, 0), (n_fft // 2, n_fft // 2)], "reflect")
    shape = signal.get_window("hann", n_fft)
    starts = range(0, padded.shape[1] - n_fft + 1, hop)
    frames = [fft.rfft(padded[:, t : t + n_fft] * shape) for t in starts]
    return _pairs(np.stack(frames, axis=-1) * scale)


def istft(
    x: Array, n_fft: int, hop: int, scale: float, length: int, window: str, normalisation: str
) -> Array:
    shape = signal.get_window("hann", n_fft)
    frames = x.shape[-2]
    total = n_fft + hop * (frames - 1)
    sums, squares = np.zeros((x.shape[0], total)), np.zeros(total)
    for m in range(frames):
        part = slice(m * hop, m * hop + n_fft)
        spectrum = (x[:, :, m, 0] + 1j * x[:, :, m, 1]) / scale
        sums[:, part] += fft.irfft(spectrum, n_fft) * shape
        squares[part] += shape**2
    kept = slice(n_fft // 2, n_fft // 2 + length)
    return sums[:, kept] / squares[kept]


def cola(window: str, n_fft: int, hop: int) -> Outputs:
    kind, symmetry = window.split()
    shape = signal.get_window(kind, n_fft, fftbins=symmetry == "periodic")
    shifts = range(0, n_fft, hop)
    return {
        "y": shape,
        "sum": np.sum([shape[s : s + hop] for s in shifts], axis=0),
        "square_sum": np.sum([shape[s : s + hop] ** 2 for s in shifts], axis=0),
    }


def convolve(x: Array, impulse: Array) -> Array:
    return np.convolve(x, impulse)


def convolve_partitioned(x: Array, impulse: Array, block: int) -> Outputs:
    """A stream: SciPy's direct filter with its state, which is not the pack's formula."""
    state = np.zeros(len(impulse) - 1)
    parts = []
    for start in range(0, len(x), block):
        part, state = signal.lfilter(impulse, 1.0, x[start : start + block], zi=state)
        parts.append(part)
    fresh = np.zeros_like(state)
    tail, _ = signal.lfilter(impulse, 1.0, np.zeros(len(state)), zi=state)
    return {
        "y": np.concatenate(parts),
        "tail": tail,
        "after_reset": signal.lfilter(impulse, 1.0, x[:block], zi=fresh)[0],
        "without_reset": signal.lfilter(impulse, 1.0, x[:block], zi=state)[0],
    }


def biquad(x: Array, sections: Array, block: int, form: str) -> Outputs:
    y, state = signal.sosfilt(sections, x, zi=np.zeros((len(sections), 2)))
    radii = [max(abs(np.roots(row[3:]))) for row in sections]
    return {"y": y, "state": state, "pole_radius": np.array(radii)}


OTHER_NAMES: dict[str, Callable[..., Any]] = {
    "conv1d": convolution,
    "conv2d": convolution,
    "conv_transpose1d": transposed_convolution,
    "conv_transpose2d": transposed_convolution,
    "slice": slice_axes,
    "convolve_direct": convolve,
    "convolve_fft": convolve,
}


def second_path(operation: str) -> Callable[..., Any] | None:
    """Return the function that computes an operation, or nothing if there is none."""
    found = OTHER_NAMES.get(operation) or globals().get(operation)
    return found if callable(found) else None
