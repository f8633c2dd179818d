"""Cases of resizing, cropping and sampling images, and of choosing among boxes."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from suites.ops.cases import Case, normal, unit

IMAGE = {"x": normal(2, 3, 4, 5)}


def places(before, after, mode):
    """Where samples lie, one at a time, as the definition of ``resize_bilinear`` spells it."""
    if mode == "ALIGN_CORNERS" and after == 1:
        return [(before - 1) / 2]
    points = []
    for i in range(after):
        if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
            points.append(i * (before - 1) / (after - 1) if after > 1 else 0.0)
        elif mode == "DEFAULT":
            points.append(i * (before - before / after) / (after - 1) if after > 1 else 0.0)
        elif mode == "OFFSET_CORNERS":
            delta = max(1, before - 1) / after
            points.append(0.5 * delta + i * delta)
        else:
            spacing = before / after
            points.append(i * spacing + 0.5 * spacing - 0.5)
    return points


def linear(x, axis, points):
    """Interpolate along one axis, between neighbours that NumPy finds."""
    grid = np.arange(x.shape[axis])
    return np.apply_along_axis(lambda row: np.interp(points, grid, row), axis, x)


def bilinear(x, height, width, mode):
    y = linear(x, -2, places(x.shape[-2], height, mode))
    return linear(y, -1, places(x.shape[-1], width, mode))


def resize_bilinear(x, target_size_height, target_size_width, sampling_mode):
    return bilinear(x, target_size_height, target_size_width, sampling_mode)


def upsample_bilinear(x, scale_factor_height, scale_factor_width, align_corners):
    scales = (scale_factor_height, scale_factor_width)
    height, width = (int(n * s) for n, s in zip(x.shape[-2:], scales, strict=True))
    return bilinear(
        x, height, width, "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS"
    )


def nearest(x, height, width):
    rows = [i * x.shape[-2] // height for i in range(height)]
    return x[..., rows, :][..., [i * x.shape[-1] // width for i in range(width)]]


def resize(x, shape, resized_dims, interpolation_mode, sampling_mode):
    count = int(resized_dims)
    for axis, size in zip(range(-count, 0), shape[-count:], strict=True):
        size = size or x.shape[axis]
        points = places(x.shape[axis], size, sampling_mode)
        if interpolation_mode == "NEAREST_NEIGHBOR":
            index = np.clip(np.round(points), 0, x.shape[axis] - 1)
            x = np.take(x, index.astype(int), axis)
        else:
            x = linear(x, axis, points)
    return x


MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]

RESIZES = (
    [
        Case(
            f"resize_bilinear_{mode.lower()}_{height}",
            "resize_bilinear",
            resize_bilinear,
            IMAGE,
            params={
                "target_size_height": height,
                "target_size_width": 3,
                "sampling_mode": mode,
            },
        )
        for mode in MODES
        for height in (1, 7)
    ]
    + [
        Case(
            f"upsample_bilinear_{'aligned' if aligned else 'centers'}",
            "upsample_bilinear",
            upsample_bilinear,
            IMAGE,
            params={
                "scale_factor_height": np.float32(2.5),
                "scale_factor_width": np.float32(0.7),
                "align_corners": aligned,
            },
        )
        for aligned in (True, False)
    ]
    + [
        Case(
            "resize_nearest_neighbor",
            "resize_nearest_neighbor",
            lambda x, target_size_height, target_size_width: nearest(
                x, target_size_height, target_size_width
            ),
            IMAGE,
            params={"target_size_height": 7, "target_size_width": 3},
            exact=True,
        ),
        Case(
            "upsample_nearest_neighbor",
            "upsample_nearest_neighbor",
            lambda x, scale_factor_height, scale_factor_width: nearest(x, 8, 7),
            {"x": normal(2, 3, 4, 10)},
            # In float32 0.7 times 10 is 7, in float64 a little less.
            params={"scale_factor_height": np.float32(2), "scale_factor_width": np.float32(0.7)},
            exact=True,
        ),
        Case(
            "resize_linear",
            "resize",
            resize,
            IMAGE,
            params={
                "shape": [9, 6, 0, 3],
                "resized_dims": np.uint32(3),
                "interpolation_mode": "LINEAR",
                "sampling_mode": "UNALIGN_CORNERS",
            },
        ),
        Case(
            "resize_nearest",
            "resize",
            resize,
            IMAGE,
            params={
                "shape": [7, 3],
                "resized_dims": np.uint32(2),
                "interpolation_mode": "NEAREST_NEIGHBOR",
                "sampling_mode": "DEFAULT",
            },
            exact=True,
        ),
        Case(
            "crop",
            "crop",
            lambda x, crop_height, crop_width: x[..., 1:4, 2:4],
            IMAGE,
            params={"crop_height": [1, 0], "crop_width": [2, 1]},
            exact=True,
        ),
    ]
)


def resample(
    x, coordinates, sampling_mode, padding_mode, padding_value, coordinates_mode, align_corners
):
    """PyTorch's grid_sample, which pads with zeros only: so of the image less the padding."""
    height, width = x.shape[-2:]
    grid = np.array(coordinates)
    if coordinates_mode == "unnormalized":
        for axis, size in enumerate((width, height)):
            grid[..., axis] = (
                2 * grid[..., axis] / (size - 1) - 1
                if align_corners
                else (2 * grid[..., axis] + 1) / size - 1
            )
    elif coordinates_mode == "normalized_zero_to_one":
        grid = 2 * grid - 1
    shift = padding_value if padding_mode == "constant" else 0.0
    modes = {"constant": "zeros", "reflection": "reflection", "symmetric": "reflection"}
    y = functional.grid_sample(
        torch.tensor(x - shift),
        torch.tensor(grid),
        mode=sampling_mode,
        padding_mode=modes.get(padding_mode, padding_mode),
        align_corners=align_corners,
    )
    return y.numpy() + shift


