"""The public face: contracts, taps, observers, determinism, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from harness import mil
from harness.errors import ContractError, ExecutionError, PackageError, UnknownNameError
from suites.selftest.mil.conftest import WEIGHT


def test_describes_itself(network):
    assert [str(feature) for feature in network.inputs] == ["x: fp32[3, 6]"]
    assert [feature.name for feature in network.outputs] == ["mean", "zero"]
    listed = [(operation.type, operation.name) for operation in network.operations]
    assert listed[:2] == [("linear", "hidden"), ("gelu", "activated")]
    places = [operation.location.index for operation in network.operations]
    assert places == sorted(places)
    gelu = network.operations[1]
    assert gelu.dtype is mil.DataType.FLOAT32
    assert "hidden" in gelu.input_names


def test_computes(network, x):
    hidden = x.astype(np.float64) @ WEIGHT.T
    activated = hidden * special.ndtr(hidden)
    expected = (activated[:, :2] + activated[:, 2:]) / 2
    single, double = network.predict({"x": x}), network.predict({"x": x}, numerics="float64")
    np.testing.assert_allclose(single["mean"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(double["mean"], expected, rtol=1e-12, atol=1e-14)
    assert (single["mean"].dtype, double["mean"].dtype) == (np.float32, np.float64)


def test_half_is_rounded_after_every_operation(make_package):
    def body(mb, x):
        return mb.mul(x=mb.add(x=x, y=np.float16(0.1)), y=np.float16(3))

    x = np.array([1 / 3, 1000.0, 60000.0, 3e-8], np.float16)
    model = mil.load(make_package(body, np.float16, x=(4,)))
    (actual,) = model.predict({"x": x}).values()
    with np.errstate(over="ignore"):
        expected = (x + np.float16(0.1)) * np.float16(3)
    np.testing.assert_array_equal(actual, expected, strict=True)
    assert np.isinf(actual[2]), "FP16 overflows to infinity"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "given the inputs none, but takes 'x'"),
        ({"y": np.zeros((3, 6), np.float32)}, "given the inputs 'y', but takes 'x'"),
        ({"x": np.zeros((3, 5), np.float32)}, r"float32 \[3, 5\], but the package takes float32 "),
        ({"x": np.zeros((3, 6))}, r"float64 \[3, 6\], but the package takes float32 \[3, 6\]"),
        ({"x": [[0.0] * 6] * 3}, "is a list; expected a NumPy array"),
    ],
)
def test_wrong_inputs(network, inputs, message):
    with pytest.raises(ContractError, match=message):
        network.predict(inputs)


def test_run_asks_for_carrier_types(network):
    with pytest.raises(ContractError, match=r"torch\.float16 .* takes torch\.float32"):
        network.run({"x": torch.zeros(3, 6, dtype=torch.float16)})


def test_taps(network, x):
    tapped = network.predict({"x": x}, taps=["hid*", "halves_1"])
    assert list(tapped) == ["mean", "zero", "hidden", "halves_1"]
    np.testing.assert_allclose(tapped["hidden"], x @ WEIGHT.T, rtol=1e-5, atol=1e-6)
    everything = network.predict({"x": x}, taps="all")
    produced = {v.name for operation in network.operations for v in operation.outputs}
    assert set(everything) == produced
    for name, array in network.predict({"x": x}).items():
        np.testing.assert_array_equal(everything[name], array, err_msg=name)


@pytest.mark.parametrize("tap", ["hiden", "nothing*", ""])
def test_unknown_taps(network, x, tap):
    with pytest.raises(UnknownNameError, match=r"unknown tap .* \(known: "):
        network.predict({"x": x}, taps=[tap])


def test_unknown_function(network_path):
    with pytest.raises(PackageError, match=r"no function 'extra' \(it has: main\)"):
        mil.load(network_path, function="extra")


def test_observer_sees_every_operation_that_runs(network, x):
    tapped = network.predict({"x": x}, taps="all")
    seen = {}

    def observe(operation, outputs):
        for variable, tensor in zip(operation.outputs, outputs, strict=True):
            seen[variable.name] = tensor.abs().max().item()

    network.run({"x": torch.from_numpy(x)}, observe=observe)
    assert seen == {name: np.abs(array).max() for name, array in tapped.items()}


def test_is_deterministic(network, network_path, x):
    first = network.predict({"x": x})
    for model in (network, mil.load(network_path)):
        again = model.predict({"x": x})
        assert all(np.array_equal(first[name], again[name]) for name in first)


def test_gradients(network, x):
    tensor = torch.from_numpy(x).double().requires_grad_()
    results = network.run({"x": tensor}, taps=["hidden"], numerics="float64", differentiable=True)
    (gradient,) = torch.autograd.grad(results["mean"].sum(), tensor)
    hidden = x.astype(np.float64) @ WEIGHT.T
    density = np.exp(-(hidden**2) / 2) / np.sqrt(2 * np.pi)
    expected = (special.ndtr(hidden) + hidden * density) / 2 @ WEIGHT
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-9)
    assert not network.run({"x": torch.from_numpy(x)})["mean"].requires_grad


def test_an_interrupt_leaves_the_model_usable(network, x):
    def interrupt(operation, _):
        if operation.type == "gelu":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        network.run({"x": torch.from_numpy(x)}, observe=interrupt)
    assert np.isfinite(network.predict({"x": x})["mean"]).all()


def test_a_failing_operation_is_named(make_package):
    def body(mb, x):
        return mb.gather(x=x, indices=mb.cast(x=x, dtype="int32"), axis=0, name="pick")

    model = mil.load(make_package(body, x=(3,)))
    with pytest.raises(ExecutionError, match=r"gather 'pick' at main\[\d+\] failed on x=float32"):
        model.predict({"x": np.full(3, 7, np.float32)})
