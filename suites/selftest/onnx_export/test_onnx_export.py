"""Exported programs as a whole: names, roundings, refusals, and the commands that use them."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness import mil
from harness.cli import main
from harness.engines import open_engine
from harness.errors import UnknownNameError
from harness.mil.ops.registry import known_types
from harness.onnx_export import export_model, exported_types, registry
from harness.workbench.second_opinion import operations_apart
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import make_program, rewrite_model

DOCUMENT = Path("docs", "onnx.md")
HTDEMUCS = {
    "add",
    "cast",
    "concat",
    "conv",
    "conv_transpose",
    "expand_dims",
    "gelu",
    "layer_norm",
    "linear",
    "matmul",
    "mul",
    "pad",
    "real_div",
    "reduce_mean",
    "reshape",
    "scaled_dot_product_attention",
    "sigmoid",
    "slice_by_index",
    "softmax",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "sub",
    "transpose",
}

needs_runtime = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")),
    reason="not evaluated: pip install 'htdemucs-parity[onnx]'",
)


def rounded_away(mb, x):
    """(x + 1) - x, which is 0 where FP16 has no odd numbers, and 1 without the roundings."""
    total = mb.add(x=x, y=np.float16(1), name="total")
    return mb.relu(x=mb.sub(x=total, y=x, name="rest"), name="kept")


def drawn(mb, x):
    return mb.add(x=x, y=mb.random_normal(shape=[3], seed=1))


@pytest.fixture(scope="module")
def rounding(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    program = make_program(rounded_away, {"x": (3,)}, np.float16)
    return write_package(program, folder / "rounding.mlpackage")


X = np.array([2048, 4096, 3], np.float16)


@needs_runtime
def test_declared_roundings_are_kept(rounding):
    """An optimiser that takes out casts would make a better network than the package is."""
    made = open_engine("onnx", rounding).predict({"x": X}, taps=["total", "rest"])
    expected = mil.load(rounding).predict({"x": X}, taps=["total", "rest"])
    assert made["rest"].tolist() == [0, 0, 1]
    for name, value in expected.items():
        assert made[name].dtype == value.dtype
        np.testing.assert_array_equal(made[name], value)


@needs_runtime
def test_unknown_taps_are_named(rounding):
    with pytest.raises(UnknownNameError, match="'totl'; did you mean 'total'"):
        open_engine("onnx", rounding).predict({"x": X}, taps=["totl"])


@needs_runtime
def test_the_written_model_is_valid_and_keeps_names(rounding, tmp_path, capsys):
    import onnx

    target = tmp_path / "x.onnx"
    assert main(["export", str(rounding), "--onnx", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["operations"] == 3
    written = onnx.load(target)
    onnx.checker.check_model(written, full_check=True)
    values = {name for node in written.graph.node for name in node.output}
    assert {"total", "rest", "kept"} <= values


@needs_runtime
def test_a_wrong_operation_is_named_and_nothing_behind_it(rounding, tmp_path, capsys, monkeypatch):
    """Who sees two engines differ at the end must not search a thousand operations."""
    inputs = tmp_path / "in.safetensors"
    save_file({"x": X}, inputs)
    words = ["export", str(rounding), "--onnx", str(tmp_path / "x.onnx"), "--inputs", str(inputs)]
    assert main(words) == 0
    rule = registry._RULES["add"]
    wrong = replace(rule, function=lambda g, x, y: g("Sub", x, y))
    monkeypatch.setitem(registry._RULES, "add", wrong)
    capsys.readouterr()
    assert main([*words, "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["disagreements"]
    assert [(row["type"], row["value"]) for row in rows] == [("add", "total")]
    assert main(words) == 1
    assert "1 result differs beyond rounding" in capsys.readouterr().out


WEIGHTS = {"weight_ih": np.ones((1, 3), np.float32), "weight_hh": np.ones((1, 1), np.float32)}
STATE = np.zeros((1, 1), np.float32)


@pytest.mark.parametrize(
    ("op", "word", "parameters"),
    [
        ("conv", "valid", {"weight": np.ones((1, 1, 1), np.float32), "pad_type": "valid"}),
        ("rnn", "forward", {"initial_h": STATE, "direction": "forward", **WEIGHTS}),
        ("pad", "reflect", {"pad": [1, 1], "mode": "reflect"}),
        ("resize", "NEAREST_NEIGHBOR", {
            "shape": [2, 6], "resized_dims": np.uint32(2), "interpolation_mode": "NEAREST_NEIGHBOR",
        }),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit_are_refused_by_name(op, word, parameters, tmp_path, capsys):
    """A package is a stranger's: what no converter writes must not end in a traceback."""
    program = make_program(
        lambda mb, x: getattr(mb, op)(x=x, **parameters), {"x": (1, 1, 3)}, np.float32
    )
    package = write_package(program, tmp_path / "x.mlpackage")

    def change(message):
        block = next(iter(message.mlProgram.functions["main"].block_specializations.values()))
        for operation in block.operations:
            if operation.type == "const":
                texts = operation.attributes["val"].immediateValue.tensor.strings.values
                if list(texts) == [word]:
                    texts[0] = "sideways"

    rewrite_model(package, change)
    assert main(["export", str(package), "--onnx", str(tmp_path / "x.onnx")]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert f"operation {op}" in shown
    assert "sideways" in shown


def counted(mb, x):
    found = mb.cast(x=mb.non_zero(x=x), dtype="fp32")
    return mb.concat(values=[found, found], axis=0, name="twice")


@needs_runtime
def test_parts_of_unknown_length_are_joined(tmp_path):
    package = write_package(
        make_program(counted, {"x": (3,)}, np.float32), tmp_path / "x.mlpackage"
    )
    made = open_engine("onnx", package).predict({"x": np.array([0, 2, 3], np.float32)})
    assert made["twice"].tolist() == [[1], [2]] * 2


@needs_runtime
def test_an_input_that_is_left_out_has_its_default(tmp_path):
    program = make_program(lambda mb, x, y: mb.add(x=x, y=y, name="sum"), {"x": (2,), "y": (2,)},
                           np.float32)  # fmt: skip
    package = write_package(program, tmp_path / "x.mlpackage")

    def change(message):
        (kind,) = (entry.type for entry in message.description.input if entry.name == "y")
        kind.isOptional, kind.multiArrayType.floatDefaultValue = True, 7

    rewrite_model(package, change)
    model, inputs = mil.load(package), {"x": np.array([1, 2], np.float32)}
    made = open_engine("onnx", package).predict(inputs)
    assert made["sum"].tolist() == model.predict(inputs)["sum"].tolist() == [8, 9]
    assert operations_apart(model, export_model(model), inputs) == []


def test_what_can_not_be_exported_is_refused_by_name(tmp_path, capsys):
    package = write_package(make_program(drawn, {"x": (3,)}, np.float32), tmp_path / "x.mlpackage")
    target = tmp_path / "x.onnx"
    assert main(["export", str(package), "--onnx", str(target)]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "random_normal" in shown
    assert "docs/onnx.md" in shown
    assert not target.exists()


@needs_runtime
def test_a_model_is_written_to_onnx_files_alone(rounding, tmp_path, capsys):
    assert main(["export", str(rounding), "--onnx", str(tmp_path / "x.mlpackage")]) == 2
    assert "must end in .onnx" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_without_onnx_the_command_says_what_to_install(rounding, tmp_path, capsys, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else found(name)
    )
    assert main(["export", str(rounding), "--onnx", str(tmp_path / "x.onnx")]) == 3
    assert "htdemucs-parity[onnx]" in " ".join(capsys.readouterr().err.split())


def test_an_engine_for_packages_needs_one(tmp_path, capsys):
    words = ["separate", "song.wav", "--subject", "mini", "--out", str(tmp_path)]
    assert main([*words, "--engine", "onnx"]) == 2
    assert "--package" in " ".join(capsys.readouterr().err.split())


def test_htdemucs_can_be_exported():
    assert set(exported_types()) >= HTDEMUCS


def test_the_document_lists_what_is_exported():
    """The table is copied from here when it fails."""
    supported = ", ".join(f"`{name}`" for name in exported_types())
    rest = sorted(set(known_types()) - set(exported_types()) - {"const"})
    refused = ", ".join(f"`{name}`" for name in rest)
    text = DOCUMENT.read_text()
    assert f"| {len(exported_types())} are written | {supported} |" in text
    assert f"| {len(rest)} are refused | {refused} |" in text
    assert re.search(r"opset 20", text)
