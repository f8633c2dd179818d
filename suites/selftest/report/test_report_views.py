"""The view models: what is counted, sorted and said."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import render
from harness.report.summary import summary_markdown
from harness.report.view import build_page
from harness.report.view_scores import QualityTable
from harness.verdicts import (
    GATES,
    Check,
    Gate,
    Outcome,
    Profile,
    Run,
    Verdict,
    Waiver,
    not_evaluated,
)
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.rows.operations import OperationProfile, TapSeries
from harness.verdicts.rows.signals import Quality
from suites.selftest.report.figure_rows import series as series_row
from suites.selftest.report.run_rows import RECIPES, package_rows, quality_row, separation_row

ALONG = [math.inf, 80.0, 79.0, 95.0, 70.0, None, 69.5]
"""SNR along a program; one place has no ratio."""


def outcome(
    snr_db: float = 70.0, headroom_db: float | None = 10.0, ratio: float | None = 0.5
) -> Outcome:
    met = snr_db > 60.0 and (ratio is None or ratio <= 1.0) and (headroom_db or 0.0) >= 0.0
    verdict = Verdict.PASS if met else Verdict.FAIL
    return Outcome(verdict, "why", "", "", headroom_db, ratio, {"snr_db": snr_db, "silent": False})


def run_of(*checks: Check) -> Run:
    return Run(profile=Profile("default", subjects=("htdemucs_6s@seeded",)), checks=checks)


def test_failures_come_first_then_gaps_then_the_least_headroom(
    make_check: Callable[..., Check],
) -> None:
    found = {
        "far": outcome(headroom_db=40.0),
        "exact": outcome(snr_db=math.inf, headroom_db=math.inf, ratio=0.0),
        "close": outcome(headroom_db=0.5),
        "gap": not_evaluated("no golden"),
        "bad": outcome(snr_db=50.0, headroom_db=-10.0),
        "worse": outcome(snr_db=40.0, headroom_db=-20.0),
        "shapeless": outcome(snr_db=40.0, headroom_db=None),
    }
    checks = [
        make_check("conversion", "conversion", item, tensor=name) for name, item in found.items()
    ]
    layer = build_page(run_of(*checks)).checks[3]
    assert [row.what for row in layer.gating] == [
        "shapeless", "worse", "bad", "gap", "close", "far", "exact"
    ]  # fmt: skip
    assert [row.what for row in layer.attention] == ["shapeless", "worse", "bad", "gap"]


def test_a_recipe_is_told_bound_by_bound(make_check: Callable[..., Check]) -> None:
    ratios = [(70.0, 9.0), (65.0, 7.4), (61.0, 2.0), (66.0, 3.0), (55.0, 4.0), (58.0, 5.0)]
    checks = [
        make_check(
            "conversion",
            "conversion",
            outcome(snr, -3.0, ratio),
            False,
            recipe="mixed",
            tensor=str(index),
        )
        for index, (snr, ratio) in enumerate(ratios)
    ]
    (view,) = build_page(run_of(*checks)).recipes
    assert (view.state, view.gating) == ("measured", False)
    assert view.gates[0].sentences == (
        "meets SNR > 60 dB on 4 of 6 checks (worst 55.0\N{NO-BREAK SPACE}dB: 4)",
        "does not meet rtol 0.001, atol 0.0001 on any of 6 checks "
        "(the worst would need 9 times these tolerances)",
    )
    assert view.summary == "Does not meet conversion in full."


def test_each_check_is_held_to_its_own_bound(make_check: Callable[..., Check]) -> None:
    """Expected precision differs from tensor to tensor: one bound must not stand for all."""
    checks = []
    for index, limit in enumerate((62.0, 80.0)):
        gate = Gate("expected_precision", "within 3 dB of its prediction", min_snr_db=limit)
        item = make_check(
            "conversion",
            "conversion",
            outcome(70.0, 70.0 - limit, None),
            False,
            recipe="mixed",
            tensor=str(index),
        )
        checks.append(replace(item, gate=gate))
    (view,) = build_page(run_of(*checks)).recipes
    (bound,) = view.gates[0].bounds
    assert (bound.met, bound.total) == (1, 2)
    assert "62.0 to 80.0 dB" in bound.words


def test_a_check_that_broke_early_does_not_meet_a_bound(make_check: Callable[..., Check]) -> None:
    broken = Outcome(Verdict.FAIL, "shape: expected (2,), got (3,)", "", "")
    item = make_check("conversion", "conversion", broken, False, recipe="mixed")
    (view,) = build_page(run_of(item)).recipes
    assert [(bound.met, bound.total) for bound in view.gates[0].bounds] == [(0, 1), (0, 1)]
    assert view.gates[0].word == "does not meet"


def test_a_recipe_that_nothing_used_is_not_evaluated(run: Run) -> None:
    profile = replace(run.profile, recipes=(*run.profile.recipes, "palettized"))
    view = build_page(replace(run, profile=profile)).recipes[-1]
    assert (view.recipe, view.state, view.gating) == ("palettized", "not_evaluated", None)


def test_only_fp32_gates_although_every_package_is_audited(run: Run) -> None:
    """The contract and the audit gate under every recipe; they make none of them gating."""
    page = build_page(run)
    assert {view.recipe: (view.gating, view.state) for view in page.recipes} == {
        "fp32": (True, "pass"), "fp16": (False, "measured"), "mixed": (False, "measured")
    }  # fmt: skip
    assert page.banner.gating_recipes == ("fp32",)
    assert page.banner.exploratory_recipes == ("fp16", "mixed")
    assert page.recipes[1].role == "exploratory: measured only, but for contract and audit"


def test_a_recipe_whose_outputs_gate_is_not_called_exploratory(
    make_check: Callable[..., Check],
) -> None:
    """`parity check` holds every package to the gates: its failure is one, whatever the recipe."""
    bad = outcome(snr_db=50.0, headroom_db=-10.0)
    item = make_check("conversion", "conversion", bad, True, recipe="fp16")
    rows = tuple(row for row in package_rows() if row.recipe == "fp16" and not row.gating)
    page = build_page(replace(run_of(item), artefacts=Artefacts(precision_map=rows)))
    assert [(view.gating, view.state) for view in page.recipes] == [(True, "fail")]
    assert (page.banner.gating_recipes, page.banner.exploratory_recipes) == (("fp16",), ())
    assert "no recipe gates this run" not in render(page.run)


def test_a_recipe_that_declares_to_gate_does_so_where_its_outputs_were_measured_only(
    make_check: Callable[..., Check],
) -> None:
    item = make_check("conversion", "conversion", outcome(), False, recipe="mixed")
    rows = tuple(replace(row, gating=True) for row in package_rows())
    page = build_page(replace(run_of(item), artefacts=Artefacts(precision_map=rows)))
    assert {view.recipe: view.gating for view in page.recipes} == dict.fromkeys(RECIPES, True)


def test_a_waived_failure_is_not_red_in_any_table(make_check: Callable[..., Check]) -> None:
    """A page of a pass that says "fail" of its recipe sends its reader after a known thing."""
    item = make_check("end_to_end", "end_to_end", outcome(50.0, -10.0, None), recipe="fp16")
    waiver = Waiver(item.id, "known", "2026-11-01", "2026-12-01", -20.0)
    run = replace(run_of(item), waivers=(waiver,), started="2026-11-13T10:00:00+00:00")
    page = build_page(run)
    (view,) = page.recipes
    assert (view.state, view.gates[0].state, view.gates[0].word) == (
        "waived",
        "waived",
        "fail, waived",
    )
    assert view.summary == "Does not meet end to end in full, which is accepted for a while."
    html, text = render(run), summary_markdown(page)
    assert '0<span class="sub">1 waived</span>' in html, "1 check, 0 pass, 0 fail does not add up"
    assert "| 0 (1 waived) |" in text
    (note,) = re.findall(r"What failed and is waived.*?</ul>", html, flags=re.DOTALL)
    assert "expected SNR &gt; 60 dB" in note


def test_what_fails_by_its_tolerances_says_so(make_check: Callable[..., Check]) -> None:
    """ "61.7 dB; expected rtol 0.001, atol 0.0001, SNR > 60 dB" looks as if it were met."""
    made = replace(outcome(61.69, -18.5, 8.4), observed="61.69 dB")
    item = make_check("conversion", "conversion", made, recipe="fp16", tensor="freq")
    page = build_page(run_of(item))
    words = "SNR > 60 dB; needs 8.4 times its tolerances"
    assert page.banner.failures[0].told.endswith(words)
    assert words.replace(">", "&gt;") in render(page.run)
    assert words.replace(">", "&gt;") in summary_markdown(page)
    assert '<a class="nowrap" href="#check-1">61.7\N{NO-BREAK SPACE}dB</a>' in render(page.run)


@pytest.mark.parametrize("gating", [True, False])
def test_an_undeclared_recipe_gates_where_its_outputs_do(
    make_check: Callable[..., Check], gating: bool
) -> None:
    checks = [
        make_check("conversion", "audit", outcome(), True, recipe="mixed"),
        make_check("end_to_end", "end_to_end", outcome(), gating, recipe="mixed"),
    ]
    (view,) = build_page(run_of(*checks)).recipes
    assert view.gating is gating


def test_a_failed_audit_is_red_under_an_exploratory_recipe_too(
    make_check: Callable[..., Check],
) -> None:
    broken = Outcome(Verdict.FAIL, "3 operations", "", "3 operations", -math.inf)
    checks = [
        make_check("conversion", "audit", broken, True, recipe="mixed"),
        make_check("conversion", "conversion", outcome(), False, recipe="mixed"),
    ]
    (view,) = build_page(run_of(*checks)).recipes
    assert (view.gating, view.state) == (False, "fail")
    assert view.summary == "Does not meet audit in full."


def test_the_worst_check_of_a_recipe_is_named(make_check: Callable[..., Check]) -> None:
    checks = [
        make_check(
            "conversion", "conversion", outcome(snr, -3.0), False,
            recipe="mixed", case=case, tensor="freq",
        )
        for case, snr in (("song", 55.0), ("quiet", 32.8))
    ]  # fmt: skip
    (view,) = build_page(run_of(*checks)).recipes
    assert view.gates[0].sentences[0] == (
        "does not meet SNR > 60 dB on any of 2 checks (worst 32.8\N{NO-BREAK SPACE}dB: quiet, freq)"
    )


def test_the_banner_lists_no_cases_of_operations(make_check: Callable[..., Check]) -> None:
    checks = [
        make_check("ops", "ops_fp32", outcome(), subject="", case="conv stride 2", tensor="conv"),
        make_check("surgery", "surgery", outcome(), case="song"),
    ]
    assert build_page(run_of(*checks)).banner.cases == (("htdemucs_6s@seeded", ("song",)),)


def test_the_ladder_names_the_rung_to_start_from(broken_run: Run) -> None:
    page = build_page(broken_run)
    assert [rung.state for rung in page.ladder] == ["pass", "pass", "fail", "fail", "fail"]
    assert "surgery" in page.advice
    assert page.ladder[4].layer.counts["not_evaluated"] == 1
    assert len(page.banner.failures) == 10
    assert len(page.banner.broken) == 2


def test_the_ladder_counts_what_the_run_counts(broken_run: Run) -> None:
    page = build_page(broken_run)
    for rung, layer in zip(page.ladder, broken_run.layers, strict=True):
        assert rung.layer == layer
        assert sum(layer.counts.values()) + layer.exploratory == sum(
            check.layer == layer.layer for check in broken_run.checks
        )


def test_a_gate_of_the_command_line_stands_wherever_a_gate_is_named(
    make_check: Callable[..., Check],
) -> None:
    """A page that says 60 dB under a pass at 50 dB can't be believed in anything else."""
    checks = [
        make_check("conversion", "conversion", outcome(50.0, 5.0, None), recipe="fp16"),
        stem_check(make_check, "bass", 50.0, recipe="fp16"),
    ]
    held = [replace(item, gate=replace(item.gate, min_snr_db=45.0)) for item in checks if item.gate]
    rows = (
        separation_row(recipe="fp16", snr_db=52.0, worst_segment_snr_db=44.0),
        series_row("fp16", len(ALONG), snr_db=[46.0, *ALONG[1:]]),
    )
    run = replace(run_of(*held), artefacts=Artefacts().plus(rows))
    page = build_page(run)
    (tile,) = page.tiles[0].facts
    assert "5.0\N{NO-BREAK SPACE}dB above the gate of 45 dB" in tile.words
    (series,) = page.operations
    assert (series.gate_db, series.below) == (45.0, ())
    html = render(run)
    assert "gate of 60" not in html
    (fold,) = re.findall(r"What kind of error is left.*?</table>", html, flags=re.DOTALL)
    assert re.findall(r"([\d.]+)\sdB \N{WHITE DOWN-POINTING TRIANGLE}<", fold) == ["44.0"], (
        "a second that misses the gate makes its stem miss it"
    )


