"""The table of gates itself: a loosened gate is noticed because a known bug then goes unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest.mock import patch

from harness.errors import NotEvaluatedError
from harness.faults.judging import FaultJudgement, digest
from harness.faults.registry import Fault, get_fault
from harness.verdicts import (
    GATES,
    FaultOutcome,
    InjectedFault,
    Outcome,
    Profile,
    Run,
    Verdict,
    failed,
)


def judge_gate(inject: Callable[[Fault], InjectedFault], fault: Fault) -> Iterator[FaultJudgement]:
    """Judge a gate by a sentinel: a known bug that the sound gate catches.

    ``fault.case`` is ``GATE:SENTINEL``; an injection gets the gate and returns a looser one. The
    control comes first, so the sentinel's own control is judged while the gate is sound.
    """
    name, _, sentinel = fault.case.partition(":")
    with patch.dict(GATES, {name: fault.inject(GATES[name])}):
        row = inject(get_fault(sentinel))
    if row.outcome is FaultOutcome.NOT_TRIED:
        raise NotEvaluatedError(row.reason)
    run = Run(Profile("faults", layers=(), engines=()), checks=(), faults=(row,))
    outcome = Outcome(Verdict.PASS, "the sentinel is caught", "caught", "caught")
    if run.verdict is not Verdict.PASS:
        outcome = failed(run.sentence(), expected="caught", observed=row.outcome.value)
    yield FaultJudgement("kill matrix", "run verdict", sentinel, outcome, digest(row.outcome.value))
