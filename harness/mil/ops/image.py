"""Resizing and cropping of the last axes.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS16,iOS17}/image_resizing.py`` of coremltools. Where
samples lie is `sampling_grid`, where nothing but the sizes before and after is asked for; what a
sample between two elements is worth is linear in its distance to them. The nearest element is
the one before for ``upsample_nearest_neighbor`` and ``resize_nearest_neighbor``, but the closest,
halves rounded to even, for ``resize``: so say coremltools' own tests, its definitions do not.
"""

from __future__ import annotations

import numpy as np
import torch

from harness.mil.ops.registry import Effect, Ints, Tensor, operation

SAMPLING_MODES = (
    "STRICT_ALIGN_CORNERS",
    "ALIGN_CORNERS",
    "DEFAULT",
    "OFFSET_CORNERS",
    "UNALIGN_CORNERS",
)


def sampling_grid(before: Tensor | float, after: int, mode: str) -> Tensor:
    """Return where ``after`` samples lie in ``before`` elements, which need not be whole.

    Args:
        before: number of elements, or one number for each of several grids.
        after: number of samples.
        mode: one of `SAMPLING_MODES`.

    Returns:
        Positions [..., after], float64: 0 is the first element. They are not limited to them.
    """
    size = torch.as_tensor(before, dtype=torch.float64).unsqueeze(-1)
    steps = torch.arange(after, dtype=torch.float64, device=size.device)
    if mode not in SAMPLING_MODES:
        raise ValueError(f"sampling_mode {mode!r} is none of {', '.join(SAMPLING_MODES)}")
    if mode == "ALIGN_CORNERS" and after == 1:
        return (size - 1) / 2
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        return steps * (size - 1) / max(after - 1, 1)  # the last one exactly at the end
    if mode == "OFFSET_CORNERS":
        return (steps + 0.5) * ((size - 1).clamp(min=1) / after)
    return steps * size / after if mode == "DEFAULT" else (steps + 0.5) * size / after - 0.5


def interpolate(x: Tensor, axis: int, positions: Tensor) -> Tensor:
    """Sample ``x`` linearly along ``axis`` at ``positions`` [n], limited to its elements.

    A sample that lies on an element is that element, whatever its neighbours are.
    """
    last = x.shape[axis] - 1
    places = positions.clamp(0, last)
    lower = places.floor().long()
    upper = places.ceil().long()
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    weight = (places - lower).to(x.dtype if x.is_floating_point() else torch.float64)
    first, second = (x.index_select(axis, i).to(weight.dtype) for i in (lower, upper))
    return between(first, second, weight.reshape(shape))


def between(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Return (1 - weight) first + weight second; one of both where that is its weight, or equal."""
    y = torch.lerp(first, second, weight)
    # Its difference is NaN between equal infinities, and overflows between large numbers.
    apart = (1 - weight) * first + weight * second
    y = torch.where(y.isfinite(), y, apart)
    return torch.where(weight == 0, first, torch.where(weight == 1, second, y))


def _bilinear(x: Tensor, sizes: Ints, mode: str) -> Tensor:
    for axis, size in zip(range(x.ndim - len(sizes), x.ndim), sizes, strict=True):
        grid = sampling_grid(float(x.shape[axis]), size, mode).to(x.device)
        x = interpolate(x, axis, grid)
    return x


def _nearest(x: Tensor, sizes: Ints) -> Tensor:
    for axis, size in zip(range(x.ndim - len(sizes), x.ndim), sizes, strict=True):
        # In whole numbers: the quotient of two floats can fall below the integer that it is.
        index = torch.arange(size, device=x.device) * x.shape[axis] // size
        x = x.index_select(axis, index)
    return x


def _scaled(x: Tensor, height: float, width: float) -> Ints:
    # In float32, as coremltools infers the declared shape: 0.7 times 10 is 7 there.
    scales = (np.float32(height), np.float32(width))
    return tuple(int(np.floor(s * n)) for s, n in zip(scales, x.shape[-2:], strict=True))


@operation("resize_bilinear")
def resize_bilinear(
    x: Tensor,
    target_size_height: int = 1,
    target_size_width: int = 1,
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """Resize the last two axes by linear interpolation."""
    return _bilinear(x, (target_size_height, target_size_width), sampling_mode)


@operation("upsample_bilinear")
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: float = 1.0,
    scale_factor_width: float = 1.0,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """Scale the last two axes by linear interpolation; sizes are rounded down.

    The spacing of the samples follows from the sizes, not from the factors.
    """
    centers = not align_corners if half_pixel_centers is None else half_pixel_centers
    if align_corners and centers:
        raise ValueError("align_corners and half_pixel_centers can't both be true")
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if centers else "DEFAULT"
    return _bilinear(x, _scaled(x, scale_factor_height, scale_factor_width), mode)


@operation("resize_nearest_neighbor", effect=Effect.MOVE)
def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """Resize the last two axes by repeating or dropping elements."""
    return _nearest(x, (target_size_height, target_size_width))


@operation("upsample_nearest_neighbor", effect=Effect.MOVE)
def upsample_nearest_neighbor(
    x: Tensor, scale_factor_height: float = 1.0, scale_factor_width: float = 1.0
) -> Tensor:
    """Scale the last two axes by repeating or dropping elements; sizes are rounded down."""
    return _nearest(x, _scaled(x, scale_factor_height, scale_factor_width))


@operation("resize")
def resize(
    x: Tensor,
    shape: Ints,
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """Give the last ``resized_dims`` axes the sizes that end ``shape``; 0 leaves one as it is."""
    kept = x.shape[x.ndim - resized_dims :]
    wanted = shape[len(shape) - resized_dims :]
    sizes = tuple(size or old for size, old in zip(wanted, kept, strict=True))
    if interpolation_mode == "LINEAR":
        return _bilinear(x, sizes, sampling_mode)
    if interpolation_mode != "NEAREST_NEIGHBOR":
        raise ValueError(
            f"interpolation_mode {interpolation_mode!r} is no LINEAR, NEAREST_NEIGHBOR"
        )
    for axis, size in zip(range(x.ndim - resized_dims, x.ndim), sizes, strict=True):
        grid = sampling_grid(float(x.shape[axis]), size, sampling_mode)
        index = grid.round().long().clamp(0, x.shape[axis] - 1)
        x = x.index_select(axis, index.to(x.device))
    return x


@operation("crop", effect=Effect.VIEW)
def crop(x: Tensor, crop_height: Ints, crop_width: Ints) -> Tensor:
    """Drop elements before and after on each of the last two axes."""
    for axis, (before, after) in ((-2, crop_height), (-1, crop_width)):
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x
