"""Convolutions are computed in ways of their own where those are faster; the result is the same.

The data are small integers, whose sums float32 holds exactly in whatever order they are added: so
PyTorch's kernels are an oracle bit by bit.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from harness.mil.ops import convolution
from harness.mil.ops.registry import definition

conv = definition("conv").function
conv_transpose = definition("conv_transpose").function
CONV = (functional.conv1d, functional.conv2d, functional.conv3d)
TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d)


def integers(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-8, 9, shape, generator=generator).float()


@pytest.fixture(autouse=True)
def many_slabs():
    """Results of a few elements are cut as those of millions are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_WHOLE", {"cpu": 8})
        patch.setattr(convolution, "_SLAB", 24)
        yield


@settings(max_examples=80, deadline=None)
@given(
    rank=st.integers(1, 3),
    batch=st.integers(1, 2),
    groups=st.integers(1, 2),
    kernel=st.lists(st.integers(1, 3), min_size=3, max_size=3),
    strides=st.lists(st.integers(1, 3), min_size=3, max_size=3),
    dilations=st.lists(st.integers(1, 2), min_size=3, max_size=3),
    padding=st.lists(st.integers(0, 2), min_size=6, max_size=6),
    seed=st.integers(0, 99),
    given_out=st.booleans(),
)
def test_a_convolution_in_slabs_is_a_convolution(
    rank, batch, groups, kernel, strides, dilations, padding, seed, given_out
):
    x = integers(batch, 2 * groups, *(9, 7, 6)[:rank], seed=seed)
    weight = integers(2 * groups, 2, *kernel[:rank], seed=seed + 1)
    bias = integers(2 * groups, seed=seed + 2)
    amounts = [(padding[2 * d], padding[2 * d + 1]) for d in range(rank)]
    expected = CONV[rank - 1](
        convolution.pad_spatial(x, amounts), weight, bias, strides[:rank], 0, dilations[:rank],
        groups,
    )  # fmt: skip
    actual = conv(
        x,
        weight,
        bias,
        tuple(strides[:rank]),
        "custom",
        tuple(padding[: 2 * rank]),
        tuple(dilations[:rank]),
        groups,
        out=torch.full_like(expected, torch.nan) if given_out else None,
    )
    assert torch.equal(actual, expected)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    outputs=st.integers(1, 3),
    taps=st.integers(1, 4),
    dilation=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    biased=st.booleans(),
)
def test_mixing_channels_before_adding_taps_is_a_convolution(
    batch, outputs, taps, dilation, padding, biased
):
    x = integers(batch, 2 * outputs * taps, 12, seed=taps)
    weight = integers(outputs, 2 * outputs * taps, taps, seed=dilation)
    bias = integers(outputs, seed=5) if biased else None
    padded = functional.pad(x, padding)
    expected = functional.conv1d(padded, weight, bias, 1, 0, dilation)
    actual = conv(x, weight, bias, (1,), "custom", padding, (dilation,))
    assert torch.equal(actual, expected)


@settings(max_examples=80, deadline=None)
@given(
    rank=st.integers(1, 2),
    batch=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 2)),
    crop=st.integers(0, 1),
    given_out=st.booleans(),
    biased=st.booleans(),
)
def test_a_transposed_convolution_in_slabs_is_one(
    rank, batch, kernel, strides, crop, given_out, biased
):
    crop = crop if min(kernel[:rank]) > 2 else 0
    x = integers(batch, 3, *(6, 5)[:rank], seed=3)
    weight = integers(3, 2, *kernel[:rank], seed=4)
    bias = integers(2, seed=5) if biased else None
    expected = TRANSPOSED[rank - 1](x, weight, bias, strides[:rank], crop)
    actual = conv_transpose(
        x,
        weight,
        bias,
        (crop,) * (2 * rank),
        None,
        "custom",
        strides[:rank],
        out=torch.full_like(expected, torch.nan) if given_out else None,
    )
    assert torch.equal(actual, expected)


def test_slabs_cover_the_result():
    slabs = list(convolution._slabs([1, 4, 10, 3], torch.device("cpu")))
    assert slabs == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
    assert list(convolution._slabs([1, 1, 2, 3], torch.device("cpu"))) == [(0, 2)]
    assert list(convolution._slabs([9, 9, 9], torch.device("cuda"))) == [(0, 9)]


def test_a_kernel_larger_than_its_input_is_refused():
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        conv(integers(1, 2, 3, seed=1), integers(2, 2, 5, seed=2))
