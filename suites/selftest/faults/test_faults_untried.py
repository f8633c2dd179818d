"""A bug that could not be tried was neither caught nor missed: it is not evaluated, not red."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.cli import main
from harness.errors import NotEvaluatedError, ParityError
from harness.faults import FaultInjector, get_fault
from harness.faults.injector import judge_gate
from harness.faults.judges import sessions
from harness.faults.judges.sessions import judge_by_suite, judge_session
from harness.faults.judging import FaultJudgement, inject, sound_digests, untried
from harness.faults.registry import Fault
from harness.report import write_report
from harness.verdicts import FaultOutcome, InjectedFault, Profile, Run, Verdict, not_evaluated
from harness.workbench import Workbench

PROFILE = Profile("faults", layers=(), engines=(), subjects=("mini",), faults=True)
SESSION, SUITE = get_fault("harness.test-skipped"), get_fault("metrics.epsilon-in-ratio")


def injector(tmp_path: Path) -> FaultInjector:
    return FaultInjector(Workbench(tmp_path, tmp_path / "packages"))


def row(outcome: FaultOutcome, name: str = "stems.order", reason: str = "") -> InjectedFault:
    return InjectedFault(name, "stems", "bug", "s", "end_to_end", outcome, reason=reason)


def without_golden(fault: Fault) -> Iterator[FaultJudgement]:
    yield FaultJudgement("stems", "gate", "x", not_evaluated("no golden"), "")


def without_package(fault: Fault) -> Iterator[FaultJudgement]:
    raise NotEvaluatedError("no package")
    yield


def test_without_a_control_that_can_be_judged_nothing_is_tried() -> None:
    with pytest.raises(NotEvaluatedError, match=r"without any bug .* is not evaluated: no golden"):
        sound_digests(without_golden, SESSION)
    assert untried(SESSION, NotEvaluatedError("x")).outcome is FaultOutcome.NOT_TRIED
    assert untried(SESSION, ParityError("x")).outcome is FaultOutcome.ERROR


def test_a_trial_that_lacks_something_is_not_tried() -> None:
    found = inject(SESSION, without_package, {})
    assert (found.outcome, found.reason) == (FaultOutcome.NOT_TRIED, "no package")


def test_a_gate_whose_sentinel_lacks_something_is_not_tried() -> None:
    """If the sentinel can't be tried, nothing was seen of the gate that it watches over."""
    gate = get_fault("harness.loosened-end-to-end")
    judge = partial(judge_gate, lambda sentinel: untried(sentinel, NotEvaluatedError("no golden")))
    with pytest.raises(NotEvaluatedError, match="no golden"):
        sound_digests(judge, gate)
    assert inject(gate, judge, {}).outcome is FaultOutcome.NOT_TRIED


def test_without_a_clone_the_bugs_that_suites_judge_are_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "INSTALLED", True)
    found = injector(tmp_path).inject(SUITE)
    assert found.outcome is FaultOutcome.NOT_TRIED
    assert "has no suites" in found.reason
    assert "run this in a clone" in found.reason


def test_without_what_the_suites_import_their_bugs_are_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = "suites/x.py could not be collected: ModuleNotFoundError: No module named 'mir_eval'"
    run = Run(PROFILE, (), problems=(problem,))
    monkeypatch.setattr(sessions, "_run", lambda *words, **more: run)
    found = injector(tmp_path).inject(SUITE)
    assert found.outcome is FaultOutcome.NOT_TRIED
    assert "No module named 'mir_eval'" in found.reason
    assert "pip install -e .[test]" in found.reason
    # Behind a sound control the same is the bug's doing.
    (said,) = judge_by_suite(SUITE)
    assert said.outcome.verdict is Verdict.FAIL


def test_a_session_that_does_not_end_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SECONDS", 0.01)
    with pytest.raises(NotEvaluatedError, match="did not end within"):
        list(judge_session(SESSION.control))


def test_a_run_counts_what_was_not_tried_apart() -> None:
    caught, untried = row(FaultOutcome.CAUGHT), row(FaultOutcome.NOT_TRIED, "stems.x", "no clone")
    run = Run(PROFILE, (), faults=(caught, untried))
    assert (run.verdict, run.red) == (Verdict.NOT_EVALUATED, ())
    assert run.missing == ("fault stems.x: not tried: no clone",)
    missed = row(FaultOutcome.MISSED, "stems.y", "stayed green")
    red = Run(PROFILE, (), faults=(caught, untried, missed))
    assert red.sentence().startswith("FAIL: 1 of 2 injected faults were not caught")
    assert red.missing == run.missing


def test_the_report_says_not_tried_and_not_that_it_went_unnoticed(tmp_path: Path) -> None:
    faults = row(FaultOutcome.CAUGHT), row(FaultOutcome.NOT_TRIED, "stems.x", "no clone")
    page = write_report(Run(PROFILE, (), faults=faults), tmp_path).read_text("utf-8")
    assert "1 known bug injected, 1 caught; 1 not tried" in page
    assert "Known bugs that went unnoticed" not in page
    assert "1 not tried, 1 caught" in page
    suite = ElementTree.parse(tmp_path / "junit.xml").find("testsuite[@name='faults']")
    assert suite is not None
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")


def test_where_there_are_no_goldens_nothing_is_injected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["faults", "--golden-root", str(tmp_path), "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["error"].startswith("nothing was injected: ")
    assert len(answer["error"]) < 500
