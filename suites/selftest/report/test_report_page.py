"""The page: what a reader sees, that it can be trusted, and that nothing can be smuggled in."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from harness.report import render
from harness.verdicts import (
    GATES,
    LAYERS,
    Check,
    EngineState,
    Gate,
    Outcome,
    Profile,
    Run,
    Verdict,
    Waiver,
    not_evaluated,
)
from harness.verdicts.rows.artefacts import Artefacts, Damaged
from harness.verdicts.rows.operations import OperationProfile, TapSeries
from harness.verdicts.rows.packages import PackageAudit, PackageDescription, Rule, Split
from suites.selftest.report.run_rows import separation_row

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}$\\frac$'
_VOID = {"meta", "br", "input", "img", "link"}


class Page(HTMLParser):
    """Ids, links, tags and visible text of a page; complains about elements that don't nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.references: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            self.attributes[name] += 1
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                self.references.append(value or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not set(self.open) & {"script", "style"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def verdict_of(html: str) -> str:
    found = re.search(r'<section id="verdict" class="hero (\w+)"', html)
    assert found
    return found[1]


@pytest.mark.parametrize("name", ["run", "broken_run"])
def test_two_renders_of_one_run_are_the_same_bytes(
    name: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(name)
    again = Run.from_json(run.to_json())
    assert render(run) == render(again), "a page that changes by itself can't be compared"


@pytest.mark.parametrize("name", ["run", "broken_run"])
def test_the_page_is_whole_and_alone(name: str, request: pytest.FixtureRequest) -> None:
    page = Page(render(request.getfixturevalue(name)))
    assert page.open == []
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    inside = [link[1:] for link in page.references if link.startswith("#")]
    assert set(inside) <= set(page.ids), "a link on the page leads nowhere"
    outside = {link for link in page.references if not link.startswith("#")}
    assert outside == {"run.json", "junit.xml", "summary.md"}, "the page needs other files"


def test_no_style_sheet_reaches_for_the_network(run: Run) -> None:
    html = render(run)
    assert "@import" not in html
    assert all(found.startswith("#") for found in re.findall(r"url\(([^)]*)", html))
    assert "default-src 'none'" in html


def test_every_figure_is_named_and_told_how_to_read(run: Run) -> None:
    html = render(run)
    figures = re.findall(r"<svg .*?</svg>", html, flags=re.DOTALL)
    assert len(figures) == 4  # headroom, and one panel for each recipe
    for figure in figures:
        assert 'role="img"' in figure
        assert "<title id=" in figure
        assert "viewBox=" in figure
        assert not re.search(r"#[0-9a-f]{6}", figure), "a fixed colour fails in the dark"
        assert "<style" not in figure, "a style inside a figure would style the whole page"
    assert html.count("How to read it:") >= 5


def test_taps_are_named_on_the_axis_and_called_so(run: Run) -> None:
    names = ("encoder.0", "tencoder.0", "encoder.1", "crosstransformer.layers.0")
    points = tuple(
        OperationProfile(index, name, "tap", name, "fp16", {"snr_db": 80.0 - index})
        for index, name in enumerate(names)
    )
    (row, *_) = run.artefacts.taps
    artefacts = replace(run.artefacts, taps=(replace(row, operations=points),))
    html = render(replace(run, artefacts=artefacts))
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", html)
    assert {"encoder.0", "encoder.1"} <= set(labels)
    assert "tencoder.0" not in labels, "labels lie on each other"
    assert "The points are taps" in html
    assert "at the last tap" in html


def test_headings_never_skip_a_level(broken_run: Run) -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])\b", render(broken_run))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    steps = [after - before for before, after in itertools.pairwise(levels)]
    assert max(steps) == 1


def test_every_table_has_a_caption(broken_run: Run) -> None:
    page = Page(render(broken_run))
    assert page.tags["table"] == page.tags["caption"] > 10


def test_a_name_from_the_run_can_not_become_markup(run: Run) -> None:
    labels = {"subject": HOSTILE, "case": HOSTILE, "recipe": HOSTILE, "tensor": HOSTILE}
    bad = Outcome(Verdict.FAIL, HOSTILE, HOSTILE, HOSTILE, -3.0)
    gate = Gate(HOSTILE, HOSTILE, min_snr_db=60.0)
    where = {"subject": HOSTILE, "case": HOSTILE, "recipe": HOSTILE}
    point = OperationProfile(0, HOSTILE, HOSTILE, HOSTILE, "fp16", {"snr_db": 50.0})
    points = tuple(replace(point, index=index) for index in range(9))
    taps = TapSeries(**where, engine="", numerics="", reference=HOSTILE, operations=points)
    package = PackageDescription(
        subject=HOSTILE,
        recipe=HOSTILE,
        gating=True,
        source=HOSTILE,
        counts={HOSTILE: Split(1, 2)},
        rules=(Rule(HOSTILE, HOSTILE, 0, optional=False),),
        size_bytes=1,
        audit=PackageAudit(Verdict.FAIL, HOSTILE, (HOSTILE,)),
    )
    stem = separation_row(**where, stem=HOSTILE, diagnosis=HOSTILE, note=HOSTILE)
    hostile = replace(
        run,
        profile=Profile(HOSTILE, subjects=(HOSTILE,), engines=(HOSTILE,), recipes=(HOSTILE,)),
        checks=(Check("conversion", labels, True, gate, bad, 0.0, HOSTILE),),
        engines=(EngineState("coreml", False, HOSTILE, HOSTILE),),
        problems=(HOSTILE,),
        gaps=(HOSTILE,),
        provenance={HOSTILE: HOSTILE, "versions": {HOSTILE: HOSTILE}},
        artefacts=Artefacts().plus([taps, package, stem]),
        damaged=(Damaged(HOSTILE, HOSTILE),),
        started=HOSTILE,
    )
    page = Page(render(hostile))
    assert page.tags["script"] == 1, "text from a run became a script"
    assert page.tags["img"] == 0
    assert page.attributes["onerror"] == 0
    assert "{{ 7*7 }}" in page.text, "text from a run was taken for a template"
    assert page.open == []


def test_characters_that_no_file_can_hold_are_replaced(
    run: Run, make_check: Callable[..., Check]
) -> None:
    name = "a\x00b\x1b[31m\ud800\u202egnp"
    odd = make_check("ops", "ops_fp32", Outcome(Verdict.PASS, "", "", ""), tensor=name)
    html = render(replace(run, checks=(odd,)))
    assert "a\ufffdb\ufffd[31m\ufffd\ufffdgnp" in html
    html.encode("utf-8")


def test_only_the_script_of_this_page_may_run(run: Run) -> None:
    html = render(run)
    script = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r"script-src '([^']+)'", html)
    assert policy
    assert policy[1] == f"sha256-{digest}", "the browser would refuse the script"


