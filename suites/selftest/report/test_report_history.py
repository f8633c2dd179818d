"""Change: what a reader is told about earlier runs, on the page and on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.report import render
from harness.report.view import build_page
from harness.report.view_history import history_view
from harness.verdicts import Record, Run, Snapshot, changes

HOSTILE = "<script>alert(1)</script>"


def earlier(run: Run, *, drop: int = 0, lift_db: float = 0.0) -> Snapshot:
    """A snapshot like ``run`` with checks left out and the first finite headroom lifted."""
    snapshot = Snapshot.of(run)
    readings = dict(list(snapshot.readings.items())[drop:])
    name = next(n for n, r in readings.items() if r.headroom_db not in (None, float("inf")))
    old = readings[name]
    readings[name] = replace(old, headroom_db=(old.headroom_db or 0.0) + lift_db)
    return replace(snapshot, readings=readings, started="2026-01-01T00:00:00+00:00")


def test_a_regression_since_the_baseline_is_on_the_page(run: Run) -> None:
    """3 dB lost inside the gate is green today and the first step to red."""
    before = earlier(run, lift_db=3.0)
    html = render(run, Record(before, "first release"))
    assert "first release" in html
    assert "\N{MINUS SIGN}3.0\N{NO-BREAK SPACE}dB" in html
    since = history_view(run, Record(before, "first release")).since
    assert since is not None
    assert (len(since.rows), since.worse) == (1, 1)


def test_a_changed_gate_is_said_and_is_not_for_the_worse(run: Run) -> None:
    """26 of 26 checks of the same package "for the worse" send a reader after nothing."""
    before = Snapshot.of(run)
    name = next(n for n, r in before.readings.items() if r.unit == "dB" and r.gating)
    old = replace(before.readings[name], headroom_db=30.0, bounds="SNR > 1 dB")
    record = Record(replace(before, readings={**before.readings, name: old}), "r")
    since = history_view(run, record).since
    assert since is not None
    assert [(row.kind, row.state) for row in since.rows] == [("gate", "measured")]
    assert "gate SNR > 1 dB" in since.rows[0].before
    assert since.worse == 0
    assert "<b>The gate changed</b> for 1 check " in render(run, record)
    tile = next(tile for tile in build_page(run, record).tiles if tile.label.startswith("Since"))
    assert tile.facts[0].value == "nothing moved"
    assert "1 under another gate" in tile.facts[0].words


def test_new_checks_are_named_and_nothing_else(run: Run) -> None:
    """A reader wants to see what came, not a page of noise."""
    since = history_view(run, Record(earlier(run, drop=4), "r")).since
    assert since is not None
    assert [row.kind for row in since.rows] == ["new"] * 4
    assert since.found.unmoved == len(run.checks) - 4


def test_a_narrowed_run_says_with_how_much_it_is_compared(run: Run) -> None:
    """Without it, a run of one case looks as if it had been held against everything."""
    full = earlier(run)
    narrow = replace(
        run,
        profile=replace(run.profile, recipes=("fp32",)),
        checks=tuple(c for c in run.checks if c.labels.get("recipe") in (None, "fp32")),
    )
    since = history_view(narrow, Record(full, "r")).since
    assert since is not None
    assert (since.found.compared, since.found.total) == (len(narrow.checks), len(run.checks))
    assert [row for row in since.rows if row.kind == "gone"] == []
    assert "those that its profile covers" in render(narrow, Record(full, "r"))


def test_without_a_baseline_the_page_says_how_to_get_one(run: Run) -> None:
    """Silence would read like 'nothing moved'."""
    whole = replace(run, profile=replace(run.profile, name="parity"))
    assert "No baseline has been accepted" in render(whole)


def test_lines_are_drawn_over_runs_of_one_profile_only(run: Run) -> None:
    """The least headroom of another subject would look like a regression."""
    alike = [replace(earlier(run), duration_s=float(n)) for n in range(3)]
    other = replace(earlier(run), profile={"name": "another"})
    view = history_view(run, Record(past=(*alike, other)))
    assert (view.runs, view.left_out) == (4, 1)
    assert all(len(spark.points.split()) == 4 for spark in view.sparks)


def test_text_of_an_earlier_run_can_not_become_markup(run: Run) -> None:
    """History files are data of others, too."""
    before = replace(earlier(run), commit=HOSTILE, environment={HOSTILE: HOSTILE}, started=HOSTILE)
    html = render(run, Record(before, HOSTILE, (before,)))
    assert HOSTILE not in html
    assert html.count("<script") == render(run).count("<script")


def test_accept_hold_against_and_refuse(
    run: Run, broken_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The path of a maintainer: accept a green run, see a red one held against it."""
    good, bad, baseline = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "base.json"
    good.write_text(run.to_json(), encoding="utf-8")
    bad.write_text(broken_run.to_json(), encoding="utf-8")
    where = ["--baseline", str(baseline)]

    assert main(["baseline", "accept", str(bad), "--reason", "no", *where]) == 2
    assert "Only a run that passed" in capsys.readouterr().err
    assert not baseline.exists()
    assert main(["baseline", "accept", str(good), "--reason", " ", *where]) == 2
    assert main(["baseline", "accept", str(good), "--reason", "yes", *where]) == 0
    assert main(["baseline", "diff", str(good), *where]) == 0
    capsys.readouterr()
    assert main(["baseline", "diff", str(bad), "--json", *where]) == 1
    told = json.loads(capsys.readouterr().out)["worse"]
    assert set(told) <= {check.id for check in (*run.checks, *broken_run.checks)}
    found = changes(Snapshot.of(run), Snapshot.of(broken_run))
    assert len(told) == sum(m.worse for m in (*found.flipped, *found.moved, *found.removed)) > 0


def test_two_runs_are_held_against_each_other(
    run: Run, broken_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``parity report BEFORE AFTER`` shows AFTER, and what moved since BEFORE."""
    files = [tmp_path / "before.json", tmp_path / "after.json"]
    for file, document in zip(files, (run, broken_run), strict=True):
        file.write_text(document.to_json(), encoding="utf-8")
    words = ["report", *map(str, files), "--out", str(tmp_path / "page")]
    words += ["--history", str(tmp_path / "none")]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["since"]["verdicts changed"] > 0
    assert "Since the earlier run" in (tmp_path / "page" / "index.html").read_text("utf-8")
