"""Whoever opens the report must see at once that a known bug passed, and which."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from harness.report import render
from harness.report.junit import junit_xml
from harness.report.summary import summary_markdown
from harness.report.view import build_page
from harness.verdicts import FaultOutcome, InjectedFault, Profile, Run

CAUGHT = InjectedFault(
    "stems.order",
    "stems",
    "Two stems are <exchanged>.",
    "somewhere",
    "end_to_end",
    FaultOutcome.CAUGHT,
    caught_by="end_to_end/end_to_end/drums",
    seen_by=("end_to_end/end_to_end",),
    reason="SNR 1.00 dB, not above 60 dB",
    headroom_db=-59.0,
)
MISSED = InjectedFault(
    "stems.click", "stems", "A click.", "somewhere", "end_to_end", FaultOutcome.MISSED,
    reason="end_to_end stayed green",
)  # fmt: skip


@pytest.fixture
def red() -> Run:
    profile = Profile("faults", layers=(), engines=(), subjects=("mini",), faults=True)
    return Run(profile, checks=(), faults=(CAUGHT, MISSED))


def test_the_page_names_the_bug_that_passed(red: Run) -> None:
    page = render(red)
    assert "1 of 2 injected faults were not caught." in page
    assert "fault stems.click: missed: end_to_end stayed green" in page
    assert "Two stems are &lt;exchanged&gt;." in page
    assert "\N{MINUS SIGN}59.0" in page


def test_other_readers_see_it_too(red: Run) -> None:
    suite = ET.fromstring(junit_xml(red, build_page(red))).find("testsuite[@name='faults']")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert "Known bugs that went unnoticed" in summary_markdown(build_page(red))


def test_a_run_without_faults_says_so(red: Run) -> None:
    page = render(Run(red.profile, checks=()))
    assert "no known bug was injected in this run, although its profile asks for some" in page