def test_a_green_page_says_that_no_neural_engine_was_asked(run: Run) -> None:
    html = render(run)
    assert verdict_of(html) == "pass"
    text = Page(html).text
    assert "The Core ML engine did not run (needs macOS, this is Linux)" in text
    assert "An emulation is not the Neural Engine" in text


def test_core_ml_that_ran_is_not_called_an_emulation(run: Run) -> None:
    ran = (*run.engines[:2], EngineState("coreml", True, "", "9.0", executed=True))
    text = Page(render(replace(run, engines=ran))).text
    assert "Core ML engine did not run" not in text


def test_an_empty_run_is_not_evaluated_everywhere() -> None:
    run = Run(profile=Profile("parity"), checks=())
    html = render(run)
    assert verdict_of(html) == "not_evaluated"
    text = Page(html).text
    assert len(run.missing) == len(LAYERS)
    assert "5 required things were not looked at." in text
    for what in (
        "errors of single operations",
        "errors of the transform",
        "precision map",
    ):
        assert f"the run holds no {what}" in text
    assert "✓" not in text, "something looks green although nothing was evaluated"


def test_a_run_that_is_no_whole_one_has_the_sections_that_it_covers() -> None:
    """A page about one package that says what was not evaluated of transforms would be noise."""
    html = render(Run(profile=Profile("check"), checks=()))
    assert "Not evaluated: the run holds no errors of the transform" not in html
    assert all(f'id="{name}"' in html for name in ("ladder", "checks", "goldens", "provenance"))
    assert not any(f'id="{name}"' in html for name in ("transform", "faults", "history"))


