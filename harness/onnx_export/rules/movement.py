"""Operations that move values and compute none: shape, order, slices, joins, padding."""

from __future__ import annotations

import numpy as np

from harness.mil.types import DataType
from harness.onnx_export.build import INT64_LIMIT, Bools, Graph, Ints, Operand, Value
from harness.onnx_export.registry import exports


@exports("identity", moves=True)
def identity(g: Graph, x: Value) -> Value:
    """``x``."""
    return x


@exports("reshape", moves=True, run_time=["shape"])
def reshape(g: Graph, x: Value, shape: Ints | Value) -> str:
    """Give ``x`` a new shape; 0 keeps the dimension at the same place counted from the right."""
    if isinstance(shape, Value):
        return g("Reshape", x, g.in_type(shape, DataType.INT64))
    if 0 not in shape:
        return g("Reshape", x, list(shape))
    kept = (1,) * max(0, len(shape) - x.rank) + x.sizes[max(0, x.rank - len(shape)) :]
    return g("Reshape", x, [size or kept[i] for i, size in enumerate(shape)])


@exports("reshape_like", stored=True)
def reshape_like(
    g: Graph,
    x: Value,
    ref_tensors: tuple[Value, ...],
    begins: tuple[Value, ...],
    ends: tuple[Value, ...],
    end_masks: tuple[Value, ...],
    out_shape: Ints,
) -> str:
    """Give ``x`` the shape that is joined from those of others: the declared one."""
    return g("Reshape", x, list(out_shape))


@exports("transpose", moves=True)
def transpose(g: Graph, x: Value, perm: Ints) -> str:
    """Reorder the axes."""
    return g("Transpose", x, perm=[axis % x.rank for axis in perm])


@exports("expand_dims", moves=True)
def expand_dims(g: Graph, x: Value, axes: Ints) -> str:
    """Insert axes of length one."""
    return g("Unsqueeze", x, sorted(axis % (x.rank + len(axes)) for axis in axes))


@exports("squeeze", moves=True)
def squeeze(g: Graph, x: Value, axes: Ints | None) -> Value | str:
    """Remove axes of length one; others named in ``axes`` stay."""
    named = range(x.rank) if axes is None else sorted(axis % x.rank for axis in axes)
    single = [axis for axis in named if x.sizes[axis] == 1]
    return g("Squeeze", x, single) if single else x  # of no axes it would remove all it can


@exports("flatten2d", moves=True)
def flatten2d(g: Graph, x: Value, axis: int) -> str:
    """Join the axes before ``axis``, and those from it on."""
    return g("Flatten", x, axis=axis)


@exports("slice_by_index", moves=True)
def slice_by_index(
    g: Graph,
    x: Value,
    begin: Ints,
    end: Ints,
    stride: Ints | None,
    begin_mask: Bools | None,
    end_mask: Bools | None,
    squeeze_mask: Bools | None,
) -> str:
    """x[begin:end:stride] on every axis, by Python's rules; ``squeeze_mask`` picks one element."""
    rank, none = x.rank, (False,) * x.rank
    open_begin, open_end, single = begin_mask or none, end_mask or none, squeeze_mask or none
    starts, ends, steps = [], [], []
    for axis, step in enumerate(stride or (1,) * rank):
        if single[axis]:
            first = 0 if open_begin[axis] else begin[axis]
            last = INT64_LIMIT if first == -1 else first + 1
            step = 1
        else:
            outermost = (0, INT64_LIMIT) if step > 0 else (INT64_LIMIT, -INT64_LIMIT)
            first = outermost[0] if open_begin[axis] else begin[axis]
            last = outermost[1] if open_end[axis] else end[axis]
        starts.append(first)
        ends.append(last)
        steps.append(step)
    y = g("Slice", x, starts, ends, list(range(rank)), steps)
    dropped = [axis for axis in range(rank) if single[axis]]
    return g("Squeeze", y, dropped) if dropped else y


@exports("slice_by_size", moves=True)
def slice_by_size(g: Graph, x: Value, begin: Ints, size: Ints) -> str:
    """``size`` elements from ``begin`` on every axis; -1 takes all that remain."""
    ends = [
        INT64_LIMIT if length == -1 or start < 0 == start + length else start + length
        for start, length in zip(begin, size, strict=True)
    ]
    return g("Slice", x, list(begin), ends, list(range(x.rank)))


@exports("split", moves=True)
def split(
    g: Graph, x: Value, axis: int, num_splits: int | None, split_sizes: Ints | None
) -> tuple[str, ...]:
    """Cut ``x`` along ``axis`` into equal parts or into ``split_sizes``."""
    if split_sizes is None:
        count = num_splits or 1
        return g.several("Split", count, x, axis=axis, num_outputs=count)
    return g.several("Split", len(split_sizes), x, list(split_sizes), axis=axis)


@exports("concat", moves=True)
def concat(g: Graph, values: tuple[Value, ...], axis: int, interleave: bool) -> str:
    """Join along ``axis``; interleaved, the elements of the inputs take turns. Scalars stack."""
    rank = values[0].rank
    if rank == 0:
        return stack(g, values, 0)
    if not interleave:
        return g("Concat", *values, axis=axis)
    axis, shape = axis % rank, list(values[0].sizes)
    shape[axis] *= len(values)
    return g("Reshape", stack(g, values, axis + 1), shape)


@exports("stack", moves=True)
def stack(g: Graph, values: tuple[Value, ...], axis: int) -> str:
    """Join along a new axis."""
    return g("Concat", *(g("Unsqueeze", value, [axis]) for value in values), axis=axis)