@pytest.mark.parametrize(("snr_db", "below"), [(None, 1), (math.nan, 1), (60.0, 1), (60.1, 0)])
def test_a_stem_without_a_proven_ratio_counts_as_below(
    run: Run, snr_db: float | None, below: int
) -> None:
    row = separation_row(snr_db=snr_db)
    html = render(replace(run, checks=(), artefacts=Artefacts(separation=(row,))))
    (fold,) = re.findall(r"What kind of error is left.*?</table>", html, flags=re.DOTALL)
    assert fold.count(" \N{WHITE DOWN-POINTING TRIANGLE}<") == below


def stem_check(
    make_check: Callable[..., Check], stem: str, snr_db: float, gating: bool = True, **labels: str
) -> Check:
    made = replace(outcome(snr_db, snr_db - 60.0, None), observed=f"{snr_db:.2f} dB")
    labels = {"recipe": "fp32", "case": "a", **labels}
    return make_check("end_to_end", "end_to_end", made, gating, stem=stem, **labels)


def test_the_worst_of_whole_channel_and_second_stands_for_a_stem(
    make_check: Callable[..., Check],
) -> None:
    """The mean of a stem hides a second that went wrong."""
    checks = [
        stem_check(make_check, "bass", 80.0),
        stem_check(make_check, "bass", 70.0, channel="left"),
        stem_check(make_check, "bass", 61.5, what="worst second"),
        stem_check(make_check, "bass", 40.0, False, what="the stem that is drawn"),
        stem_check(make_check, "bass", 65.0, case="b"),
        stem_check(make_check, "drums", math.inf),
    ]
    (view,) = build_page(run_of(*checks)).recipes
    assert view.sound is not None
    assert (view.sound.cases, view.sound.stems) == (("a", "b"), ("bass", "drums"))
    found = {place: row.snr_db for place, row in view.sound.cells.items()}
    assert found == {("a", "bass"): 61.5, ("b", "bass"): 65.0, ("a", "drums"): math.inf}
    worst = view.sound.worst("bass")
    assert worst is not None
    assert (worst.place, worst.what) == ("a", "worst second · bass")


