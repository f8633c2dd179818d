"""Devices as numerics: which operations they compute, that they are right, and their names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.resources import files

import numpy as np
import pytest
import torch

from harness import mil
from harness.devices import device, shipped_profiles
from harness.devices.computing import Device
from harness.devices.properties import Setting
from harness.errors import ParityError, UnknownNameError
from harness.mil.numerics.device import OPERATIONS, depends_on, device_numerics
from suites.ops.cases import all_cases
from suites.ops.packages import actual_outputs, expected_outputs

CASES = [case for case in all_cases() if case.op in OPERATIONS and "fp16" in case.dtypes]
# Relative to the largest value: tables leave 1.5 % of SiLU, everything else is far nearer.
WORST = 0.016


def results(case, path, numerics) -> list[np.ndarray]:
    return [
        result.astype(np.float64)
        for dtype, result in actual_outputs(case, "fp16", path / "case.mlpackage", numerics)
        if dtype is mil.DataType.FLOAT16
    ]


def test_every_operation_of_a_device_has_a_case():
    assert {case.op for case in CASES} == set(OPERATIONS)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_an_operation_takes_all_of_its_arguments_and_is_right(case, tmp_path):
    for expected, actual in zip(
        expected_outputs(case, "fp16"), results(case, tmp_path, "ane-m1"), strict=True
    ):
        assert actual.shape == expected.shape
        if case.op == "round":  # where a half goes away from zero on the device
            (x,) = case.tensors.values()
            expected = np.copysign(np.floor(np.abs(x) + 0.5), x)
        assert not np.isnan(actual).any()
        usual = np.isfinite(expected) & (np.abs(expected) < 32768)
        largest = np.abs(expected[usual]).max(initial=1.0)
        assert np.isfinite(actual[usual]).all()
        error = np.abs(actual - expected)[usual]
        assert error.max(initial=0.0) <= WORST * largest


def one(op: str):
    return next(case for case in CASES if case.op == op)


@pytest.mark.parametrize("op", ["gelu", "sigmoid", "softmax", "real_div"])
def test_a_device_is_seen_in_a_result(op, tmp_path):
    (exact,) = results(one(op), tmp_path / "storage", "storage")
    (tables,) = results(one(op), tmp_path / "device", "ane-m1")
    assert not np.array_equal(exact, tables)


def test_whoever_watches_a_run_sees_the_devices_values(tmp_path):
    case = one("gelu")
    results(case, tmp_path, "storage")  # writes the package
    model = mil.load(tmp_path / "case.mlpackage")
    watch = mil.Watch(model, "ane-m1")
    operation = next(o for o in model.operations if o.type == "gelu")
    assert watch.numerics_of(operation).functions is mil.get_numerics("ane-m1").functions


def test_fp32_operations_are_another_units(tmp_path):
    case = one("sigmoid")
    actual, exact = (
        actual_outputs(case, "fp32", tmp_path / f"{name}.mlpackage", name)[0][1]
        for name in ("ane-m1", "storage")
    )
    assert np.array_equal(actual, exact)


def test_a_gpu_sums_as_storage_does():
    assert "conv" not in mil.get_numerics("gpu").functions
    assert "conv" in mil.get_numerics("gpu-m5").functions
    assert "conv" in mil.get_numerics("gpu, convolution=winograd_2").functions


@pytest.mark.parametrize("which", ["product_subnormals", "elementwise_subnormals"])
def test_a_gpu_that_flushed_operands_would_not(which):
    usual, flushing = device("gpu"), device("gpu").supposing(**{which: "flushed"})
    assert "matmul" not in device_numerics(usual).functions
    matmul = device_numerics(flushing).functions["matmul"]
    assert matmul(torch.full((1, 4), 2.0**-20), torch.full((4, 1), 1024.0)).item() == 0.0


def test_a_gelu_by_tanh_is_that_where_functions_are_rounded_once():
    x = torch.linspace(-4, 4, 999).half().float()
    exact = torch.nn.functional.gelu(x, approximate="tanh").half().float()
    assert torch.equal(OPERATIONS["gelu"](device("gpu"), x, "TANH_APPROXIMATION"), exact)
    assert not torch.equal(OPERATIONS["gelu"](device("gpu"), x, "EXACT"), exact)


def test_a_name_settles_unknowns():
    chosen = mil.get_numerics("ane-m5, log_of_zero=-inf,reduce_sum = narrow")
    unit = chosen.functions["log"].args[0]
    assert isinstance(unit, Device)
    assert unit == device("ane-m5", log_of_zero=-math.inf, reduce_sum="narrow")
    assert chosen.name == "ane-m5, log_of_zero=-inf, reduce_sum=narrow"
    assert mil.get_numerics("ane-m1") is mil.get_numerics("ane-m1")


def test_a_profile_that_was_edited_is_read_again(tmp_path):
    path = tmp_path / "mine.toml"
    text = files("harness.devices").joinpath("profiles/gpu.toml").read_text()
    path.write_text(text)
    before = mil.get_numerics(str(path))
    assert mil.get_numerics(str(path)) is before
    path.write_text(text.replace('assumed = "rounded_once"', 'assumed = "stages"', 1))
    after = mil.get_numerics(str(path)).functions["layer_norm"].args[0]
    assert after.settings["normalisation"] == "stages"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ane-m2", "unknown numerics 'ane-m2'; did you mean 'ane-m"),
        ("ane-m1, narrow", "expected PROPERTY=VALUE, found 'narrow'"),
        ("ane-m1, reduce_sum=thin", "reduce_sum can't be 'thin'"),
        ("ane-m1, product_ceiling=65520", "product_ceiling is known to be 32768.0"),
        ("ane-m1, colour=red", "unknown device property 'colour'"),
        ("ane-m1, profile=gpu", "unknown device property 'profile'"),
        ("ane-m1, fp32_operands=kept", "fp32_operands does not apply; expected one of its unkn"),
        ("ane-m1, bias=wide, bias=fp16", "bias is given twice; give it one value"),
    ],
)
def test_a_wrong_name_is_refused_in_one_sentence(name, message):
    with pytest.raises(ParityError, match=message):
        mil.get_numerics(name)


def test_devices_are_listed_where_a_name_is_unknown():
    with pytest.raises(UnknownNameError) as caught:
        mil.get_numerics("npu")
    assert set(shipped_profiles()) <= set(caught.value.known)


class Noticing(Mapping[str, Setting]):
    """The settings of a device, and which of them were asked for."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self._settings, self.asked = settings, set[str]()

    def __getitem__(self, name: str) -> Setting:
        self.asked.add(name)
        return self._settings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)


@pytest.mark.parametrize("profile", ["ane-m1", "cpu-bnns"])
def test_an_operation_depends_on_what_it_is_said_to(profile, tmp_path):
    """Else a variant is told to change nothing where it does."""
    usual = device(profile)
    for number, case in enumerate(CASES):
        noticing = Noticing(usual.settings)
        numerics = device_numerics(Device(usual.profile, noticing))
        noticing.asked.clear()  # of what its name and its roundings are made
        results(case, tmp_path / str(number), numerics)
        assert noticing.asked <= set(depends_on(case.op)), case.id
