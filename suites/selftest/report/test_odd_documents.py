"""Documents that no run wrote: a page, or one sentence and exit code 2, whatever they hold.

A run document may come from another version, another program, a text editor or an attacker. If
these fail, ``parity report`` ends in a traceback, or hangs, or fills the memory.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli import main
from harness.errors import ParityError
from harness.report import write_report
from harness.report.junit import junit_xml
from harness.report.render import render_page
from harness.report.summary import summary_markdown
from harness.report.view import build_page
from harness.report.view_history import history_view
from harness.verdicts import Baseline, Profile, Record, Run, Snapshot
from suites.selftest.report.odd_documents import NUMBERS, OTHERS, TEXTS, Place, shapes, thin_run

RUN = thin_run()
SOUND: dict[str, Any] = json.loads(RUN.to_json())
BASELINE: dict[str, Any] = json.loads(Baseline(Snapshot.of(RUN), "sound").to_json())


def odd(sound: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Sound documents in which some values are others, missing, twice, or of another type."""
    return _odd(json.dumps(sound), sorted(shapes(sound).values(), key=str))


@st.composite
def _odd(draw: st.DrawFn, sound: str, places: list[list[Place]]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(sound)
    for _ in range(draw(st.integers(1, 5))):
        *way, last = draw(st.sampled_from(draw(st.sampled_from(places))))
        place: Any = document
        try:
            for step in way:
                place = place[step]
            place[last]
        except (LookupError, TypeError):
            continue  # it went with an earlier change
        kind = draw(st.sampled_from(["like", "like", "other", "missing", "more"]))
        if kind == "missing":
            place.pop(last)
        elif kind == "more":
            if isinstance(place, dict):
                place[draw(st.sampled_from(TEXTS))] = 1
            else:
                place.append(copy.deepcopy(place[last]))
        else:
            alike = TEXTS if isinstance(place[last], str) and kind == "like" else NUMBERS
            place[last] = copy.deepcopy(draw(st.sampled_from(OTHERS if kind == "other" else alike)))
    return document


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(document=odd(SOUND))
def test_an_odd_run_is_a_page_or_a_sentence(document: dict[str, Any]) -> None:
    refusal, texts = "", ("",)
    try:
        run = Run.from_json(json.dumps(document))
        page = build_page(run)
        texts = (render_page(page), junit_xml(run, page), summary_markdown(page), run.to_json())
    except ParityError as error:
        refusal = str(error)
    assert len(refusal) < 500
    assert refusal or texts[0]
    assert "<script>alert(1)</script>" not in texts[0]
    assert sum(len(text.encode("utf-8")) for text in texts) < 4e6


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(document=odd(BASELINE))
def test_an_odd_baseline_or_history_is_a_view_or_a_sentence(document: dict[str, Any]) -> None:
    refusal, read = "", None
    try:
        read = Baseline.from_json(json.dumps(document))
    except ParityError as error:
        refusal = str(error)
    assert len(refusal) < 500
    if read is not None:
        assert history_view(RUN, Record(read.snapshot, read.reason, (read.snapshot,))).since
        assert read.to_json().encode("utf-8")


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"problems": ["\ud800 \udfff"]}, 0, ""),
        ({"problems": ["x" * 2_000_000]}, 2, "expected at most 1,048,576 characters"),
        ({"duration_s": 1e308, "started": "<b>\0"}, 0, ""),
        ({"profile": {**SOUND["profile"], "cases": {"\ud800": ["\ud800"]}}}, 0, ""),
        ({"checks": 1e308}, 2, "run.checks is 1e+308, expected a list"),
    ],
)
def test_the_command_ends_in_a_page_or_a_sentence(
    change: dict[str, Any],
    code: int,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({**SOUND, **change}), encoding="utf-8")
    where = ["--out", str(tmp_path / "page"), "--history", str(tmp_path / "none")]
    assert main(["report", str(tmp_path / "run.json"), *where, "--baseline", "none"]) == code
    assert words in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "page" / "index.html").exists() is (code == 0)


@pytest.mark.parametrize("changed", [{"rtol": -1.0}, {"atol": "nan"}, {"rtol": "inf"}])
def test_a_tolerance_that_none_can_be_is_refused(changed: dict[str, Any]) -> None:
    """A gate that nothing can meet, or everything, judges nothing."""
    document = copy.deepcopy(SOUND)
    gated = next(c for c in document["checks"] if c["gate"] and c["gate"]["rtol"] is not None)
    gated["gate"].update(changed)
    with pytest.raises(ParityError, match="expected 0 or more"):
        Run.from_json(json.dumps(document))


def test_a_name_that_is_no_text_can_be_written(tmp_path: Path) -> None:
    """A file name that is not UTF-8 comes from the command line as half a surrogate pair."""
    run = Run(Profile("x\udc80"), (), provenance={"command": "parity check \udc80.mlpackage"})
    index = write_report(run, tmp_path)
    assert "\ufffd.mlpackage" in index.read_text("utf-8")
    assert Run.from_json((tmp_path / "run.json").read_text("utf-8")).profile.name == "x\ufffd"