def test_a_failed_stem_is_not_outshone_by_a_lower_ratio_that_passes(
    make_check: Callable[..., Check],
) -> None:
    failed = Outcome(Verdict.FAIL, "shape", "", "another shape")
    checks = [
        stem_check(make_check, "bass", 61.0),
        make_check(
            "end_to_end", "end_to_end", failed, recipe="fp32", case="a", stem="bass", channel="left"
        ),
    ]
    (view,) = build_page(run_of(*checks)).recipes
    assert view.sound is not None
    assert view.sound.cells["a", "bass"].state == "fail"


def test_a_silent_channel_that_is_not_silent_enough_is_marked(
    make_check: Callable[..., Check],
) -> None:
    """It has no ratio, and a good one of the other channel must not stand for it."""
    loud = Outcome(Verdict.FAIL, "why", "", "error -90.0 dBFS", -10.0, None, {"silent": True})
    where = {"recipe": "fp16", "case": "a", "stem": "bass"}
    checks = [
        stem_check(make_check, "bass", 80.0, False, recipe="fp16"),
        make_check("end_to_end", "end_to_end", loud, False, channel="left", **where),
    ]
    run = run_of(*checks)
    (view,) = build_page(run).recipes
    assert view.sound is not None
    assert view.sound.cells["a", "bass"].observed == "error \N{MINUS SIGN}90.0 dBFS"
    assert "error \N{MINUS SIGN}90.0 dBFS</a> \N{WHITE DOWN-POINTING TRIANGLE}" in render(run)


