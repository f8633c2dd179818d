"""What a device makes of sums, quotients, softmax, norms and slices; choices and bands."""

from __future__ import annotations

import math

import pytest
import torch

from harness.devices import ProfileError, band, device, shipped_profiles
from harness.devices.convolution import Window
from harness.errors import UnknownNameError

M1 = device("ane-m1")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).half().float()


@pytest.mark.parametrize(
    ("name", "begin", "x", "y"),
    [
        ("ane-m1", 1, 4094.0, 4094.0),
        ("ane-m1", 1, 4096.0, math.inf),
        ("ane-m1", 1, -4096.0, -math.inf),
        ("ane-m1", 0, 60000.0, 60000.0),
        ("ane-m5", 1, 60000.0, 60000.0),
        ("gpu", 1, 60000.0, 60000.0),
    ],
)
def test_guide_a_slice_with_an_offset_multiplies_by_16_inside(name, begin, x, y):
    row = torch.full((2, 3), x)
    assert device(name).slice_width(row, begin, 3).tolist() == [[y] * (3 - begin)] * 2


def test_guide_softmax_takes_the_largest_away_first():
    y = M1.softmax(torch.tensor([[1000.0, 1.0, 2.0, 3.0], [2.0, 2.0, 2.0, 2.0]]), -1)
    assert y.tolist() == [[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]


def test_guide_softmax_gives_a_nan_all_the_mass():
    assert M1.softmax(torch.tensor([math.nan, 1.0]), 0).tolist() == [1.0, 0.0]


def test_softmax_from_tables_is_near_the_real_one_and_not_it():
    x = normal(64, 32)
    actual, exact = M1.softmax(x, 1), torch.softmax(x.double(), 1)
    assert (actual - exact).abs().max() < 2e-3
    assert not torch.equal(actual, exact.half().float())
    assert torch.equal(device("gpu").softmax(x, 1), torch.softmax(x, 1).half().float())


@pytest.mark.parametrize(("x", "collapses"), [(7.62109375, False), (7.6328125, True)])
def test_coremltools_2690_logsumexp_of_32_gives_zero_above_7_63(x, collapses):
    result = M1.log_sum_exp(torch.full((1, 32), x), [1]).item()
    assert (result == 0.0) is collapses
    exact = x + math.log(32)
    assert device("gpu").log_sum_exp(torch.full((1, 32), x), [1]).item() == pytest.approx(
        exact, abs=0.01
    )


def test_a_quotient_of_the_m1_is_a_product_with_a_reciprocal():
    a, b = normal(50), normal(50, seed=1)
    expected = (a * M1.function("reciprocal", b)).half().float()
    assert torch.equal(M1.real_div(a, b), expected)
    assert torch.equal(device("gpu").real_div(a, b), (a / b).half().float())
    assert M1.real_div(torch.tensor(0.0), torch.tensor(0.0)).item() == 0.0


@pytest.mark.parametrize("way", ["reciprocal_then_product", "rounded_once"])
def test_guide_a_zero_of_the_m1_has_no_sign(way):
    unit = M1.supposing(real_div=way)
    assert unit.real_div(torch.tensor(1.0), torch.tensor(-0.0)).item() == math.inf


def test_a_sum_that_is_narrow_stops_where_its_unit_swallows_the_next_term():
    ones = torch.ones(2, 5000)
    assert M1.sum(ones, [1]).tolist() == [[5000.0], [5000.0]]
    assert device("ane-m1", reduce_sum="narrow").sum(ones, [1]).tolist() == [[2048.0], [2048.0]]


def test_a_narrow_sum_goes_axis_by_axis_from_the_last():
    x = torch.ones(4, 3000)
    narrow = device("ane-m1", reduce_sum="narrow")
    assert narrow.sum(x, [0, 1]).tolist() == [[8192.0]]
    assert narrow.sum(x, [0]).tolist() == [[4.0] * 3000]


def test_guide_a_sum_overflows_at_the_end_of_fp16_and_not_at_32768():
    assert M1.sum(torch.full((1, 2), 30000.0), [1]).item() == 60000.0
    assert M1.sum(torch.full((1, 3), 30000.0), [1]).item() == math.inf
    assert M1.mean(torch.full((1, 3), 30000.0), [1]).item() == pytest.approx(30000.0, abs=16)


def test_hwx_a_mean_is_the_sum_times_the_reciprocal_in_fp32():
    x = normal(300, 7)
    reciprocal = torch.tensor(1 / 7, dtype=torch.float32)
    sums = x.double().sum(1, keepdim=True).float()
    assert torch.equal(M1.mean(x, [1]), (sums * reciprocal).half().float())


@pytest.mark.parametrize("x", [0.5, 1.5, -0.5, -2.5])
def test_forge_halves_are_rounded_away_from_zero(x):
    assert M1.round(torch.tensor(x)).item() == math.copysign(math.floor(abs(x) + 0.5), x)
    assert device("gpu").round(torch.tensor(x)).item() == round(x)


def test_norms_in_stages_are_coarser_than_norms_rounded_once():
    x, gamma, beta = (normal(64, 96) + 3).half().float(), normal(96, seed=1), normal(96, seed=2)
    exact = torch.nn.functional.layer_norm(x.double(), [96], gamma.double(), beta.double())
    errors = [
        (device("ane-m1", normalisation=way).layer_norm(x, [-1], gamma, beta, 1e-5) - exact)
        .square()
        .mean()
        for way in ("rounded_once", "stages")
    ]
    assert 0 < errors[0] < 3e-7
    assert 2 * errors[0] < errors[1] < 1e-4


def test_mlx_4411_relaxed_fp32_products_drop_13_bits():
    x = torch.tensor([1 + 2.0**-10 + 2.0**-11, -1 - 2.0**-23, 0.0])
    relaxed = device("gpu-m5", fp32_operands="low_13_bits_dropped")
    assert relaxed.fp32_operand(x).tolist() == [1 + 2.0**-10, -1.0, 0.0]
    assert torch.equal(device("gpu").fp32_operand(x), x)


@pytest.mark.parametrize(("bias", "result"), [("fp16", 0.0), ("wide", 1.0)])
def test_a_bias_meets_the_sum_before_or_after_it_is_rounded(bias, result):
    unit = device("ane-m1", bias=bias)
    x, weight, offset = torch.tensor([[2048.0, 1.0]]), torch.ones(1, 2), torch.tensor([-2048.0])
    assert unit.linear(x, weight, offset).item() == result
    window = Window([1], [(0, 0)], [1])
    signal, kernel = x.reshape(1, 2, 1), weight.reshape(1, 2, 1)
    assert unit.convolution(signal, kernel, offset, window).item() == result
    kernel = weight.reshape(2, 1, 1)
    assert unit.transposed_convolution(signal, kernel, offset, window).item() == result


def test_a_linear_layer_adds_its_bias_in_fp16():
    x, weight, bias = normal(2, 3, 40), normal(5, 40, seed=1), normal(5, seed=2)
    expected = (M1.matmul(x.reshape(1, 6, 40), weight.T[None]) + bias).half().float()
    assert torch.equal(M1.linear(x, weight, bias), expected.reshape(2, 3, 5))


def test_a_band_varies_each_unknown_alone():
    for name, profile in shipped_profiles().items():
        devices = band(name)
        assert devices[0] == device(name)
        others = sum(len(unknown.variants) - 1 for unknown in profile.unknowns.values())
        assert len({d.label for d in devices}) == len(devices) == 1 + others
        usual = devices[0].settings
        for other in devices[1:]:
            changed = [key for key in usual if usual[key] != other.settings[key]]
            assert len(changed) == 1
            assert changed[0] in profile.unknowns


def test_a_band_keeps_what_was_settled():
    usual, *others = band(device("ane-m1", bias="wide"))
    assert usual.label == "ane-m1, bias=wide"
    assert {other.settings["bias"] for other in others} == {"wide"}
    assert len(others) == len(band("ane-m1")) - 2


@pytest.mark.parametrize("name", shipped_profiles())
def test_what_is_settled_as_assumed_is_settled(name):
    """Who knows that an assumption is right had a band as wide as who doesn't."""
    for key, unknown in shipped_profiles()[name].unknowns.items():
        settled = device(name, **{key: unknown.assumed})
        assert {other.settings[key] for other in band(settled)} == {unknown.assumed}
        assert len(band(settled)) == len(band(name)) - len(unknown.variants) + 1


def test_a_band_shows_in_a_result():
    a, b = normal(1, 512), normal(512, 1, seed=1)
    results = {d.label: d.matmul(a, b).item() for d in band("ane-m5")}
    assert results["ane-m5"] != results["ane-m5, accumulator=tiles_of_four"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"normalization": "stages"}, "did you mean 'normalisation'"),
        ({"product_ceiling": 65520.0}, "product_ceiling is known to be 32768.0; only unknowns"),
        (
            {"reduce_sum": "thin"},
            r"reduce_sum can't be 'thin'; expected one of \['wide', 'narrow'\]",
        ),
    ],
    ids=["misspelt", "fact", "no-variant"],
)
def test_a_choice_that_a_device_does_not_have_is_refused(choice, message):
    with pytest.raises((ProfileError, UnknownNameError), match=message):
        device("ane-m1", **choice)


def test_a_gradient_is_refused_instead_of_lost():
    with pytest.raises(ProfileError, match="ane-m1 has no gradient of gelu; detach"):
        M1.function("gelu", torch.zeros(1, requires_grad=True))


def test_an_affine_norm_rounds_the_normed_value_the_product_and_the_sum():
    """As Core AI's runtime has it; neither rounded once nor in stages."""
    x = torch.randn(40, 256, generator=torch.Generator().manual_seed(2)).half()
    gamma, beta = x[0], x[1]
    wide = x.float()
    variance, mean = torch.var_mean(wide, -1, correction=0, keepdim=True)
    normed = ((wide - mean) * torch.rsqrt(variance + 1e-5)).half()
    expected = (normed * gamma).half() + beta
    made = device("coreai-cpu").layer_norm(x, [-1], gamma, beta)
    assert torch.equal(made, expected)
    assert not torch.equal(
        made, device("gpu", normalisation="rounded_once").layer_norm(x, [-1], gamma, beta)
    )
