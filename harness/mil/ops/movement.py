"""Operations that move values and compute none: shape, order, slices, joins, padding.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS16,iOS17,iOS18}/tensor_transformation.py``,
``tensor_operation.py`` and, for slices, ``ops/defs/_utils.py`` of coremltools.
"""

from __future__ import annotations

import math

import torch

from harness.mil.ops.registry import Bools, Effect, Ints, Tensor, Tensors, operation


@operation("reshape", effect=Effect.VIEW)
def reshape(x: Tensor, shape: Ints) -> Tensor:
    """Give ``x`` a new shape.

    -1 takes what is left; 0 keeps the dimension at the same place counted from the right, and is 1
    where there is none (before iOS 17: only with equal ranks, which comes to the same).
    """
    kept = [1] * max(0, len(shape) - x.ndim) + list(x.shape[max(0, x.ndim - len(shape)) :])
    return x.reshape([kept[i] if size == 0 else size for i, size in enumerate(shape)])


@operation("reshape_like", effect=Effect.VIEW)
def reshape_like(
    x: Tensor, ref_tensors: Tensors, begins: Tensors, ends: Tensors, end_masks: Tensors
) -> Tensor:
    """Give ``x`` the shape joined from ``ref.shape[begin:end]`` of each reference tensor.

    An end whose mask is true is open.
    """
    shape: list[int] = []
    for ref, begin, end, is_open in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += ref.shape[int(begin) : None if is_open else int(end)]
    return x.reshape(shape)


@operation("transpose", effect=Effect.VIEW)
def transpose(x: Tensor, perm: Ints) -> Tensor:
    """Reorder the axes."""
    return x.permute(perm)


@operation("expand_dims", effect=Effect.VIEW)
def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    """Insert axes of length one at ``axes`` of the result."""
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@operation("squeeze", effect=Effect.VIEW)
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Remove axes of length one; others named in ``axes`` stay."""
    return x.squeeze() if axes is None else x.squeeze(axes)


@operation("flatten2d", effect=Effect.VIEW)
def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    """Join the axes before ``axis``, and those from it on."""
    return x.reshape(math.prod(x.shape[:axis]), -1)


@operation("identity", effect=Effect.VIEW)
def identity(x: Tensor) -> Tensor:
    """``x``."""
    return x


@operation("slice_by_index", effect=Effect.VIEW)
def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Bools | None = None,
    end_mask: Bools | None = None,
    squeeze_mask: Bools | None = None,
) -> Tensor:
    """x[begin:end:stride] on every axis, by Python's rules.

    A mask makes the limit open, ``squeeze_mask`` picks the element ``begin`` and drops the axis.
    """
    squeezed = squeeze_mask or (False,) * x.ndim
    limits = slice_limits(x.shape, begin, end, stride, begin_mask, end_mask, squeeze_mask)
    for axis in reversed(range(x.ndim)):
        x = _slice(x, axis, limits[axis])
        if squeezed[axis]:
            x = x.squeeze(axis)
    return x


def slice_limits(
    shape: Ints,
    begin: Ints,
    end: Ints,
    stride: Ints | None,
    begin_mask: Bools | None,
    end_mask: Bools | None,
    squeeze_mask: Bools | None,
) -> list[slice]:
    """Return the slice of each axis that ``slice_by_index`` takes; a squeezed axis keeps one."""
    rank = len(shape)
    strides, none = stride or (1,) * rank, (False,) * rank
    open_begin, open_end = begin_mask or none, end_mask or none
    squeezed = squeeze_mask or none
    limits = []
    for axis, size in enumerate(shape):
        if squeezed[axis]:
            first = range(size)[0 if open_begin[axis] else begin[axis]]
            limits.append(slice(first, first + 1, 1))
        else:
            start = None if open_begin[axis] else begin[axis]
            stop = None if open_end[axis] else end[axis]
            limits.append(slice(start, stop, strides[axis]))
    return limits


def _slice(x: Tensor, axis: int, limits: slice) -> Tensor:
    positions = range(x.shape[axis])[limits]
    if positions == range(x.shape[axis]):
        return x
    if positions.step > 0 and len(positions):
        return x[(slice(None),) * axis + (slice(positions[0], positions[-1] + 1, positions.step),)]
    # PyTorch has no negative steps.
    return x.index_select(axis, torch.tensor(positions, dtype=torch.int64, device=x.device))


@operation("slice_by_size", effect=Effect.VIEW)
def slice_by_size(x: Tensor, begin: Ints, size: Ints) -> Tensor:
    """``size`` elements from ``begin`` on every axis; -1 takes all that remain."""
    for axis, (start, length) in enumerate(zip(begin, size, strict=True)):
        start = start + x.shape[axis] if start < 0 else start
        x = x.narrow(axis, start, x.shape[axis] - start if length == -1 else length)
    return x


@operation("split", effect=Effect.VIEW)
def split(
    x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None
) -> Tensors:
    """Cut ``x`` along ``axis`` into ``num_splits`` equal parts or into ``split_sizes``."""
    if split_sizes is not None:
        return tuple(x.split(list(split_sizes), axis))
    if num_splits is None or x.shape[axis] % num_splits:
        raise ValueError(f"axis {axis} of {list(x.shape)} can't be split into {num_splits}")
    return tuple(x.split(x.shape[axis] // num_splits, axis))


@operation("concat", effect=Effect.MOVE)
def concat(values: Tensors, axis: int, interleave: bool = False) -> Tensor:
    """Join along ``axis``; interleaved, the elements of the inputs take turns. Scalars stack."""
    if values[0].ndim == 0:
        return torch.stack(values)
    if not interleave:
        return torch.cat(values, axis)
    axis = axis % values[0].ndim
    shape = list(values[0].shape)
    shape[axis] *= len(values)
    return torch.stack(values, axis + 1).reshape(shape)


@operation("stack", effect=Effect.MOVE)
def stack(values: Tensors, axis: int) -> Tensor:
    """Join along a new axis."""
    return torch.stack(values, axis)


@operation("tile", effect=Effect.MOVE)
def tile(x: Tensor, reps: Ints) -> Tensor:
    """Repeat ``x`` along every axis."""
    return x.repeat(reps)


@operation("reverse", effect=Effect.MOVE)
def reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Reverse the order along ``axes`` (all by default)."""
    return x.flip(tuple(range(x.ndim)) if axes is None else axes)


