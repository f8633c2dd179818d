"""Resizing and cropping of the last axes: elements are gathered where the executor samples."""

from __future__ import annotations

import numpy as np

from harness.mil.ops.image import sampling_grid
from harness.onnx_export.build import INT64_LIMIT, Graph, Ints, Value
from harness.onnx_export.registry import exports


def _bilinear(g: Graph, x: Value, sizes: Ints, mode: str) -> Value | str:
    y: Value | str = x
    for axis, size in zip(range(x.rank - len(sizes), x.rank), sizes, strict=True):
        places = np.clip(_grid(x.sizes[axis], size, mode), 0, x.sizes[axis] - 1)
        lower, upper = (np.asarray(f(places), np.int64) for f in (np.floor, np.ceil))
        weight = (places - lower).reshape(x.along(axis)).astype(x.dtype.numpy)
        first, second = (g("Gather", y, index, axis=axis) for index in (lower, upper))
        between = g("Add", g("Mul", first, 1 - weight), g("Mul", second, weight))
        y = g("Where", weight == 0, first, between)  # zero times an infinity is NaN
    return y


def _picked(g: Graph, x: Value, indices: list[np.ndarray]) -> Value | str:
    y: Value | str = x
    for axis, index in zip(range(x.rank - len(indices), x.rank), indices, strict=True):
        y = g("Gather", y, np.asarray(index, np.int64), axis=axis)
    return y


def _grid(before: int, after: int, mode: str) -> np.ndarray:
    return sampling_grid(float(before), after, mode).numpy()


def _before(x: Value, sizes: Ints) -> list[np.ndarray]:
    """Return for each of the last axes the element at or before each sample."""
    olds = x.sizes[x.rank - len(sizes) :]
    return [np.arange(size) * old // size for size, old in zip(sizes, olds, strict=True)]


@exports("resize_bilinear")
def resize_bilinear(
    g: Graph, x: Value, target_size_height: int, target_size_width: int, sampling_mode: str
) -> Value | str:
    """Resize the last two axes by linear interpolation."""
    return _bilinear(g, x, (target_size_height, target_size_width), sampling_mode)


@exports("upsample_bilinear")
def upsample_bilinear(
    g: Graph,
    x: Value,
    scale_factor_height: float,
    scale_factor_width: float,
    align_corners: bool,
    half_pixel_centers: bool | None,
    out_shape: Ints,
) -> Value | str:
    """Scale the last two axes by linear interpolation."""
    centers = not align_corners if half_pixel_centers is None else half_pixel_centers
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if centers else "DEFAULT"
    return _bilinear(g, x, out_shape[-2:], mode)


@exports("resize_nearest_neighbor", moves=True)
def resize_nearest_neighbor(
    g: Graph, x: Value, target_size_height: int, target_size_width: int
) -> Value | str:
    """Resize the last two axes by repeating or dropping elements."""
    return _picked(g, x, _before(x, (target_size_height, target_size_width)))


@exports("upsample_nearest_neighbor", moves=True)
def upsample_nearest_neighbor(
    g: Graph, x: Value, scale_factor_height: float, scale_factor_width: float, out_shape: Ints
) -> Value | str:
    """Scale the last two axes by repeating or dropping elements."""
    return _picked(g, x, _before(x, out_shape[-2:]))


@exports("resize")
def resize(
    g: Graph,
    x: Value,
    shape: Ints,
    resized_dims: int,
    interpolation_mode: str,
    sampling_mode: str,
    out_shape: Ints,
) -> Value | str:
    """Give the last ``resized_dims`` axes new sizes."""
    sizes = out_shape[len(out_shape) - resized_dims :]
    if interpolation_mode == "LINEAR":
        return _bilinear(g, x, sizes, sampling_mode)
    if interpolation_mode != "NEAREST_NEIGHBOR":
        raise ValueError(f"{interpolation_mode!r} is no LINEAR, NEAREST_NEIGHBOR")
    olds = x.sizes[x.rank - resized_dims :]
    grids = [_grid(old, new, sampling_mode) for old, new in zip(olds, sizes, strict=True)]
    return _picked(g, x, [np.clip(np.round(p), 0, n - 1) for p, n in zip(grids, olds, strict=True)])


@exports("crop", moves=True)
def crop(g: Graph, x: Value, crop_height: Ints, crop_width: Ints) -> str:
    """Drop elements before and after on each of the last two axes."""
    starts = [crop_height[0], crop_width[0]]
    ends = [-after if after else INT64_LIMIT for after in (crop_height[1], crop_width[1])]
    return g("Slice", x, starts, ends, [-2, -1])
