"""Commands on a package that somebody hands them: another model's, in FP16, or with branches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from suites.selftest.lint.building import F16, F32, Made
from suites.selftest.lint.examples import HALF, X
from suites.selftest.lint.test_lint_places import branch_in_a_loop

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def linear(tmp_path: Path) -> str:
    """A package of one layer, which is no separator."""
    made = Made(lambda mb, x: mb.linear(x=x, weight=np.ones((4, 3), F32), name="y"), X)
    return str(made.write(tmp_path / "linear.mlpackage"))


def test_diagnose_of_another_models_package_is_one_sentence(linear: str, capsys: Captured) -> None:
    assert main(["diagnose", linear, "--subject", "mini"]) == 2
    said = capsys.readouterr().err
    assert "has the inputs x fp32[2, 3]; expected audio fp32[1, 2, 343980], spectrogram" in said
    assert len(said) < 500


def test_another_models_package_is_no_reference(linear: str, capsys: Captured) -> None:
    assert main(["sensitivity", "mini", "--fp32-package", linear]) == 2
    assert "expected audio fp32[1, 2, 343980]" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "reduce"])
def test_float32_for_an_fp16_input_is_rounded_with_a_note(
    command: str, tmp_path: Path, capsys: Captured
) -> None:
    package = Made(lambda mb, x: mb.mul(x=x, y=F16(2), name="y"), HALF).write(tmp_path / "half")
    inputs, out = tmp_path / "in.npz", tmp_path / "out.npz"
    value = np.array([[1, 2, 3], [1 / 3, 1e6, 0]], F32)
    np.savez(inputs, x=value)
    options = ["--out", str(out)] if command == "predict" else ["--verify", "--fails-when", "inf"]
    code = main([command, str(package), "--inputs", str(inputs), *options])
    assert code == (0 if command == "predict" else 1)  # it does fail: 1e6 is infinite
    said = " ".join(capsys.readouterr().err.split())
    assert "from float32 to the float16 that the package takes, as Core ML does: 2 of 6" in said
    assert "1 of them became infinite" in said
    if command == "predict":
        with np.errstate(over="ignore"):
            expected = value.astype(np.float16) * np.float16(2)
        np.testing.assert_array_equal(np.load(out)["y"], expected, strict=True)


def test_what_fp16_holds_needs_no_note(tmp_path: Path, capsys: Captured) -> None:
    package = Made(lambda mb, x: mb.mul(x=x, y=F16(2), name="y"), HALF).write(tmp_path / "half")
    np.savez(tmp_path / "in.npz", x=np.ones((2, 3), F32))
    command = ["predict", str(package), "--inputs", str(tmp_path / "in.npz")]
    assert main([*command, "--out", str(tmp_path / "out.npz")]) == 0
    assert "note" not in capsys.readouterr().err


def test_statistics_show_what_branches_make(tmp_path: Path, capsys: Captured) -> None:
    """A division by zero inside a branch is not lost between the loop's input and its result."""
    package = Made(branch_in_a_loop, X).write(tmp_path / "flow")
    np.savez(tmp_path / "in.npz", x=np.ones((2, 3), F32))
    command = ["predict", str(package), "--inputs", str(tmp_path / "in.npz"), "--stats", "--json"]
    assert main(command) == 0
    stats = json.loads(capsys.readouterr().out)["stats"]
    rows = {row["name"]: row for row in stats["values"]}
    assert rows["divided"]["not_finite"] > 0
    assert stats["first_not_finite"] == "divided"


def test_headroom_refuses_what_it_would_leave_out(tmp_path: Path, capsys: Captured) -> None:
    package = Made(branch_in_a_loop, X).write(tmp_path / "flow.mlpackage")
    assert main(["headroom", str(package), "--inputs", "random:1"]) == 2
    said = capsys.readouterr().err
    assert "has blocks" in said
    assert "parity predict --stats" in said


def test_another_models_package_fails_whatever_layer_is_asked_for(
    linear: str, capsys: Captured
) -> None:
    words = ["check", linear, "--subject", "mini", "--case", "quiet", "--layer", "end_to_end"]
    assert main(words) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "FAIL" in said
    assert "the inputs x fp32[2, 3]" in said
