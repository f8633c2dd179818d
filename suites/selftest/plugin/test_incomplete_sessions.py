"""However a session comes to look at less than the inventory lists, it is not green and says so.

The options come through the environment, as they reach a job that nobody wants to cheat.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.engines import base
from harness.places import INVENTORY
from harness.verdicts import Run, Verdict
from suites.selftest.extending.plugins import ENGINE
from suites.selftest.plugin.sessions import FAULTS, GREEN

ROOT = Path(__file__).parents[3]
PLUGIN = 'pytest_plugins = ["harness.pytest_plugin"]\n'
NOT_EVALUATED, USAGE = 3, int(pytest.ExitCode.USAGE_ERROR)


def run(
    suite: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    options: str = "",
    *,
    autoload: bool = False,
) -> tuple[Run | None, int]:
    """Run the session in this process; return the run, if one was written, and the exit status."""
    if not (suite.path / "conftest.py").exists():
        suite.makeconftest(PLUGIN)
    monkeypatch.setenv("PYTEST_ADDOPTS", options)
    # Each session would import the plugins of others anew.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "" if autoload else "1")
    # The page and the origin of a run have tests of their own, and take longer than the session.
    monkeypatch.setattr("harness.pytest_plugin.gatherer.provenance", lambda command: {})
    monkeypatch.setattr("harness.report.write_report", write_document)
    out = suite.path / "out"
    result = suite.runpytest_inprocess("--parity-out", str(out))
    document = out / "run.json"
    made = Run.from_json(document.read_text(encoding="utf-8")) if document.exists() else None
    return made, int(result.ret)


def write_document(document: Run, folder: Path, record: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(document.to_json(), encoding="utf-8")


def said(document: Run | None) -> str:
    assert document is not None
    assert document.verdict is Verdict.NOT_EVALUATED
    assert document.sentence().startswith("NOT EVALUATED: ")
    return "\n".join(document.missing)


def test_a_complete_session_is_green_and_says_how_complete(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, status = run(suite, monkeypatch)
    assert document is not None
    assert (status, document.missing) == (0, ())
    assert document.coverage == "complete: 10 of 10 expected gating checks"


@pytest.mark.parametrize(
    "options",
    [
        "--ignore=test_stft.py",
        "--ignore-glob=*stft*",
        "-k 'not stft'",
        "--deselect=test_stft.py",
        "-o python_files='test_[!s]*.py test_surgery.py'",
    ],
)
def test_a_suite_that_is_left_out_is_missed(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    document, status = run(suite, monkeypatch, options)
    assert status == NOT_EVALUATED
    for subject in ("mini", "htdemucs_6s@seeded"):
        line = f"layer stft: 0 of 1 expected gating checks of {subject} were made"
        assert line in said(document)


@pytest.mark.parametrize(
    "option",
    [
        "--collect-only",
        "--co",
        "--setup-only",
        "--setup-plan",
        "--fixtures",
        "--fixtures-per-test",
    ],
)
def test_a_session_that_runs_no_test_is_not_green(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    document, status = run(suite, monkeypatch, option)
    assert status == NOT_EVALUATED
    assert document is not None
    assert any("which runs no test" in gap for gap in document.gaps)
    assert document.coverage == "incomplete: 0 of 10 expected gating checks"


@pytest.mark.parametrize("option", ["--markers", "--cache-show=*"])
def test_a_call_that_begins_no_session_is_not_green(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    document, status = run(suite, monkeypatch, option)
    assert status == NOT_EVALUATED
    assert document is None or document.verdict is Verdict.NOT_EVALUATED


def test_help_is_no_run(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(suite, monkeypatch, "--help") == (None, 0)


@pytest.mark.parametrize("options", ["-p no:parity-gatherer", "-p no:gatherer"])
def test_what_gathers_has_no_name_by_which_it_could_be_switched_off(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    Path(suite.path / "test_stft.py").unlink()
    document, status = run(suite, monkeypatch, options)
    assert status == NOT_EVALUATED
    assert "layer stft: 0 of 1" in said(document)


@pytest.mark.parametrize("options", ["-p no:harness.pytest_plugin", "-p no:xdist -n 2"])
def test_an_option_of_a_plugin_that_is_switched_off_is_refused(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    assert run(suite, monkeypatch, options, autoload="xdist" in options) == (None, USAGE)


def test_without_the_plugin_that_collects_functions_nothing_is_green(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, status = run(suite, monkeypatch, "-p no:python")
    assert status == NOT_EVALUATED
    assert "faults: no known bug was injected" in said(document)


def test_what_gathers_can_not_be_taken_away_unseen(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makeconftest(
        PLUGIN
        + "def pytest_sessionstart(session):\n"
        + "    manager = session.config.pluginmanager\n"
        + "    for plugin in list(manager.get_plugins()):\n"
        + "        if type(plugin).__name__ == 'Gatherer':\n"
        + "            manager.unregister(plugin)\n"
    )
    assert run(suite, monkeypatch) == (None, NOT_EVALUATED)


def test_tests_that_a_conftest_drops_in_silence_are_missed(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = "def pytest_collection_modifyitems(items):\n    items[:] = items[1:]\n"
    suite.makeconftest(PLUGIN + drops)
    document, status = run(suite, monkeypatch)
    assert status == NOT_EVALUATED
    assert "layer conversion: 0 of 1" in said(document)


@pytest.mark.parametrize("option", ["--lf", "--sw"])
def test_only_what_failed_last_time_is_less_than_all(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    bad = GREEN.format(layer="surgery").replace("ONES, ONES", "ONES, 2 * ONES")
    Path(suite.path / "test_surgery.py").write_text(bad, "utf-8")
    assert run(suite, monkeypatch, option)[1] != 0
    Path(suite.path / "test_surgery.py").write_text(GREEN.format(layer="surgery"), "utf-8")
    document, status = run(suite, monkeypatch, option)
    assert status == NOT_EVALUATED
    assert "layer conversion: 0 of 1" in said(document)


def test_an_engine_that_was_asked_for_and_not_used_leaves_gaps(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do the default engines' checks make up for those that it should have made."""
    monkeypatch.setattr("harness.engines.base._ENGINES", dict(base._ENGINES))
    (suite.path / "mine.py").write_text(ENGINE, "utf-8")
    monkeypatch.setenv("PARITY_PLUGINS", str(suite.path / "mine.py"))
    document, status = run(suite, monkeypatch, "--engine plus_a_little")
    assert status == NOT_EVALUATED
    assert "engine plus_a_little: was available, but no check used it" in said(document)
    assert "layer conversion: 1 of 2 expected gating checks of mini were made" in said(document)
    assert "0 of 1 conversion on conversion by plus_a_little" in said(document)


