"""The injector: has one judge for each kind of candidate, judges each control once, and injects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final
from unittest.mock import patch

from harness.errors import NotEvaluatedError, ParityError
from harness.faults.judges.feature import judge_feature
from harness.faults.judges.goldens import judge_goldens
from harness.faults.judges.networks import judge_network, judge_original
from harness.faults.judges.program import ProgramJudge, judge_package
from harness.faults.judges.sessions import judge_by_suite, judge_session
from harness.faults.judges.stems import JoinerJudge, judge_stems
from harness.faults.judges.transform import judge_transform
from harness.faults.judging import FaultJudgement, Judge, digest, inject, sound_digests, untried
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
from harness.workbench import Workbench

SUBJECT: Final = "mini"
"""Small, trained (so that every block matters), and in the repository."""

MIXED: Final = "mini_60db"
"""A recipe for it that claims the stems alone, so that its branches have gates of their own."""


class FaultInjector:
    """Injects known bugs and says what became of each.

    Args:
        bench: where subjects, goldens and packages come from.
        subject: the model in which bugs are injected.
    """

    def __init__(self, bench: Workbench, subject: str = SUBJECT) -> None:
        program = ProgramJudge(bench, subject)
        self._judges: dict[str, Judge] = {
            "network": partial(judge_network, bench, subject),
            "original": partial(judge_original, bench, subject),
            "program": program,
            "arithmetic": program,
            "mixed": ProgramJudge(bench, subject, MIXED),
            "package": partial(judge_package, bench, subject),
            "transform": partial(judge_transform, bench, subject),
            "joiner": JoinerJudge(bench, subject),
            "stems": partial(judge_stems, bench, subject),
            "goldens": partial(judge_goldens, bench),
            "feature": judge_feature,
            "suite": judge_by_suite,
            "session": judge_session,
            "gates": partial(judge_gate, self.inject),
        }
        self._controls: dict[tuple[Judge, str], dict[str, str] | ParityError] = {}

    def inject(self, fault: Fault, *, thorough: bool = True) -> InjectedFault:
        """Inject one fault; see `harness.faults.judging.inject`."""
        judge = self._judges[fault.judge]
        control = self._control(judge, fault)
        if isinstance(control, ParityError):
            return untried(fault, control)
        return inject(fault, judge, control, thorough=thorough)

    def _control(self, judge: Judge, fault: Fault) -> dict[str, str] | ParityError:
        """Return the digests of the control on a case, or why the control isn't sound."""
        place = judge, fault.case
        if place not in self._controls:
            try:
                self._controls[place] = sound_digests(judge, fault)
            except ParityError as error:
                self._controls[place] = error
        return self._controls[place]


def judge_gate(inject: Callable[[Fault], InjectedFault], fault: Fault) -> Iterator[FaultJudgement]:
    """Judge a gate by a sentinel: a known bug that the sound gate catches, and a loosened one not.

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
