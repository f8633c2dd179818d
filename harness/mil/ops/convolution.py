"""Convolution and transposed convolution in one, two and three dimensions.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS17}/conv.py`` and, for the padding types,
``aggregated_pad`` in ``ops/defs/_utils.py`` of coremltools. ``same`` gives an output of
ceil(input / stride) and puts an odd element of padding after the data, ``same_lower`` before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.nn import functional

from harness.mil.ops.finite import known_finite
from harness.mil.ops.registry import Context, Ints, Tensor, operation

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}

# PyTorch's kernels keep copies of operand and result in layouts of their own. On a CPU the copies
# of a large result cost more in page faults than its arithmetic saves by being done at once. What
# is made in one go, and what a slab makes, in elements of the result; elsewhere there are no slabs.
_WHOLE = {"cpu": 1 << 22}
_SLAB = 1 << 21


def spatial_padding(
    pad_type: str, pad: Ints | None, sizes: Ints, kernel: Ints, strides: Ints
) -> list[tuple[int, int]]:
    """Return the padding before and after each spatial dimension.

    Args:
        pad_type: ``valid``, ``custom``, ``same`` or ``same_lower``.
        pad: before and after, dimension by dimension; used by ``custom``.
        sizes: of the spatial dimensions of the input.
        kernel: sizes with dilation applied.
        strides: of each spatial dimension.

    Raises:
        ValueError: an unknown type, or ``custom`` without a fitting ``pad``.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        if pad is None or len(pad) != 2 * len(sizes):
            raise ValueError(f"pad_type 'custom' needs {2 * len(sizes)} numbers in pad, not {pad}")
        return list(zip(pad[::2], pad[1::2], strict=True))
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"unknown pad_type {pad_type!r}")
    result = []
    for size, length, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + length - size)
        small, large = total // 2, total - total // 2
        result.append((small, large) if pad_type == "same" else (large, small))
    return result


