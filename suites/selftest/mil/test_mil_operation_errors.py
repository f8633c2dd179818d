"""What an operation refuses: its definition leaves it open, and a guess would be a false green."""

from __future__ import annotations

import numpy as np
import pytest

from harness import mil
from harness.errors import ExecutionError


def gather(mb, x):
    return mb.gather(x=x, indices=np.array([0, -1], np.int32), axis=0)


def gather_nd(mb, x):
    return mb.gather_nd(x=x, indices=np.array([[0, 4]], np.int32))


def scatter(mb, x):
    return mb.scatter(data=x, indices=np.array([3], np.int32), updates=np.ones((1, 4), np.float32))


def crop_resize(mb, x):
    image = mb.expand_dims(x=x, axes=[0, 1])
    box = np.array([[0, 0, 1, 1]], np.float32)
    index = mb.sub(x=mb.cast(x=mb.reduce_min(x=x), dtype="int32"), y=np.int32(1))
    return mb.crop_resize(
        x=image, boxes=box, box_indices=mb.expand_dims(x=index, axes=[0]), target_height=2
    )


@pytest.mark.parametrize("body", [gather, gather_nd, scatter, crop_resize])
def test_an_index_out_of_range_is_refused(make_package, body):
    """From iOS 17 on a negative index is out of range, too: on a device it reads anything."""
    model = mil.load(make_package(body, x=(3, 4)))
    with pytest.raises(ExecutionError, match=r"out of range for \d elements \(allowed: 0 to \d\)"):
        model.predict({"x": np.zeros((3, 4), np.float32)})


def upsample(mb, x):
    return mb.upsample_bilinear(
        x=mb.expand_dims(x=x, axes=[0]), align_corners=True, half_pixel_centers=True
    )


def scatter_mode(mb, x):
    return mb.scatter(
        data=x, indices=np.array([0], np.int32), updates=np.ones((1, 4), np.float32), mode="mean"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (upsample, "align_corners and half_pixel_centers can't both be true"),
        (scatter_mode, "mode 'mean' is none of update, add, sub, mul, div, max, min"),
    ],
)
def test_an_undefined_setting_is_refused(make_package, body, reason):
    model = mil.load(make_package(body, x=(3, 4)))
    with pytest.raises(ExecutionError, match=reason):
        model.predict({"x": np.zeros((3, 4), np.float32)})