def quality_of(run: Run, *rows: Quality) -> QualityTable:
    (view,) = build_page(Run(run.profile, (), artefacts=Artefacts(quality=rows))).recipes[:1]
    assert view.quality is not None
    return view.quality


def test_quality_is_the_mean_of_the_songs_and_the_change_of_the_worst(run: Run) -> None:
    """Two songs that move in opposite directions must not cancel out."""
    one = quality_row("bass", "a", "fp32", 4.0, 4.3)
    other = quality_row("bass", "b", "fp32", 6.0, 5.5)
    table = quality_of(run, one, other)
    ((stem, (si_sdr, *_)),) = table.stems
    assert (stem, table.songs) == ("bass", ("a", "b"))
    assert si_sdr.expected_db == pytest.approx(5.0)
    assert si_sdr.actual_db == pytest.approx(4.9)
    assert si_sdr.largest_change_db == pytest.approx(-0.5)


def test_a_score_that_is_not_a_number_is_no_small_change(run: Run) -> None:
    one = quality_row("bass", "a", "fp32", 4.0, 4.3)
    other = quality_row("bass", "b", "fp32", 6.0, math.nan)
    table = quality_of(run, one, other)
    assert math.isnan(table.stems[0][1][0].largest_change_db)


def test_drops_are_where_the_ratio_reaches_a_new_low(run: Run) -> None:
    row = series_row("fp16", len(ALONG), snr_db=ALONG)
    (series,) = build_page(replace(run, artefacts=Artefacts(operations=(row,)))).operations
    assert [(point.operation, fell) for point, fell in series.drops] == [
        ("op_4", 9.0), ("op_2", 1.0), ("op_6", 0.5)
    ]  # fmt: skip
    assert (series.unknown, series.below) == (1, ())


