"""What is remembered of runs: nothing is lost on the way, and what moved is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RunError
from harness.verdicts import (
    GATES,
    Baseline,
    Check,
    Outcome,
    Profile,
    Reading,
    Run,
    Snapshot,
    Verdict,
    changes,
    record_of,
    remember,
)
from harness.verdicts.history import NOISE_BAND_DB

HEADROOMS = st.none() | st.floats(allow_nan=False)


def snapshot(**readings: Reading) -> Snapshot:
    return Snapshot(
        "2026-01-01T00:00:00+00:00", Verdict.PASS, "", Profile("test"), "", {}, readings
    )


def reading(headroom_db: float | None = 10.0, *, passed: bool = True) -> Reading:
    return Reading(Verdict.PASS if passed else Verdict.FAIL, True, headroom_db)


def run_with(headroom_db: float, started: str = "2026-01-01T00:00:00+00:00") -> Run:
    outcome = Outcome(Verdict.PASS, "", "", "", headroom_db, metrics={"snr_db": math.inf})
    check = Check("conversion", {"subject": "mini"}, True, GATES["conversion"], outcome)
    return Run(
        Profile("test", layers=("conversion",), engines=()),
        (check,),
        started=started,
        provenance={"versions": {"torch": "2.13"}, "machine": {"processor": "x", "cores": 2}},
    )


@given(
    st.dictionaries(
        st.text(min_size=1), st.builds(Reading, st.sampled_from(Verdict), st.booleans(), HEADROOMS)
    )
)
def test_a_snapshot_survives_the_file(readings: dict[str, Reading]) -> None:
    """A number, an infinity or a strange name that changed on the way would be a false change."""
    before = snapshot(**{}) if not readings else replace(snapshot(), readings=readings)
    assert Snapshot.from_json(before.to_json()) == before


@given(st.dictionaries(st.text(min_size=1), st.builds(reading, HEADROOMS)))
def test_nothing_moves_between_a_run_and_itself(readings: dict[str, Reading]) -> None:
    """A page that shows movement without change would be read by nobody."""
    same = replace(snapshot(), readings=readings)
    found = changes(same, same)
    assert (found.moved, found.flipped, found.added, found.removed) == ((), (), (), ())
    assert found.environment == ()
    assert found.unmoved == len(readings)


@given(st.floats(-200, 200), st.floats(-200, 200))
def test_a_movement_is_told_exactly_when_it_leaves_the_band(old: float, new: float) -> None:
    """Below the band it is noise, above it a regression that nobody may miss."""
    found = changes(snapshot(a=reading(old)), snapshot(a=reading(new)))
    assert bool(found.moved) == (abs(new - old) > NOISE_BAND_DB)
    assert all(movement.worse == (new < old) for movement in found.moved)


def under(limit: float, value: float) -> Reading:
    verdict = Verdict.PASS if value > limit else Verdict.FAIL
    return Reading(verdict, True, value - limit, value, "dB", f"SNR > {limit:g} dB")


@pytest.mark.parametrize("limits", [(45.0, 48.0), (45.0, 57.0), (57.0, 45.0)])
def test_another_gate_is_no_regression_and_hides_none(limits: tuple[float, float]) -> None:
    """The package is the same; of one that lost 3 dB, a looser gate must not say that it gained."""
    before, after = limits
    same = changes(snapshot(a=under(before, 50.0)), snapshot(a=under(after, 50.0)))
    assert (len(same.regated), same.moved, same.flipped, same.unmoved) == (1, (), (), 0)
    lost = changes(snapshot(a=under(before, 50.0)), snapshot(a=under(after, 47.0)))
    (movement,) = (*lost.moved, *lost.flipped)
    assert (movement.moved_db, lost.regated) == (-3.0, ())


def test_losing_an_exact_result_is_a_movement() -> None:
    """From bit-exact to 100 dB is an infinite step, not an undefined one."""
    found = changes(snapshot(a=reading(math.inf)), snapshot(a=reading(100.0)))
    assert [movement.moved_db for movement in found.moved] == [-math.inf]


@pytest.mark.parametrize(("headroom_db"), [None, 5.0, math.inf])
def test_another_verdict_is_told_whatever_the_headroom(headroom_db: float | None) -> None:
    """A check can fail by its shape, without any headroom: that is no small movement."""
    found = changes(
        snapshot(a=reading(headroom_db)), snapshot(a=reading(headroom_db, passed=False))
    )
    assert [movement.worse for movement in found.flipped] == [True]


def test_a_check_that_vanished_is_worse_and_a_new_one_is_not() -> None:
    """A gate that is no longer evaluated must not pass for progress."""
    found = changes(snapshot(gone=reading()), snapshot(new=reading()))
    assert [(m.id, m.worse) for m in found.removed] == [("gone", True)]
    assert [(m.id, m.worse) for m in found.added] == [("new", False)]


@pytest.mark.parametrize("passed", [True, False])
def test_a_gate_that_is_only_measured_now_is_worse_whatever_it_measures(passed: bool) -> None:
    """A check that was demoted is as good as gone: it can't turn a run red any more."""
    demoted = replace(reading(5.0, passed=passed), gating=False)
    found = changes(snapshot(a=reading(5.0)), snapshot(a=demoted))
    assert [(movement.worse, movement.demoted) for movement in found.flipped] == [(True, True)]
    promoted = changes(snapshot(a=demoted), snapshot(a=reading(5.0)))
    assert [movement.worse for movement in promoted.flipped] == [False]


