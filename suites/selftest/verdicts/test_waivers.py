"""Failures that are accepted for a while: never silently, never for ever, never by a pattern."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import RunError
from harness.verdicts import (
    GATES,
    LAYERS,
    Check,
    EngineState,
    Outcome,
    Profile,
    Run,
    Verdict,
    Waiver,
    not_evaluated,
    read_waivers,
)

FAILING = "conversion/conversion/mini/vocals"


def check(layer: str, outcome: Outcome, gating: bool = True) -> Check:
    labels = {"subject": "mini", "stem": "vocals"}
    return Check(layer, labels, gating, GATES["conversion"], outcome)


PASSES = Outcome(Verdict.PASS, "fine", "a", "b", 3.0)
FAILS = Outcome(Verdict.FAIL, "too far", "a", "b", -1.5)
WAIVER = Waiver(FAILING, "known", "2026-11-01", "2026-12-01", -2.0)


def run_with(outcome: Outcome, *waivers: Waiver, gating: bool = True) -> Run:
    checks = [check(layer, PASSES) for layer in LAYERS if layer != "conversion"]
    checks.append(check("conversion", outcome, gating))
    engines = tuple(EngineState(name, True, "", "1", executed=True) for name in ("torch", "mil"))
    return Run(
        Profile("default", engines=("torch", "mil"), subjects=("mini",)),
        tuple(checks),
        engines,
        waivers=waivers,
        started="2026-11-13T10:00:00+00:00",
    )


def test_a_waived_failure_passes_and_is_counted_everywhere() -> None:
    assert run_with(FAILS).exit_code == 1
    run = run_with(FAILS, WAIVER)
    assert run.exit_code == 0
    assert run.sentence() == (
        "PASS: 4 of 5 gating checks hold for mini, 1 failed and is waived (the oldest for 12 days)."
    )
    layer = next(layer for layer in run.layers if layer.layer == "conversion")
    assert layer.counts == {"pass": 0, "fail": 0, "not_evaluated": 0, "waived": 1}
    assert layer.reason == "0 of 1 gating checks hold, 1 waived"
    assert Run.from_json(run.to_json()).waived == {FAILING: WAIVER}


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (run_with(PASSES, WAIVER), "is stale: the check passes"),
        (run_with(FAILS, replace(WAIVER, check="conversion/*")), "names no check of this run"),
        (run_with(FAILS, replace(WAIVER, check="conversion")), "names no check of this run"),
        (run_with(FAILS, replace(WAIVER, until="2026-11-12")), "holds from"),
        (run_with(FAILS, replace(WAIVER, since="2026-11-14")), "holds from"),
        (replace(run_with(FAILS, WAIVER), started=""), "the run is of no day"),
        (run_with(FAILS, replace(WAIVER, lowest_headroom_db=-1.0)), "the check has -1.50 dB"),
        (run_with(replace(FAILS, headroom_db=None), WAIVER), "without a headroom"),
        (run_with(replace(FAILS, headroom_db=math.nan), WAIVER), "without a headroom"),
        (run_with(FAILS, WAIVER, WAIVER), "is there twice"),
        (run_with(FAILS, WAIVER, gating=False), "exploratory"),
    ],
)
def test_a_waiver_that_covers_nothing_is_red(run: Run, complaint: str) -> None:
    assert run.exit_code == 1
    assert any(reason.startswith("waiver ") and complaint in reason for reason in run.red)


def test_what_was_not_evaluated_can_not_be_waived() -> None:
    run = run_with(not_evaluated("no golden"), WAIVER)
    assert run.exit_code == 3
    assert not run.waived


def test_a_problem_of_the_harness_can_not_be_waived() -> None:
    run = replace(run_with(FAILS, WAIVER), problems=("worker died",))
    assert run.exit_code == 1
    assert "(1 more waived)" in run.sentence()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "waivers.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


GOOD = """[[waiver]]
check = "conversion/conversion/mini/vocals"
reason = "known"
since = 2026-11-01
until = 2026-12-01
lowest_headroom_db = -2
"""


def test_the_file_gives_what_it_says(written: Callable[[str], Path]) -> None:
    assert read_waivers(written(GOOD)) == (WAIVER,)
    assert read_waivers(written("# none\n")) == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('reason = "known"\n', "", "has no reason"),
        ('"known"', '" "', "has no reason"),
        ("until = 2026-12-01\n", "", "has no until"),
        ("2026-12-01", "2027-12-01", "expected at most 90 days"),
        ("2026-12-01", "2026-10-01", "expected at most 90 days"),
        ("2026-12-01", '"soon"', "has no until, or one of another type"),
        ("= -2", "= 0.5", "a check with that headroom passes"),
        ("= -2", "= nan", "a check with that headroom passes"),
        ("= -2", "= -2\npattern = true", "unknown key 'pattern'"),
        ("[[waiver]]", "[[waivers]]", "'waivers' is unknown"),
        ("[[waiver]]", "[[waiver", "can't be read"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    written: Callable[[str], Path], old: str, new: str, message: str
) -> None:
    with pytest.raises(RunError, match=message):
        read_waivers(written(GOOD.replace(old, new)))


def test_the_waivers_of_this_project_can_be_read() -> None:
    read_waivers(Path(__file__).parents[2] / "waivers.toml")