def test_taps_without_a_ratio_are_counted_and_not_drawn(run: Run) -> None:
    points = tuple(
        OperationProfile(index, f"tap{index}", "tap", "", "fp16", {"snr_db": snr})
        for index, snr in enumerate(ALONG)
    )
    row = TapSeries("s", "c", "r", "mil", "storage", "PyTorch", points)
    ((series,),) = build_page(replace(run, artefacts=Artefacts(taps=(row,)))).taps.values()
    assert (series.exact, series.unknown, series.below) == (1, 1, ())
    assert [p.operation for p in series.drawn] == ["tap0", "tap1", "tap2", "tap3", "tap4", "tap6"]


def test_recipes_stand_in_one_order_everywhere(run: Run) -> None:
    turned = {f.name: getattr(run.artefacts, f.name)[::-1] for f in fields(Artefacts)}
    page = build_page(replace(run, artefacts=Artefacts(**turned)))
    order = ("fp32", "fp16", "mixed")
    assert tuple(view.recipe for view in page.recipes) == order
    (panels,) = page.taps.values()
    assert tuple(series.row.recipe for series in panels) == order
    assert tuple(card.row.recipe for card in page.precision[0].cards) == order
    assert all(view.package and view.sound and view.quality for view in page.recipes)


def test_a_rule_that_matches_nothing_is_counted(run: Run) -> None:
    (precision,) = build_page(run).precision
    mixed = precision.cards[2]
    assert mixed.idle_rules == 4, "five rules match nothing, one of them is optional"
    assert mixed.split.fp32 == 22


