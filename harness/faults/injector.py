"""The injector: has one judge for each kind of candidate, judges each control once, and injects."""

from __future__ import annotations

from functools import partial
from typing import Final

from harness.errors import ParityError
from harness.faults.judges.feature import judge_feature
from harness.faults.judges.gates import judge_gate
from harness.faults.judges.goldens import judge_goldens
from harness.faults.judges.networks import judge_network, judge_original
from harness.faults.judges.package import judge_package
from harness.faults.judges.program import ProgramJudge
from harness.faults.judges.sessions import judge_by_suite, judge_session
from harness.faults.judges.stems import JoinerJudge, judge_stems
from harness.faults.judges.transform import judge_transform
from harness.faults.judging import Judge, inject, sound_digests, untried
from harness.faults.registry import Fault
from harness.verdicts import InjectedFault
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
