"""Cases of operations that move values: shape, order, slices, joins, padding, gathering."""

from __future__ import annotations

import numpy as np

from suites.ops.cases import Case, by_position, distinct, integers, normal

X = {"x": normal(3, 4, 5)}


def move(name, op, expected, tensors=X, **params):
    return Case(name, op, expected, tensors, params=params, exact=True)


def by_index(x, begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    rank = x.ndim
    none, ones = [False] * rank, [1] * rank
    index = tuple(
        b if squeeze else slice(None if open_b else b, None if open_e else e, s)
        for b, e, s, open_b, open_e, squeeze in zip(
            begin,
            end,
            stride or ones,
            begin_mask or none,
            end_mask or none,
            squeeze_mask or none,
            strict=True,
        )
    )
    return x[index]


def by_size(x, begin, size):
    begin = [b + n if b < 0 else b for b, n in zip(begin, x.shape, strict=True)]
    return x[tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size, strict=True))]


def split(x, axis, num_splits=None, split_sizes=None):
    where = num_splits if split_sizes is None else np.cumsum(split_sizes)[:-1]
    return tuple(np.split(x, where, axis))


def interleave(values, axis, interleave):
    y = np.empty([n * (len(values) if i == axis else 1) for i, n in enumerate(values[0].shape)])
    for number, value in enumerate(values):
        y[(slice(None),) * axis + (slice(number, None, len(values)),)] = value
    return y


def pad(x, pad, mode="constant", constant_val=0.0):
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + np.reshape(pad, (-1, 2)).tolist()
    if mode == "constant":
        return np.pad(x, pairs, constant_values=constant_val)
    return np.pad(x, pairs, {"replicate": "edge"}.get(mode, mode))


def reverse_sequence(x, lengths, seq_axis, batch_axis):
    y = np.array(x)
    for item, length in enumerate(lengths):
        rows = np.moveaxis(y, (batch_axis, seq_axis), (0, 1))
        source = np.moveaxis(x, (batch_axis, seq_axis), (0, 1))
        rows[item, :length] = source[item, :length][::-1]
    return y


