"""The files beside the page: what a CI system reads of a run."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import write_report
from harness.report.junit import junit_xml
from harness.report.summary import LIMIT_BYTES, summary_markdown
from harness.report.text import markdown, printable
from harness.report.view import Page, build_page
from harness.verdicts import (
    GATES,
    ON_REQUEST,
    Check,
    FaultOutcome,
    InjectedFault,
    Outcome,
    Profile,
    Run,
    Verdict,
    Waiver,
)

FOUND = {
    verdict.value: Outcome(verdict, "so it is", "expected", "observed", headroom_db)
    for verdict, headroom_db in zip(Verdict, (1.0, -1.0, None), strict=True)
}


def parsed(run: Run) -> ET.Element:
    return ET.fromstring(junit_xml(run, build_page(run)))


def test_every_check_is_one_test_case(run: Run) -> None:
    root = parsed(run)
    assert len(root.findall("testsuite/testcase")) == len(run.checks)
    assert [suite.get("name") for suite in root] == [
        "ops", "stft", "surgery", "conversion", "end_to_end"
    ]  # fmt: skip
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("0", "0", "0")


def test_a_run_that_is_red_is_red_in_junit(broken_run: Run) -> None:
    root = parsed(broken_run)
    assert root.get("failures") == "10"
    assert root.get("errors") == "2", "a dead worker or a drifted golden went unseen"
    assert root.get("skipped") == "3"
    for failure in root.iter("failure"):
        assert failure.get("message")
        assert "reproduce: parity check" in (failure.text or "")


def test_exploratory_failures_are_properties(run: Run) -> None:
    cases = [
        case
        for case in parsed(run).iter("testcase")
        if case.find("properties/property[@name='gating'][@value='false']") is not None
    ]
    unmet = [
        case
        for case in cases
        if case.find("properties/property[@name='verdict'][@value='does not meet']") is not None
    ]
    assert len(cases) == 188
    assert len(unmet) > 20
    assert all(case.find("failure") is None for case in cases)
    assert all(case.find("properties/property[@name='reason']") is not None for case in unmet)


def test_every_suite_says_what_the_verdict_is_about(
    run: Run, make_check: Callable[..., Check]
) -> None:
    own = replace(GATES["conversion"], min_snr_db=20.0, reason=ON_REQUEST)
    loose = replace(make_check("conversion", "conversion", FOUND["pass"]), gate=own)
    caught = InjectedFault("stft.hop", "stft", "wrong", "", "stft", FaultOutcome.NOT_EFFECTIVE)
    profile = replace(run.profile, subjects=("mini",), narrowed=("case song",))
    narrowed = Run(profile, (loose,), problems=("worker gw1 died",), faults=(caught,))
    scope = " for mini (narrowed to case song, gates given on the command line)"
    assert scope in narrowed.sentence()
    suites = parsed(narrowed).findall("testsuite")
    assert [suite.get("name") for suite in suites][-2:] == ["faults", "harness"]
    for suite in suites:
        told = [item.get("value") for item in suite.findall("properties/property[@name='run']")]
        assert told == [narrowed.sentence()], "who reads this file alone takes a part for the whole"


@pytest.mark.parametrize(
    ("verdict", "gating", "word"),
    [
        ("pass", True, "pass"),
        ("fail", True, "fail"),
        ("not_evaluated", True, "not evaluated"),
        ("pass", False, "meets"),
        ("fail", False, "does not meet"),
        ("not_evaluated", False, "not evaluated"),
    ],
)
def test_a_verdict_is_in_the_words_of_the_page(
    verdict: str, gating: bool, word: str, make_check: Callable[..., Check]
) -> None:
    check = replace(make_check("surgery", "surgery", FOUND[verdict]), gating=gating)
    (found,) = parsed(Run(Profile("one"), (check,))).findall(".//property[@name='verdict']")
    assert found.get("value") == word


def test_a_waived_failure_and_a_known_bug_are_told_in_words(
    make_check: Callable[..., Check],
) -> None:
    check = make_check("surgery", "surgery", FOUND["fail"])
    waiver = Waiver(check.id, "known", "2026-01-01", "2026-02-01", lowest_headroom_db=-9.0)
    bugs = [
        InjectedFault(outcome.value, "stft", "wrong", "", "stft", outcome)
        for outcome in FaultOutcome
    ]
    waived = Run(
        Profile("one"), (check,), faults=tuple(bugs), waivers=(waiver,), started="2026-01-02"
    )
    told = [item.get("value") for item in parsed(waived).findall(".//property[@name='verdict']")]
    assert told == ["fail, waived", "caught", "missed", "not effective", "error", "not tried"]


def test_what_was_not_evaluated_is_skipped_with_its_reason(broken_run: Run) -> None:
    messages = [item.get("message", "") for item in parsed(broken_run).iter("skipped")]
    assert any("parity golden build" in message for message in messages)
    assert all(messages)


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_name_makes_a_document_that_parses(name: str) -> None:
    check = Check("ops", {"tensor": name}, True, None, Outcome(Verdict.FAIL, name, name, name))
    run = Run(profile=Profile("default"), checks=(check,), problems=(name,), started=name)
    case = ET.fromstring(junit_xml(run, build_page(run)).encode("utf-8")).find("testsuite/testcase")
    assert case is not None
    assert case.get("name") == printable(check.id)


def test_the_summary_tells_verdict_ladder_and_failures(broken_run: Run) -> None:
    text = summary_markdown(build_page(broken_run))
    assert text.startswith("## ✕ FAIL: 10 of 472 gating checks failed")
    assert "| surgery | ✕ fail | 250 | 3 |" in text
    assert "### What failed" in text
    assert "worker gw1 died" in text
    assert "An emulation is not the Neural Engine" in text
    assert "index.html" in text


def test_the_summary_has_one_short_line_for_each_recipe(run: Run) -> None:
    lines = [
        line
        for line in summary_markdown(build_page(run)).splitlines()
        if line[:3] in ("- ✓", "- ≈")
    ]
    assert [line.split("**")[1] for line in lines] == ["fp32", "fp16", "mixed"]
    assert max(map(len, lines)) < 160, "a recipe fills the page of a CI job"
    assert lines[0] == "- ✓ **fp32**: gating, pass"
    assert "exploratory, measured; does not meet conversion (worst SNR 5" in lines[1]
    assert "; does not meet end to end (worst SNR 5" in lines[1]


def test_a_long_summary_is_cut_and_says_so(run: Run, make_check: Callable[..., Check]) -> None:
    long = "ü" * 5000
    bad = Outcome(Verdict.FAIL, long, long, long, -1.0)
    checks = [
        make_check("conversion", "conversion", bad, recipe=f"{index} {long}", tensor=long)
        for index in range(300)
    ]
    text = summary_markdown(build_page(replace(run, checks=tuple(checks), problems=(long,) * 300)))
    assert len(text.encode("utf-8")) <= 65_536, "a service would drop the summary whole"
    assert text.startswith("## ✕ FAIL")
    assert "index.html" in text
    assert LIMIT_BYTES < 65_536


def test_names_in_the_summary_do_not_format_link_or_mention() -> None:
    found = markdown("a|b `c` <b>*d*</b> [e](https://f) @team www.g.h\nnext __i__")
    assert found == (
        r"a\|b \`c\` &lt;b&gt;\*d\*&lt;/b&gt; \[e\](https:\//f) \@team www\.g.h next \_\_i\_\_"
    )


def test_the_folder_is_complete_and_the_same_each_time(broken_run: Run, tmp_path: Path) -> None:
    index = write_report(broken_run, tmp_path / "new" / "latest")
    assert index == tmp_path / "new" / "latest" / "index.html"
    first = {path.name: path.read_bytes() for path in index.parent.iterdir()}
    assert sorted(first) == ["index.html", "junit.xml", "run.json", "summary.md"]
    write_report(Run.from_json(first["run.json"].decode()), index.parent)
    assert {path.name: path.read_bytes() for path in index.parent.iterdir()} == first


def test_an_older_report_stays_if_the_new_one_can_not_be_made(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(run, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(page: Page) -> str:
        raise OSError(28, "No space left on device")

    module = importlib.import_module("harness.report.render")
    monkeypatch.setattr(module, "summary_markdown", full)
    with pytest.raises(OSError, match="No space"):
        write_report(replace(run, started="later"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_infinite_headroom_is_a_property_that_reads(
    run: Run, make_check: Callable[..., Check]
) -> None:
    exact = Outcome(Verdict.PASS, "identical", "", "exact", math.inf, 0.0)
    root = parsed(replace(run, checks=(make_check("surgery", "surgery", exact),)))
    found = root.find(".//property[@name='headroom_db']")
    assert found is not None
    assert found.get("value") == "inf"
