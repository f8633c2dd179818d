"""If a bug could count as caught without having been there, the kill matrix is worthless."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from harness.errors import ParityError
from harness.faults.judging import Finding, InjectionError, digest, found, judge, sound_digests
from harness.faults.registry import Fault
from harness.layers.tensors import compared
from harness.verdicts import FaultOutcome, Profile, Run, Verdict

NOISE = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)


class Pipeline:
    """A stand of two layers that look at one tensor: a sharp one, and a blunt one on top."""

    def control(self, fault: Fault) -> Iterator[Finding]:
        return self._judge(NOISE)

    def trial(self, fault: Fault) -> Iterator[Finding]:
        return self._judge(fault.inject(NOISE.copy()))

    def _judge(self, actual: np.ndarray) -> Iterator[Finding]:
        where = {"tensor": "freq"}
        yield found(compared("conversion", "expected_precision_fp32", NOISE, actual, where))
        yield found(compared("end_to_end", "end_to_end", NOISE, actual, {"stem": "drums"}))


def fault(inject: Callable[..., Any], caught_by: str = "conversion") -> Fault:
    return Fault("program.x", "a bug", "program", caught_by, "a source", inject)


def injected(inject: Callable[..., Any], **words: Any) -> Any:
    stand, bug = Pipeline(), fault(inject, **words)
    return judge(bug, stand, sound_digests(stand, bug))


def test_a_bug_that_the_layer_sees_is_caught_with_its_distance() -> None:
    row = injected(lambda x: x * np.float32(1.01))
    assert row.outcome is FaultOutcome.CAUGHT
    assert row.caught_by == "conversion/expected_precision_fp32/freq"
    assert row.headroom_db == pytest.approx(40 - 110, abs=0.1)
    assert row.seen_by == ("conversion/expected_precision_fp32", "end_to_end/end_to_end")
    assert "differs from the sound candidate" in row.proof


def test_a_bug_that_changes_nothing_proves_nothing() -> None:
    row = injected(lambda x: x)
    assert row.outcome is FaultOutcome.NOT_EFFECTIVE
    assert not row.caught


def test_a_bug_that_only_another_layer_sees_is_missed() -> None:
    row = injected(lambda x: x * np.float32(1.00001), caught_by="end_to_end")
    assert row.outcome is FaultOutcome.MISSED
    assert row.reason == (
        "end_to_end stayed green; noticed by conversion/expected_precision_fp32 alone"
    )


def test_a_bug_that_nobody_sees_is_missed() -> None:
    def last_bit(x: np.ndarray) -> np.ndarray:
        x[0, 0] = np.nextafter(x[0, 0], np.float32(2))
        return x

    assert injected(last_bit).outcome is FaultOutcome.MISSED


@pytest.mark.parametrize("error", [ParityError("x"), IndexError("x"), TypeError("x")])
def test_an_injection_that_breaks_is_an_error_and_not_caught(error: Exception) -> None:
    def broken(x: np.ndarray) -> np.ndarray:
        raise error

    assert injected(broken).outcome is FaultOutcome.ERROR


def test_without_a_sound_control_nothing_is_judged() -> None:
    class Sick(Pipeline):
        def control(self, fault: Fault) -> Iterator[Finding]:
            return self._judge(NOISE * np.float32(1.001))

    with pytest.raises(InjectionError, match=r"without any bug conversion/.* is fail"):
        sound_digests(Sick(), fault(lambda x: x))


def test_without_thoroughness_the_first_catch_ends_the_trial() -> None:
    stand, bug = Pipeline(), fault(np.zeros_like)
    row = judge(bug, stand, sound_digests(stand, bug), thorough=False)
    assert row.seen_by == ("conversion/expected_precision_fp32",)


@pytest.mark.parametrize("inject", [lambda x: x, lambda x: x * np.float32(1.0000001)])
def test_what_is_not_caught_turns_a_run_red(inject: Callable[..., Any]) -> None:
    profile = Profile("faults", layers=(), engines=(), faults=True)
    run = Run(profile, checks=(), faults=(injected(inject),))
    assert run.verdict is Verdict.FAIL
    assert run.red[0].startswith("fault program.x: ")
    assert "1 of 1 injected faults were not caught" in run.sentence()


def test_a_run_that_should_inject_faults_and_did_not_is_not_green() -> None:
    run = Run(Profile("faults", layers=(), engines=(), faults=True), checks=())
    assert run.exit_code == 3
    assert "no known bug was injected" in run.sentence()


def test_a_fault_survives_the_document() -> None:
    rows = (injected(np.zeros_like), injected(lambda x: np.full_like(x, np.nan)))
    run = Run(Profile("faults", layers=(), engines=()), checks=(), faults=rows[:1])
    assert Run.from_json(run.to_json()).faults == run.faults
    twice = Run(Profile("faults", layers=(), engines=()), checks=(), faults=rows)
    assert "duplicate check fault program.x" in twice.red


def test_digests_see_every_bit_the_shape_and_the_type() -> None:
    x = np.zeros((2, 3), np.float32)
    negative = x.copy()
    negative[1, 2] = -0.0
    others = [negative, x.reshape(3, 2), x.astype(np.float64), x[:1]]
    assert len({digest(x), *(digest(other) for other in others)}) == 5
    assert digest(x) == digest(np.asfortranarray(x))
