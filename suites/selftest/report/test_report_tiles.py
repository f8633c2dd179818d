"""The tiles under the verdict: how close it was, what moved, and which recipe can be shipped."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.report.summary import summary_markdown
from harness.report.view import build_page
from harness.report.view_tiles import Fact
from harness.verdicts import GATES, Check, FaultOutcome, Outcome, Profile, Record, Run, Verdict
from suites.selftest.report.conftest import compared
from suites.selftest.report.whole_run import LARGE, MINI, WORST, broken, record, whole_run


@pytest.fixture(scope="module")
def whole() -> Run:
    return whole_run()


def facts_of(run: Run, against: Record | None = None) -> dict[str, tuple[Fact, ...]]:
    return {tile.label: tile.facts for tile in build_page(run, against).tiles}


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_the_stem_that_comes_closest_is_named_with_its_distance(whole: Run) -> None:
    (fact,) = facts_of(whole)["Worst stem"]
    assert (plain(fact.value), fact.state) == (f"{WORST[0]} dB", "pass")
    words = "1.3 dB above the gate of 60 dB: worst second · drums, mini · sine · mini_60db"
    assert plain(fact.words) == words
    place = int(fact.anchor.removeprefix("check-"))
    assert whole.checks[place - 1].outcome.observed.startswith("61.30 dB")


def test_a_failed_stem_stands_before_every_ratio(whole: Run) -> None:
    """A stem of another shape has no ratio, and is no better than one with a low one."""
    (fact,) = facts_of(broken(whole))["Worst stem"]
    assert (plain(fact.value), fact.state) == ("48.7 dB", "fail")
    assert plain(fact.words).startswith("11.3 dB below the gate of 60 dB: vocals")
    place = next(n for n, c in enumerate(whole.checks) if c.gating and c.layer == "end_to_end")
    shape = Outcome(Verdict.FAIL, "shape: expected (2,), got (3,)", "", "another shape")
    checks = list(whole.checks)
    checks[place] = replace(checks[place], outcome=shape)
    (fact,) = facts_of(replace(whole, checks=tuple(checks)))["Worst stem"]
    assert (fact.value, fact.anchor) == ("no distance", f"check-{place + 1}")


def test_the_least_headroom_is_of_all_layers_and_of_gating_checks_only(whole: Run) -> None:
    (fact,) = facts_of(whole)["Least headroom"]
    assert plain(fact.value) == "+1.3 dB", "fp16 is far below, and gates nothing"
    (fact,) = facts_of(broken(whole))["Least headroom"]
    assert (fact.state, fact.anchor) == ("fail", f"check-{len(whole.checks)}")
    assert fact.words.startswith("ops, operation ")


def test_what_moved_is_counted_against_the_baseline(whole: Run) -> None:
    (fact,) = facts_of(whole, record(whole))["Since the baseline"]
    assert (fact.value, fact.anchor) == ("1 moved", "history")
    assert plain(fact.words) == "1 for the worse, compared with 3 424 of 3 424 checks"
    (fact,) = facts_of(whole)["Since the baseline"]
    assert (fact.value, fact.words) == ("not known", "no baseline has been accepted")


def test_what_is_no_longer_checked_is_no_silence(whole: Run) -> None:
    less = replace(whole, checks=whole.checks[:-3])
    (fact,) = facts_of(less, record(whole))["Since the baseline"]
    assert "3 no longer checked" in fact.words


def test_what_is_checked_for_the_first_time_has_not_moved(whole: Run) -> None:
    """Otherwise another engine beside the usual ones looks like a change of the package."""
    known = record(replace(whole, checks=whole.checks[:-3]))
    (before,) = facts_of(replace(whole, checks=whole.checks[:-3]), known)["Since the baseline"]
    (fact,) = facts_of(whole, known)["Since the baseline"]
    assert fact.value == before.value
    assert "3 new" in fact.words


def test_the_cheapest_gating_recipe_of_each_subject_is_to_be_shipped(whole: Run) -> None:
    first, second = facts_of(whole)["Recipe to ship"]
    assert (first.value, second.value) == ("mini_60db", "htdemucs_6s_60db")
    assert plain(first.words) == "mini: 2 % of its operations in FP32, 100 MB"
    anchors = {(v.subject, v.recipe): v.anchor for v in build_page(whole).recipes}
    assert (first.anchor, second.anchor) == (
        anchors[MINI, "mini_60db"],
        anchors[LARGE, "htdemucs_6s_60db"],
    )


def test_one_that_fails_is_not_shipped_and_the_next_is_dearer(whole: Run) -> None:
    checks = tuple(
        replace(item, outcome=compared(item.gate, 40.0))
        if item.gate and item.labels.get("recipe") in ("mini_60db", "mini_elementwise")
        and item.layer == "end_to_end"
        else item
        for item in whole.checks
    )  # fmt: skip
    first, second = facts_of(replace(whole, checks=checks))["Recipe to ship"]
    assert (first.value, second.value) == ("fp32", "htdemucs_6s_60db")
    assert "100 %" in plain(first.words)


@pytest.mark.parametrize("layer", ["ops", "surgery", "stft"])
def test_nothing_is_shipped_that_rests_on_a_failure(whole: Run, layer: str) -> None:
    place = next(n for n, item in enumerate(whole.checks) if item.layer == layer)
    checks, gate = list(whole.checks), whole.checks[place].gate
    assert gate is not None
    checks[place] = replace(checks[place], outcome=compared(gate, 20.0, 30.0))
    of = checks[place].labels.get("subject", "")
    first, second = facts_of(replace(whole, checks=tuple(checks)))["Recipe to ship"]
    assert (first.value == "none") is (of in ("", MINI))
    assert (second.value == "none") is (of in ("", LARGE))


def test_nothing_is_shipped_where_the_harness_itself_is_in_doubt(whole: Run) -> None:
    escaped = replace(whole.faults[0], outcome=FaultOutcome.MISSED)
    for run in (
        replace(whole, faults=(escaped, *whole.faults[1:])),
        replace(whole, problems=("a worker died",)),
        replace(whole, gaps=("a test was skipped",)),
    ):
        assert [fact.value for fact in facts_of(run)["Recipe to ship"]] == ["none", "none"]


def test_a_recipe_whose_cost_is_unknown_is_named_without_one(run: Run) -> None:
    bare = replace(run, artefacts=type(run.artefacts)())
    (fact,) = facts_of(bare)["Recipe to ship"]
    assert (fact.value, fact.words) == ("fp32", "what it costs was not recorded")


def test_a_run_without_checks_is_close_to_nothing(run: Run) -> None:
    facts = facts_of(replace(run, checks=(), artefacts=type(run.artefacts)()))
    assert [fact.value for (fact,) in facts.values()] == [
        "not evaluated", "not evaluated", "not known", "none"
    ]  # fmt: skip
    assert not any(fact.anchor for (fact,) in facts.values())


def test_not_a_number_is_no_headroom(whole: Run) -> None:
    place = next(n for n, item in enumerate(whole.checks) if item.gating)
    odd = replace(whole.checks[place].outcome, verdict=Verdict.FAIL, headroom_db=math.nan)
    checks = list(whole.checks)
    checks[place] = replace(checks[place], outcome=odd)
    (fact,) = facts_of(replace(whole, checks=tuple(checks)))["Least headroom"]
    assert (fact.value, fact.state) == ("not a number", "fail")


def test_a_ci_job_reads_the_same(whole: Run) -> None:
    text = plain(summary_markdown(build_page(whole, record(whole))))
    assert "- Worst stem: **61.3 dB** (1.3 dB above the gate of 60 dB" in text
    assert "- Recipe to ship: **mini\\_60db** (mini: 2 %" in text


def test_a_comparison_of_files_shows_only_what_it_can_answer() -> None:
    """Who compares two files asks for no recipe, no baseline and no layer without a check."""
    late = compared(GATES["end_to_end"], -5.9)
    late = replace(late, reason=f"{late.reason}; cause: late by 1024 samples")
    check = Check("end_to_end", {"tensor": "mine.wav"}, True, GATES["end_to_end"], late)
    run = Run(Profile("compare", (), ()), (check,))
    page = build_page(run)
    assert [tile.label for tile in page.tiles] == ["Least headroom"]
    assert (plain(page.tiles[0].facts[0].value), page.title) == (
        "\N{MINUS SIGN}65.9 dB",
        "Parity report: compare",
    )
    assert run.sentence().startswith("FAIL: 1 of 1 gating checks failed; first: ")
    assert ([rung.name for rung in page.ladder], page.advice) == (["end to end"], "")
    assert page.banner.failures[0].told.endswith("cause: late by 1024 samples")