def test_a_run_is_remembered_once_and_the_oldest_forgotten(tmp_path: Path) -> None:
    """A history that grows without bound, or counts one run twice, draws a wrong line."""
    for day in (3, 1, 2, 2):
        remember(tmp_path, Snapshot.of(run_with(1.0, f"2026-01-0{day}T00:00:00")), keep=2)
    past = record_of(None, tmp_path).past
    assert [run.started[:10] for run in past] == ["2026-01-02", "2026-01-03"]


def test_other_environments_are_named() -> None:
    """A number that moved because of another PyTorch must not be blamed on the code."""
    before = Snapshot.of(run_with(1.0))
    after = replace(before, environment={**before.environment, "torch": "2.14"})
    assert changes(before, after).environment == (("torch", "2.13", "2.14"),)
    assert "cores" not in before.environment  # numbers don't depend on unused cores


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema_version": 99}', '{"schema_version": 1}']
)
def test_what_is_no_baseline_is_refused_by_name(tmp_path: Path, text: str) -> None:
    """A truncated or foreign file must end in one sentence, not in an empty comparison."""
    file = tmp_path / "baseline.json"
    file.write_text(text)
    with pytest.raises(RunError, match=r"baseline\.json"):
        Baseline.read(file)


def test_a_baseline_keeps_its_reason(tmp_path: Path) -> None:
    """Whoever meets the baseline a year later needs to know why it was accepted."""
    accepted = Baseline(Snapshot.of(run_with(math.inf)), "first run")
    (tmp_path / "b.json").write_text(accepted.to_json())
    assert Baseline.read(tmp_path / "b.json") == accepted


FULL = Profile(
    "parity",
    layers=("ops", "conversion"),
    subjects=("mini", "a/b@seeded"),
    recipes=("fp32", "fp16"),
    cases={"a/b@seeded": ("noise",)},
)
BASELINE = {
    name: reading()
    for name in (
        "ops/ops_fp32/conv/mil",
        "conversion/audit/mini/fp32/audit",
        "conversion/conversion/mini/song/fp32/mil",
        "conversion/conversion/mini/noise/fp32/mil",
        "conversion/conversion/mini/song/fp16/mil",
        "conversion/conversion/a/b@seeded/noise/fp32/mil",
    )
}


@pytest.mark.parametrize(
    ("narrowed", "left_out"),
    [
        ({}, ()),
        ({"subjects": ("mini",), "cases": {}}, ("a/b@seeded",)),
        ({"recipes": ("fp32",)}, ("/fp16/",)),
        ({"cases": {"mini": ("song",), "a/b@seeded": ("noise",)}}, ("mini/noise",)),
        ({"layers": ("conversion",)}, ("ops/",)),
        ({"subjects": ("mini",), "cases": {"mini": ("song",)}}, ("a/b@seeded", "mini/noise")),
    ],
)
def test_what_a_narrowed_run_leaves_out_did_not_vanish(
    narrowed: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    """A thousand "no longer checked" after ``--subject mini`` hide the one that really is gone."""
    before = replace(snapshot(), profile=FULL, readings=BASELINE)
    kept = {n: r for n, r in BASELINE.items() if not any(word in n for word in left_out)}
    after = replace(before, profile=replace(FULL, **narrowed), readings=kept)
    found = changes(before, after)
    assert (found.removed, found.compared, found.total) == ((), len(kept), len(BASELINE))
    for name in kept:
        lost = replace(after, readings={n: r for n, r in kept.items() if n != name})
        assert [m.id for m in changes(before, lost).removed] == [name], "a lost check went unseen"
