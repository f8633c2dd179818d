"""If these fail, a program that this harness writes is not the program that it was given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import mil
from harness._coremltools import import_coremltools
from harness.errors import PackageError
from harness.mil.blob import BlobFile, BlobWriter, decode_elements, encode_elements
from harness.mil.program import Variable
from harness.mil.saving import save_package
from harness.mil.types import DataType, TensorType

WEIGHT = np.arange(24, dtype=np.float32).reshape(4, 6) / 8


def body(mb, x):
    y = mb.linear(x=x, weight=WEIGHT, bias=WEIGHT[:, 0], name="linear")
    picked = mb.gather(x=y, indices=np.array([2, 0], np.int32), axis=1, name="picked")
    positive = mb.greater(x=picked, y=np.float32(0.5), name="positive")
    chosen = mb.select(cond=positive, a=picked, b=mb.gelu(x=picked, mode="EXACT"), name="chosen")
    packed = mb.constexpr_affine_dequantize(
        quantized_data=np.arange(-4, 4, dtype=np.int8).reshape(2, 4),
        zero_point=np.int8(1),
        scale=np.float32(0.25),
        axis=np.int32(0),
    )
    return mb.matmul(x=chosen, y=packed, name="product"), mb.cast(x=positive, dtype="int32")


@pytest.fixture
def saved(make_package, tmp_path):
    """A model and the package that was written from it."""
    model = mil.load(make_package(body, x=(3, 6)))
    path = tmp_path / "saved.mlpackage"
    save_package(path, model.plan.function, model.package.constants.array)
    return model, path


def test_a_saved_program_is_read_back_as_it_was(saved):
    model, path = saved
    again = mil.load(path)
    inputs = {"x": np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)}
    assert [str(o) for o in again.operations] == [str(o) for o in model.operations]
    assert again.inputs == model.inputs
    assert [str(f) for f in again.outputs] == [str(f) for f in model.outputs]
    expected, actual = model.predict(inputs, taps="all"), again.predict(inputs, taps="all")
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array)


def test_coremltools_reads_what_was_saved(saved):
    """Its own reader of programs and weight files, which shares no code with this one."""
    _, path = saved
    import_coremltools()
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    specification = ct.utils.load_spec(str(path))
    weights = path / "Data" / "com.apple.CoreML" / "weights"
    program = load(specification, specification.specificationVersion, str(weights))
    operations = program.functions["main"].operations
    linear = next(o for o in operations if o.op_type == "linear")
    np.testing.assert_array_equal(linear.weight.val, WEIGHT)
    packed = next(o for o in operations if o.op_type == "constexpr_affine_dequantize")
    assert packed.outputs[0].shape == (2, 4)
    assert [o.op_type for o in operations if o.op_type in ("select", "matmul", "gather")] == [
        "gather",
        "select",
        "matmul",
    ]


@pytest.mark.parametrize(
    "type", ["fp16", "bf16", "int4", "uint1", "uint3", "uint6", "int8", "int32"]
)
@given(data=st.data())
def test_elements_are_read_as_they_were_written(type, data, tmp_path_factory):
    dtype = DataType(type)
    count = data.draw(st.integers(0, 40))
    bits = data.draw(
        st.binary(min_size=-(-count * dtype.bits // 8), max_size=-(-count * dtype.bits // 8))
    )
    array = decode_elements(bits, dtype, count)
    again = decode_elements(encode_elements(array, dtype), dtype, count)
    np.testing.assert_array_equal(again.view(np.uint8), array.view(np.uint8))
    path = tmp_path_factory.mktemp("blobs") / "weight.bin"
    with BlobWriter(path) as weights:
        first = weights.write(np.zeros(3, np.float32), DataType.FLOAT32)
        second = weights.write(array, dtype)
    file = BlobFile(path)
    np.testing.assert_array_equal(file.read(first, DataType.FLOAT32, 3), np.zeros(3))
    np.testing.assert_array_equal(
        file.read(second, dtype, count).view(np.uint8), array.view(np.uint8)
    )


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        (DataType.BOOL, (3, 6), "'x' is a bool"),
        (DataType.FLOAT32, (None, 6), "'x' is a fp32.*it must have one shape"),
    ],
)
def test_what_a_model_cannot_take_is_not_written(saved, tmp_path, dtype, shape, message):
    model, _ = saved
    function = replace(model.plan.function, inputs=(Variable("x", TensorType(dtype, shape)),))
    with pytest.raises(PackageError, match=message):
        save_package(tmp_path / "bad.mlpackage", function, model.package.constants.array)
    assert not (tmp_path / "bad.mlpackage").exists()
