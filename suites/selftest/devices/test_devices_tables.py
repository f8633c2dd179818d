"""Functions from tables: each published value, worst error and ratio, and what must hold besides.

Where a figure comes from stands in the id of its test: guide is arXiv:2606.22283, omarchy the
receipts of joshuaswarren/mlx-omarchy, hwx the notes of mil-hwx-compiler.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.devices import ProfileError, Tail, device, shipped_profiles
from harness.devices.grid import every_number, nearest_away, nearest_even
from harness.devices.reference import FUNCTIONS
from harness.devices.tables import fitted_knots, knots
from harness.errors import UnknownNameError

M1 = device("ane-m1")

# Input and output as the device gave them: omarchy, receipts of September 2026, H13.
SIGMOID = [
    (-0.2880859375, 0.429443359375),
    (0.09002685546875, 0.52197265625),
    (0.1544189453125, 0.5380859375),
    (0.1546630859375, 0.5380859375),
    (0.26123046875, 0.56396484375),
    (0.314453125, 0.5771484375),
    (0.43896484375, 0.607421875),
    (0.52978515625, 0.62890625),
    (0.56640625, 0.63671875),
    (0.56689453125, 0.63720703125),
    (0.56787109375, 0.63720703125),
]
TANH = [
    (-1.099609375, -0.79931640625),
    (-0.681640625, -0.59130859375),
    (-0.560546875, -0.5068359375),
    (-0.11395263671875, -0.11334228515625),
    (0.28271484375, 0.274658203125),
    (0.319091796875, 0.3076171875),
    (0.458984375, 0.42822265625),
    (0.6220703125, 0.552734375),
]


def at(name: str, *values: float, of=M1) -> list[float]:
    return of.function(name, torch.tensor(values)).tolist()


def finite(low: float = -65504.0, high: float = 65504.0) -> np.ndarray:
    numbers = np.unique(every_number())
    return numbers[(numbers >= low) & (numbers <= high)]


def on_the_device(name: str, x: np.ndarray) -> np.ndarray:
    return M1.function(name, torch.from_numpy(x.astype(np.float32))).double().numpy()


def normal(scale: float) -> np.ndarray:
    return nearest_even(np.random.default_rng(0).standard_normal(1 << 19) * scale)


def snr_db(name: str, x: np.ndarray) -> float:
    exact = FUNCTIONS[name](x)
    return 10 * math.log10((exact**2).sum() / ((on_the_device(name, x) - exact) ** 2).sum())


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [("sigmoid", x, y) for x, y in SIGMOID] + [("tanh", x, y) for x, y in TANH],
    ids=lambda value: f"omarchy-{value}" if isinstance(value, str) else str(value),
)
def test_a_published_value_is_reproduced_to_the_bit(name, x, y):
    assert at(name, x) == [y]


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("sigmoid", -9.9375, 0.0),
        ("sigmoid", -65504.0, 0.0),
        ("sigmoid", 8.3203125, 1.0),
        ("sigmoid", 65504.0, 1.0),
        ("tanh", 4.0, 1.0),
        ("tanh", -4.0, -1.0),
        ("log", 0.0, -45440.0),
        ("log", -1.0, 0.0),
        ("sqrt", -1.0, 0.0),
        ("rsqrt", -1.0, 0.0),
        ("reciprocal", -0.0, math.inf),
        ("rsqrt", -0.0, math.inf),
        ("sqrt", -0.0, 0.0),
        ("sigmoid", math.nan, 1.0),
        ("tanh", math.nan, 1.0),
        ("exp", math.nan, math.inf),
        ("softplus", math.inf, 0.0),
    ],
    ids=lambda value: f"guide-{value}" if isinstance(value, str) else str(value),
)
def test_the_m1_leaves_ieee_where_the_guide_saw_it(name, x, y):
    assert at(name, x) == [y]


def test_coremltools_2687_softplus_gives_zero_above_10_4():
    assert at("softplus", 10.40625, 12.0) == [0.0, 0.0]
    assert at("softplus", 10.390625)[0] == pytest.approx(10.390625, abs=0.01)


@pytest.mark.parametrize("name", ["gpu", "cpu-bnns", "coreai-cpu"])
def test_softplus_goes_on_to_the_end_where_it_does_not_collapse(name):
    """e^x leaves float64 at 710, which is no reason to give 0."""
    large = [709.0, 710.0, 65504.0, math.inf]
    assert at("softplus", *large, of=device(name)) == large
    assert math.isnan(at("softplus", math.nan, of=device(name))[0])


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_unit_without_subnormals_gives_none(name):
    unit = device("gpu").supposing(elementwise_subnormals="flushed")
    y = unit.function(name, torch.from_numpy(every_number()).float())
    assert not ((y != 0) & (y.abs() < 2.0**-14)).any()
    assert unit.elementwise(torch.mul, torch.tensor(-(2.0**-20)), torch.tensor(1.0)).signbit()


def test_guide_exp_overflows_from_the_logarithm_of_the_largest_number():
    below, above = at("exp", 11.0859375, 11.09375)
    assert math.isfinite(below)
    assert above == math.inf


def test_guide_the_line_beyond_the_knots_of_sigmoid_ends_at_its_clamps():
    y = on_the_device("sigmoid", finite(-9.9375, -8.0))
    assert y[0] == 0.0
    assert y[-1] == np.float16(FUNCTIONS["sigmoid"](np.float64(-8)))
    assert (np.diff(y) >= 0).all()


@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    [
        pytest.param("sigmoid", 0.0034, 0.00006, id="guide-sigmoid"),
        pytest.param("tanh", 0.0017, 0.0001, id="guide-tanh"),
        pytest.param("gelu", 0.00610352, 0.00002, id="hwx-gelu-on-m4"),
        pytest.param("gelu", 0.0059, 0.00025, id="guide-gelu-on-m1"),
    ],
)
def test_the_worst_error_is_the_published_one(name, published, tolerance):
    x = finite(-16, 16)
    worst = np.abs(on_the_device(name, x) - FUNCTIONS[name](x)).max()
    assert worst == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "scale", "published_db"),
    [
        ("sigmoid", 1.0, 50.7),
        ("sigmoid", 0.1, 61.1),
        ("tanh", 1.0, 58.5),
        ("tanh", 0.1, 50.7),
        ("gelu", 1.0, 52.5),
        ("gelu", 0.1, 27.2),
        ("silu", 1.0, 41.7),
        ("silu", 0.1, 21.0),
    ],
)
def test_a_table_alone_costs_what_was_found_of_it(name, scale, published_db):
    """Normally distributed arguments; the figures are those of the tables that were extracted."""
    assert snr_db(name, normal(scale)) == pytest.approx(published_db, abs=0.2)


@pytest.mark.parametrize(
    ("name", "one_compiler", "another"),
    [("gelu", -0.00075, -0.00054), ("silu", -0.00170, -0.00126)],
    ids=["hwx-guide-gelu", "hwx-guide-silu"],
)
def test_our_fit_has_the_published_value_at_zero(name, one_compiler, another):
    assert at(name, 0.0)[0] == pytest.approx(one_compiler, abs=1.2e-5)
    assert abs(at(name, 0.0)[0] - another) < 5e-4


def test_our_fit_is_the_least_one_over_normal_numbers():
    """No knot of GELU can be moved by four units of FP16 for a smaller sum of squares."""
    table = M1.profile.tables["gelu"]
    x = finite(-4, 4)
    x = x[np.abs(x) >= 2.0**-14]
    places = np.linspace(-4, 4, 33)
    best = fitted_knots(table)

    def loss(values: np.ndarray) -> float:
        return float(((np.interp(x, places, values) - FUNCTIONS["gelu"](x)) ** 2).sum())

    for index in range(33):
        for step in (-4, 4):  # each knot is rounded, and moves its neighbours' best place
            moved = best.copy()
            moved[index] += step * np.spacing(np.float16(abs(best[index])))
            assert loss(moved) > loss(best), index


def test_a_table_that_no_numbers_decide_is_refused():
    lines = {"below": Tail(0.0, 0.0, 0.0), "above": Tail(1026.0, 1.0, 0.0)}
    few = replace(M1.profile.tables["gelu"], domain=(1024.0, 1026.0), **lines)
    with pytest.raises(ProfileError, match=r"gelu: 33 knots over .* to the 3 normal numbers of"):
        knots(few)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_knots_are_the_rounded_function_33_of_33(name):
    table = M1.profile.tables[name]
    places = np.linspace(*table.domain, 33)
    assert knots(table).tolist() == FUNCTIONS[name](places).astype(np.float16).tolist()
    assert on_the_device(name, places[:-1]).tolist() == knots(table)[:-1].tolist()


def test_exp_and_reciprocal_are_thirty_times_more_exact_than_sigmoid():
    for name in ("exp", "reciprocal"):
        x = finite(0.01, 10.0)
        exact = FUNCTIONS[name](x)
        within = np.abs(on_the_device(name, x) - exact) / exact
        assert within.max() < 2.0**-10  # 0.00098: one unit in the last place, not seven


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "exp", "exp2", "log", "sqrt"])
def test_a_table_rises_wherever_its_function_does(name):
    x = finite(1e-7 if name in ("log", "sqrt") else -65504.0)
    assert (np.diff(on_the_device(name, x)[on_the_device(name, x) < math.inf]) >= 0).all()


@pytest.mark.parametrize("name", ["reciprocal", "rsqrt"])
def test_a_table_falls_wherever_its_function_does(name):
    assert (np.diff(on_the_device(name, finite(2.0**-14))) <= 0).all()


def test_tanh_is_odd_to_the_bit():
    x = finite(0.0)
    assert (on_the_device("tanh", -x) == -on_the_device("tanh", x)).all()


@pytest.mark.parametrize("profile", sorted(shipped_profiles()))
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_result_is_an_fp16_number_in_the_type_of_its_argument(profile, name):
    x = torch.from_numpy(every_number())
    unit = device(profile)
    y = unit.function(name, x.float())
    assert y.dtype is torch.float32
    assert torch.equal(y.nan_to_num(1.0), y.half().float().nan_to_num(1.0))
    half = unit.function(name, x.half())
    assert half.dtype is torch.float16
    assert torch.equal(half.float().nan_to_num(1.0), y.nan_to_num(1.0))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_no_nan_ever_leaves_the_m1(name):
    assert not M1.function(name, torch.from_numpy(every_number()).float()).isnan().any()


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "gelu"])
def test_a_unit_without_tables_rounds_the_function_once(name):
    """omarchy: sigmoid and tanh are correctly rounded on the CPU, 1,536 of 1,536."""
    x = finite(-16, 16)
    y = device("cpu-bnns").function(name, torch.from_numpy(x.astype(np.float32)))
    assert y.tolist() == nearest_even(FUNCTIONS[name](x)).tolist()


def test_an_argument_between_two_numbers_is_rounded_first():
    assert at("sigmoid", 0.1544189453125 + 1e-6) == at("sigmoid", 0.1544189453125)


def test_any_shape_and_stride_is_looked_up_alike():
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(M1.function("gelu", x.T), M1.function("gelu", x.T.contiguous()))
    assert M1.function("gelu", x[:0]).shape == (0, 6)


def test_an_unknown_function_is_named():
    with pytest.raises(UnknownNameError, match="unknown function 'sigmod'; did you mean 'sigmoid'"):
        M1.function("sigmod", torch.zeros(1))


@settings(max_examples=200, deadline=None)
@given(st.floats(-70000, 70000, allow_nan=False))
def test_rounding_away_differs_from_rounding_to_even_in_ties_alone(x):
    away, even = (float(f(np.array([x]))[0]) for f in (nearest_away, nearest_even))
    if away != even:
        assert abs(away) > abs(even)
        if math.isfinite(away):
            assert abs(x - away) == abs(x - even)
    assert float(np.float16(away)) == away


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (1 + 2.0**-11, 1 + 2.0**-10),
        (-1 - 2.0**-11, -1 - 2.0**-10),
        (2.0**-25, 2.0**-24),
        (65519.0, 65504.0),
        (65520.0, math.inf),
        (0.0, 0.0),
    ],
)
def test_ties_go_away_from_zero(x, y):
    assert nearest_away(np.array([x])).tolist() == [y]
