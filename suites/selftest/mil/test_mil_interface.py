"""What packages may have besides fixed tensors: flexible shapes, functions, labels, scalars."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import mil
from harness._coremltools import import_coremltools
from harness.conversion.quiet import quiet_coremltools
from harness.errors import ContractError, ExecutionError, PackageError
from suites.selftest.mil.conftest import rewrite_model
from suites.selftest.mil.converting import converted


class Flat(torch.nn.Module):
    def forward(self, x):
        return (x * 2).reshape(x.shape[0], -1)


@pytest.fixture(scope="module")
def ranged(tmp_path_factory):
    ct = import_coremltools()
    shape = (ct.RangeDim(1, 5), 3, ct.RangeDim(2, 8, default=4))
    inputs = [ct.TensorType("x", shape=shape)]
    out = tmp_path_factory.mktemp("ranged") / "ranged.mlpackage"
    return mil.load(converted(out, Flat(), inputs, torch.ones(2, 3, 4)))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 7), columns=st.integers(0, 9))
def test_a_range_of_shapes(ranged, rows, columns):
    x = np.random.default_rng(0).standard_normal((rows, 3, columns)).astype(np.float32)
    if 1 <= rows <= 5 and 2 <= columns <= 8:
        (actual,) = ranged.predict({"x": x}).values()
        np.testing.assert_array_equal(actual, 2 * x.reshape(rows, -1), strict=True)
    else:
        with pytest.raises(ContractError, match=r"has the shape .* takes \[1\.\.5, 3, 2\.\.8\]"):
            ranged.predict({"x": x})


def test_flexible_features_say_so(ranged):
    assert ranged.inputs[0].shape == (None, 3, None)
    assert ranged.inputs[0].rule.default == (1, 3, 4)
    assert ranged.outputs[0].shape == (None, None)


def test_listed_shapes(tmp_path):
    ct = import_coremltools()
    shapes = ct.EnumeratedShapes(shapes=[(1, 3, 4), (2, 3, 2)], default=(1, 3, 4))
    inputs = [ct.TensorType("x", shape=shapes)]
    model = mil.load(converted(tmp_path / "listed.mlpackage", Flat(), inputs, torch.ones(1, 3, 4)))
    for shape in ((1, 3, 4), (2, 3, 2)):
        (actual,) = model.predict({"x": np.ones(shape, np.float32)}).values()
        assert actual.shape == (shape[0], 3 * shape[2])
    with pytest.raises(ContractError, match=r"takes \[1, 3, 4\] or \[2, 3, 2\]"):
        model.predict({"x": np.ones((2, 3, 4), np.float32)})


def test_a_shape_that_depends_on_values(make_package):
    def body(mb, x):
        return mb.non_zero(x=mb.cast(x=x, dtype="int32"), name="places")

    model = mil.load(make_package(body, x=(2, 3)))
    assert model.outputs[0].shape == (None, 2)
    x = np.array([[0, 1, 0], [1, 1, 0]], np.float32)
    np.testing.assert_array_equal(model.predict({"x": x})["places"], np.argwhere(x))
    assert model.predict({"x": 0 * x})["places"].shape == (0, 2)


class Scaled(torch.nn.Module):
    def forward(self, x, scale):
        return x * scale


def test_an_optional_input_is_filled(tmp_path):
    ct = import_coremltools()
    inputs = [
        ct.TensorType("x", shape=(2, 3)),
        ct.TensorType("scale", shape=(1, 3), default_value=np.full((1, 3), 4, np.float32)),
    ]
    out = tmp_path / "scaled.mlpackage"
    model = mil.load(converted(out, Scaled(), inputs, torch.ones(2, 3), torch.ones(1, 3)))
    assert [feature.optional for feature in model.inputs] == [False, True]
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    (filled,) = model.predict({"x": x}).values()
    np.testing.assert_array_equal(filled, 4 * x)
    (given_,) = model.predict({"x": x, "scale": np.full((1, 3), 3, np.float32)}).values()
    np.testing.assert_array_equal(given_, 3 * x)
    with pytest.raises(ContractError, match=r"takes 'x' \(optional: 'scale'\)"):
        model.predict({"scale": np.ones((1, 3), np.float32)})


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # of coremltools
def test_functions_share_weights(tmp_path):
    ct = import_coremltools()
    layer = torch.nn.Linear(3, 200)
    inputs = [ct.TensorType("x", shape=(2, 3))]
    plain = converted(tmp_path / "plain.mlpackage", layer, inputs, torch.ones(2, 3))
    wide = torch.nn.Sequential(layer, torch.nn.ReLU())
    relu = converted(tmp_path / "relu.mlpackage", wide, inputs, torch.ones(2, 3))
    descriptor = ct.utils.MultiFunctionDescriptor()
    descriptor.add_function(str(plain), "main", "linear")
    descriptor.add_function(str(relu), "main", "rectified")
    descriptor.default_function_name = "rectified"
    with quiet_coremltools():
        ct.utils.save_multifunction(descriptor, str(tmp_path / "both.mlpackage"))
    package = tmp_path / "both.mlpackage"
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    expected = layer(torch.from_numpy(x)).detach().numpy()
    (linear,) = mil.load(package, function="linear").predict({"x": x}).values()
    (rectified,) = mil.load(package).predict({"x": x}).values()
    np.testing.assert_allclose(linear, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(rectified, np.maximum(linear, 0))
    weights = package / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    assert weights.stat().st_size < 2 * 200 * 3 * 4, "one copy of the weights"
    with pytest.raises(PackageError, match=r"no function 'main' \(it has: linear, rectified\)"):
        mil.load(package, function="main")


@pytest.mark.parametrize("labels", [["cat", "dog", "bird"], [7, 8, 9]], ids=["text", "numbers"])
def test_a_classifier(tmp_path, labels):
    ct = import_coremltools()
    package = converted(
        tmp_path / "classifier.mlpackage",
        torch.nn.Softmax(dim=-1),
        [ct.TensorType("x", shape=(1, 3))],
        torch.ones(1, 3),
        classifier_config=ct.ClassifierConfig(labels),
    )
    model = mil.load(package)
    x = np.array([[0.1, 2, -1]], np.float32)
    actual = model.predict({"x": x})
    assert actual["classLabel"] == labels[1]
    expected = np.exp(x[0]) / np.exp(x[0]).sum()
    assert actual["classLabel_probs"] == pytest.approx(
        dict(zip(labels, expected, strict=True)), rel=1e-6
    )


def test_scalars_and_truth_values(make_package):
    def body(mb, x):
        total = mb.reduce_sum(x=x, keep_dims=False, name="total")
        mb.greater(x=x, y=total, name="above")
        return total

    model = mil.load(make_package(body, x=(3,)))
    actual = model.predict({"x": np.array([-1, 0.5, 0], np.float32)}, taps=["above"])
    assert (actual["total"].shape, actual["total"].dtype) == ((), np.float32)
    np.testing.assert_array_equal(actual["above"], [False, True, True], strict=True)


def test_a_scalar_input(make_package):
    model = mil.load(make_package(lambda mb, x: mb.add(x=x, y=np.float32(1), name="y"), x=()))
    for x in (np.float32(2), np.array(2, np.float32)):
        assert model.predict({"x": x})["y"] == 3
    with pytest.raises(
        ContractError, match=r"is float32 \[1\], but the package takes float32 \[\]"
    ):
        model.predict({"x": np.ones(1, np.float32)})


def test_an_impossible_description(make_package):
    package = make_package(lambda mb, x: mb.abs(x=x), x=(2,))

    def change(message):
        message.description.input[0].type.multiArrayType.shape[0] = -2

    with pytest.raises(PackageError, match=r"'x' is described with the impossible shape \[-2\]"):
        mil.load(rewrite_model(package, change))


def test_an_index_that_is_no_number_is_named(make_package):
    """A value that is read as a Python number at run time fails like any other."""

    def body(mb, x):
        return mb.gather(x=x, indices=mb.cast(x=x, dtype="int32"), axis=0)

    def change(message):
        block = next(iter(message.mlProgram.functions["main"].block_specializations.values()))
        gather = next(entry for entry in block.operations if entry.type == "gather")
        gather.inputs["axis"].arguments[0].name = "x"

    model = mil.load(rewrite_model(make_package(body, x=(2,)), change))
    with pytest.raises(ExecutionError, match=r"gather .* failed on .*must be a single value"):
        model.predict({"x": np.zeros(2, np.float32)})