def sampled(name, coordinates, **params):
    tensors = IMAGE | {"coordinates": coordinates}
    defaults = {"sampling_mode": "bilinear", "padding_value": 0.0}
    return Case(f"resample_{name}", "resample", resample, tensors, params=defaults | params)


NEAR = 1.6 * unit(2, 6, 7, 2)
PIXELS = 3 + 5 * unit(2, 6, 7, 2, seed=1)
SIGNED, UNSIGNED = "normalized_minus_one_to_one", "normalized_zero_to_one"

SAMPLES = [
    sampled(
        "constant",
        NEAR,
        padding_mode="constant",
        padding_value=1.5,
        coordinates_mode=SIGNED,
        align_corners=False,
    ),
    sampled(
        "pixels",
        PIXELS,
        padding_mode="constant",
        coordinates_mode="unnormalized",
        align_corners=True,
    ),
    sampled("border", NEAR, padding_mode="border", coordinates_mode=UNSIGNED, align_corners=True),
    # PyTorch's one reflection is about pixel centres where corners are aligned, else about edges.
    sampled(
        "reflection", NEAR, padding_mode="reflection", coordinates_mode=SIGNED, align_corners=True
    ),
    sampled(
        "symmetric", NEAR, padding_mode="symmetric", coordinates_mode=SIGNED, align_corners=False
    ),
    sampled(
        "nearest",
        NEAR,
        sampling_mode="nearest",
        padding_mode="symmetric",
        coordinates_mode=UNSIGNED,
        align_corners=False,
    ),
]


def affine(x, transform_matrix, output_height, output_width, **_):
    theta = torch.tensor(transform_matrix).expand(x.shape[0], 6).reshape(-1, 2, 3)
    size = [*x.shape[:2], output_height, output_width]
    grid = functional.affine_grid(theta, size, align_corners=True)
    return functional.grid_sample(torch.tensor(x), grid, align_corners=True).numpy()