def test_a_run_of_gaps_is_never_green(make_check: Callable[..., Check]) -> None:
    gaps = tuple(
        make_check(layer, "ops_fp32", not_evaluated("no golden"), tensor=str(index))
        for layer in ("ops", "conversion")
        for index in range(3)
    )
    html = render(Run(profile=Profile("default"), checks=gaps))
    assert verdict_of(html) == "not_evaluated"
    assert 'class="chip pass"' not in html
    assert html.count("no golden") >= 6


def test_not_a_number_is_called_so_and_leads_the_table(
    run: Run, make_check: Callable[..., Check]
) -> None:
    outcome = Outcome(
        Verdict.FAIL, "NaN", "finite", "NaN", math.nan, math.nan, {"snr_db": math.nan}
    )
    checks = [make_check("conversion", "conversion", outcome, recipe="fp32", tensor="freq")]
    checks += [
        make_check(
            "conversion",
            "conversion",
            replace(outcome, headroom_db=-3.0),
            recipe="fp32",
            tensor="time",
        )
    ]
    html = render(replace(run, checks=tuple(checks)))
    assert verdict_of(html) == "fail"
    rows = re.findall(r'<tr id="(check-\d+)" class="fail">', html)
    assert rows == ["check-1", "check-2"]
    assert "not a number" in Page(html).text


def test_exploratory_results_are_neither_green_nor_red(run: Run) -> None:
    html = render(run)
    exploratory = re.findall(
        r'<table class="checks [^"]*measured.*?</table>', html, flags=re.DOTALL
    )
    assert len(exploratory) == 4  # two layers, two recipes
    for table in exploratory:
        assert 'class="chip pass"' not in table
        assert 'class="chip fail"' not in table
        assert "does not meet" in table
    (mixed,) = re.findall(
        r'<details class="recipe measured" [^>]*>\s*<summary><span class="name">mixed<.*?</table>',
        html,
        flags=re.DOTALL,
    )
    head = mixed.partition("</summary>")[0]
    assert "chip pass" not in head
    assert "chip fail" not in head
    green = re.findall(r'<tr class="pass">.*?gate: (\w+)', mixed)
    assert green == ["contract", "audit"], "only what gates under every recipe may be green"


def test_five_thousand_checks_are_all_there(run: Run) -> None:
    many = tuple(
        replace(
            run.checks[index % 466], labels={**run.checks[index % 466].labels, "what": str(index)}
        )
        for index in range(5000)
    )
    html = render(replace(run, checks=many))
    assert len(re.findall(r'<tr id="check-\d+"', html)) == 5000
    assert len(html) < 12e6


def waived(broken_run: Run, run: Run, reason: str) -> Run:
    """Return the passing run with one of the broken one's failures, which is accepted."""
    failing = next(item for item in broken_run.failing if item.outcome.headroom_db is not None)
    checks = tuple(failing if item.id == failing.id else item for item in run.checks)
    waiver = Waiver(failing.id, reason, "2025-11-01", "2025-12-01", -50.0)
    return replace(run, checks=checks, waivers=(waiver,))


def test_a_waived_failure_never_looks_green(run: Run, broken_run: Run) -> None:
    html = render(waived(broken_run, run, "torch sums in another order"))
    text = Page(html).text
    assert verdict_of(html) == "waived"
    assert "△ pass, 1 waived" in text
    assert "471 of 472 gating checks hold for htdemucs_6s@seeded, 1 failed and is waived" in text
    assert "accepted 20 days ago, until 2025-12-01" in text
    assert "torch sums in another order" in text


def test_the_reason_of_a_waiver_can_not_become_markup(run: Run, broken_run: Run) -> None:
    page = Page(render(waived(broken_run, run, HOSTILE)))
    assert (page.tags["script"], page.tags["img"]) == (1, 0)
    assert "{{ 7*7 }}" in page.text


def test_every_gate_tells_its_reason(run: Run) -> None:
    text = Page(render(run)).text
    used = {check.gate.name for check in run.checks if check.gate}
    assert len(used) == 9
    for name in used:
        assert GATES[name].reason in text
