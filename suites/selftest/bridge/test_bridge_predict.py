"""``MLModel.predict`` under the bridge: values, types and errors as on macOS."""

from __future__ import annotations

import shutil
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.mil import bridge
from suites.selftest.bridge.conftest import Convert, to_model

X = np.array([[1.0, -2.0, 3.0], [0.25, 5.0, -6.0]], np.float32)


def double(mb: Any, x: Any) -> Any:
    return mb.mul(x=x, y=np.float32(2.0), name="y")


def test_a_prediction_is_answered_and_counted(ledger: bridge.Ledger, convert: Convert) -> None:
    model = convert(double)
    result = model.predict({"x": X})
    assert list(result) == ["y"]
    assert result["y"].dtype == np.float32
    np.testing.assert_array_equal(result["y"], 2 * X)
    assert ledger.predictions == 1
    assert ledger.loadings[0].operations == {"mul"}
    assert model.load_duration_in_nano_seconds > 0
    assert model.last_predict_duration_in_nano_seconds > 0


def test_the_compute_units_are_recorded(ledger: bridge.Ledger, convert: Convert, ct: Any) -> None:
    convert(double, compute_units=ct.ComputeUnit.CPU_AND_NE)
    assert [loading.compute_units for loading in ledger.loadings] == ["CPU_AND_NE"]


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int8])
def test_arrays_of_other_types_are_converted(convert: Convert, dtype: type) -> None:
    result = convert(double).predict({"x": X.astype(dtype)})["y"]
    np.testing.assert_array_equal(result, 2 * X.astype(dtype).astype(np.float32))


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_types_that_core_ml_refuses_are_refused(convert: Convert, dtype: type) -> None:
    with pytest.raises(RuntimeError, match=r"'x' is \w+, which is not convertible; expected int8"):
        convert(double).predict({"x": X.astype(dtype)})


@pytest.mark.usefixtures("ledger")
def test_a_half_precision_result_comes_back_as_float32(convert: Convert, ct: Any) -> None:
    model = convert(
        lambda mb, x: mb.mul(x=x, y=np.float16(2.0), name="y"),
        np.float16,
        inputs=[ct.TensorType("x", dtype=np.float16)],
    )
    assert model.get_spec().description.output[0].type.multiArrayType.dataType == 65552  # FLOAT16
    result = model.predict({"x": X / 3})["y"]
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, 2 * (X / 3).astype(np.float16).astype(np.float32))


@pytest.mark.usefixtures("ledger")
def test_integers_stay_integers_and_floats_are_truncated(convert: Convert) -> None:
    model = convert(lambda mb, x: mb.add(x=x, y=np.int32(1), name="y"), np.int32)
    result = model.predict({"x": X * 1.9})["y"]
    assert result.dtype == np.int32
    np.testing.assert_array_equal(result, np.trunc(X * 1.9).astype(np.int32) + 1)


@pytest.mark.usefixtures("ledger")
def test_a_result_of_rank_0_has_one_element(convert: Convert) -> None:
    model = convert(lambda mb, x: mb.reduce_sum(x=x, keep_dims=False, name="y"))
    assert model.predict({"x": X})["y"].shape == (1,)


def test_a_batch_gives_a_result_for_each_item(ledger: bridge.Ledger, convert: Convert) -> None:
    results = convert(double).predict([{"x": X}, {"x": -X}, {"x": 0 * X}])
    assert len(results) == 3
    np.testing.assert_array_equal(results[1]["y"], -2 * X)
    assert ledger.predictions == 3


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("inputs", [{}, {"x": X[:1]}, {"x": X[None]}])
def test_inputs_that_do_not_fit_are_a_runtime_error(
    convert: Convert, inputs: dict[str, np.ndarray]
) -> None:
    with pytest.raises(RuntimeError, match="'x'"):
        convert(double).predict(inputs)


