"""Rounding: bit for bit what NumPy's float16 does, wherever the tensor lies in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness import mil
from harness.errors import ContractError, ParityError, UnknownNameError
from harness.mil.executor import keep_float32
from harness.mil.numerics import (
    FLOAT64,
    STORAGE,
    Format,
    Numerics,
    flush_subnormals,
    register,
    round_to_float16,
)
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
    with pytest.raises(UnknownNameError, match=r"known: ane-m1, .*float64, float64\+ftz, fp16"):
        mil.get_numerics("fp16_accumulte")
    with pytest.raises(ParityError, match="can't hold values of type fp64"):
        STORAGE.format(DataType.FLOAT64)


def test_a_name_is_registered_once():
    with pytest.raises(ParityError, match="registered twice"):
        register(Numerics("storage", {}))


BASES = ("storage", "native", "fp16_accumulate", "float64")


def test_flushing_kills_exactly_the_subnormals():
    """All 65,536 FP16 numbers; a zero keeps its sign, NaN stays NaN."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    magnitude = np.arange(1 << 16, dtype=np.uint16) & 0x7FFF
    subnormal = (magnitude > 0) & (magnitude < 0x0400)
    for dtype in (torch.float32, torch.float16, torch.float64):
        values = torch.from_numpy(every.copy()).to(dtype)
        for writable in (False, True):
            flushed = flush_subnormals(values.clone(), writable).numpy()
            assert_same = ~np.isnan(every) & ~subnormal
            np.testing.assert_array_equal(flushed[assert_same], every[assert_same])
            assert (flushed[subnormal] == 0).all()
            np.testing.assert_array_equal(np.signbit(flushed), np.signbit(every))
            np.testing.assert_array_equal(np.isnan(flushed), np.isnan(every))


def test_gradient_passes_through_flushing():
    tensor = torch.tensor([1e-6, 1.0], requires_grad=True)
    flush_subnormals(tensor, True).sum().backward()
    assert tensor.grad is not None
    assert tensor.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("base", BASES)
def test_flushing_composes(make_package, base):
    """Results, inputs and constants below 2^-14 are zero under +ftz and kept without."""

    def body(mb, x):
        small = mb.const(val=np.array([1e-5, 1e-5, 1e-5], np.float16))
        return mb.mul(x=x, y=np.float16(0.5), name="half"), mb.add(x=x, y=small, name="sum")

    model = mil.load(make_package(body, np.float16, x=(3,)))
    x = np.array([2**-14, 1e-5, 1.0], np.float16)
    kept = model.predict({"x": x}, numerics=base)
    flushed = model.predict({"x": x}, numerics=f"{base}+ftz")
    assert kept["half"].tolist() == [2**-15, float(x[1]) / 2, 0.5]
    assert flushed["half"].tolist() == [0, 0, 0.5]
    assert flushed["sum"].tolist() == [2**-14, 0, 1]
    assert kept["sum"][1] > 0


def test_native_is_the_device_s_half(make_package):
    def body(mb, x):
        return mb.softmax(x=mb.gelu(x=mb.linear(x=x, weight=WEIGHT16), mode="EXACT"), name="y")

    model = mil.load(make_package(body, np.float16, x=(5, 24)))
    x = np.random.default_rng(0).standard_normal((5, 24)).astype(np.float16)
    actual = model.predict({"x": x}, numerics="native")["y"]
    half = torch.nn.functional.gelu(torch.from_numpy(x) @ torch.from_numpy(WEIGHT16).T)
    np.testing.assert_array_equal(actual, torch.softmax(half, -1).numpy(), strict=True)
    stored = model.predict({"x": x}, numerics="storage")["y"]
    assert np.abs(actual.astype(np.float64) - stored).max() < 4 * 2**-11
    carried: set[torch.dtype] = set()
    tensors = {"x": torch.from_numpy(x)}
    model.run(tensors, numerics="native", observe=lambda _, o: carried.add(o[0].dtype))
    assert carried == {torch.float16}


WEIGHT16 = (np.random.default_rng(1).standard_normal((7, 24)) / 5).astype(np.float16)


def two_sums(mb, x):
    first = mb.reduce_sum(x=x, axes=[0], keep_dims=True, name="first")
    return first, mb.reduce_sum(x=x, axes=[0], keep_dims=True, name="second")


def test_one_operation_has_a_numerics_of_its_own(make_package):
    model = mil.load(make_package(two_sums, np.float16, x=(20_000,)))
    x = torch.ones(20_000)
    y = model.run(
        {"x": x},
        operation_numerics=lambda o: "fp16_accumulate" if o.name == "second" else None,
    )
    assert (y["first"].item(), y["second"].item()) == (20_000, 8192)


def test_one_operation_is_stored_in_another_precision(make_package):
    """How a recipe can be tried without converting: FP32 in the program, FP16 in the run."""
    half = Format(torch.float32, round_to_float16)
    virtual = Numerics("virtual", {**STORAGE.formats, DataType.FLOAT32: half})

    def body(mb, x):
        y = mb.add(x=x, y=np.float32(0.1), name="y")
        return mb.transpose(x=y, perm=[1, 0], name="moved"), mb.add(
            x=x, y=np.float32(0.1), name="z"
        )

    model = mil.load(make_package(body, x=(2, 2)))
    x = torch.full((2, 2), 1 / 3)
    names = {"y", "moved"}
    y = model.run(
        {"x": x}, taps=["y"], operation_numerics=lambda o: virtual if o.name in names else None
    )
    exact = np.float32(1 / 3) + np.float32(0.1)
    assert set(y["z"].flatten().tolist()) == {float(exact)}
    assert set(y["y"].flatten().tolist()) == {float(np.float16(exact))}
    alone = model.run({"x": x}, operation_numerics=lambda o: virtual if o.name == "moved" else None)
    assert set(alone["moved"].flatten().tolist()) == {float(np.float16(exact))}


def test_numerics_of_one_run_carry_values_alike(make_package):
    model = mil.load(make_package(two_sums, np.float16, x=(4,)))
    with pytest.raises(ContractError, match="'native' in a run in 'storage'"):
        model.run({"x": torch.ones(4)}, operation_numerics=lambda _: "native")


@pytest.fixture
def tf32():
    """TF32 as cuDNN has it by default, and in the end as it was."""
    settings = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [setting.allow_tf32 for setting in settings]
    for setting in settings:
        setting.allow_tf32 = True
    yield settings
    for setting, allowed in zip(settings, before, strict=True):
        setting.allow_tf32 = allowed


def test_float32_on_a_gpu_is_not_rounded_to_tf32(tf32):
    keep_float32(torch.device("cpu"))
    assert all(setting.allow_tf32 for setting in tf32)
    keep_float32(torch.device("cuda"))
    assert not any(setting.allow_tf32 for setting in tf32)