def affine_case(name, matrix):
    params = {
        "output_height": 6,
        "output_width": 3,
        "sampling_mode": "bilinear",
        "padding_mode": "constant",
        "padding_value": 0.0,
        "coordinates_mode": SIGNED,
        "align_corners": True,
    }
    return Case(name, "affine", affine, IMAGE | {"transform_matrix": matrix}, params=params)


def crop_and_resize(image, box, size, mode, pad_value):
    """One box of one image [C, H, W]; ``box`` is top, left, bottom, right in pixels."""
    height, width = image.shape[1:]
    top, left, bottom, right = box
    y = np.full((image.shape[0], *size), pad_value)
    for i, dy in enumerate(places(bottom - top + 1, size[0], mode)):
        for j, dx in enumerate(places(right - left + 1, size[1], mode)):
            row, column = top + dy, left + dx
            if 0 <= row <= height - 1 and 0 <= column <= width - 1:
                y[:, i, j] = linear(linear(image, 1, [row]), 2, [column])[:, 0, 0]
    return y


def crop_resize(x, boxes, box_indices, target_height, target_width, **params):
    boxes = boxes * params.get("spatial_scale", 1.0)
    if params.get("box_coordinate_mode") == "CENTER_SIZE_WIDTH_FIRST":
        column, row, width, height = boxes.T
        corners = [row - height / 2, column - width / 2, row + height / 2, column + width / 2]
        boxes = np.stack(corners, 1)
    if params.get("normalized_coordinates"):
        boxes = boxes * np.array([x.shape[2] - 1, x.shape[3] - 1] * 2)
    mode, pad_value = params.get("sampling_mode", "DEFAULT"), params.get("pad_value", 0.0)
    size = (target_height, target_width)
    return np.stack(
        [
            crop_and_resize(x[image], box, size, mode, pad_value)
            for image, box in zip(box_indices, boxes, strict=True)
        ]
    )


def crop_resize_rois(x, roi, **params):
    roi = roi.reshape(roi.shape[0], -1)
    if roi.shape[1] == 5:
        return crop_resize(x, roi[:, 1:], roi[:, 0].astype(int), **params)[:, None]
    every = [crop_resize(x, roi, [image] * len(roi), **params) for image in range(len(x))]
    return np.stack(every, 1)


SIZE = {"target_height": 3, "target_width": 4}
BOXES = np.array([[0.5, 1.0, 2.5, 3.0], [0.0, 0.25, 1.5, 4.5], [2.0, 3.0, 1.0, 0.5]])

CROPS = [
    Case(
        "crop_resize",
        "crop_resize",
        crop_resize,
        IMAGE,
        {"boxes": BOXES, "box_indices": np.array([1, 0, 1], np.int32)},
        SIZE | {"sampling_mode": "ALIGN_CORNERS", "pad_value": 2.0},
    ),
    Case(
        "crop_resize_center",
        "crop_resize",
        crop_resize,
        IMAGE,
        {
            "boxes": np.array([[0.5, 0.5, 0.75, 0.5], [0.25, 0.5, 0.75, 0.25]]),
            "box_indices": np.array([0, 1], np.int32),
        },
        SIZE
        | {
            "normalized_coordinates": True,
            "box_coordinate_mode": "CENTER_SIZE_WIDTH_FIRST",
            "sampling_mode": "UNALIGN_CORNERS",
        },
    ),
    Case(
        "crop_resize_roi",
        "crop_resize",
        crop_resize_rois,
        # Of two images coremltools infers a result for each; its definition says one.
        {"x": normal(1, 3, 4, 5)},
        {"roi": np.insert(BOXES, 0, 0, 1).reshape(3, 1, 5, 1, 1)},
        SIZE | {"sampling_mode": "OFFSET_CORNERS", "spatial_scale": np.float32(0.5)},
        opset="iOS16",
    ),
    Case(
        "crop_resize_roi_all",
        "crop_resize",
        crop_resize_rois,
        IMAGE,
        {"roi": BOXES.reshape(3, 1, 4, 1, 1)},
        SIZE | {"sampling_mode": "DEFAULT"},
        opset="iOS16",
    ),
]


