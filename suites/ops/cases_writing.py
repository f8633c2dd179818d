"""Cases of operations that write into tensors, and of batches made of blocks."""

from __future__ import annotations

import itertools

import numpy as np

from suites.ops.cases import Case, integers, normal, positive

COMBINE = {
    "update": lambda old, new: new,
    "add": lambda old, new: old + new,
    "sub": lambda old, new: old - new,
    "mul": lambda old, new: old * new,
    "div": lambda old, new: old / new,
    "max": np.maximum,
    "min": np.minimum,
}


def written(data, places, mode):
    """Combine each value with the element at its place, one after the other."""
    y = np.array(data)
    for place, value in places:
        y[place] = COMBINE[mode](y[place], value)
    return y


def scatter(data, indices, updates, axis, mode):
    places = []
    for place in np.ndindex(updates.shape):
        target = (*place[:axis], indices[place[axis]], *place[axis + 1 :])
        places.append((target, updates[place]))
    return written(data, places, mode)


def scatter_along_axis(data, indices, updates, axis, mode):
    places = []
    for place in np.ndindex(updates.shape):
        target = (*place[:axis], indices[place], *place[axis + 1 :])
        places.append((target, updates[place]))
    return written(data, places, mode)


def scatter_nd(data, indices, updates, mode):
    places = []
    for place in np.ndindex(indices.shape[:-1]):
        for rest in np.ndindex(data.shape[indices.shape[-1] :]):
            places.append(((*indices[place], *rest), updates[(*place, *rest)]))
    return written(data, places, mode)


# An index that occurs twice, but for update, where the last of two writes is not defined.
TWICE, ONCE = np.array([2, 0, 2], np.int32), np.array([3, 0, 2], np.int32)


def scatters(mode):
    rows, values = ONCE if mode == "update" else TWICE, positive(2, 3, 5)
    columns = np.stack([rows, rows[::-1]])[:, :, None].repeat(5, 2)
    points = np.array([[0, 1], [1, 3], [0, 2 if mode == "update" else 1]], np.int32)
    tensors = {"data": normal(2, 4, 5), "updates": values}
    return [
        Case(
            f"scatter_{mode}",
            "scatter",
            scatter,
            tensors,
            {"indices": rows},
            {"axis": 1, "mode": mode},
        ),
        Case(
            f"scatter_along_axis_{mode}",
            "scatter_along_axis",
            scatter_along_axis,
            tensors,
            {"indices": columns},
            {"axis": 1, "mode": mode},
        ),
        Case(
            f"scatter_nd_{mode}",
            "scatter_nd",
            scatter_nd,
            {"data": normal(2, 4, 5), "updates": positive(3, 5)},
            {"indices": points},
            {"mode": mode},
        ),
    ]


SCATTERS = [case for mode in COMBINE for case in scatters(mode)] + [
    Case(
        "scatter_negative_indices",
        "scatter",
        scatter,
        {"data": normal(4, 3), "updates": normal(2, 3, seed=1)},
        {"indices": np.array([-1, 1], np.int32)},
        {"axis": 0, "mode": "add"},
        opset="iOS16",
    ),
    Case(
        "scatter_nd_elements",
        "scatter_nd",
        scatter_nd,
        {"data": normal(3, 4), "updates": normal(2, 3, seed=1)},
        {"indices": integers(0, 3, 2, 3, 2)},
        {"mode": "add"},
    ),
]


def slice_update(x, update, begin, end, stride=None, squeeze_mask=None, **masks):
    rank = x.ndim
    none = [False] * rank
    index = tuple(
        begin[i]
        if (squeeze_mask or none)[i]
        else slice(
            None if masks.get("begin_mask", none)[i] else begin[i],
            None if masks.get("end_mask", none)[i] else end[i],
            (stride or [1] * rank)[i],
        )
        for i in range(rank)
    )
    y = np.array(x)
    y[index] = update
    return y


def sliced(name, update, **params):
    tensors = {"x": normal(3, 4, 5), "update": normal(*update, seed=1)}
    return Case(name, "slice_update", slice_update, tensors, params=params, exact=True)


SLICES = [
    sliced("slice_update", (2, 2, 5), begin=[1, 0, 0], end=[3, 4, 5], stride=[1, 2, 1]),
    sliced("slice_update_backwards", (3, 4, 2), begin=[0, 0, 4], end=[3, 4, 0], stride=[1, 1, -2]),
    sliced(
        "slice_update_masks",
        (3, 2),
        begin=[2, -1, 1],
        end=[0, 0, 3],
        begin_mask=[True, False, False],
        end_mask=[True, False, False],
        squeeze_mask=[False, True, False],
    ),
]


def space_to_batch(x, block_shape, paddings):
    x = np.pad(x, [(0, 0), (0, 0), *map(tuple, paddings)])
    bh, bw = block_shape
    return np.concatenate([x[:, :, r::bh, c::bw] for r in range(bh) for c in range(bw)])


def batch_to_space(x, block_shape, crops):
    bh, bw = block_shape
    n, (h, w) = x.shape[0] // (bh * bw), x.shape[2:]
    y = np.empty((n, x.shape[1], h * bh, w * bw))
    for place, (row, column) in enumerate(itertools.product(range(bh), range(bw))):
        y[:, :, row::bh, column::bw] = x[place * n : (place + 1) * n]
    (top, bottom), (left, right) = crops
    return y[:, :, top : h * bh - bottom, left : w * bw - right]


def reshape_like(x, ref_tensors, begins, ends, end_masks):
    shape = []
    for ref, begin, end, is_open in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += ref.shape[begin:] if is_open else ref.shape[begin:end]
    return x.reshape(shape)


BLOCKS = [
    Case(
        "space_to_batch",
        "space_to_batch",
        space_to_batch,
        {"x": normal(2, 3, 3, 4)},
        {"paddings": np.array([[1, 0], [0, 2]], np.int32)},
        {"block_shape": [2, 3]},
        exact=True,
    ),
    Case(
        "batch_to_space",
        "batch_to_space",
        batch_to_space,
        {"x": normal(12, 3, 2, 2)},
        {"crops": np.array([[1, 0], [0, 2]], np.int32)},
        {"block_shape": [2, 3]},
        exact=True,
    ),
    Case(
        "reshape_like",
        "reshape_like",
        reshape_like,
        {"x": normal(6, 10), "ref_tensors": [normal(2, 3, 4), normal(7, 2, 5)]},
        params={"begins": (0, 1), "ends": (2, 0), "end_masks": (False, True)},
        exact=True,
    ),
]

CASES = [*SCATTERS, *SLICES, *BLOCKS]
