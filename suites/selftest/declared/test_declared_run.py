"""A declared network with a state and an integer input, through the suites and the commands.

If these fail, somebody's own network is judged less than HTDemucs is. Six larger ones are judged by
``nox -s networks``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.faults.operators import mutants
from harness.mil import load
from harness.mil.editing import edited
from harness.mil.saving import save_package
from harness.verdicts import Run, Verdict

pytestmark = pytest.mark.slow


def test_every_layer_that_says_something_was_asked(run: Run) -> None:
    assert run.verdict is Verdict.PASS
    assert not run.missing
    required = {layer.layer: layer.verdict for layer in run.layers if layer.required}
    assert required == {"surgery": Verdict.PASS, "conversion": Verdict.PASS}
    assert {golden.status for golden in run.goldens} == {"local"}
    made, total = run.completeness.gating()
    assert made == total > 0


def test_outputs_states_and_blocks_reach_what_fp32_allows(run: Run) -> None:
    reached = {
        (check.labels["case"], check.labels["tensor"]): check.outcome.metrics["snr_db"]
        for check in run.checks
        if not check.labels.get("tensor", "").startswith("call.")
        and check.gate
        and check.gate.name in ("expected_precision_fp32", "expected_precision_state")
    }
    tensors = {"scores", "state.held", "tap embed", "tap shape.0", "tap shape.1"}
    cases = ("ordinary", "loud", "sequence")
    assert set(reached) == {(case, name) for case in cases for name in tensors}
    assert all(level > 110 for level in reached.values())


def test_fp16_is_measured_beside_it(run: Run) -> None:
    levels = {
        check.labels["tensor"]: check.outcome.metrics["snr_db"]
        for check in run.checks
        if check.gate and check.gate.name == "conversion" and check.labels["recipe"] == "fp16"
    }
    assert 40 < levels["scores"] < 100
    assert levels["state.held"] == float("inf")  # a half is exact


def test_a_failed_check_names_the_command_that_makes_it_again(run: Run) -> None:
    commands = {check.command for check in run.checks if check.labels.get("case") == "loud"}
    assert "parity run parity.toml --case loud --recipe fp32" in commands


def test_its_package_is_judged_and_a_planted_fault_is_red(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["convert", "fading", "--out", "sound.mlpackage"]) == 0
    assert main(["check", "sound.mlpackage", "--subject", "fading"]) == 0
    sound = load(folder / "sound.mlpackage")
    place = [operation.type for operation in sound.operations].index("gelu")
    (fault,) = (m for m in mutants(sound, place) if m.change == "tanh approximation")
    broken = edited(sound, *fault.operations)
    read = broken.package.constants.array
    save_package(folder / "broken.mlpackage", broken.plan.function, read, sound.package.metadata)
    capsys.readouterr()
    assert main(["check", "broken.mlpackage", "--subject", "fading", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    failed = {row["id"].split("/")[1] for row in found["checks"] if row["verdict"] == "fail"}
    assert {"program", "expected_precision_fp32"} <= failed
    assert "contract" not in failed


def test_the_lab_takes_it_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["sensitivity", "fading", "--probes", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    measured = found["measured_db"]
    assert set(measured) >= {"ordinary/branch:scores", "loud/branch:scores"}
    for name in ("ordinary/branch:scores", "loud/branch:scores"):
        assert abs(found["predicted_db"][name] - measured[name]) < 6
    assert main(["sweep", "fading", "--precisions", "fp32,fp16", "--cache", "swept", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert {cell["case"] for cell in cells} == {"ordinary", "loud", "sequence"}
    assert all("branch:scores" in cell["snr_db"] for cell in cells)