@exports("tile", moves=True)
def tile(g: Graph, x: Value, reps: Ints) -> str:
    """Repeat ``x`` along every axis."""
    return g("Tile", x, list(reps))


@exports("reverse", moves=True)
def reverse(g: Graph, x: Value, axes: Ints | None) -> str:
    """Reverse the order along ``axes`` (all by default)."""
    return flipped(g, x, list(range(x.rank) if axes is None else axes))


def flipped(g: Graph, x: Operand, axes: list[int]) -> str:
    """Return ``x`` in reverse order along ``axes``."""
    count = len(axes)
    return g("Slice", x, [INT64_LIMIT] * count, [-INT64_LIMIT] * count, axes, [-1] * count)


@exports("reverse_sequence")
def reverse_sequence(g: Graph, x: Value, lengths: Value, seq_axis: int, batch_axis: int) -> str:
    """Reverse the first ``lengths[i]`` elements along ``seq_axis`` of each item i."""
    # The operator wants both axes in front.
    front = [batch_axis % x.rank, seq_axis % x.rank]
    order = front + [axis for axis in range(x.rank) if axis not in front]
    turned = g("Transpose", x, perm=order)
    counts = g.in_type(lengths, DataType.INT64)
    y = g("ReverseSequence", turned, counts, batch_axis=0, time_axis=1)
    return g("Transpose", y, perm=[order.index(axis) for axis in range(x.rank)])


@exports("pad")
def pad(g: Graph, x: Value, pad: Ints, mode: str, constant_val: float) -> Value | str:
    """Pad the last axes; ``pad`` lists before and after, axis by axis."""
    if not any(pad):
        return x
    kept = [0] * (x.rank - len(pad) // 2)
    pads = [*kept, *pad[::2], *kept, *pad[1::2]]
    if mode == "constant":
        return g("Pad", x, pads, x.number(constant_val))
    return g("Pad", x, pads, mode={"reflect": "reflect", "replicate": "edge"}[mode])


@exports("depth_to_space")
def depth_to_space(g: Graph, x: Value, block_size: int) -> str:
    """[N, C b^2, H, W] to [N, C, H b, W b]; the block's place is the slow part of the channels."""
    return g("DepthToSpace", x, blocksize=block_size, mode="DCR")


@exports("pixel_shuffle")
def pixel_shuffle(g: Graph, x: Value, upscale_factor: int) -> str:
    """[N, C f^2, H, W] to [N, C, H f, W f]; the block's place is the fast part of the channels."""
    return g("DepthToSpace", x, blocksize=upscale_factor, mode="CRD")


@exports("space_to_depth")
def space_to_depth(g: Graph, x: Value, block_size: int) -> str:
    """[N, C, H, W] to [N, C b^2, H / b, W / b], the inverse of ``depth_to_space``."""
    return g("SpaceToDepth", x, blocksize=block_size)


@exports("pixel_unshuffle", moves=True)
def pixel_unshuffle(g: Graph, x: Value, downscale_factor: int) -> str:
    """[N, C, H, W] to [N, C f^2, H / f, W / f], the inverse of ``pixel_shuffle``."""
    (n, c, h, w), f = x.sizes, int(downscale_factor)
    y = g("Reshape", x, [n, c, h // f, f, w // f, f])
    y = g("Transpose", y, perm=[0, 1, 3, 5, 2, 4])
    return g("Reshape", y, [n, c * f * f, h // f, w // f])


@exports("space_to_batch")
def space_to_batch(g: Graph, x: Value, block_shape: Ints, paddings: Value) -> str:
    """Pad [N, C, H, W], then [bh bw N, C, H / bh, W / bw]; the block's place is the slow part."""
    (top, bottom), (left, right) = paddings.constant.tolist()
    y = g("Pad", x, [0, 0, top, left, 0, 0, bottom, right], x.number(0))
    (bh, bw), (n, c, h, w) = block_shape, x.sizes
    h, w = h + top + bottom, w + left + right
    y = g("Reshape", y, [n, c, h // bh, bh, w // bw, bw])
    y = g("Transpose", y, perm=[3, 5, 0, 1, 2, 4])
    return g("Reshape", y, [n * bh * bw, c, h // bh, w // bw])


@exports("batch_to_space", stored=True)
def batch_to_space(g: Graph, x: Value, block_shape: Ints, crops: Value) -> str:
    """[bh bw N, C, H, W] to [N, C, H bh, W bw], then cropped: undoes ``space_to_batch``."""
    (top, bottom), (left, right) = crops.constant.tolist()
    (bh, bw), (blocks, c, h, w) = block_shape, x.sizes
    n = blocks // (bh * bw)
    y = g("Reshape", x, [bh, bw, n, c, h, w])
    y = g("Transpose", y, perm=[2, 3, 4, 0, 5, 1])
    y = g("Reshape", y, [n, c, h * bh, w * bw])
    return g("Slice", y, [top, left], [h * bh - bottom, w * bw - right], [2, 3])


@exports("sliding_windows", moves=True)
def sliding_windows(g: Graph, x: Value, axis: int, size: int, stride: int) -> str:
    """All windows of ``size`` along ``axis``; the window becomes the axis after it."""
    count = (x.sizes[axis] - size) // stride + 1
    index = stride * np.arange(count)[:, np.newaxis] + np.arange(size)
    return g("Gather", x, index, axis=axis)
