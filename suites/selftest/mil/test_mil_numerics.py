"""Rounding: bit for bit what NumPy's float16 does, wherever the tensor lies in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness import mil
from harness.errors import ParityError, UnknownNameError
from harness.mil.numerics import FLOAT64, STORAGE, Numerics, register, round_to_float16
from harness.mil.types import DataType

EDGES = np.array(
    [0.0, -0.0, 65504, 65519.99, 65520, -65520, 1e9, np.inf, -np.inf, np.nan, 2**-14, 2**-24,
     2**-25, 1.1 * 2**-25, -(2**-26), 1 + 2**-11, 1 + 3 * 2**-11, 1e-45, 3.4e38],
    np.float32,
)  # fmt: skip


def reference(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


def assert_same_bits(actual: torch.Tensor, expected: np.ndarray) -> None:
    result = actual.numpy()
    nans = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(result), nans)
    np.testing.assert_array_equal(
        result[~nans].view(np.uint32), expected[~nans].view(np.uint32), err_msg="bits differ"
    )


@pytest.mark.parametrize("writable", [True, False])
def test_edges(writable):
    assert_same_bits(round_to_float16(torch.from_numpy(EDGES.copy()), writable), reference(EDGES))


@given(npst.arrays(np.uint32, st.integers(0, 200)), st.booleans())
def test_every_pattern(patterns, writable):
    values = patterns.view(np.float32)
    expected = reference(values)
    assert_same_bits(round_to_float16(torch.from_numpy(values.copy()), writable), expected)


@pytest.mark.parametrize("shape", [(), (0,), (7,), (600, 1000)])
def test_shapes(shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = np.asarray(reference(np.asarray(values)))
    rounded = round_to_float16(torch.from_numpy(np.array(values)), True)
    assert rounded.shape == shape
    assert_same_bits(rounded.reshape(-1), expected.reshape(-1))


def test_only_the_view_is_rounded():
    """A result may lie inside a larger tensor whose other values are alive."""
    base = torch.rand(6, 8, dtype=torch.float32)
    for view in (base[:, 1:5], base[2:4], base.t()[1:3], base[::2, ::3]):
        before = base.clone()
        expected = view.half().float()
        round_to_float16(view, True)
        assert torch.equal(view, expected)
        changed = torch.zeros_like(base, dtype=torch.bool)
        changed.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(True)
        assert torch.equal(base[~changed], before[~changed])


def test_transposed_memory_is_rounded_in_place():
    tensor = torch.rand(5, 7).t()
    expected = tensor.half().float()
    assert round_to_float16(tensor, True).data_ptr() == tensor.data_ptr()
    assert torch.equal(tensor, expected)


def test_not_writable_is_left_alone():
    tensor = torch.tensor([1 / 3])
    rounded = round_to_float16(tensor, False)
    assert tensor.item() == np.float32(1 / 3)
    assert rounded.item() == float(np.float16(1 / 3))


def test_gradient_passes_through():
    tensor = torch.tensor([1 / 3, 1e6], requires_grad=True)
    round_to_float16(tensor, True).sum().backward()
    assert tensor.grad is not None
    assert tensor.grad.tolist() == [1.0, 1.0]


def test_carriers():
    half = np.array([1 / 3, 65504], np.float16)
    for numerics, carrier in ((STORAGE, torch.float32), (FLOAT64, torch.float64)):
        tensor = numerics.from_numpy(half, DataType.FLOAT16)
        assert tensor.dtype is carrier
        np.testing.assert_array_equal(tensor.numpy(), half.astype(np.float64))
    big = np.array([2**32 - 1], np.uint32)
    np.testing.assert_array_equal(
        STORAGE.to_numpy(STORAGE.from_numpy(big, DataType.UINT32), DataType.UINT32),
        big,
        strict=True,
    )


def test_unknown_names_list_what_exists():
    with pytest.raises(UnknownNameError, match=r"known: float64, float64\+ftz, fp16_acc"):
        mil.get_numerics("fp16_accumulte")
    with pytest.raises(ParityError, match="can't hold values of type fp64"):
        STORAGE.format(DataType.FLOAT64)


def test_a_name_is_registered_once():
    with pytest.raises(ParityError, match="registered twice"):
        register(Numerics("storage", {}))
