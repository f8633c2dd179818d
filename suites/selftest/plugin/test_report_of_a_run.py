"""What lies in the report's folder while a run is at work, and after it was killed."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.verdicts import Check, Outcome, Profile, Run, Verdict
from suites.selftest.plugin.test_plugin import GREEN

OUT = ("-p", "harness.pytest_plugin", "-p", "no:cacheprovider", "--parity-out", "out")
KILLED = "\ndef test_killed():\n    import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)\n"
FULL = """
def test_that_fills_the_disk():
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills are signals of POSIX")


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    """A folder with the report of a run that passed, and a session that would replace it."""
    from harness.report import write_report

    pytester.makeini("[pytest]\nmarkers =\n  layer(name): rung\njunit_family = xunit1")
    pytester.makepyfile(test_surgery=GREEN.format(layer="surgery"))
    held = Check("ops", {"what": "one"}, True, None, Outcome(Verdict.PASS, "so", "", ""))
    profile = Profile("example", layers=("ops",), engines=())
    passed = Run(profile, (held,), started="2026-01-01T00:00:00+00:00")
    assert passed.verdict is Verdict.PASS
    write_report(passed, pytester.path / "out")
    return pytester.path / "out"


def is_marked(folder: Path) -> bool:
    """Whether no file of the report can be taken for the answer of today."""
    run = Run.from_json((folder / "run.json").read_text("utf-8"))
    page, junit = (folder / "index.html").read_text("utf-8"), ET.parse(folder / "junit.xml")
    assert run.verdict is Verdict.NOT_EVALUATED
    assert run.started.startswith("2026-01-01"), "the report is not the old one"
    assert "This report is outdated" in page
    assert "<title>NOT EVALUATED" in page
    assert run.missing[0] in [item.get("message") for item in junit.iter("skipped")]
    assert "**Outdated:** a newer run began" in (folder / "summary.md").read_text("utf-8")
    return bool(run.overtaken)


def test_a_run_that_is_killed_leaves_no_page_that_looks_current(
    pytester: pytest.Pytester, folder: Path
) -> None:
    """Yesterday's green page is what everybody opens after a job that ran out of memory."""
    pytester.makepyfile(test_surgery=GREEN.format(layer="surgery") + KILLED)
    assert pytester.runpytest_subprocess(*OUT).ret == -9
    assert is_marked(folder)


def test_a_report_that_can_not_be_written_is_no_traceback(
    pytester: pytest.Pytester, folder: Path
) -> None:
    """The disk fills up in hour three: one sentence, exit code 2, and a page that says so."""
    pytester.makepyfile(test_surgery=GREEN.format(layer="surgery") + FULL)
    result = pytester.runpytest_subprocess(*OUT)
    assert result.ret == 2
    result.stdout.fnmatch_lines("the report of this run can't be written (*File too large*")
    assert "INTERNALERROR" not in result.stdout.str()
    assert is_marked(folder)


def test_a_history_that_can_not_be_read_stops_a_run_before_it_begins(
    pytester: pytest.Pytester, folder: Path
) -> None:
    """At its end, hours of work would be lost for a broken file beside them."""
    pytester.makefile(".json", **{"history/broken": "{"})
    before = (folder / "index.html").read_bytes()
    result = pytester.runpytest_subprocess(*OUT, "--parity-history", "history")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines("ERROR: *broken.json*")
    assert (folder / "index.html").read_bytes() == before
