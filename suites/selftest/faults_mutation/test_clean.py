"""If an alarm is lost, or runs that never took place count as green, nothing was shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ParityError
from harness.faults import clean
from harness.faults.clean import CleanResult, Environment, environments, run_clean
from harness.faults.clean_process import CleanRun, _summary, input_name, make_input
from harness.verdicts import Check, Verdict, compare, gate

RUN = CleanRun("a", "song 1000", 103, (), {"stft": 5.0, "conversion": 14.0}, "x", "bits", {})
ENVIRONMENTS = (Environment("a", 1), Environment("b", 2))


def result(*runs: CleanRun) -> CleanResult:
    return CleanResult("mini", ENVIRONMENTS, runs, 0.0, {})


def many(count: int, **changes: object) -> list[CleanRun]:
    return [replace(RUN, environment="ab"[n % 2], **changes) for n in range(count)]


def test_fifty_quiet_runs_in_every_environment_pass():
    assert result(*many(50)).verdict is Verdict.PASS


def test_one_alarm_fails():
    alarmed = replace(RUN, alarms=("stft/stft/spectrogram: SNR",))
    found = result(*many(49), alarmed)
    assert (found.verdict, found.alarms) == (Verdict.FAIL, 1)


@pytest.mark.parametrize(
    "runs",
    [many(49), [RUN] * 50, [replace(run, checks=0) for run in many(50)], []],
    ids=["too few", "one environment", "no checks", "none"],
)
def test_what_did_not_take_place_is_not_green(runs):
    assert result(*runs).verdict is Verdict.NOT_EVALUATED


def test_the_closest_run_of_each_layer_is_told():
    near = replace(
        RUN, environment="b", input="noise 7", headroom_db={"stft": 9.0, "conversion": 2.0}
    )
    closest = result(*many(50), near).closest
    assert closest["conversion"] is near
    assert closest["stft"].headroom_db["stft"] == 5.0
    assert (
        json.loads(json.dumps(result(near).to_dict()))["closest"]["conversion"]["headroom_db"]
        == 2.0
    )


def test_a_failed_check_becomes_an_alarm_with_its_reason():
    y = np.ones((2, 8), np.float32)
    checks = [
        Check("conversion", {"tensor": name}, True, gate(bounds), compare(y, actual, gate(bounds)))
        for name, actual, bounds in (
            ("freq", y * np.float32(1.0001), "expected_precision_fp32"),
            ("time", y, "conversion"),
            ("stems", y.astype(np.float64), "surgery"),
        )
    ]
    found = _summary("a", "song 1", checks, "bits")
    assert [alarm.partition(":")[0] for alarm in found.alarms] == [
        "conversion/expected_precision_fp32/freq",
        "conversion/surgery/stems",
    ]
    assert "SNR 80.0" in found.alarms[0]
    assert found.headroom_db == {"conversion": float("-inf")}  # another dtype: no distance


def test_inputs_are_fresh_and_repeatable():
    names = [input_name(seed) for seed in range(1000, 1016)]
    assert len(set(names)) == 16
    assert {name.split()[0] for name in names} == {"song", "noise", "quiet", "hot", "antiphase"}
    np.testing.assert_array_equal(make_input(1001), make_input(1001))
    assert not np.array_equal(make_input(1001), make_input(1009))


def test_environments_differ():
    chosen = environments(2)
    assert len({environment.name for environment in chosen}) == len(chosen)
    settings = {(e.threads, tuple(e.variables.items())) for e in chosen}
    assert len(settings) == len(chosen)
    assert max(environment.threads for environment in chosen) > 2


@pytest.mark.exhaustive
def test_a_process_that_dies_is_no_clean_run(monkeypatch):
    monkeypatch.setattr(clean, "observe_segment", lambda *_, **__: {})
    dying = Environment("dies at once", 1)  # when it opens a package that is not there
    with pytest.raises(ParityError, match="'dies at once' ended after 0 of 1 clean runs"):
        run_clean(Path("no.mlpackage"), "mini", runs=1, chosen=[dying])


def test_fewer_runs_than_environments_are_refused():
    with pytest.raises(ParityError, match="2 clean runs are too few for 10 environments"):
        run_clean(Path("no.mlpackage"), "mini", runs=2)
