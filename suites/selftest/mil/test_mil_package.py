"""Opening packages: whatever is wrong with one is a named error, never a crash or a wrong run."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import mil
from harness.errors import PackageError, ParityError
from harness.mil.package import open_package
from harness.mil.program import BlobReference
from suites.selftest.mil.conftest import MODEL, WEIGHT, rewrite_model

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


@pytest.fixture
def copy(network_path, tmp_path):
    return shutil.copytree(network_path, tmp_path / "copy.mlpackage")


def operations(message):
    return next(iter(message.mlProgram.functions["main"].block_specializations.values())).operations


def operation(message, kind):
    return next(entry for entry in operations(message) if entry.type == kind)


def blob(message):
    return next(
        entry.attributes["val"]
        for entry in operations(message)
        if entry.type == "const" and entry.attributes["val"].HasField("blobFileValue")
    )


def test_opens(network_path):
    package = open_package(network_path)
    assert [feature.name for feature in package.descriptions["main"].inputs] == ["x"]
    assert package.specification_version == 9
    constants = package.program.function("main").block.constants
    stored = [c for c in constants.values() if isinstance(c.value, BlobReference)]
    held = [package.constants.array(constant) for constant in stored]
    assert any(np.array_equal(array, WEIGHT) for array in held)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read as JSON"),
        ("[" * 100_000, "can't be read as JSON"),
        ("[]", "names no root model"),
        ('{"rootModelIdentifier": "a", "itemInfoEntries": {}}', "names no root model"),
        ('{"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": 3}}}', "no string"),
    ],
)
def test_broken_manifest(copy, text, message):
    (copy / "Manifest.json").write_text(text)
    with pytest.raises(PackageError, match=message):
        mil.load(copy)


@pytest.mark.parametrize(
    "path",
    ["../../../etc/passwd", "/etc/passwd", "a/../../b", "..", "", "a\\..\\b", "missing", "a\0b"],
)
def test_manifest_can_not_leave_the_package(copy, path):
    manifest = {"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": path}}}
    (copy / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PackageError, match=r"leaves the package|is missing|unusable"):
        mil.load(copy)


def test_link_can_not_leave_the_package(copy, tmp_path):
    outside = tmp_path / "outside.mlmodel"
    (copy / MODEL).rename(outside)
    (copy / MODEL).symlink_to(outside)
    with pytest.raises(PackageError, match="leaves the package by a link"):
        mil.load(copy)


def test_weights_can_not_leave_the_package(copy, tmp_path):
    shutil.copy(copy / WEIGHTS, tmp_path / "weight.bin")

    def escape(message):
        blob(message).blobFileValue.fileName = "@model_path/../../../weight.bin"

    with pytest.raises(PackageError, match="leaves the package"):
        mil.load(rewrite_model(copy, escape)).predict({"x": np.zeros((3, 6), np.float32)})


def test_no_package(tmp_path):
    with pytest.raises(PackageError, match="does not exist"):
        mil.load(tmp_path / "nothing.mlpackage")
    with pytest.raises(PackageError, match=r"Manifest\.json"):
        mil.load(tmp_path)


def test_a_package_that_may_not_be_read(copy, monkeypatch):
    def refuse(path, flags):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PackageError, match=r"Manifest\.json can't be read: Permission denied"):
        mil.load(copy)
    with pytest.raises(PackageError, match="can't be read: File name too long"):
        mil.load("x" * 5000)


def test_another_kind_of_model(copy):
    def empty(message):
        message.ClearField("mlProgram")
        message.neuralNetwork.SetInParent()

    with pytest.raises(PackageError, match="neuralNetwork"):
        mil.load(rewrite_model(copy, empty))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_model(network_path, tmp_path, share):
    package = tmp_path / "truncated.mlpackage"
    shutil.copytree(network_path, package, dirs_exist_ok=True)
    data = (network_path / MODEL).read_bytes()
    (package / MODEL).write_bytes(data[: int(share * len(data))])
    with pytest.raises(PackageError):
        mil.load(package)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_damaged_model(network_path, tmp_path, place, byte):
    """A changed byte may go unseen (it may be a name), but it never gives a foreign error."""
    package = tmp_path / "damaged.mlpackage"
    shutil.copytree(network_path, package, dirs_exist_ok=True)
    data = bytearray((network_path / MODEL).read_bytes())
    data[int(place * len(data))] = byte
    (package / MODEL).write_bytes(bytes(data))
    try:
        model = mil.load(package)
        inputs = {f.name: np.zeros((3, 6), f.dtype.numpy) for f in model.inputs}
        outputs = model.predict(inputs)
    except ParityError:
        return
    assert set(outputs) == {feature.name for feature in model.outputs}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
def test_truncated_weights(network_path, tmp_path, share):
    package = tmp_path / "truncated.mlpackage"
    shutil.copytree(network_path, package, dirs_exist_ok=True)
    data = (network_path / WEIGHTS).read_bytes()
    (package / WEIGHTS).write_bytes(data[: int(share * len(data))])
    with pytest.raises(PackageError, match=r"truncated|no blob can lie"):
        mil.load(package).predict({"x": np.zeros((3, 6), np.float32)})


def test_missing_weights(copy):
    (copy / WEIGHTS).unlink()
    with pytest.raises(PackageError, match=r"weight file .* is missing"):
        mil.load(copy).predict({"x": np.zeros((3, 6), np.float32)})


@pytest.mark.parametrize("offset", [0, 1, 63, 65, 128, 10_000, 2**40, 2**64 - 64])
def test_bad_blob_offset(copy, offset):
    def move(message):
        blob(message).blobFileValue.offset = offset

    with pytest.raises(PackageError, match="no blob"):
        mil.load(rewrite_model(copy, move)).predict({"x": np.zeros((3, 6), np.float32)})


def test_blob_of_another_size(copy):
    def grow(message):
        for entry in operations(message):
            if entry.type == "const" and entry.attributes["val"].HasField("blobFileValue"):
                for type_ in (entry.attributes["val"].type, entry.outputs[0].type):
                    type_.tensorType.dimensions[0].constant.size = 2**20

    with pytest.raises(PackageError, match="elements of fp32 need"):
        mil.load(rewrite_model(copy, grow)).predict({"x": np.zeros((3, 6), np.float32)})


def test_use_before_definition(copy):
    def reverse(message):
        listed = [
            type(entry).FromString(entry.SerializeToString()) for entry in operations(message)
        ]
        del operations(message)[:]
        operations(message).extend(reversed(listed))

    with pytest.raises(PackageError, match=r"reads .* before anything defines it"):
        mil.load(rewrite_model(copy, reverse))


def test_name_defined_twice(copy):
    def repeat(message):
        operation(message, "gelu").outputs[0].name = "hidden"

    with pytest.raises(PackageError, match=r"'hidden' .* is defined twice"):
        mil.load(rewrite_model(copy, repeat))


def test_output_that_nothing_defines(copy):
    def rename(message):
        function = message.mlProgram.functions["main"]
        next(iter(function.block_specializations.values())).outputs[0] = "ghost"

    with pytest.raises(PackageError, match="returns 'ghost', which nothing defines"):
        mil.load(rewrite_model(copy, rename))


def test_missing_required_input(copy):
    def drop(message):
        del operation(message, "linear").inputs["weight"]

    with pytest.raises(PackageError, match=r"linear .*main\[\d+\] lacks .* 'weight'"):
        mil.load(rewrite_model(copy, drop))


def test_unknown_operation(copy):
    def rename(message):
        operation(message, "gelu").type = "gellu"

    with pytest.raises(PackageError) as caught:
        mil.load(rewrite_model(copy, rename))
    text = str(caught.value)
    assert type(caught.value).__name__ == "UnsupportedOperationError"
    for part in (
        "gellu 'activated' at main[",
        "similar: gelu",
        "harness/mil/ops",
        "docs/operations.md",
    ):
        assert part in text


def test_unknown_input_of_a_known_operation(copy):
    """Ignoring an input would compute something else than the program says."""

    def add(message):
        gelu = operation(message, "gelu")
        gelu.inputs["slope"].CopyFrom(gelu.inputs["mode"])

    with pytest.raises(PackageError, match="binds 'slope', which the executor's gelu"):
        mil.load(rewrite_model(copy, add))