def overlap(a, b):
    sides = [
        max(
            0.0,
            min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2)
            - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2),
        )
        for k in (0, 1)
    ]
    shared = sides[0] * sides[1]
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def suppress(boxes, scores, iou_threshold, max_boxes, per_class_suppression, score_threshold=None):
    """Non-maximum suppression as of iOS 15, a box at a time."""
    n, _, classes = scores.shape
    chosen = np.zeros((n, max_boxes, 4)), np.zeros((n, max_boxes, classes))
    indices, counts = np.full((n, max_boxes), -1), np.zeros(n)
    for item in range(n):
        kept = []
        for box in sorted(range(len(scores[item])), key=lambda b: -scores[item, b].max()):
            rivals = [
                other
                for other in kept
                if not per_class_suppression
                or scores[item, other].argmax() == scores[item, box].argmax()
            ]
            strong = score_threshold is None or scores[item, box].max() >= score_threshold
            if strong and all(
                overlap(boxes[item, box], boxes[item, other]) <= iou_threshold for other in rivals
            ):
                kept.append(box)
        kept = kept[:max_boxes] or [int(scores[item].max(-1).argmax())]
        for place, box in enumerate(kept):
            chosen[0][item, place], chosen[1][item, place] = boxes[item, box], scores[item, box]
            indices[item, place] = box
        counts[item] = len(kept)
    return (*chosen, indices, counts)


def suppress_last(boxes, scores, **params):
    y = suppress(boxes.swapaxes(1, 2), scores.swapaxes(1, 2), **params)
    return y[0].swapaxes(1, 2), y[1].swapaxes(1, 2), y[2]


DETECTED = 2 + 2 * np.abs(unit(2, 12, 4))
SCORES = normal(2, 12, 3)
SUPPRESSION = {"iou_threshold": 0.375, "max_boxes": 9, "per_class_suppression": True}

DETECTIONS = [
    Case(
        "non_maximum_suppression_iOS15",
        "non_maximum_suppression",
        suppress,
        {"boxes": DETECTED, "scores": SCORES},
        params=SUPPRESSION | {"score_threshold": 0.25},
        exact=True,
        opset="iOS16",
    ),
    Case(
        "non_maximum_suppression_none_survives",
        "non_maximum_suppression",
        suppress,
        {"boxes": DETECTED, "scores": SCORES},
        params=SUPPRESSION | {"score_threshold": 100.0},
        exact=True,
        opset="iOS16",
    ),
    Case(
        # As coremltools' own smoke test has it, which runs only where TensorFlow is installed.
        "non_maximum_suppression_published",
        "non_maximum_suppression",
        lambda boxes, scores, **_: (boxes[:, 1:3], scores[:, 1:3], [[1, 2]], [2]),
        {
            "boxes": np.arange(4.0).repeat(4).reshape(1, 4, 4),
            "scores": np.array([[[-3.5], [9.4], [2.3], [0.7]]]),
        },
        params={
            "iou_threshold": 0.2,
            "score_threshold": 0.4,
            "max_boxes": 2,
            "per_class_suppression": True,
        },
        exact=True,
        opset="iOS16",
    ),
    Case(
        "non_maximum_suppression_all_classes",
        "non_maximum_suppression",
        suppress_last,
        {"boxes": DETECTED.swapaxes(1, 2), "scores": SCORES.swapaxes(1, 2)},
        params=SUPPRESSION | {"per_class_suppression": False},
        exact=True,
    ),
]

CASES = [
    *RESIZES,
    *SAMPLES,
    affine_case("affine", 0.8 * unit(2, 6)),
    affine_case("affine_shared", np.array([[0.5, 0.25, -0.75, -0.5, 1.5, 0.125]])),
    *CROPS,
    *DETECTIONS,
]