def depth_to_space(x, block_size):
    n, c, h, w = x.shape
    b = block_size
    y = np.empty((n, c // b**2, h * b, w * b))
    for row in range(b):
        for column in range(b):
            first = (row * b + column) * (c // b**2)
            y[:, :, row::b, column::b] = x[:, first : first + c // b**2]
    return y


def space_to_depth(x, block_size):
    b = block_size
    return np.concatenate([x[:, :, r::b, c::b] for r in range(b) for c in range(b)], 1)


def pixel_unshuffle(x, downscale_factor):
    f = downscale_factor
    parts = [x[:, :, r::f, c::f] for r in range(f) for c in range(f)]
    return np.stack(parts, 2).reshape(x.shape[0], -1, x.shape[2] // f, x.shape[3] // f)


def pixel_shuffle(x, upscale_factor):
    f = upscale_factor
    n, c, h, w = x.shape
    y = np.empty((n, c // f**2, h * f, w * f))
    for row in range(f):
        for column in range(f):
            y[:, :, row::f, column::f] = x[:, row * f + column :: f**2]
    return y


def windows(x, axis, size, stride):
    view = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    steps = (slice(None),) * axis + (slice(None, None, stride),)
    return (
        np.moveaxis(view, -1, axis + 1)[steps]
        if axis == 0
        else np.moveaxis(view[steps], -1, axis + 1)
    )


SHAPES = [
    move("reshape", "reshape", lambda x, shape: x.reshape(shape), shape=[4, -1]),
    move(
        "reshape_zero",
        "reshape",
        lambda x, shape: x.reshape(3, 20),
        shape=[0, -1],
        tensors={"x": normal(3, 20)},
    ),
    move(
        "reshape_zero_right",
        "reshape",
        lambda x, shape: x.reshape(1, 1, 2, 50),
        shape=[1, 0, -1, 0],
        tensors={"x": normal(2, 50)},
    ),
    move("transpose", "transpose", lambda x, perm: x.transpose(perm), perm=[2, 0, 1]),
    move("transpose_negative", "transpose", lambda x, perm: x.transpose(0, 2, 1), perm=[0, -1, 1]),
    move("expand_dims", "expand_dims", lambda x, axes: x[None, :, :, :, None], axes=[0, -1]),
    move("expand_dims_order", "expand_dims", lambda x, axes: x[:, None, :, None], axes=[3, 1]),
    move("squeeze", "squeeze", lambda x, axes: x[:, 0], axes=[1], tensors={"x": normal(3, 1, 4)}),
    move("squeeze_all", "squeeze", by_position(np.squeeze), tensors={"x": normal(1, 3, 1, 4)}),
    move("flatten2d", "flatten2d", lambda x, axis: x.reshape(12, 5), axis=2),
    move("flatten2d_negative", "flatten2d", lambda x, axis: x.reshape(12, 5), axis=-1),
    move("identity", "identity", lambda x: x),
    move("reverse", "reverse", lambda x, axes: x[::-1, :, ::-1], axes=[0, 2]),
    move("reverse_all", "reverse", lambda x: x[::-1, ::-1, ::-1]),
    move("tile", "tile", lambda x, reps: np.tile(x, reps), reps=[2, 1, 3]),
]

SLICES = [
    move("slice_plain", "slice_by_index", by_index, begin=[1, 0, 2], end=[3, 4, 5]),
    move(
        "slice_strided",
        "slice_by_index",
        by_index,
        begin=[0, 1, 0],
        end=[3, 4, 5],
        stride=[2, 2, 3],
    ),
    move("slice_negative", "slice_by_index", by_index, begin=[-2, -3, 0], end=[3, -1, 5]),
    move(
        "slice_backwards",
        "slice_by_index",
        by_index,
        begin=[2, 3, 4],
        end=[0, 0, 0],
        stride=[-1, -2, -3],
    ),
    move(
        "slice_backwards_open",
        "slice_by_index",
        by_index,
        begin=[0, 0, 3],
        end=[0, 0, 0],
        stride=[-1, -1, -1],
        begin_mask=[True, True, False],
        end_mask=[True, True, True],
    ),
    move(
        "slice_masks",
        "slice_by_index",
        by_index,
        begin=[2, 1, 1],
        end=[1, 1, 4],
        begin_mask=[True, False, False],
        end_mask=[True, True, False],
    ),
    move(
        "slice_squeeze",
        "slice_by_index",
        by_index,
        begin=[1, 0, -2],
        end=[2, 4, 0],
        end_mask=[False, True, False],
        squeeze_mask=[True, False, True],
    ),
    move("slice_beyond", "slice_by_index", by_index, begin=[0, 2, 0], end=[30, 9, 5]),
    move("slice_by_size", "slice_by_size", by_size, begin=[1, 0, 2], size=[2, 3, -1]),
    move("slice_by_size_negative", "slice_by_size", by_size, begin=[-2, 0, -3], size=[1, 4, 2]),
    move("split_even", "split", split, axis=1, num_splits=2),
    move("split_sizes", "split", split, axis=-1, split_sizes=[1, 3, 1]),
    move("sliding_windows", "sliding_windows", windows, axis=1, size=2, stride=2),
    move("sliding_windows_first", "sliding_windows", windows, axis=0, size=2, stride=1),
]

PAIR = {"values": [normal(3, 4), normal(3, 4, seed=1)]}

JOINS = [
    move(
        "concat",
        "concat",
        lambda values, axis: np.concatenate(values, axis),
        axis=1,
        tensors={"values": [normal(3, 4), normal(3, 2, seed=1), normal(3, 1, seed=2)]},
    ),
    move(
        "concat_negative",
        "concat",
        lambda values, axis: np.concatenate(values, axis),
        axis=-2,
        tensors=PAIR,
    ),
    move("concat_interleave", "concat", interleave, axis=1, interleave=True, tensors=PAIR),
    move("stack", "stack", lambda values, axis: np.stack(values, axis), axis=1, tensors=PAIR),
    move("stack_last", "stack", lambda values, axis: np.stack(values, axis), axis=-1, tensors=PAIR),
]

PADS = [
    move("pad_constant", "pad", pad, pad=[1, 0, 2, 3], constant_val=0.5),
    move("pad_zero", "pad", pad, pad=[0, 0, 0, 0, 0, 1]),
    move("pad_reflect", "pad", pad, pad=[3, 2, 4, 1], mode="reflect"),
    move("pad_replicate", "pad", pad, pad=[2, 1, 0, 0, 4, 5], mode="replicate"),
    move("pad_nothing", "pad", pad, pad=[0, 0], mode="reflect"),
]

IMAGES = [
    move(
        "depth_to_space",
        "depth_to_space",
        depth_to_space,
        block_size=2,
        tensors={"x": normal(2, 12, 3, 2)},
    ),
    move(
        "space_to_depth",
        "space_to_depth",
        space_to_depth,
        block_size=2,
        tensors={"x": normal(2, 3, 4, 6)},
    ),
    move(
        "pixel_shuffle",
        "pixel_shuffle",
        pixel_shuffle,
        upscale_factor=2,
        tensors={"x": normal(2, 12, 3, 2)},
    ),
    # Where nothing has to move, the result may be the input's own memory.
    move(
        "depth_to_space_single",
        "depth_to_space",
        depth_to_space,
        block_size=2,
        tensors={"x": normal(1, 4, 1, 1)},
    ),
    move(
        "space_to_depth_single",
        "space_to_depth",
        space_to_depth,
        block_size=2,
        tensors={"x": normal(1, 1, 2, 2)},
    ),
    move(
        "pixel_unshuffle",
        "pixel_unshuffle",
        pixel_unshuffle,
        downscale_factor=np.uint32(2),
        tensors={"x": normal(2, 3, 4, 6)},
    ),
]


def gather_batched(x, indices, axis, batch_dims):
    rows = [np.take(row, pick, axis - batch_dims) for row, pick in zip(x, indices, strict=True)]
    return np.stack(rows)


def gather_nd(x, indices):
    return x[tuple(np.moveaxis(indices, -1, 0))]


def topk(x, k=1, axis=-1, ascending=False):
    order = np.argsort(x if ascending else -x, axis, kind="stable")
    indices = np.take(order, range(k), axis)
    return np.take_along_axis(x, indices, axis), indices


def argsort(x, axis=-1, ascending=False):
    return np.argsort(x if ascending else -x, axis, kind="stable")


def indexed(name, op, expected, indices, opset="iOS18", **params):
    return Case(name, op, expected, X, {"indices": indices}, params, exact=True, opset=opset)


INDEXING = [
    indexed(
        "gather",
        "gather",
        lambda x, indices, axis: np.take(x, indices, axis),
        integers(0, 4, 2, 3),
        axis=1,
    ),
    indexed(
        "gather_negative",
        "gather",
        lambda x, indices, axis: np.take(x, indices, axis),
        integers(-3, 3, 4),
        opset="iOS16",
        axis=0,
    ),
    indexed("gather_batched", "gather", gather_batched, integers(0, 5, 3, 2), axis=2, batch_dims=1),
    indexed(
        "gather_along_axis",
        "gather_along_axis",
        lambda x, indices, axis: np.take_along_axis(x, indices, axis),
        integers(0, 4, 3, 2, 5),
        axis=1,
    ),
    indexed("gather_nd", "gather_nd", gather_nd, integers(0, 3, 6, 2)),
    move(
        "select",
        "select",
        by_position(np.where),
        tensors={"cond": normal(3, 4) > 0, "a": normal(3, 4, seed=1), "b": normal(1, 4, seed=2)},
    ),
    move("argsort", "argsort", argsort, tensors={"x": distinct(3, 7)}),
    move(
        "argsort_ascending",
        "argsort",
        argsort,
        tensors={"x": distinct(3, 7)},
        axis=0,
        ascending=True,
    ),
    move("topk", "topk", topk, tensors={"x": distinct(3, 7)}, k=3),
    move("topk_smallest", "topk", topk, tensors={"x": distinct(3, 7)}, k=2, axis=0, ascending=True),
    Case(
        "reverse_sequence",
        "reverse_sequence",
        reverse_sequence,
        X,
        {"lengths": np.array([1, 4, 3], np.int32)},
        {"seq_axis": 1, "batch_axis": 0},
        exact=True,
    ),
]

CASES = [*SHAPES, *SLICES, *JOINS, *PADS, *IMAGES, *INDEXING]