@pytest.mark.usefixtures("ledger")
def test_an_optional_input_that_is_left_out_takes_its_default(convert: Convert, ct: Any) -> None:
    optional = ct.TensorType("z", shape=(2, 3), default_value=np.full((2, 3), 7, np.float32))
    model = convert(
        lambda mb, x, z: mb.add(x=x, y=z, name="y"),
        shapes={"x": (2, 3), "z": (2, 3)},
        inputs=[ct.TensorType("x", shape=(2, 3)), optional],
    )
    np.testing.assert_array_equal(model.predict({"x": X})["y"], X + 7)
    np.testing.assert_array_equal(model.predict({"x": X, "z": X})["y"], X + X)


@pytest.mark.usefixtures("ledger")
def test_a_flexible_shape_is_held_to_its_range(convert: Convert, ct: Any) -> None:
    from coremltools.converters.mil.mil import get_new_symbol

    model = convert(
        double,
        shapes={"x": (2, get_new_symbol())},
        inputs=[ct.TensorType("x", shape=(2, ct.RangeDim(2, 5, default=3)))],
    )
    for width in (2, 5):
        wide = np.ones((2, width), np.float32)
        np.testing.assert_array_equal(model.predict({"x": wide})["y"], 2 * wide)
    with pytest.raises(RuntimeError, match=r"2\.\.5"):
        model.predict({"x": np.ones((2, 6), np.float32)})


@pytest.mark.usefixtures("ledger")
def test_the_package_may_be_deleted_once_the_model_is_loaded(convert: Convert) -> None:
    weights = np.arange(64 * 3, dtype=np.float32).reshape(64, 3)
    model = convert(lambda mb, x: mb.linear(x=x, weight=weights, name="y"))
    shutil.rmtree(model.package_path)
    np.testing.assert_allclose(model.predict({"x": X})["y"], X @ weights.T, rtol=1e-6)


