"""Sampling images at given places: affine maps, coordinates, boxes.

Source: ``converters/mil/mil/ops/defs/{iOS15,iOS16,iOS17}/image_resizing.py`` of coremltools.
Coordinates are computed in float64 from their stored values, whatever the numerics: rounding them
would move the samples. The nearest pixel of a coordinate half way between two is the even one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from harness.mil.ops.image import between, sampling_grid
from harness.mil.ops.indexing import from_start
from harness.mil.ops.registry import Tensor, operation

_Fold = Callable[[Tensor, int], Tensor]


def _reflect(places: Tensor, low: float, high: float) -> Tensor:
    """Fold ``places`` into [low, high] by reflecting at both ends."""
    span = high - low
    if span == 0:
        return torch.full_like(places, low)
    folded = torch.remainder(places - low, 2 * span)
    return low + torch.minimum(folded, 2 * span - folded)


_FOLDS: dict[str, _Fold] = {
    "border": lambda places, size: places.clamp(0, size - 1),
    "reflection": lambda places, size: _reflect(places, 0, size - 1),
    "symmetric": lambda places, size: _reflect(places, -0.5, size - 0.5).clamp(0, size - 1),
}


def _sample(image: Tensor, y: Tensor, x: Tensor, mode: str, outside: float) -> Tensor:
    """Sample ``image`` [B, C, H, W] at pixel coordinates [B, ...]: [B, C, ...].

    Pixels outside the image are worth ``outside``. A sample on a pixel is that pixel, whatever its
    neighbours are.
    """
    batch, channels, height, width = image.shape
    pixels = image.reshape(batch, channels, height * width)

    def at(row: Tensor, column: Tensor) -> Tensor:
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        flat = place.nan_to_num(0).long().reshape(batch, 1, -1).expand(-1, channels, -1)
        values = pixels.gather(2, flat).reshape(batch, channels, *place.shape[1:])
        return torch.where(inside.unsqueeze(1), values, outside)

    if mode == "nearest":
        return at(y.round(), x.round())
    if mode != "bilinear":
        raise ValueError(f"sampling_mode {mode!r} is none of bilinear, nearest")
    top, left, bottom, far = y.floor(), x.floor(), y.ceil(), x.ceil()
    down, right = ((p - q).to(image.dtype).unsqueeze(1) for p, q in ((y, top), (x, left)))
    above = between(at(top, left), at(top, far), right)
    below = between(at(bottom, left), at(bottom, far), right)
    return between(above, below, down)


def _to_pixels(places: Tensor, size: int, mode: str, align_corners: bool) -> Tensor:
    mode = mode.lower()
    if mode == "unnormalized":
        return places
    if mode == "normalized_minus_one_to_one":
        places = (places + 1) / 2
    elif mode != "normalized_zero_to_one":
        raise ValueError(f"unknown coordinates_mode {mode!r}")
    return places * (size - 1) if align_corners else places * size - 0.5


@operation("resample")
def resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """Sample ``x`` [B, C, H, W] at ``coordinates`` [B, H2, W2, (x, y)]."""
    places = coordinates.double()
    height, width = x.shape[-2:]
    rows = _to_pixels(places[..., 1], height, coordinates_mode, align_corners)
    columns = _to_pixels(places[..., 0], width, coordinates_mode, align_corners)
    padding_mode = padding_mode.lower()
    if padding_mode != "constant":
        if padding_mode not in _FOLDS:
            raise ValueError(
                f"padding_mode {padding_mode!r} is none of constant, {', '.join(_FOLDS)}"
            )
        rows, columns = _FOLDS[padding_mode](rows, height), _FOLDS[padding_mode](columns, width)
    return _sample(x, rows, columns, sampling_mode.lower(), padding_value)


@operation("affine")
def affine(
    x: Tensor,
    transform_matrix: Tensor,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """Sample ``x`` [B, C, H, W] where ``transform_matrix`` [B or 1, 6] maps the output's grid.

    A row of the matrix is (a0, a1, a2, b0, b1, b2): x' = a0 x + a1 y + a2, y' = b0 x + b1 y + b2.
    """
    if coordinates_mode.lower() == "unnormalized":
        raise ValueError("affine: coordinates_mode 'unnormalized' is not defined")
    if not align_corners:
        raise ValueError("affine: align_corners=False is not defined")
    first = -1.0 if coordinates_mode.lower() == "normalized_minus_one_to_one" else 0.0
    matrix = transform_matrix.double().expand(x.shape[0], 6).reshape(-1, 2, 3)
    axes = [
        torch.linspace(first, 1, size, dtype=torch.float64, device=x.device)
        for size in (output_height, output_width)
    ]
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    grid = torch.stack([columns, rows, torch.ones_like(rows)], -1)
    coordinates = torch.einsum("hwk,bck->bhwc", grid, matrix)
    return resample(
        x,
        coordinates,
        sampling_mode,
        padding_mode,
        padding_value,
        coordinates_mode,
        align_corners,
    )


@operation("crop_resize")
def crop_resize(
    x: Tensor,
    roi: Tensor | None = None,
    boxes: Tensor | None = None,
    box_indices: Tensor | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """Cut boxes out of ``x`` [B, C, H, W] and resize them by linear interpolation.

    Samples outside the image are worth ``pad_value``.

    Args:
        x: images.
        roi: before iOS 17: [N, 1, 4, 1, 1], each box for every image, or [N, 1, 5, 1, 1], each for
            the image that its first number names. The result is [N, B or 1, C, *target].
        boxes: from iOS 17: [N, 4]. The result is [N, C, *target].
        box_indices: [N], the image of each box; 0, 1, ... by default.
        target_height: rows of the result.
        target_width: columns of the result.
        normalized_coordinates: whether 1 stands for the last row or column.
        spatial_scale: factor of the coordinates.
        box_coordinate_mode: which numbers a box consists of.
        sampling_mode: as in ``resize_bilinear``, the box being what is resized.
        pad_value: value outside the image.
    """
    channels, height, width = x.shape[1:]
    leading, images, numbers = _which(x, roi, boxes, box_indices)
    rows, columns = _edges(numbers * spatial_scale, box_coordinate_mode)
    if normalized_coordinates:
        rows, columns = rows * (height - 1), columns * (width - 1)
    y = _box_grid(rows, target_height, sampling_mode)[:, :, None].expand(-1, -1, target_width)
    across = _box_grid(columns, target_width, sampling_mode)[:, None, :].expand_as(y)
    inside = (y >= 0) & (y <= height - 1) & (across >= 0) & (across <= width - 1)
    values = _sample(x[images], y, across, "bilinear", pad_value)
    values = torch.where(inside.unsqueeze(1), values, pad_value)
    return values.reshape(*leading, channels, target_height, target_width)


def _which(
    x: Tensor, roi: Tensor | None, boxes: Tensor | None, box_indices: Tensor | None
) -> tuple[tuple[int, ...], Tensor, Tensor]:
    """Return the result's first axes, and for each box of all its image and its numbers [n, 4]."""
    if boxes is not None:
        count = boxes.shape[0]
        default = torch.arange(count, device=x.device)
        images = default if box_indices is None else box_indices
        return (count,), from_start(images, x.shape[0], True), boxes.double()
    if roi is None:
        raise ValueError("crop_resize needs roi or boxes")
    count, batch = roi.shape[0], x.shape[0]
    numbers = roi.reshape(count, -1).double()
    if numbers.shape[1] == 4:
        images = torch.arange(batch, device=x.device).repeat(count)
        return (count, batch), images, numbers.repeat_interleave(batch, 0)
    return (count, 1), from_start(numbers[:, 0], batch, True), numbers[:, 1:]


def _edges(boxes: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """Return the first and last coordinate of each box [N, 2], of rows and of columns."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if mode.startswith("CENTER_SIZE"):
        first, second = first - second / 2, first + second / 2
    elif not mode.startswith("CORNERS"):
        raise ValueError(f"unknown box_coordinate_mode {mode!r}")
    pairs = [torch.stack([first[:, k], second[:, k]], 1) for k in (0, 1)]
    return (pairs[0], pairs[1]) if mode.endswith("HEIGHT_FIRST") else (pairs[1], pairs[0])


def _box_grid(edges: Tensor, count: int, mode: str) -> Tensor:
    first, last = edges[:, 0], edges[:, 1]
    return first.unsqueeze(-1) + sampling_grid(last - first + 1, count, mode)