def test_the_tightest_gate_passes_and_nothing_tighter_is_claimed(
    make_check: Callable[..., Check],
) -> None:
    item = make_check("conversion", "conversion", outcome(66.66, 6.66, 0.1234), tensor="freq")
    row = build_page(run_of(item)).checks[3].gating[0]
    assert row.passes_with == ("rtol 0.00013, atol 1.3e-05", "SNR > 66.6\N{NO-BREAK SPACE}dB")


@given(st.floats(1e-12, 1e12))
def test_a_tolerance_is_never_rounded_below_what_passes(ratio: float) -> None:
    gate = GATES["conversion"]
    check = Check("conversion", {}, True, gate, outcome(66.0, 1.0, ratio))
    words = build_page(run_of(check)).checks[3].gating[0].passes_with[0]
    rtol, atol = (float(part.split()[1]) for part in words.split(", "))
    assert rtol >= 1e-3 * ratio * (1 - 1e-6)
    assert atol >= 1e-4 * ratio * (1 - 1e-6)
    assert rtol <= 1e-3 * ratio * 1.2


def test_what_failed_without_a_distance_is_told_by_its_reason(
    make_check: Callable[..., Check],
) -> None:
    """Of two without a distance the run's first leads, as in the terminal; its reason is told."""
    why = "the package was converted from other weights: convert it again"
    weights = Outcome(Verdict.FAIL, why, "535 tensors of mini", "1 of 535 tensors differ")
    program = Outcome(Verdict.FAIL, "1 operation is another", "the 9 operations", "another")
    page = build_page(
        run_of(
            make_check("conversion", "weights", weights, what="constants"),
            make_check("conversion", "program", program, what="program"),
        )
    )
    assert [row.told for row in page.banner.failures] == [why, "1 operation is another"]
    assert f"conversion: constants: {why}" in summary_markdown(page)


def test_a_failure_that_has_a_cause_is_told_with_it(make_check: Callable[..., Check]) -> None:
    late = Outcome(Verdict.FAIL, "SNR -3 dB; cause: late by 1024 samples", "60 dB", "-3 dB", -63.0)
    (row,) = build_page(run_of(make_check("end_to_end", "end_to_end", late))).banner.failures
    assert row.told.endswith("; expected 60 dB; cause: late by 1024 samples")


def test_a_duration_that_nobody_measured_is_no_duration(run: Run) -> None:
    """``parity check`` measures the whole run alone; 0 s beside each check would be a claim."""
    untimed = tuple(replace(check, duration_s=0.0, command="") for check in run.checks)
    for html in (render(run), render(replace(run, checks=untimed))):
        assert ('data-name="time">' in html.partition('id="checks"')[0]) == ("reproduce, " in html)
    assert not any(
        group.reproducible
        for layer in build_page(replace(run, checks=untimed)).checks
        for group in layer.passing_groups
    )
    assert "0\N{NO-BREAK SPACE}s<" not in html


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (
            "-33.2908 dB, expected at least -3 dB",
            "\N{MINUS SIGN}33.29 dB, expected at least \N{MINUS SIGN}3 dB",
        ),
        ("max difference 0.00546, rtol 1e-05", "max difference 0.00546, rtol 1e-5"),
        (
            "--min-snr, conv-2 and 1-3 at (-1, 2)",
            "--min-snr, conv-2 and 1-3 at (\N{MINUS SIGN}1, 2)",
        ),
    ],
)
def test_numbers_of_a_check_are_written_as_the_page_writes_its_own(
    make_check: Callable[..., Check], written: str, shown: str
) -> None:
    check = make_check("ops", "ops_fp32", Outcome(Verdict.FAIL, written, written, written))
    (row,) = build_page(run_of(check)).banner.failures
    assert (row.observed, row.expected, row.reason) == (shown, shown, shown)