@pytest.mark.usefixtures("ledger")
def test_each_function_of_a_package_can_be_run(convert: Convert, ct: Any, tmp_path: Any) -> None:
    descriptor = ct.utils.MultiFunctionDescriptor()
    for name, factor in (("twice", 2.0), ("thrice", 3.0)):
        convert(
            lambda mb, x, factor=factor: mb.mul(x=x, y=np.float32(factor), name="y"),
            skip_model_load=True,
        ).save(str(tmp_path / f"{name}.mlpackage"))
        descriptor.add_function(str(tmp_path / f"{name}.mlpackage"), "main", name)
    descriptor.default_function_name = "twice"
    both = str(tmp_path / "both.mlpackage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as in `to_model`
        ct.utils.save_multifunction(descriptor, both)
    np.testing.assert_array_equal(ct.models.MLModel(both).predict({"x": X})["y"], 2 * X)
    thrice = ct.models.MLModel(both, function_name="thrice")
    np.testing.assert_array_equal(thrice.predict({"x": X})["y"], 3 * X)


@pytest.mark.usefixtures("ledger")
def test_a_classifier_gives_its_label_and_probabilities(convert: Convert, ct: Any) -> None:
    model = convert(
        lambda mb, x: mb.softmax(x=x, axis=-1, name="scores"),
        shapes={"x": (1, 3)},
        classifier_config=ct.ClassifierConfig(["cat", "dog", "cow"]),
    )
    result = model.predict({"x": np.array([[0.0, 2.0, 1.0]], np.float32)})
    label, probabilities = result["classLabel"], result["classLabel_probs"]
    assert label == "dog"
    assert list(probabilities) == ["cat", "dog", "cow"]
    expected = np.exp([0.0, 2.0, 1.0]) / np.exp([0.0, 2.0, 1.0]).sum()
    np.testing.assert_allclose(list(probabilities.values()), expected, rtol=1e-6)


@pytest.mark.usefixtures("ledger")
def test_states_live_between_predictions_and_apart_from_each_other(
    convert: Convert, ct: Any
) -> None:
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    @mb.program(
        input_specs=[mb.TensorSpec((3,), types.fp16), mb.StateTensorSpec((3,), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x: Any, total: Any) -> Any:
        value = mb.add(x=mb.read_state(input=total), y=x)
        return mb.identity(x=mb.coreml_update_state(state=total, value=value), name="y")

    model = to_model(program)
    first, second = model.make_state(), model.make_state()
    one = np.ones(3, np.float32)
    for _ in range(3):
        result = model.predict({"x": one}, first)
    np.testing.assert_array_equal(result["y"], 3 * one)
    np.testing.assert_array_equal(model.predict({"x": one}, second)["y"], one)
    first.write_state("total", 10 * one)
    model.predict({"x": one}, first)
    held = first.read_state("total")
    assert held.dtype == np.float32
    np.testing.assert_array_equal(held, 11 * one)
    with pytest.raises(RuntimeError, match="'nothing'"):
        first.read_state("nothing")


def image_model(convert: Convert, ct: Any, layout: str, channels: int) -> Any:
    kind = getattr(ct.colorlayout, layout)
    shape = (1, channels, 2, 3)
    return convert(
        lambda mb, x: mb.identity(x=x, name="y"),
        np.float16 if layout.endswith("FLOAT16") else np.float32,
        shapes={"x": shape},
        inputs=[ct.ImageType("x", shape=shape, color_layout=kind)],
        outputs=[ct.ImageType("y", color_layout=kind)],
    )


PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_a_colour_image_comes_back_opaque_and_in_its_colours(
    convert: Convert, ct: Any, layout: str
) -> None:
    result = image_model(convert, ct, layout, 3).predict({"x": Image.fromarray(PIXELS)})["y"]
    assert result.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(result)[..., :3], PIXELS)
    assert set(np.asarray(result)[..., 3].ravel()) == {255}


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_the_program_sees_the_channels_in_the_declared_order(
    convert: Convert, ct: Any, layout: str
) -> None:
    shape = (1, 3, 2, 3)
    model = convert(
        lambda mb, x: mb.identity(x=x, name="y"),
        shapes={"x": shape},
        inputs=[
            ct.ImageType(
                "x",
                shape=shape,
                color_layout=getattr(ct.colorlayout, layout),
                scale=0.5,
                bias=[-1.0, -2.0, -3.0],
            )
        ],
    )
    seen = model.predict({"x": Image.fromarray(PIXELS)})["y"]
    planes = PIXELS.transpose(2, 0, 1)[None].astype(np.float32)
    ordered = planes[:, :: 1 if layout == "RGB" else -1]
    bias = np.array([1.0, 2.0, 3.0], np.float32).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(seen, 0.5 * ordered - bias)


@pytest.mark.usefixtures("ledger")
def test_grey_images(convert: Convert, ct: Any) -> None:
    grey = Image.fromarray(PIXELS[..., 0])
    result = image_model(convert, ct, "GRAYSCALE", 1).predict({"x": grey})["y"]
    assert result.mode == "L"
    np.testing.assert_array_equal(np.asarray(result), PIXELS[..., 0])
    fine = Image.fromarray(PIXELS[..., 0].astype(np.float32) / 3)
    result = image_model(convert, ct, "GRAYSCALE_FLOAT16", 1).predict({"x": fine})["y"]
    assert result.mode == "F"
    np.testing.assert_array_equal(np.asarray(result), np.asarray(fine).astype(np.float16))


@pytest.mark.usefixtures("ledger")
def test_an_image_result_is_rounded_and_held_to_its_range(convert: Convert, ct: Any) -> None:
    model = convert(
        lambda mb, x: mb.identity(x=x, name="y"),
        shapes={"x": (1, 1, 1, 4)},
        outputs=[ct.ImageType("y", color_layout=ct.colorlayout.GRAYSCALE)],
    )
    values = np.array([-3.0, 1.4, 1.6, 300.0], np.float32).reshape(1, 1, 1, 4)
    assert np.asarray(model.predict({"x": values})["y"]).ravel().tolist() == [0, 1, 2, 255]
