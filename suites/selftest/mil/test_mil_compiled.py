"""Compiled models: the text that Xcode makes of a package is the same program."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import mil
from harness.errors import ContractError, PackageError, ParityError
from harness.mil.plan import Plan, Step
from harness.mil.program import BlobReference, Constant
from harness.mil.text import parse_program
from harness.mil.types import DataType, TensorType
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import small_network
from suites.selftest.mil.printing import Printer, quoted, write_compiled
from suites.selftest.mil.test_mil_control_flow import (
    SHAPE,
    branches,
    listing,
    nested,
    powers,
    stateful_program,
)

# The shape of a compiled program: two spellings, a flexible input, values in place.
PUBLISHED = """program(1.0)
[buildInfo = dict<tensor<string, []>, tensor<string, []>>({{"coremlc-component-MIL", "5.33.5"}, \
{"coremlc-version", "1877.40.3"}, {"coremltools-version", "6.0"}})]
{
    func main<ios16>(tensor<fp32, [1, ?]> x) [FlexibleShapeInformation = tuple<tuple<\
tensor<string, []>, dict<tensor<string, []>, tensor<int32, [?]>>>, tuple<tensor<string, []>, \
dict<tensor<string, []>, list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"x", [1, 3]}}), \
("RangeDims", {{"x", [[1, 1], [2, 5]]}})))] {
            tensor<fp32, []> half = const()[name = tensor<string, []>("half"), \
val = tensor<fp32, []>(0x1p-1)];
            tensor<fp32, [1, ?]> scaled = mul(x = x, y = half)[name = tensor<string, []>("scaled")];
            tensor<fp32, [1, ?]> y = add(x = scaled, y = fp32(-0x1.8p+1))[name = string("y")];
        } -> (y);
}
"""


@pytest.fixture
def write_text(tmp_path):
    def write(text: str) -> Path:
        folder = tmp_path / "text.mlmodelc"
        folder.mkdir(exist_ok=True)
        (folder / "model.mil").write_text(text, encoding="utf-8")
        return folder

    return write


def test_a_program_in_its_published_form(write_text):
    model = mil.load(write_text(PUBLISHED))
    assert [str(feature) for feature in model.inputs] == ["x: fp32[1, ?]"]
    x = np.array([[1, 2, 3, 4]], np.float32)
    np.testing.assert_array_equal(model.predict({"x": x})["y"], x / 2 - 3, strict=True)
    with pytest.raises(
        ContractError, match=r"has the shape \[1, 6\], but the package takes \[1, 2"
    ):
        model.predict({"x": np.ones((1, 6), np.float32)})


def test_listed_shapes(write_text):
    before, after = PUBLISHED.split("list<tensor<int32, [2]>, ?>>>>")
    listed = after.replace(
        '("RangeDims", {{"x", [[1, 1], [2, 5]]}})',
        '("EnumeratedShapes", {{"a", {{"x", [1, 3]}}}, {"b", {{"x", [1, 4]}}}})',
    )
    types = "dict<tensor<string, []>, tensor<int32, [?]>>>>>"
    model = mil.load(write_text(before + types + listed))
    assert model.inputs[0].rule.default == (1, 3)
    assert model.predict({"x": np.ones((1, 4), np.float32)})
    with pytest.raises(ContractError, match=r"takes \[1, 3\] or \[1, 4\]"):
        model.predict({"x": np.ones((1, 5), np.float32)})


def assert_same_plan(actual: Plan, expected: Plan, read) -> None:
    assert list(actual.inputs) == list(expected.inputs)
    assert (actual.types, actual.outputs) == (expected.types, expected.outputs)
    assert actual.captures == expected.captures
    assert len(actual.steps) == len(expected.steps)
    for one, other in zip(actual.steps, expected.steps, strict=True):
        assert described(one) == described(other)
        for block, original in zip(one.blocks, other.blocks, strict=True):
            assert_same_plan(block, original, read)
    assert actual.constants.keys() == expected.constants.keys()
    for slot, constant in actual.constants.items():
        np.testing.assert_array_equal(read[0](constant), read[1](expected.constants[slot]))


def described(step: Step) -> tuple[object, ...]:
    operation = step.operation
    place = (operation.type, operation.name, str(operation.location), operation.outputs)
    arguments = sorted((a.name, a.source.name, repr(a.payload)) for a in step.arguments)
    return *place, arguments, step.outputs, step.moves_exactly


@pytest.mark.parametrize("old", [True, False], ids=["older spelling", "newer spelling"])
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (small_network, (3, 6)),
        (branches, SHAPE),
        (powers, SHAPE),
        (nested, SHAPE),
        (listing, (4, 3)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_compiled_model_has_the_same_plan_and_results(make_package, tmp_path, body, shape, old):
    package = make_package(body, x=shape)
    model = mil.load(package)
    compiled = mil.load(write_compiled(package, tmp_path / "made.mlmodelc", old=old))
    read = (compiled.package.constants.array, model.package.constants.array)
    assert_same_plan(compiled.plan, model.plan, read)
    assert (compiled.inputs, compiled.outputs) == (model.inputs, model.outputs)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    expected = model.predict({"x": x}, taps="all")
    actual = compiled.predict({"x": x}, taps="all")
    assert list(actual) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, strict=True, err_msg=name)


def test_a_compiled_model_with_states(tmp_path):
    package = write_package(stateful_program(), tmp_path / "stateful.mlpackage")
    compiled = mil.load(write_compiled(package, tmp_path / "stateful.mlmodelc"))
    state = compiled.new_state()
    for count in (1, 2, 3):
        compiled.predict({"x": np.ones(3, np.float16)}, state=state)
        assert state.read("memory").tolist() == [count] * 3


def test_metadata(network_path, tmp_path):
    folder = write_compiled(
        network_path,
        tmp_path / "m.mlmodelc",
        author="me",
        shortDescription="what it does",
        userDefinedMetadata={"key": "value"},
    )
    model = mil.load(folder)
    assert model.metadata == {"author": "me", "description": "what it does", "key": "value"}
    assert model.package.specification_version == 9
    (folder / "metadata.json").unlink()
    assert mil.load(folder).metadata == {}
    (folder / "metadata.json").write_text("[3]")
    with pytest.raises(PackageError, match="does not describe a model"):
        mil.load(folder)


def constant_program(constant: Constant, old: bool = False) -> str:
    printer = Printer(old)
    held = printer.value(constant)
    return (
        "program(1.3)\n{ func main<ios18>() { "
        f"{printer.type(constant.type)} c = const()[val = {held}]; }} -> (); }}"
    )


def parsed(text: str) -> Constant:
    (operation,) = parse_program(text).function("main").block.operations
    return operation.attributes["val"]


NUMBERS = {
    DataType.BOOL: np.bool_,
    DataType.FLOAT16: np.float16,
    DataType.FLOAT32: np.float32,
    DataType.FLOAT64: np.float64,
    DataType.INT8: np.int8,
    DataType.INT16: np.int16,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
    DataType.UINT8: np.uint8,
    DataType.UINT16: np.uint16,
    DataType.UINT32: np.uint32,
    DataType.UINT64: np.uint64,
}


@settings(max_examples=200, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(list(NUMBERS)), old=st.booleans())
def test_numbers_survive_bit_by_bit(data, dtype, old):
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    array = data.draw(hnp.arrays(NUMBERS[dtype], shapes))
    if 0 in array.shape:
        array = array.reshape(-1)  # brackets can't say how long the axes inside nothing are
    found = parsed(constant_program(Constant(TensorType(dtype, array.shape), array), old))
    assert found.type == TensorType(dtype, array.shape)
    assert found.value.dtype == array.dtype
    np.testing.assert_array_equal(found.value, array)
    if array.dtype.kind == "f":
        signed = ~np.isnan(array)  # the sign of what is no number is not written
        np.testing.assert_array_equal(np.signbit(found.value)[signed], np.signbit(array)[signed])


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(), min_size=1, max_size=3))
def test_strings_survive(texts):
    scalar = Constant(TensorType(DataType.STRING, ()), texts[0])
    assert parsed(constant_program(scalar)).value == texts[0]
    vector = Constant(TensorType(DataType.STRING, (len(texts),)), tuple(texts))
    assert parsed(constant_program(vector)).value == tuple(texts)


def test_spellings_of_numbers():
    def value(type_, literal):
        text = (
            f"program(1.0) {{ func f<ios15>() {{ {type_} c = const()[val = {type_}({literal})]; }}"
        )
        (operation,) = parse_program(text + " -> (); }").function("f").block.operations
        return operation.attributes["val"].value

    assert value("fp16", "0x1.8p+1") == 3
    assert value("fp32", "1.5e-3") == np.float32(1.5e-3)
    assert value("fp32", "-inf") == -np.inf
    assert np.isnan(value("tensor<fp32, []>", "nan"))
    assert value("fp16", "0x1p+20") == np.inf
    assert value("uint64", "18446744073709551615") == 2**64 - 1
    assert value("tensor<int32, [2, 2]>", "[1, 2, 3, 4]").tolist() == [[1, 2], [3, 4]]
    assert value("int4", "-8") == -8


def test_blobs_are_referred_to():
    path = quoted("@model_path/weights/weight.bin")
    text = (
        "program(1.3) { func main<ios18>() { tensor<fp16, [4]> c = const()[val = tensor<fp16, [4]>"
        f"(BLOBFILE(path = string({path}), offset = uint64(64)))]; }} -> (c); }}"
    )
    assert parsed(text).value == BlobReference("@model_path/weights/weight.bin", 64)


def replaced(old: str, new: str) -> str:
    assert old in PUBLISHED
    return PUBLISHED.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"model\.mil: line 1, column 1: expected 'program', found 'the end'"),
        (replaced("1.0)", "2.0)"), "has version 2.0; only 1.x"),
        (replaced("ios16", "ios99"), "unknown operation set 'ios99'"),
        (replaced("-> (y);", "-> (y)"), "expected ';'"),
        (replaced("-> (y);", "-> (z);"), "returns 'z', which nothing defines"),
        (replaced("x = scaled", "x = skaled"), "reads 'skaled' before anything defines it"),
        (replaced("x = scaled", "x = y"), "reads 'y' before anything defines it"),
        (replaced("1, ?]> scaled", "1, ?]> half"), "'half' .* is defined twice"),
        (replaced("mul(", "mull("), "has a type that the executor does not know; similar: mul"),
        (replaced("y = half", "z = half"), "binds 'z', which the executor's mul does not know"),
        (replaced("fp32, [1, ?]> y", "fp23, [1, ?]> y"), "'fp23' is no element type"),
        (replaced("0x1p-1", '"0x1p-1"'), "is no element of a value of type fp32"),
        (replaced("0x1p-1", "[0x1p-1, 0x1p-1]"), r"a literal of shape \[2\] is no value of type"),
        (replaced("0x1p-1", "0x" + "1" * 100), "expected a literal"),
        (replaced("0x1p-1", "[" * 100), "nested more than 32 times"),
        (replaced("0x1p-1", '"open'), r"expected '\)', found 'scaled'"),
        (replaced("0x1p-1", "$"), r"can't be read: '\$"),
        (replaced('"half"', r'"\q"'), r"unknown escape '\\\\q'"),
        (replaced("x = x,", "x = x, x = x,"), "'x' is given twice"),
        (replaced('"DefaultShapes"', '"DefaultShape"'), "has unknown parts: DefaultShape"),
        (replaced("[[1, 1], [2, 5]]", "[[1, 1], [2, 5]], []"), "is no pair of key and value"),
        (replaced("}\n", "} extra\n"), "found 'extra'"),
    ],
)
def test_broken_text(write_text, text, message):
    with pytest.raises(PackageError, match=message):
        mil.load(write_text(text))


def test_bytes_that_are_no_text(write_text):
    folder = write_text("")
    (folder / "model.mil").write_bytes(b"program(1.0)\xff")
    with pytest.raises(PackageError, match="is no text in UTF-8"):
        mil.load(folder)


@pytest.mark.parametrize("path", ["../secret.bin", "/etc/passwd", "@model_path/../secret.bin", ""])
def test_weights_can_not_leave_the_folder(write_text, tmp_path, path):
    (tmp_path / "secret.bin").write_bytes(bytes(256))
    blob = f"BLOBFILE(path = string({quoted(path)}), offset = uint64(64))"
    text = replaced("tensor<fp32, []>(0x1p-1)", f"tensor<fp32, []>({blob})")
    with pytest.raises(PackageError, match="leaves the package"):
        mil.load(write_text(text)).predict({"x": np.ones((1, 3), np.float32)})


def test_links_can_not_leave_the_folder(write_text, tmp_path):
    folder = write_text("")
    (tmp_path / "secret.mil").write_text(PUBLISHED)
    (folder / "model.mil").unlink()
    (folder / "model.mil").symlink_to(tmp_path / "secret.mil")
    with pytest.raises(PackageError, match="leaves the package by a link"):
        mil.load(folder)
    (folder / "model.mil").unlink()
    os.mkfifo(folder / "model.mil")
    with pytest.raises(PackageError, match="is missing"):
        mil.load(folder)


MUTATIONS = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 30),
    st.sampled_from(
        ["", "0", "?", "[", "]", "(", ")", "{", "<", ">", ",", "x", "-1", '"', "y", "  "]
    ),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(edits=st.lists(MUTATIONS, min_size=1, max_size=3))
def test_damaged_text(write_text, edits):
    """Whatever is cut out or put in, there is a model that runs or a named error."""
    text = PUBLISHED
    for place, length, new in edits:
        start = int(place * len(text))
        text = text[:start] + new + text[start + length :]
    try:
        model = mil.load(write_text(text))
        model.predict({f.name: np.ones((1, 3), f.dtype.numpy) for f in model.inputs})
    except ParityError:
        pass


def test_no_compiled_program(tmp_path):
    with pytest.raises(PackageError, match=r"neither a Manifest\.json nor a model\.mil"):
        mil.load(tmp_path)
    (tmp_path / "metadata.json").write_text(json.dumps([{}]))
    with pytest.raises(PackageError, match=r"neither a Manifest\.json nor a model\.mil"):
        mil.load(tmp_path)
