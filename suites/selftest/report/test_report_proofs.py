"""Conformance and benchmarks that are attached to a run: shown, dated, no part of the verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.conformance.results import CaseResult, CaseStatus, summarise
from harness.errors import RunError
from harness.report import render
from harness.report.view_proofs import bench_view
from harness.verdicts import Run, Verdict
from harness.verdicts.rows.documents import ListedRow, attachment, failures_first

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def attached(run: Run, *documents: dict[str, Any]) -> Run:
    rows = [attachment("a.json", document) for document in documents]
    return replace(run, artefacts=run.artefacts.plus(rows))


def conformance(word: str = "softmax") -> dict[str, Any]:
    results = [
        CaseResult("a.py::t[1]", CaseStatus.PASSED, ("add", word), 2),
        CaseResult("a.py::t[2]", CaseStatus.FAILED, ("mul",), 1, f"{word} differs"),
        CaseResult("a.py::t[3]", CaseStatus.WAIVED, ("add",), 1, "known"),
    ]
    document = summarise(
        results,
        selection="all",
        collected=3,
        stale_waivers=(ListedRow("a.py::t[9]", "no such test"),),
        provenance={"commit": "abcdef0123456789"},
        started="2026-01-02T03:04:05+00:00",
    )
    found: dict[str, Any] = json.loads(document.to_json())
    return found


def bench(started: str, value: float) -> dict[str, Any]:
    figures = [{"name": "one segment", "value": value, "unit": ""}]
    machine = {"commit": "c0ffee", "machine": {"processor": "EPYC"}}
    return {"kind": "bench", "started": started, "provenance": machine, "figures": figures}


def test_what_a_conformance_run_found_is_shown_failures_first(run: Run) -> None:
    (view,) = attached(run, conformance()).artefacts.conformance
    assert view.verdict is Verdict.FAIL
    assert [(row.operation, row.state) for row in failures_first(view.operations)] == [
        ("mul", "fail"), ("add", "waived"), ("softmax", "pass")
    ]  # fmt: skip
    html = render(attached(run, conformance()))
    assert "softmax differs" in html
    assert "no such test" in html
    assert "abcdef012345" in html
    assert '<section id="verdict" class="hero pass"' in html, "it is no part of the verdict"


def test_the_latest_benchmarks_are_held_against_the_earliest(run: Run) -> None:
    newer, older = bench("2026-02-01", 1.2), bench("2026-01-01", 1.0)
    view = bench_view(attached(run, newer, older))
    assert view is not None
    assert [row and row.started for row in (view.now, view.before)] == ["2026-02-01", "2026-01-01"]
    assert view.lines[0].change_percent == pytest.approx(20.0)
    assert "+20.0 %" in render(attached(run, newer, older))
    alone = bench_view(attached(run, newer))
    assert alone is not None
    assert alone.lines[0].change_percent is None


def test_a_run_without_them_says_so(run: Run) -> None:
    whole = replace(run, profile=replace(run.profile, name="parity"))
    assert "no conformance or benchmark document is attached" in render(whole)


def test_their_text_can_not_become_markup(run: Run) -> None:
    hostile = bench(HOSTILE, 1.0) | {"figures": [{"name": HOSTILE, "value": 1, "unit": HOSTILE}]}
    html = render(attached(run, conformance(HOSTILE), hostile))
    assert html.count("<script") == 1
    assert "<img" not in html


@pytest.mark.parametrize("kind", ["conformance", "bench"])
@pytest.mark.parametrize(
    "document",
    [{}, {"counts": 3, "figures": "x", "operations": [1, {}], "started": "", "verdict": "pass"}],
)
def test_a_damaged_document_is_refused_by_name(kind: str, document: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=rf"^can't attach a\.json: {kind}[ .]"):
        attachment("a.json", {**document, "kind": kind})
