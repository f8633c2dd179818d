"""If these fail, what a call leaves in a state is right only as long as nobody calls again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness.cli import main
from harness.golden import load_cases
from harness.golden.builder import build_tensors, case_inputs
from harness.subjects import load_subject
from harness.subjects.calls import call_of, in_turn, number_of_calls, of_call
from harness.subjects.declared import DeclaredNetwork, read_declaration
from harness.subjects.protocol import Interface, state_output
from harness.verdicts import Run, Verdict
from suites.selftest.declared.fading import NETWORK, declare

CALLS = 4
Captured = pytest.CaptureFixture[str]


@given(name=st.sampled_from(["token", "state.held", "x"]), call=st.integers(1, 300))
def test_a_name_says_of_which_call_it_is(name: str, call: int) -> None:
    assert call_of(of_call(name, call)) == (call, name)
    assert number_of_calls([name, of_call(name, call)]) == call


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9), st.integers(-9, 9))
def test_each_call_begins_with_what_the_last_one_left(added: list[int], first: int) -> None:
    """Oracle: a running sum."""
    interface = Interface(
        {"x": (), "sum": ()}, {"y": (), state_output("sum"): ()}, states={"sum": ""}
    )
    inputs = {"sum": first} | {of_call("x", call): x for call, x in enumerate(added, 1)}

    def add(given: Mapping[str, int], call: int) -> dict[str, int]:
        return {"y": call, state_output("sum"): given["sum"] + given["x"]}

    made = in_turn(interface, inputs, add)
    sums = list(np.cumsum([first, *added])[1:])
    assert [made[of_call(state_output("sum"), c + 1)] for c in range(len(added))] == sums
    assert [made[of_call("y", c + 1)] for c in range(len(added))] == list(range(1, len(added) + 1))


@pytest.fixture
def network(tmp_path: Path) -> DeclaredNetwork:
    return DeclaredNetwork(read_declaration(declare(tmp_path, "fading_of_calls")))


def test_a_golden_holds_every_call(
    network: DeclaredNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: what is held halves each time, and tokens count up."""
    monkeypatch.chdir(tmp_path)
    case = load_cases(network.declaration.path)["sequence"]
    golden = build_tensors(load_subject("fading"), case)
    for call in range(1, CALLS + 1):
        left = golden[of_call("state.held", call)]
        np.testing.assert_array_equal(left, golden["held"] / 2**call)
        token = golden[of_call("token", call)]
        np.testing.assert_array_equal(token, golden["token"] + call - 1)
    levels = [golden[of_call("level", call)] for call in range(1, CALLS + 1)]
    assert len({level.tobytes() for level in levels}) == CALLS, "what is drawn is drawn each time"
    assert of_call("scores", CALLS + 1) not in golden


def test_a_file_holds_the_inputs_of_every_call(network: DeclaredNetwork, tmp_path: Path) -> None:
    file = network.declaration.path
    tokens = np.array([[3], [1], [2]], np.int32)
    save_file({"token": tokens}, tmp_path / "told.safetensors")
    told = 'told = { file = "told.safetensors", calls = 3 }\n'
    file.write_text(file.read_text("utf-8") + told, "utf-8")
    made = case_inputs(load_cases(file)["told"], network)
    assert [int(made[of_call("token", call)][0]) for call in (1, 2, 3)] == [3, 1, 2]
    save_file({"token": tokens[:2]}, tmp_path / "told.safetensors")
    with pytest.raises(Exception, match=r"has shape \[2, 1\], expected \[3, 1\], the first axis"):
        case_inputs(load_cases(file)["told"], network)


@pytest.mark.slow
def test_every_call_of_a_run_is_judged(run: Run) -> None:
    judged = {
        (check.gate.name, check.labels["tensor"])
        for check in run.checks
        if check.gate and check.gating and check.labels.get("case") == "sequence"
    }
    for call in range(2, CALLS + 1):
        scores, held = of_call("scores", call), of_call("state.held", call)
        assert {
            ("golden_here", scores), ("conversion", scores), ("expected_precision", scores),
            ("expected_precision_carried", scores),
            ("golden_here", held), ("conversion", held), ("expected_precision_state", held),
        } <= judged  # fmt: skip
    assert ("expected_precision_fp32", "scores") in judged


def changed(folder: Path, place: Path, old: str, new: str) -> Path:
    """Convert the network with other code, by the same weights; returns the package."""
    declare(place, "fading_changed")
    text = NETWORK
    for before, after in zip(old.split("|"), new.split("|"), strict=True):
        assert before in text
        text = text.replace(before, after)
    (place / "fading_changed.py").write_text(text, "utf-8")
    package = folder / f"{place.name}.mlpackage"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main(["convert", "fading", "--out", str(package)]) == 0
    return package


FAULTS = {
    "left_out": (
        "self.held.mul_(0.5)  # exact in FP16, too|+ self.held)",
        "held = self.held * 0.5|+ held)",
    ),
    "wrong_place": (
        "self.held.mul_(0.5)  # exact in FP16, too|+ self.held)",
        "held = self.held * 0.5; self.held[:, 1:] = held[:, :-1]|+ held)",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_write_is_red_and_its_place_is_named(
    fault: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The first call returns the right scores; what it left is seen there, and in later scores."""
    package = changed(folder, tmp_path / fault, *FAULTS[fault])
    monkeypatch.chdir(folder)
    capsys.readouterr()
    words = ["check", package.name, "--subject", "fading", "--case", "sequence"]
    assert main([*words, "--report", f"page_{fault}", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    verdicts: dict[str, set[str]] = {}
    for row in found["checks"]:
        if "tensor" in row:
            verdicts.setdefault(row["tensor"], set()).add(row["verdict"])
    assert verdicts["scores"] == {"pass"}
    assert "fail" in verdicts["state.held"]
    for call in range(2, CALLS + 1):
        assert verdicts[of_call("scores", call)] == {Verdict.FAIL.value}
    assert main(["explain", f"page_{fault}/run.json", "--package", package.name]) == 0
    assert "another program" in capsys.readouterr().out
    diagnose = ["diagnose", package.name, "--subject", "fading", "--case", "sequence:2", "--json"]
    assert main(diagnose) == 1
    told: Mapping[str, Any] = json.loads(capsys.readouterr().out)
    assert told["conclusion"] == "another computation"
    assert told["culprits"]
    assert "state.held" in told["culprits"]


@pytest.mark.slow
def test_a_call_is_a_case_of_the_lab(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(folder)
    levels = {}
    for case in ("sequence:1", "sequence:3", "sequence"):
        assert main(["headroom", "fading", "--case", case, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["operations"]
        levels[case] = {row["operation"]: row["peak"] for row in rows}
    assert len({tuple(peaks.values()) for peaks in levels.values()}) == 3
    assert main(["headroom", "fading", "--case", "sequence:5"]) == 2
    assert "expected sequence:1 to sequence:4" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_reduce_takes_a_network_by_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(folder)
    out = tmp_path / "bug"
    words = ["reduce", "fading", "--case", "sequence:2", "--fails-when", "snr<80"]
    assert main([*words, "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert 1 <= len(record["operations"]) < record["operations_in_whole"]
    monkeypatch.chdir(out)
    assert main(shlex.split(record["command"])[1:]) == 1, "what it says reproduces it"
    monkeypatch.chdir(folder)
    exact = ["--precision", "fp32", "--out", str(tmp_path / "none")]
    assert main([*words, *exact]) == 2
    assert "does not fail on these inputs" in " ".join(capsys.readouterr().err.split())
