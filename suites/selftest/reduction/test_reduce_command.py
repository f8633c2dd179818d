"""If these fail, what ``parity reduce`` writes can't be attached to a bug report."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from harness import mil
from harness.cli.app import main
from harness.conversion import convert_to_coreml, load_recipe, trace_inner_model
from harness.mil.editing import edited, find, with_constant
from harness.mil.saving import save_package
from harness.subjects import extract_inner_model
from suites.selftest.networks import narrow_network
from suites.selftest.reduction.conftest import kept, save_inputs
from suites.selftest.reduction.test_reduce import NUMBERS, chain_with_overflow


@pytest.fixture
def failing(make_attempt, tmp_path):
    """A package that overflows and the file with its inputs, as words of a command."""
    attempt = make_attempt(chain_with_overflow, x=100 * NUMBERS)
    inputs = save_inputs(attempt, tmp_path / "in.safetensors")
    return ["reduce", str(attempt.path), "--inputs", str(inputs)]


def test_the_folder_holds_all_that_reproduces_the_failure(failing, tmp_path, capsys, monkeypatch):
    out = tmp_path / "bug"
    assert main([*failing, "--fails-when", "inf", "--out", str(out)]) == 0
    assert "1 of 7 operations" in capsys.readouterr().out
    files = {"README.md", "inputs.safetensors", "reduced.mlpackage", "reduction.json"}
    assert {path.name for path in out.iterdir()} == files
    command = json.loads((out / "reduction.json").read_text())["command"]
    assert f"    {command}\n" in (out / "README.md").read_text()
    monkeypatch.chdir(out)
    assert main(shlex.split(command)[1:]) == 1
    assert "'squared', made by mul, are infinite" in capsys.readouterr().out
    tame = {name: 0 * array for name, array in load_file("inputs.safetensors").items()}
    save_file(tame, tmp_path / "tame.safetensors")
    words = shlex.split(command.replace("inputs.safetensors", str(tmp_path / "tame.safetensors")))
    assert main(words[1:]) == 0


def test_a_difference_comes_with_what_was_expected(make_attempt, tmp_path, capsys):
    attempt = make_attempt(lambda mb, x: mb.tanh(x=mb.sigmoid(x=x), name="last"), x=NUMBERS)
    out, inputs = tmp_path / "bug", save_inputs(attempt, tmp_path / "in.safetensors")
    words = ["reduce", str(attempt.path), "--inputs", str(inputs)]
    assert main([*words, "--fails-when", "snr<150", "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    expected = load_file(out / record["expected"])
    model = mil.load(out / "reduced.mlpackage")
    actual = model.predict(load_file(out / "inputs.safetensors"))
    assert set(expected) == set(actual)
    assert any(np.any(expected[name] != actual[name]) for name in expected)


def test_a_second_package_can_be_the_reference(make_attempt, tmp_path, capsys):
    def body(mb, x, mode="EXACT"):
        y = mb.gelu(x=mb.relu(x=x, name="positive"), mode=mode, name="gelu")
        return mb.tanh(x=y, name="last")

    right = make_attempt(body, x=NUMBERS)
    wrong = make_attempt(lambda mb, x: body(mb, x, "SIGMOID_APPROXIMATION"), x=NUMBERS)
    inputs = save_inputs(wrong, tmp_path / "in.safetensors")
    words = ["reduce", str(wrong.path), "--inputs", str(inputs), "--against", str(right.path)]
    out = tmp_path / "bug"
    assert main([*words, "--fails-when", "snr<60", "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["type"] for row in record["operations"]] == ["gelu"]
    assert "--expected expected.safetensors" in record["command"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fails-when", "nan", "--out", "bug"], "nothing to reduce"),
        (["--fails-when", "wrong", "--out", "bug"], "unknown condition 'wrong'; known are nan"),
        (["--out", "bug"], "give --fails-when or --command, one of them"),
        (["--fails-when", "inf"], "give --out for the reduction, or --verify"),
        (["--fails-when", "inf", "--out", "full"], "full exists and holds no earlier reduction"),
        (["--fails-when", "snr<60", "--reference", "exact", "--out", "bug"], "exact"),
        (["--fails-when", "snr<60", "--expected", "other.npz", "--out", "bug"], "none of the out"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    failing, options, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    np.savez(tmp_path / "other.npz", other=NUMBERS)
    assert main([*failing, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "bug").exists()
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"


def test_too_few_tries_are_said(failing, tmp_path, capsys):
    words = [*failing, "--command", "false {package}", "--out", str(tmp_path / "bug")]
    assert main([*words, "--max-tries", "2"]) == 0
    assert "the tries ran out" in capsys.readouterr().err
    assert json.loads((tmp_path / "bug" / "reduction.json").read_text())["minimal"] is False


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A converted network in FP16: the whole architecture, shallow and narrow."""
    path = tmp_path_factory.mktemp("narrow") / "fp16.mlpackage"
    traced = trace_inner_model(extract_inner_model(narrow_network(["a", "b"], t_layers=1)))
    convert_to_coreml(traced, recipe=load_recipe("fp16"), out=path, subject="narrow")
    return mil.load(path)


@pytest.mark.parametrize(
    ("type", "parameter", "factor", "condition"),
    [("linear", "weight", np.inf, "nonfinite"), ("conv", "bias", np.nan, "nan")],
)
def test_a_fault_planted_in_a_converted_network_is_found(
    narrow, type, parameter, factor, condition, tmp_path, capsys
):
    planted = find(narrow, type=type)[5]
    faulty = edited(narrow, with_constant(narrow, planted, parameter, lambda w: w * factor))
    path, out = tmp_path / "faulty.mlpackage", tmp_path / "bug"
    save_package(path, faulty.plan.function, faulty.package.constants.array)
    generator = torch.Generator().manual_seed(0)
    inputs = {
        feature.name: torch.randn(feature.shape, generator=generator).numpy()
        for feature in narrow.inputs
    }
    save_file(inputs, tmp_path / "in.safetensors")
    words = ["reduce", str(path), "--inputs", str(tmp_path / "in.safetensors")]
    assert main([*words, "--fails-when", condition, "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["operations_in_whole"] > 300
    assert len(record["operations"]) <= 3
    assert planted.outputs[0].name in {row["name"] for row in record["operations"]}
    assert kept(mil.load(out / "reduced.mlpackage")) == [r["type"] for r in record["operations"]]
