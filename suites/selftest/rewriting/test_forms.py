"""If these fail, a rewriting changes what a network computes, or doesn't help where it claims to.

The reference is the program as it was, executed by the same executor, and PyTorch for the values
of GELU. Shapes and values are random; what a form is for is tested on the device that it is for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from harness import mil
from harness._coremltools import import_coremltools
from harness.rewriting import ALTERNATIVES, APPROXIMATE, REWRITINGS, load_forms
from suites.ops.packages import write_package

Build = Callable[[Any, Any], Any]
Arrays = Mapping[str, np.ndarray]


def program_of(build: Build, shape: tuple[int, ...], dtype: str = "fp32") -> Any:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    program = Program()
    held = {"fp32": types.fp32, "fp16": types.fp16}[dtype]
    with Function({"x": mb.placeholder(shape, held)}, ct.target.iOS18) as function:
        function.set_outputs([build(mb, function.inputs["x"])])
    program.add_function("main", function)
    return program


def run(program: Any, x: np.ndarray, numerics: str = "storage") -> np.ndarray:
    with TemporaryDirectory() as folder:
        model = mil.load(write_package(program, Path(folder) / "p.mlpackage"))
        (y,) = model.predict({"x": x}, numerics=numerics).values()
    return np.asarray(y, dtype=np.float64)


def types_of(program: Any) -> list[str]:
    return [op.op_type for op in program.functions["main"].operations if op.op_type != "const"]


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    error = np.square(expected - actual).sum()
    return math.inf if error == 0 else 10 * math.log10(np.square(expected).sum() / error)


def number(x: Any, value: float) -> np.generic:
    """Return a constant in the type of the value ``x``."""
    from coremltools.converters.mil.mil.types import nptype_from_builtin

    made: np.generic = nptype_from_builtin(x.dtype)(value)
    return made


def gelu(mb: Any, x: Any) -> Any:
    return mb.gelu(x=x, mode="EXACT", name="y")


def gated(mb: Any, x: Any) -> Any:
    one, other = mb.split(x=x, num_splits=2, axis=1)
    return mb.mul(x=one, y=mb.sigmoid(x=other), name="y")


def gate_alone(mb: Any, x: Any) -> Any:
    return mb.sigmoid(x=x, name="y")


def group_norm(mb: Any, x: Any) -> Any:
    rows = mb.reshape(x=x, shape=(x.shape[0], 1, *x.shape[1:]))
    return mb.reshape(x=quotient(mb, rows, [2, 3]), shape=x.shape, name="y")


def attention(mb: Any, x: Any) -> Any:
    return mb.scaled_dot_product_attention(query=x, key=x, value=x, name="y")


def batched_attention(mb: Any, x: Any) -> Any:
    parts = [mb.reshape(x=mb.mul(x=x, y=number(x, k)), shape=(1, *x.shape)) for k in (1, 2, 3)]
    y = mb.scaled_dot_product_attention(query=parts[0], key=parts[1], value=parts[2])
    return mb.reshape(x=y, shape=x.shape, name="y")


def standardised(mb: Any, x: Any) -> Any:
    """As networks do before and take back behind: mean and deviation are read again."""
    axes = list(range(1, x.rank))
    mean = mb.reduce_mean(x=x, axes=axes, keep_dims=True)
    centred = mb.sub(x=x, y=mean)
    power = mb.reduce_mean(x=mb.square(x=centred), axes=axes, keep_dims=True)
    deviation = mb.sqrt(x=mb.mul(x=power, y=number(x, 1.01)))
    normal = mb.real_div(x=centred, y=mb.add(x=deviation, y=number(x, 1e-5)))
    inside = mb.square(x=normal)
    return mb.add(x=mb.mul(x=inside, y=deviation), y=mean, name="y")


def norm_of_all(mb: Any, x: Any) -> Any:
    """A reduction that names no axis is one over all."""
    centred = mb.sub(x=x, y=mb.reduce_mean(x=x, keep_dims=True))
    power = mb.reduce_mean(x=mb.square(x=centred), keep_dims=True)
    root = mb.sqrt(x=mb.add(x=power, y=number(x, 1e-5)))
    return mb.real_div(x=centred, y=root, name="y")


def standardised_as_a_whole(mb: Any, x: Any) -> Any:
    """Over all axes, which the second mean counts from the end."""
    centred = mb.sub(x=x, y=mb.reduce_mean(x=x, keep_dims=True))
    power = mb.reduce_mean(x=mb.square(x=centred), axes=[-1, -2, -3], keep_dims=True)
    root = mb.sqrt(x=power)
    return mb.real_div(x=centred, y=mb.add(x=root, y=number(x, 1e-5)), name="y")


def weight_of(*shape: int) -> np.ndarray:
    """Return weights as checkpoints in half precision have them: numbers that FP16 holds."""
    made = np.random.default_rng(6).standard_normal(shape) / math.sqrt(np.prod(shape[1:]))
    return made.astype(np.float16)


def convolved(mb: Any, x: Any) -> Any:
    weight = weight_of(8, x.shape[1], 3).astype(number(x, 0).dtype)
    bias = np.linspace(-0.1, 0.1, 8).astype(weight.dtype)
    return mb.conv(x=x, weight=weight, bias=bias, pad_type="same", name="y")


def convolved_back(mb: Any, x: Any) -> Any:
    weight = weight_of(x.shape[1], 8, 4).astype(number(x, 0).dtype)
    return mb.conv_transpose(x=x, weight=weight, strides=[2], name="y")


def linear(mb: Any, x: Any) -> Any:
    weight = weight_of(8, x.shape[-1]).astype(number(x, 0).dtype)
    return mb.linear(x=x, weight=weight, name="y")


PRODUCTS = [convolved, convolved_back, linear]


def quotient(mb: Any, x: Any, axes: list[int]) -> Any:
    centred = mb.sub(x=x, y=mb.reduce_mean(x=x, axes=axes, keep_dims=True))
    power = mb.reduce_mean(x=mb.square(x=centred), axes=axes, keep_dims=True)
    return mb.real_div(x=centred, y=mb.sqrt(x=mb.add(x=power, y=number(x, 1e-5))))


def standardised_around(mb: Any, x: Any, mean: Any) -> Any:
    centred = mb.sub(x=x, y=mean)
    power = mb.reduce_mean(x=mb.square(x=centred), axes=[2], keep_dims=True)
    return mb.real_div(x=centred, y=mb.add(x=mb.sqrt(x=power), y=number(x, 1e-5)))


FORMS: list[tuple[str, Build, int]] = [
    ("gelu_over_exp", gelu, 3),
    ("sigmoid_over_exp", gated, 3),
    ("sigmoid_over_exp", gate_alone, 3),
    ("group_norm_in_one", group_norm, 3),
    ("group_norm_in_one", norm_of_all, 3),
    ("attention_in_steps", attention, 4),
    ("attention_in_steps", batched_attention, 3),
    ("standard_in_range", standardised, 3),
    ("standard_in_range", standardised_as_a_whole, 3),
]
SCALES = st.sampled_from([1e-3, 0.1, 1.0, 4.0])


def test_the_catalogue_names_what_the_shipped_file_has() -> None:
    assert set(REWRITINGS) == set(load_forms().PASSES)
    assert {*ALTERNATIVES, *ALTERNATIVES.values()} <= set(REWRITINGS)


@pytest.mark.parametrize(("name", "build", "rank"), FORMS)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_form_is_the_same_function_in_fp32(
    name: str, build: Build, rank: int, data: st.DataObject
) -> None:
    sizes = st.integers(1, 9)
    shape = (1 if rank == 4 else data.draw(sizes), *(2 * data.draw(sizes) for _ in range(rank - 1)))
    seed, scale = data.draw(st.integers(0, 999)), data.draw(SCALES)
    x = (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)
    plain, other = program_of(build, shape), program_of(build, shape)
    load_forms().rewrite(other, name)
    assert types_of(other) != types_of(plain)
    assert other.functions["main"].outputs[0].name == "y"
    assert snr_db(run(plain, x, "float64"), run(other, x, "float64")) > 110


def test_the_short_gelu_is_as_near_as_it_says() -> None:
    x = np.linspace(-9, 9, 20001, dtype=np.float32)[None, None]
    short = program_of(gelu, x.shape)
    load_forms().rewrite(short, "gelu_over_exp_short")
    error = run(short, x, "float64") - x * special.ndtr(x.astype(np.float64))
    assert 1.9e-4 < np.abs(error).max() < 2.0e-4
    normal = np.random.default_rng(0).standard_normal((1, 1, 20000)).astype(np.float32)
    short = program_of(gelu, normal.shape)
    load_forms().rewrite(short, "gelu_over_exp_short")
    exact = normal * special.ndtr(normal.astype(np.float64))
    told = APPROXIMATE["gelu_over_exp_short"]
    assert snr_db(exact, run(short, normal, "float64")) == pytest.approx(told, abs=0.5)


@pytest.mark.parametrize("build", PRODUCTS)
def test_weights_with_gain_are_as_near_as_they_say(build: Build) -> None:
    x = np.random.default_rng(1).standard_normal((2, 64, 96)).astype(np.float32)
    plain, other = program_of(build, x.shape), program_of(build, x.shape)
    load_forms().rewrite(other, "weights_with_gain")
    assert types_of(other) == types_of(plain)
    assert other.functions["main"].outputs[0].name == "y"
    expected, made = run(plain, x, "float64"), run(other, x, "float64")
    told = APPROXIMATE["weights_with_gain"]
    assert snr_db(expected, made) == pytest.approx(told, abs=0.7)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 999),
    terms=st.integers(256, 2000),
    scale=st.sampled_from([1e-3, 0.1, 30.0]),
    held=st.booleans(),
)
def test_each_output_has_the_gain_whether_fp16_held_its_weights_or_not(
    seed: int, terms: int, scale: float, held: bool
) -> None:
    """Rounded one by one, weights that FP16 holds gain nothing: 2.3e-4 is under half a step."""
    forms = load_forms()
    rows = scale * np.random.default_rng(seed).standard_normal((3, terms))
    rows = rows.astype(np.float16).astype(np.float64) if held else rows
    made = forms._gained(rows)
    assert (made.astype(np.float16) == made).all()
    assert (np.abs(made - rows) <= np.maximum(2.0**-9 * np.abs(rows), 2.0**-24)).all()  # a step
    gains = (made * rows).sum(1) / np.square(rows).sum(1) - 1
    assert gains == pytest.approx(forms.GAIN, rel=0.15)


def test_a_product_without_constant_weights_is_left_alone() -> None:
    def own(mb: Any, x: Any) -> Any:
        weight = mb.transpose(x=mb.mul(x=x, y=number(x, 2)), perm=[1, 2, 0])
        return mb.conv(x=x, weight=weight, name="y")

    def product(mb: Any, x: Any) -> Any:
        return mb.matmul(x=x, y=x, transpose_y=True, name="y")

    for build in (own, product):
        program = program_of(build, (1, 6, 6))
        before = [op.name for op in program.functions["main"].operations]
        load_forms().rewrite(program, "weights_with_gain")
        assert [op.name for op in program.functions["main"].operations] == before


def test_every_form_is_proven_the_same_or_told_to_be_approximate() -> None:
    assert {name for name, _, _ in FORMS} == set(REWRITINGS) - set(APPROXIMATE)


@pytest.mark.parametrize("name", ["gelu_over_exp", "gelu_over_exp_short"])
def test_gelu_holds_at_every_number_of_fp16(name: str) -> None:
    """An exponent that turned back would give 0 for a large value, or infinity."""
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    x = every[every.isfinite()].numpy()[None, None]
    program = program_of(gelu, x.shape, "fp16")
    load_forms().rewrite(program, name)
    for numerics in ("storage", "ane-m1"):
        y = run(program, x.astype(np.float16), numerics)
        exact = x * special.ndtr(x.astype(np.float64))
        assert np.abs(y - exact).max() <= np.abs(exact).max() * 2.0**-11
        small = np.abs(x) < 8
        assert np.abs(y - exact)[small].max() < 4e-3  # half a step of FP16 below 8
        assert (y[x > 8] == x[x > 8]).all()
        assert (y[x < -8] == 0).all()


def test_operations_are_as_many_as_the_catalogue_says() -> None:
    for name, count in (("gelu_over_exp", 14), ("gelu_over_exp_short", 10)):
        program = program_of(gelu, (1, 2, 3))
        load_forms().rewrite(program, name)
        assert len(types_of(program)) == count
        assert str(count) in REWRITINGS[name]
    norm = program_of(group_norm, (2, 4, 6))
    load_forms().rewrite(norm, "group_norm_in_one")
    assert types_of(norm) == ["layer_norm"]


@pytest.mark.parametrize(
    ("name", "build", "shape", "gain_db"),
    [
        ("gelu_over_exp", gelu, (1, 8, 500), 15),
        ("gelu_over_exp_short", gelu, (1, 8, 500), 15),
        ("sigmoid_over_exp", gated, (1, 8, 500), 12),
        ("attention_in_steps", attention, (1, 2, 1500, 8), 8),
    ],
)
def test_a_form_gains_on_the_neural_engine(
    name: str, build: Build, shape: tuple[int, ...], gain_db: float
) -> None:
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float16)
    expected = run(program_of(build, shape), x.astype(np.float32), "float64")
    plain, other = program_of(build, shape, "fp16"), program_of(build, shape, "fp16")
    load_forms().rewrite(other, name)
    before, after = (snr_db(expected, run(p, x, "ane-m1")) for p in (plain, other))
    assert after > before + gain_db


@pytest.mark.parametrize("build", PRODUCTS)
def test_weights_with_gain_are_for_sums_that_are_cut_and_for_no_others(build: Build) -> None:
    x = np.random.default_rng(3).standard_normal((2, 64, 96)).astype(np.float16)
    expected = run(program_of(build, x.shape), x.astype(np.float32), "float64")
    plain, other = program_of(build, x.shape, "fp16"), program_of(build, x.shape, "fp16")
    load_forms().rewrite(other, "weights_with_gain")

    def gain(program: Any, numerics: str) -> float:
        made = run(program, x, numerics)
        return float((made * expected).sum() / np.square(expected).sum() - 1)

    assert -3.2e-4 < gain(plain, "ane-m1") < -1.5e-4
    assert abs(gain(other, "ane-m1")) < 1e-4
    for elsewhere in ("ane-m1, tile_alignment=nearest", "storage"):
        assert abs(gain(plain, elsewhere)) < 4e-5
        assert 1.2e-4 < gain(other, elsewhere) < 3.2e-4


@pytest.mark.parametrize("scale", [2e-4, 3000.0])
def test_a_standardisation_holds_where_squares_leave_fp16(scale: float) -> None:
    shape = (1, 2, 4000)
    x = (scale * np.random.default_rng(4).standard_normal(shape)).astype(np.float16)
    expected = run(program_of(standardised, shape), x.astype(np.float32), "float64")
    plain, other = program_of(standardised, shape, "fp16"), program_of(standardised, shape, "fp16")
    load_forms().rewrite(other, "standard_in_range")
    before, after = (snr_db(expected, run(p, x, "ane-m1")) for p in (plain, other))
    assert after > 50
    assert not before > 35


def test_silence_stays_silence() -> None:
    program = program_of(standardised, (1, 2, 50), "fp16")
    load_forms().rewrite(program, "standard_in_range")
    for numerics in ("storage", "ane-m1"):
        assert not run(program, np.zeros((1, 2, 50), np.float16), numerics).any()


@pytest.mark.parametrize(
    ("name", "outside", "inside"),
    [
        ("sigmoid_over_exp", lambda mb, x: [mb.sigmoid(x=x)], lambda mb, x, y: mb.mul(x=x, y=y)),
        (
            "group_norm_in_one",
            lambda mb, x: [quotient(mb, mb.reshape(x=x, shape=(2, 1, 4, 6)), [2, 3])],
            lambda mb, x, y: mb.reshape(x=y, shape=(2, 4, 6)),
        ),
        (
            "attention_in_steps",
            lambda mb, x: [mb.reshape(x=mb.add(x=x, y=x), shape=(1, 2, 4, 6)) for _ in range(3)],
            lambda mb, x, q, k, v: mb.reshape(
                x=mb.scaled_dot_product_attention(query=q, key=k, value=v), shape=(2, 4, 6)
            ),
        ),
        (
            "standard_in_range",
            lambda mb, x: [mb.reduce_mean(x=x, axes=[2], keep_dims=True)],
            standardised_around,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pattern_that_ends_in_a_branch_is_the_same(
    name: str, outside: Callable[..., Any], inside: Callable[..., Any]
) -> None:
    def branching(mb: Any, x: Any) -> Any:
        made = outside(mb, x)
        positive = mb.greater(x=mb.reduce_sum(x=x, axes=[0, 1, 2]), y=number(x, 0))
        branch = (lambda: inside(mb, x, *made)), (lambda: mb.gelu(x=x))
        return mb.cond(pred=positive, _true_fn=branch[0], _false_fn=branch[1], name="y")

    x = np.abs(np.random.default_rng(5).standard_normal((2, 4, 6))).astype(np.float32)
    plain, other = program_of(branching, x.shape), program_of(branching, x.shape)
    load_forms().rewrite(other, name)
    assert snr_db(run(plain, x, "float64"), run(other, x, "float64")) > 110


def test_what_is_no_pattern_is_left_alone() -> None:
    def other(mb: Any, x: Any) -> Any:
        y = mb.gelu(x=x, mode="TANH_APPROXIMATION")
        centred = mb.sub(x=y, y=mb.reduce_mean(x=y, axes=[1], keep_dims=True))
        power = mb.reduce_mean(x=mb.square(x=centred), axes=[2], keep_dims=True)  # other axes
        root = mb.sqrt(x=mb.add(x=power, y=number(x, 1e-5)))
        shifted = mb.add(x=mb.sqrt(x=power), y=number(x, 1e-5))
        return mb.add(x=mb.real_div(x=centred, y=root), y=mb.real_div(x=centred, y=shifted))

    program = program_of(other, (1, 4, 6))
    before = types_of(program)
    for name in REWRITINGS:
        load_forms().rewrite(program, name)
    assert types_of(program) == before
