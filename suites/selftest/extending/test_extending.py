"""An engine is one file, a network is one file and its cases; the real suites run them.

If these fail, whoever adds one has to change the harness, or gets a verdict that doesn't see it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.verdicts import Check, Run, Verdict
from suites.selftest.extending.plugins import CASES, ENGINE, FAULT, NETWORK

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
Session = Callable[..., Run]
NAME, OWN = "two_layers", "plus_a_little"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Run suites of the project on the network in a tree of its own; returns the run."""

    def run(*words: str, network: str = NETWORK, engine: str = ENGINE) -> Run:
        tree = tmp_path_factory.mktemp("tree")
        (tree / "golden").mkdir()
        (tree / "golden" / "recipes.toml").write_text(CASES, "utf-8")
        plugins = {"networks.py": network, "engines.py": engine}
        for name, text in plugins.items():
            (tree / name).write_text(text, "utf-8")
        command = [sys.executable, "-m", "pytest", *words, "--subject", NAME, "-q"]
        command += ["--golden-root", str(tree / "golden"), "--parity-out", str(tree / "out")]
        named = os.pathsep.join(str(tree / name) for name in plugins)
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider"],
            cwd=ROOT,
            env=os.environ | {"PARITY_PLUGINS": named},
            capture_output=True,
            text=True,
            check=False,
        )
        document = tree / "out" / "run.json"
        assert document.exists(), done.stdout + done.stderr
        return Run.from_json(document.read_text(encoding="utf-8"))

    return run


@pytest.fixture(scope="module")
def judged(session: Session) -> Run:
    """The network in two recipes, by the default engine and by the one that is a little off."""
    suites = ("suites/surgery", "suites/conversion", "suites/end_to_end")
    return session(*suites, "--recipe", "fp32", "--recipe", "fp16", "--engine", OWN)


def checks(run: Run, engine: str, gate: str) -> list[Check]:
    return [
        check
        for check in run.checks
        if check.labels.get("engine") == engine and check.gate and check.gate.name == gate
    ]


def test_an_added_network_is_judged_by_every_layer_that_applies(judged: Run) -> None:
    assert [golden.status for golden in judged.goldens] == ["local"]
    ours = [check for check in judged.checks if check.labels.get("engine") != OWN]
    assert {check.verdict for check in ours if check.gating} == {Verdict.PASS}
    papers = {check.gate.name for check in ours if check.gate and "engine" not in check.labels}
    assert papers >= {"contract", "audit", "weights"}
    assert [c.labels["tensor"] for c in checks(judged, "torch", "golden_here")] == [
        "tap first",
        "y",
    ]
    reached = checks(judged, "mil", "expected_precision_fp32")
    assert {check.labels["tensor"] for check in reached} == {"y", "tap first"}
    assert all(check.outcome.metrics["snr_db"] > 110 for check in reached)


def test_what_has_no_stems_needs_none_and_lacks_nothing_else(judged: Run) -> None:
    assert not any("end_to_end" in reason for reason in judged.missing)
    for layer in ("surgery", "conversion"):
        assert judged.completeness.shortfalls(layer) == ()
        made, total = judged.completeness.gating(layer)
        assert made == total > 0
    assert judged.sentence().startswith("FAIL: ")  # by the other engine alone


def test_an_added_engine_has_checks_of_its_own_and_they_are_red(judged: Run) -> None:
    assert judged.red
    assert all(f"/{OWN}/" in reason for reason in judged.red)
    assert {check.labels["tensor"] for check in judged.failing} == {"y"}
    assert [c.verdict for c in checks(judged, OWN, "conversion") if c.gating] == [Verdict.FAIL]
    expected = {row.kind for row in judged.expected.checks if row.engine == OWN}  # type: ignore[union-attr]
    assert expected == {"conversion", "expected_precision", "expected_precision_fp32"}
    (state,) = (engine for engine in judged.engines if engine.name == OWN)
    assert (state.executed, state.executes, state.version) == (True, "package", "1")


@pytest.mark.exhaustive
def test_a_fault_that_is_planted_in_an_added_network_is_red(session: Session) -> None:
    found = session("suites/conversion", "--recipe", "fp32", network=NETWORK + FAULT)
    gates = {check.gate.name for check in found.failing if check.gate}
    assert gates == {"conversion", "expected_precision_fp32", "weights"}
    assert not any("tap first" in reason for reason in found.red)  # it is right up to there


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
        (ENGINE.replace('"plus_a_little"', '"mil"'), "engine 'mil' is registered twice"),
        (ENGINE.replace("    emulates = True\n", ""), "is no engine: it lacks emulates"),
        (NETWORK.replace("two_layers", "mini"), "network 'mini' is registered twice"),
    ],
)
def test_a_plugin_that_can_not_be_used_stops_every_command(
    plugin: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else a run would be green for what it was never asked."""
    file = tmp_path / "mine.py"
    file.write_text(plugin, "utf-8")
    monkeypatch.setenv("PARITY_PLUGINS", str(file))
    for _ in range(2):  # it is no better the second time
        assert main(["doctor"]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "mine.py' of PARITY_PLUGINS can't be imported (" in said
        assert words in said


def test_a_package_of_an_added_network_is_checked_without_stems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.subjects.subject._NETWORKS", {})
    monkeypatch.setattr("harness.plugins._begun", set())
    (tmp_path / "mine.py").write_text(NETWORK, "utf-8")
    (tmp_path / "recipes.toml").write_text(CASES, "utf-8")
    monkeypatch.setenv("PARITY_PLUGINS", str(tmp_path / "mine.py"))
    package = str(tmp_path / "two.mlpackage")
    assert main(["convert", NAME, "--out", package]) == 0
    capsys.readouterr()
    asked = ["check", package, "--subject", NAME, "--golden-root", str(tmp_path), "--case", "noise"]
    assert main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "pass"
    assert {check["layer"] for check in found["checks"]} == {"conversion"}
    assert {check["tensor"] for check in found["checks"] if "tensor" in check} == {"y", "tap first"}
    assert main([*asked, "--layer", "end_to_end"]) == 2
    assert "has no stems" in " ".join(capsys.readouterr().err.split())
