"""What Core ML does not run is said when a program is opened, and inputs that it does not take."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import mil
from harness._coremltools import import_coremltools
from harness.errors import ContractError
from harness.mil.features import Feature, converted
from harness.mil.refusals import RefusedByCoreMLWarning
from harness.mil.types import DataType, TensorType
from suites.selftest.mil.converting import converted as converted_package

STORAGE, FLOAT64 = mil.get_numerics("storage"), mil.get_numerics("float64")


def padded(*amounts):
    return lambda mb, x: mb.pad(x=x, pad=list(amounts), mode="replicate")


def test_reflection_of_three_axes_runs_with_a_warning(make_package):
    package = make_package(padded(*[1] * 6), x=(1, 2, 3, 3, 3))
    with pytest.warns(RefusedByCoreMLWarning, match=r"pad .* axis 2 of 5 .*issues/2576"):
        model = mil.load(package)
    (padded_,) = model.predict({"x": np.ones((1, 2, 3, 3, 3), np.float32)}).values()
    assert padded_.shape == (1, 2, 5, 5, 5)


def test_an_integer_linear_runs_with_a_warning(make_package):
    def body(mb, x):
        whole = mb.cast(x=x, dtype="int32")
        return mb.linear(x=whole, weight=np.ones((4, 3), np.int32))

    with pytest.warns(RefusedByCoreMLWarning, match=r"linear .* int32 .*issues/2575"):
        mil.load(make_package(body, x=(2, 3)))


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (padded(0, 0, 1, 1, 1, 1), (1, 2, 3, 3, 3)),
        (lambda mb, x: mb.pad(x=x, pad=[1] * 6, mode="constant"), (1, 2, 3, 3, 3)),
        (lambda mb, x: mb.linear(x=x, weight=np.ones((4, 3), np.float32)), (2, 3)),
    ],
)
def test_what_core_ml_runs_is_opened_in_silence(make_package, body, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mil.load(make_package(body, x=shape)).operations


class Joined(torch.nn.Module):
    def forward(self, a, b):
        return torch.cat([a.mean(-1, keepdim=True), b.mean(-1, keepdim=True)], -1)


def test_of_listed_shapes_those_at_one_place_belong_together(tmp_path):
    """Core ML fails on any other combination: apple/coremltools#2271."""
    ct = import_coremltools()
    lists = {"a": (16, 32), "b": (256, 512)}
    inputs = [
        ct.TensorType(name, shape=ct.EnumeratedShapes([(1, 3, size) for size in sizes]))
        for name, sizes in lists.items()
    ]
    example = torch.ones(1, 3, 16), torch.ones(1, 3, 256)
    model = mil.load(converted_package(tmp_path / "joined.mlpackage", Joined(), inputs, *example))

    def run(a, b):
        feed = {"a": np.ones((1, 3, a), np.float32), "b": np.ones((1, 3, b), np.float32)}
        return model.predict(feed)

    for a, b in zip(*lists.values(), strict=True):
        (value,) = run(a, b).values()
        assert (value == 1).all()
    with pytest.raises(ContractError, match=r"a \[1, 3, 32\], b \[1, 3, 256\] are at different"):
        run(32, 256)


def feature(dtype):
    return Feature("x", TensorType(dtype, (None,)))


@given(hnp.arrays(np.float32, st.integers(0, 9), elements=st.floats(width=32, allow_infinity=True)))
def test_float32_for_fp16_is_rounded_and_a_note_counts_what_changed(array):
    arrays, notes = converted({"x": array}, [feature(DataType.FLOAT16)], STORAGE)
    with np.errstate(over="ignore"):
        expected = array.astype(np.float16)
    np.testing.assert_array_equal(arrays["x"], expected, strict=True)
    same = (expected.astype(np.float32) == array) | (np.isnan(expected) & np.isnan(array))
    assert len(notes) == int(not same.all())
    if notes:
        assert f"{np.count_nonzero(~same)} of {array.size} values changed" in notes[0]
        infinite = int(np.isinf(expected).sum() - np.isinf(array).sum())
        assert (f"{infinite} of them became infinite" in notes[0]) == (infinite > 0)


@pytest.mark.parametrize(
    ("given_", "declared", "made", "noted"),
    [
        (np.array([1.5]), DataType.FLOAT32, np.float32, False),
        (np.array([1 / 3]), DataType.FLOAT32, np.float32, True),
        (np.array([7], np.int32), DataType.FLOAT16, np.float16, False),
        (np.array([2049], np.int32), DataType.FLOAT16, np.float16, True),
        (np.array([2.0], np.float32), DataType.INT32, np.int32, False),
        (np.array([2.5], np.float32), DataType.INT32, np.int32, True),  # truncated, as Core ML does
        (np.array([2], np.int64), DataType.INT32, np.int64, False),  # which Core ML refuses, too
        (np.array([True]), DataType.FLOAT32, np.bool_, False),
        (np.array([1.0], np.float16), DataType.FLOAT32, np.float32, False),
    ],
)
def test_inputs_are_converted_as_core_ml_does(given_, declared, made, noted):
    arrays, notes = converted({"x": given_, "other": given_}, [feature(declared)], STORAGE)
    assert (arrays["x"].dtype, bool(notes)) == (made, noted)
    assert arrays["other"] is given_


def test_float64_stays_where_it_is_carried():
    third = np.array([1 / 3])
    arrays, notes = converted({"x": third}, [feature(DataType.FLOAT32)], FLOAT64)
    assert (arrays["x"] is third, notes) == (True, ())