@operation("reverse_sequence", effect=Effect.MOVE)
def reverse_sequence(x: Tensor, lengths: Tensor, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """Reverse the first ``lengths[i]`` elements along ``seq_axis`` of each item i."""
    rank = x.ndim
    steps = torch.arange(x.shape[seq_axis], device=x.device)
    counts = lengths.long().reshape([-1 if i == batch_axis % rank else 1 for i in range(rank)])
    steps = steps.reshape([-1 if i == seq_axis % rank else 1 for i in range(rank)])
    index = torch.where(steps < counts, counts - 1 - steps, steps)
    return x.gather(seq_axis, index.expand(x.shape))


@operation("pad", effect=Effect.MOVE)
def pad(x: Tensor, pad: Ints, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """Pad the last axes; ``pad`` lists before and after, axis by axis."""
    amounts = list(zip(pad[::2], pad[1::2], strict=True))
    first = x.ndim - len(amounts)
    if mode == "constant":
        flat = [amount for pair in reversed(amounts) for amount in pair]
        value = bool(constant_val) if x.dtype is torch.bool else constant_val
        return torch.nn.functional.pad(x, flat, value=value)
    if mode not in ("reflect", "replicate"):
        raise ValueError(f"mode {mode!r} is none of constant, reflect, replicate")
    y = x
    for axis, (before, after) in enumerate(amounts, start=first):
        if before or after:
            y = y.index_select(axis, _border(y.shape[axis], before, after, mode, y.device))
    return y.clone() if y is x else y


def _border(size: int, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    if mode == "reflect" and max(before, after) >= size:
        raise ValueError(f"reflecting {max(before, after)} elements needs more than {size}")
    index = torch.arange(-before, size + after, device=device)
    if mode == "replicate":
        return index.clamp(0, size - 1)
    index = index.abs()
    return torch.where(index < size, index, 2 * (size - 1) - index)


@operation("depth_to_space", effect=Effect.VIEW)
def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """[N, C b^2, H, W] to [N, C, H b, W b]; the block's place is the slow part of the channels."""
    y: Tensor = x.unflatten(1, (block_size, block_size, -1)).permute(0, 3, 4, 1, 5, 2)
    return y.flatten(4).flatten(2, 3)


@operation("space_to_depth", effect=Effect.VIEW)
def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """[N, C, H, W] to [N, C b^2, H / b, W / b], the inverse of ``depth_to_space``."""
    y: Tensor = x.unflatten(3, (-1, block_size)).unflatten(2, (-1, block_size))
    return y.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


@operation("space_to_batch", effect=Effect.VIEW)
def space_to_batch(x: Tensor, block_shape: Ints, paddings: Tensor) -> Tensor:
    """Pad [N, C, H, W], then [bh bw N, C, H / bh, W / bw]; the block's place is the slow part."""
    (top, bottom), (left, right) = paddings.tolist()
    bh, bw = block_shape
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    y: Tensor = padded.unflatten(3, (-1, bw)).unflatten(2, (-1, bh))
    return y.permute(3, 5, 0, 1, 2, 4).flatten(0, 2)


@operation("batch_to_space", effect=Effect.VIEW)
def batch_to_space(x: Tensor, block_shape: Ints, crops: Tensor) -> Tensor:
    """[bh bw N, C, H, W] to [N, C, H bh, W bw], then cropped: undoes ``space_to_batch``."""
    (top, bottom), (left, right) = crops.tolist()
    bh, bw = block_shape
    blocks: Tensor = x.unflatten(0, (bh, bw, -1))
    y = blocks.permute(2, 3, 4, 0, 5, 1).flatten(4).flatten(2, 3)
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


@operation("pixel_shuffle", effect=Effect.VIEW)
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """[N, C f^2, H, W] to [N, C, H f, W f]; the block's place is the fast part of the channels."""
    return torch.pixel_shuffle(x, upscale_factor)


@operation("pixel_unshuffle", effect=Effect.VIEW)
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """[N, C, H, W] to [N, C f^2, H / f, W / f], the inverse of ``pixel_shuffle``."""
    return torch.pixel_unshuffle(x, downscale_factor)


@operation("sliding_windows", effect=Effect.MOVE)
def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """All windows of ``size`` along ``axis``; the window becomes the axis after it."""
    axis = axis % x.ndim
    windows = x.unfold(axis, size, stride).movedim(-1, axis + 1)
    return windows.clone(memory_format=torch.contiguous_format)  # windows may overlap