def test_an_engine_that_does_not_exist_stops_the_session(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(suite, monkeypatch, "--engine colibri") == (None, USAGE)


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_a_session_that_stops_at_the_first_failure_is_red(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    bad = GREEN.format(layer="conversion").replace("ONES, ONES", "ONES, 2 * ONES")
    Path(suite.path / "test_conversion.py").write_text(bad, "utf-8")
    document, status = run(suite, monkeypatch, option)
    assert status == 1
    assert document is not None
    assert any("5 test(s) never finished: " in reason for reason in document.red)
    assert "layer surgery: 0 of 1" in "\n".join(document.missing)


@pytest.mark.parametrize("how", ["pytest.exit('enough', returncode=0)", "raise KeyboardInterrupt"])
def test_a_session_that_a_test_ends_is_red(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    body = GREEN.format(layer="surgery") + f"\ndef test_x(parity):\n    {how}\n"
    Path(suite.path / "test_surgery.py").write_text(body, "utf-8")
    document, status = run(suite, monkeypatch)
    assert status == 1
    assert document is not None
    assert any("never finished: test_surgery.py::test_x" in reason for reason in document.red)


def test_one_subject_that_a_test_leaves_out_is_named(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GREEN.format(layer="surgery").replace('("mini", ', "(").replace('d")', 'd",)')
    Path(suite.path / "test_surgery.py").write_text(text, "utf-8")
    document, status = run(suite, monkeypatch)
    assert status == NOT_EVALUATED
    assert document is not None
    assert document.missing == ("layer surgery: 0 of 1 expected gating checks of mini were made",)


def test_a_gating_check_that_became_exploratory_is_missed(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GREEN.format(layer="surgery").replace("subject=subject", "subject=subject, gating=False")
    Path(suite.path / "test_surgery.py").write_text(text, "utf-8")
    document, status = run(suite, monkeypatch)
    assert status == NOT_EVALUATED
    assert "layer surgery: 0 of 1 expected gating checks" in said(document)


def test_a_fault_that_is_no_longer_injected_is_named(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FAULTS.replace("stems.order", "stems.other")
    Path(suite.path / "test_faults.py").write_text(text, "utf-8")
    document, status = run(suite, monkeypatch)
    assert status == NOT_EVALUATED
    assert said(document) == "faults: 1 of 1 expected faults were not injected: stems.order"


def test_a_fault_that_could_not_be_tried_is_not_evaluated(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FAULTS.replace("FaultOutcome.CAUGHT", "FaultOutcome.NOT_TRIED, reason='no clone'")
    Path(suite.path / "test_faults.py").write_text(text, "utf-8")
    document, status = run(suite, monkeypatch)
    assert status == NOT_EVALUATED
    assert said(document) == "fault stems.order: not tried: no clone"
    assert "CheckFailed: fault stems.order: not tried: no clone" in capsys.readouterr().out


def test_the_terminal_has_a_layer_that_was_not_evaluated_in_words(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(suite, monkeypatch, "--ignore=test_stft.py")
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("stft ")]
    assert line.split()[1:3] == ["not", "evaluated"]


def test_without_an_inventory_nobody_knows_what_is_complete(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (suite.path / INVENTORY).unlink()
    document, status = run(suite, monkeypatch)
    assert status == NOT_EVALUATED
    assert "what a complete run looks at is not known" in said(document)


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 2, "checks": []}'])
def test_an_inventory_that_lists_nothing_stops_the_session(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """To an empty one every run is complete."""
    (suite.path / INVENTORY).write_text(text, "utf-8")
    assert run(suite, monkeypatch) == (None, USAGE)


def test_a_narrowed_session_is_complete_for_what_it_was_narrowed_to(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, status = run(suite, monkeypatch, "--subject mini")
    assert status == 0
    assert document is not None
    assert document.coverage == "complete for subject mini: 5 of 5 expected gating checks"
    assert document.sentence() == (
        "PASS: all 10 gating checks hold for mini (narrowed to subject mini), "
        "and 1 of 1 injected faults were caught."
    )


def test_without_asserts_nothing_is_green(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suites and the harness assert, too."""
    monkeypatch.setattr("harness.pytest_plugin.gatherer.ASSERTS", False)
    document, status = run(suite, monkeypatch)
    assert status == NOT_EVALUATED
    assert "PYTHONOPTIMIZE, which leaves out every assert statement" in said(document)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("optimize", "status"), [("1", NOT_EVALUATED), ("", 0)])
def test_python_that_optimizes_is_noticed(
    suite: pytest.Pytester, optimize: str, status: int
) -> None:
    """In a process of its own: Python compiles everything that is imported once more."""
    suite.makeconftest(PLUGIN)
    words = [sys.executable, "-m", "pytest", "--parity-out", "out", "-p", "no:cacheprovider"]
    environment = {"PYTHONOPTIMIZE": optimize, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words,
        cwd=suite.path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