def pad_spatial(x: Tensor, padding: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    """Pad (or, where negative, crop) the trailing dimensions of ``x`` with ``value``."""
    flat = [amount for pair in reversed(padding) for amount in pair]
    return functional.pad(x, flat, value=value)


@operation("conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
    context: Context | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Correlate ``x`` [N, C_in, *D] with ``weight`` [C_out, C_in / groups, *K]."""
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    kernel = _dilated(weight, dilations)
    padding = spatial_padding(pad_type, pad, tuple(x.shape[2:]), kernel, strides)
    if groups == 1 and set(strides) == {1}:
        if set(weight.shape[2:]) == {1} and not any(map(any, padding)):
            return _pointwise(x, weight, bias, out)
        # Halves would be rounded once more, tap by tap.
        wide = x.dtype is not torch.float16 and (context is None or context.sums_are_wide)
        if rank == 1 and wide and 2 * weight.shape[0] * weight.shape[2] <= weight.shape[1]:
            return _narrowing(x, weight, bias, padding, dilations[0])
    if any(before != after for before, after in padding):
        x, padding = pad_spatial(x, padding), [(0, 0)] * rank
    return _correlated(x, weight, bias, strides, [p for p, _ in padding], dilations, groups, out)


def _correlated(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Ints,
    padding: list[int],
    dilations: Ints,
    groups: int,
    out: Tensor | None,
) -> Tensor:
    """Convolve as PyTorch does, a large result in slabs of its first spatial axis."""
    function, kernel = _CONV[x.ndim - 2], _dilated(weight, dilations)
    sizes = [
        (n + 2 * p - k) // s + 1
        for n, p, k, s in zip(x.shape[2:], padding, kernel, strides, strict=True)
    ]
    shape = [x.shape[0], weight.shape[0], *sizes]
    slabs = list(_slabs(shape, x.device))
    if len(slabs) <= 1:
        return function(x, weight, bias, strides, padding, dilations, groups)
    y = x.new_empty(shape) if out is None else out
    for first, stop in slabs:
        begin = first * strides[0] - padding[0]
        rows = _rows(x, begin, begin + (stop - first - 1) * strides[0] + kernel[0])
        y[:, :, first:stop] = function(
            rows, weight, bias, strides, [0, *padding[1:]], dilations, groups
        )
    return y


def _slabs(shape: list[int], device: torch.device) -> Iterator[tuple[int, int]]:
    """Yield where each slab of the first spatial axis of a result begins and ends."""
    count, rows = math.prod(shape), max(1, shape[2])
    if count > _WHOLE.get(device.type, count):
        rows = max(1, _SLAB * rows // count)
    for first in range(0, shape[2], rows):
        yield first, min(first + rows, shape[2])


def _rows(x: Tensor, begin: int, end: int) -> Tensor:
    """Return the positions from ``begin`` to ``end`` of the first spatial axis: zero beyond it."""
    before = min(max(-begin, 0), end - begin)
    rows = x[:, :, begin + before : max(end, 0)]
    lacking = end - begin - before - rows.shape[2]
    if not before and not lacking:
        return rows
    return pad_spatial(rows, [(before, lacking), *[(0, 0)] * (x.ndim - 3)])


def _narrowing(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[tuple[int, int]], dilation: int
) -> Tensor:
    """Mix the channels for each tap, then add the taps, each in its place.

    Where few channels come out, all taps together are smaller than ``x``, which is read once and
    never copied: half the time of PyTorch's kernel.
    """
    outputs, inputs, taps = weight.shape
    mixing = weight.permute(2, 0, 1).reshape(-1, inputs).expand(x.shape[0], -1, -1)
    mixed = pad_spatial(torch.bmm(mixing, x), padding)
    length = mixed.shape[2] - (taps - 1) * dilation
    placed = [mixed[..., tap * dilation :][..., :length] for tap in range(taps)]
    parts = [y.narrow(1, tap * outputs, outputs) for tap, y in enumerate(placed)]
    y = torch.stack(parts).sum(0)
    return y if bias is None else y.add_(bias.reshape(-1, 1))


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None) -> Tensor:
    """Mix the channels of each position: a matrix product, much faster than a convolution."""
    batch, outputs = x.shape[0], weight.shape[0]
    mixing = weight.reshape(outputs, -1).expand(batch, -1, -1)
    columns = x.flatten(2)
    flat = None if out is None else out.view(batch, outputs, -1)
    if bias is None:
        y = torch.bmm(mixing, columns, out=flat)
    else:
        rows = bias.reshape(-1, 1)
        y = torch.baddbmm(rows, mixing, columns, out=flat)
    return y.view(batch, outputs, *x.shape[2:])


@operation("conv_transpose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
    out: Tensor | None = None,
) -> Tensor:
    """Spread ``x`` [N, C_in, *D] with ``weight`` [C_in, C_out / groups, *K].

    ``pad`` crops the full result; ``output_shape`` fixes its length, counted from the crop's start.
    Positions that no input reaches hold the bias.
    """
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    crop = transposed_crop(
        tuple(x.shape[2:]), tuple(weight.shape[2:]), strides, dilations, pad_type, pad, output_shape
    )
    if (
        groups == 1
        and set(dilations) == {1}
        and all(before >= 0 <= after for before, after in crop)
        and (_fills_phases(weight, strides) or known_finite(x))
    ):
        return _by_phases(x, weight, bias, strides, crop, out)
    function = _CONV_TRANSPOSE[rank]
    if all(before == after >= 0 for before, after in crop):
        padding = tuple(before for before, _ in crop)
        return function(x, weight, bias, strides, padding, 0, groups, dilations)
    y = function(x, weight, None, strides, 0, 0, groups, dilations)
    y = pad_spatial(y, [(-before, -after) for before, after in crop])
    return y if bias is None else y + bias.reshape([-1] + [1] * rank)


def _fills_phases(weight: Tensor, strides: Ints) -> bool:
    """Whether each phase has as many taps: else those that are lacking are zeros, times an input.

    Of an infinite input that is NaN, where the definition has no term.
    """
    return not any(k % s for k, s in zip(weight.shape[2:], strides, strict=True))


def _by_phases(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Ints,
    crop: list[tuple[int, int]],
    out: Tensor | None,
) -> Tensor:
    """Spread ``x`` by ordinary convolutions: one for each place of an output between two inputs.

    An output position p = stride i + phase is reached by the inputs i, i - 1, ... through the taps
    phase, phase + stride, ...: a convolution with stride 1 makes all phases as channels, which are
    then interleaved. PyTorch's own kernel for a transposed convolution takes up to twice as long.
    """
    rank, outputs = x.ndim - 2, weight.shape[1]
    taps = [math.ceil(k / s) for k, s in zip(weight.shape[2:], strides, strict=True)]
    lacking = [(0, t * s - k) for t, s, k in zip(taps, strides, weight.shape[2:], strict=True)]
    kernel = pad_spatial(weight, lacking)
    parts = [size for pair in zip(taps, strides, strict=True) for size in pair]
    kernel = kernel.reshape(*weight.shape[:2], *parts).flip(tuple(range(2, 2 + 2 * rank, 2)))
    phased, tapped = range(3, 3 + 2 * rank, 2), range(2, 2 + 2 * rank, 2)
    kernel = kernel.permute(1, *phased, 0, *tapped).reshape(-1, weight.shape[0], *taps)
    offsets = None if bias is None else bias.repeat_interleave(math.prod(strides))
    sizes = [n + t - 1 for n, t in zip(x.shape[2:], taps, strict=True)]
    whole = [x.shape[0], outputs, *(n * s for n, s in zip(sizes, strides, strict=True))]
    y = out if out is not None and list(out.shape) == whole else x.new_empty(whole)
    woven = y.view(*whole[:2], *(n for pair in zip(sizes, strides, strict=True) for n in pair))
    order = [0, 1, *(axis for d in range(rank) for axis in (2 + rank + d, 2 + d))]
    for first, stop in _slabs([x.shape[0], kernel.shape[0], *sizes], x.device):
        rows = _rows(x, first - taps[0] + 1, stop)
        phases = _CONV[rank](rows, kernel, offsets, 1, [0, *(t - 1 for t in taps[1:])])
        split = phases.reshape(*whole[:2], *strides, stop - first, *sizes[1:])
        woven[:, :, first:stop] = split.permute(order)
    full = [
        w - t * s + k for w, t, s, k in zip(whole[2:], taps, strides, weight.shape[2:], strict=True)
    ]
    kept = [slice(b, n - a) for (b, a), n in zip(crop, full, strict=True)]
    return y[(slice(None), slice(None), *kept)]


def transposed_crop(
    sizes: Ints,
    kernel: Ints,
    strides: Ints,
    dilations: Ints,
    pad_type: str,
    pad: Ints | None,
    output_shape: Ints | None,
) -> list[tuple[int, int]]:
    """Return how much of the full result of `conv_transpose` to drop before and after.

    Args:
        sizes: of the spatial dimensions of the input.
        kernel: sizes without dilation.
        strides: of each spatial dimension.
        dilations: of each spatial dimension.
        pad_type: as of `spatial_padding`.
        pad: as of `spatial_padding`.
        output_shape: of the result with batch and channels; fixes what is dropped after.

    Returns:
        For each spatial dimension; negative: to add.
    """
    full = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(sizes, strides, kernel, dilations, strict=True)
    ]
    if pad_type not in ("same", "same_lower"):
        crop = spatial_padding(pad_type, pad, sizes, sizes, strides)
    else:
        crop = []
        for length, size, stride in zip(full, sizes, strides, strict=True):
            total = length - size * stride
            small, large = total // 2, total - total // 2
            crop.append((small, large) if pad_type == "same" else (large, small))
    if output_shape is None:
        return crop
    return [
        (before, length - before - wanted)
        for (before, _), length, wanted in zip(crop, full, output_shape[2:], strict=True)
    ]


def _dilated(weight: Tensor, dilations: Ints) -> Ints:
    return tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True))
