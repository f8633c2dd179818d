"""If a bug could count as caught without having been there, the kill matrix is worthless."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from harness.errors import ParityError
from harness.faults.judging import (
    FaultJudgement,
    InjectionError,
    digest,
    inject,
    judgement,
    sound_digests,
)
from harness.faults.registry import Fault
from harness.layers.tensors import compared
from harness.verdicts import FaultOutcome, Profile, Run, Verdict

NOISE = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)


def look(fault: Fault) -> Iterator[FaultJudgement]:
    """A judge of two layers that look at one tensor: a sharp one, and a blunt one on top."""
    actual = fault.inject(NOISE.copy())
    where = {"tensor": "freq"}
    yield judgement(compared("conversion", "expected_precision_fp32", NOISE, actual, where))
    yield judgement(compared("end_to_end", "end_to_end", NOISE, actual, {"stem": "drums"}))


def fault(wrong: Callable[..., Any], caught_by: str = "conversion") -> Fault:
    return Fault("program.x", "a bug", "program", caught_by, "a source", wrong)


def injected(wrong: Callable[..., Any], **words: Any) -> Any:
    bug = fault(wrong, **words)
    return inject(bug, look, sound_digests(look, bug))


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
    def sick(fault: Fault) -> Iterator[FaultJudgement]:
        actual = NOISE * np.float32(1.001)
        yield judgement(compared("conversion", "conversion", NOISE, actual, {"tensor": "freq"}))

    with pytest.raises(InjectionError, match=r"without any bug conversion/.* is fail"):
        sound_digests(sick, fault(lambda x: x))


def test_without_thoroughness_the_first_catch_ends_the_trial() -> None:
    bug = fault(np.zeros_like)
    row = inject(bug, look, sound_digests(look, bug), thorough=False)
    assert row.seen_by == ("conversion/expected_precision_fp32",)


@pytest.mark.parametrize("wrong", [lambda x: x, lambda x: x * np.float32(1.0000001)])
def test_what_is_not_caught_turns_a_run_red(wrong: Callable[..., Any]) -> None:
    profile = Profile("faults", layers=(), engines=(), faults=True)
    run = Run(profile, checks=(), faults=(injected(wrong),))
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
