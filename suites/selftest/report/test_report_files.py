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
from harness.verdicts import Check, Outcome, Profile, Run, Verdict


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
        if case.find("properties/property[@name='verdict'][@value='fail']") is not None
    ]
    assert len(cases) == 188
    assert len(unmet) > 20
    assert all(case.find("failure") is None for case in cases)
    assert all(case.find("properties/property[@name='reason']") is not None for case in unmet)


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
