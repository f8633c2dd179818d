"""If these fail, statistics of a run name the wrong value, or hide what FP16 did to it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from harness import mil
from harness.cli.app import main
from harness.mil.editing import edited, find, with_constant
from harness.mil.statistics import measure
from suites.selftest.mil.conftest import WEIGHT, MakePackage


def overflowing(mb, x):
    """Square in FP16, its root and a part of it: the square overflows where |x| > 256."""
    y = mb.square(x=x, name="squared")
    z = mb.sqrt(x=y, name="root")
    return mb.sub(x=z, y=y, name="difference")


def by_name(found: mil.Inspection) -> dict[str, mil.ValueStatistics]:
    return {value.name: value for value in found.values}


@given(
    arrays.arrays(
        np.float32,
        st.integers(0, 40),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
@settings(max_examples=200, deadline=None)
def test_counts_are_those_that_numpy_makes_of_the_rounded_array(array: np.ndarray) -> None:
    found = measure(torch.from_numpy(array))
    with np.errstate(over="ignore", invalid="ignore"):
        half, size = array.astype(np.float16), np.abs(array)
    finite = array[np.isfinite(array)]
    assert found.count == array.size
    assert found.nan == np.isnan(array).sum()
    assert found.overflows == np.isinf(half).sum()
    assert found.beyond_fp16 == (size > 65504).sum()
    assert found.subnormal == ((size < 2.0**-14) & (size > 0)).sum()
    assert found.vanished == ((half == 0) & (array != 0)).sum()
    if finite.size:
        assert (found.minimum, found.maximum) == (finite.min(), finite.max())
        assert math.isclose(found.squares, np.square(finite, dtype=np.float64).sum(), rel_tol=1e-9)
    else:
        assert math.isnan(found.minimum)


def test_an_overflow_names_its_producer_and_says_how_far_it_went(make_package: MakePackage) -> None:
    model = mil.load(make_package(overflowing, np.float16, x=(4,)))
    found = mil.inspect(model, {"x": torch.tensor([0.0, 10.0, 300.0, 1e-3])})
    squared = by_name(found)["squared"]
    assert found.first_not_finite == squared
    assert (squared.not_finite, squared.overflows, squared.beyond_fp16) == (1, 1, 1)
    assert squared.peak == squared.maximum == 90_000.0
    assert squared.subnormal == 1
    assert by_name(found)["difference"].nan == 1  # inf - inf


def test_an_fp32_value_beyond_fp16_is_counted_and_is_no_infinity(make_package: MakePackage) -> None:
    model = mil.load(make_package(overflowing, x=(4,)))
    found = mil.inspect(model, {"x": torch.tensor([0.0, 10.0, 300.0, 1e-3])})
    assert found.first_not_finite is None
    assert by_name(found)["squared"].overflows == 1


def test_looking_on_changes_no_bit(make_package: MakePackage) -> None:
    model = mil.load(make_package(overflowing, np.float16, x=(64,)))
    x = np.random.default_rng(0).standard_normal(64).astype(np.float16)
    for numerics in mil.numerics_names():
        watch = mil.Watch(model, numerics)
        plain = model.predict({"x": x}, numerics=numerics)
        watched = model.predict(
            {"x": x},
            numerics=numerics,
            observe=watch.observe,
            operation_numerics=watch.numerics_of,
        )
        for name, value in plain.items():
            np.testing.assert_array_equal(watched[name], value)
        assert [value.name for value in watch.result().values] == ["squared", "root", "difference"]


def test_peak_memory_counts_what_is_alive_once(network: mil.Model) -> None:
    found = mil.inspect(network, {"x": torch.zeros(3, 6)})
    # gelu writes over hidden [3, 4], the halves are views, total [3, 2] is new; mean writes over
    # total and zero over activated.
    assert (found.peak_bytes, found.peak_at) == (4 * (12 + 6), "total")
    assert found.constants_bytes >= WEIGHT.nbytes


def test_a_loop_adds_up_what_it_saw(make_package: MakePackage) -> None:
    def body(mb, x):
        def again(i, a):
            return mb.less(x=i, y=3.0)

        def step(i, a):
            return mb.add(x=i, y=1.0), mb.mul(x=a, y=np.float32(100.0), name="grown")

        return mb.while_loop(_cond=again, _body=step, loop_vars=(np.float32(0.0), x))[1]

    model = mil.load(make_package(body, x=(2,)))
    found = by_name(mil.inspect(model, {"x": torch.tensor([1.0, -2.0])}))["grown"]
    assert (found.count, found.minimum, found.maximum) == (6, -2e6, 1e6)
    assert found.rms == pytest.approx(math.sqrt((1 + 4) * (1e4 + 1e8 + 1e12) / 6))


def test_one_wrong_weight_shows_at_its_operation(network: mil.Model) -> None:
    operation = find(network, type="linear")[0]
    huge = with_constant(network, operation, "weight", lambda weight: weight * 1e6)
    found = mil.inspect(edited(network, huge), {"x": torch.ones(3, 6)})
    assert next(v for v in found.values if v.beyond_fp16).operation == "hidden"


def test_the_command_prints_statistics_without_writing(
    network_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = tmp_path / "in.safetensors"
    save_file({"x": np.ones((3, 6), np.float32)}, inputs)
    command = ["predict", str(network_path), "--inputs", str(inputs), "--stats"]
    assert main([*command, "--taps", "hid*", "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)["stats"]
    assert [value["name"] for value in stats["values"]] == ["hidden"]
    assert stats["first_not_finite"] is None
    assert main(command) == 0
    assert "no NaN and no Inf anywhere" in capsys.readouterr().out
    assert main(["predict", str(network_path), "--inputs", str(inputs)]) == 2
    assert "--stats" in capsys.readouterr().err


def narrowing(mb, x, h):
    """Casts in which an integer can become another number, and one in which a fraction is lost."""
    return (
        mb.cast(x=mb.cast(x=x, dtype="int16", name="int16"), dtype="int32", name="from_int16"),
        mb.cast(x=mb.cast(x=x, dtype="uint16", name="uint16"), dtype="int32", name="from_uint16"),
        mb.cast(x=x, dtype="fp16", name="half"),
        mb.cast(x=x, dtype="fp32", name="single"),
        mb.cast(x=mb.cast(x=h, dtype="fp32"), dtype="int32", name="whole"),
        mb.mul(x=x, y=np.int32(1), name="same"),
    )


def stored_as(type_: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return x.astype({"int16": "i2", "uint16": "u2", "half": "f2", "single": "f4"}[type_])


@pytest.fixture(scope="module")
def narrowing_model(make_module_package: MakePackage) -> mil.Model:
    return mil.load(make_module_package(narrowing, np.int32, x=(4,), h=(1,)))


@given(arrays.arrays(np.int32, 4, elements=st.integers(-(2**31), 2**31 - 1)))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("numerics", ["storage", "native"])
def test_integers_that_are_lost_are_counted_where_it_happens(
    narrowing_model: mil.Model, numerics: str, x: np.ndarray
) -> None:
    """Else a wrapped index is looked for everywhere but at its cast (apple/coremltools#2222)."""
    inputs = {"x": torch.from_numpy(x), "h": torch.zeros(1, dtype=torch.int32)}
    found = by_name(mil.inspect(narrowing_model, inputs, numerics=numerics))
    for name in ("int16", "uint16", "half", "single"):
        lost = int((stored_as(name, x).astype(np.float64) != x).sum())
        assert (found[name].lost if name in found else 0) == lost, name
        if lost:
            assert (found[name].minimum, found[name].maximum) == (x.min(), x.max())
    assert not {"from_int16", "from_uint16", "same"} & set(found)


def test_a_fraction_is_dropped_and_no_integer_is_lost(make_package: MakePackage) -> None:
    model = mil.load(make_package(lambda mb, x: mb.cast(x=x, dtype="int32", name="y"), x=(3,)))
    assert mil.inspect(model, {"x": torch.tensor([1.5, -2.5, 7.0])}).values == ()
    found = mil.inspect(model, {"x": torch.tensor([1.5, math.nan, 3e9])})
    assert found.first_lost is not None
    assert (found.first_lost.name, found.first_lost.lost) == ("y", 2)
    assert found.first_not_finite is None  # an integer holds none


def test_the_command_names_the_cast_in_which_an_integer_wraps(
    make_package: MakePackage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_package(narrowing, np.int32, x=(4,), h=(1,))
    inputs = tmp_path / "in.npz"
    np.savez(inputs, x=np.array([1, 70_000, -100_000, 3], np.int32), h=np.zeros(1, np.int32))
    command = ["predict", str(path), "--inputs", str(inputs), "--stats"]
    assert main(command) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "2 of 4 integers lost in 'int16', made by cast 'int16': -100000 to 70000 stored as int16"
    ) in said
    assert main([*command, "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)["stats"]
    assert stats["first_lost"] == "int16"
    assert {row["name"]: row["lost"] for row in stats["values"]}["uint16"] == 2
