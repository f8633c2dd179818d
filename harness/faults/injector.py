"""The faults room: makes each stand once, judges each control once, and injects fault by fault."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from harness.errors import ParityError
from harness.faults.judges.feature import FeatureStand
from harness.faults.judges.gates import GateStand
from harness.faults.judges.goldens import GoldenStand
from harness.faults.judges.network import NetworkStand
from harness.faults.judges.original import OriginalStand
from harness.faults.judges.package import PackageStand
from harness.faults.judges.program import ProgramStand
from harness.faults.judges.sessions import SessionStand, SuiteStand
from harness.faults.judges.stems import JoinerStand, StemStand
from harness.faults.judges.transform import TransformStand
from harness.faults.judging import Stand, broken, judge, sound_digests
from harness.faults.registry import Fault
from harness.verdicts import InjectedFault
from harness.workbench import Workbench

SUBJECT: Final = "mini"
"""Small, trained (so that every block matters), and in the repository."""

MIXED: Final = "mini_60db"
"""A recipe for it that claims the stems alone, so that its branches have gates of their own."""


class FaultsRoom:
    """Injects known bugs and says what became of each.

    Args:
        bench: where subjects, goldens and packages come from.
        subject: the model in which bugs are injected.
    """

    def __init__(self, bench: Workbench, subject: str = SUBJECT) -> None:
        make: dict[str, Callable[[], Stand]] = {
            "network": lambda: NetworkStand(bench, subject),
            "original": lambda: OriginalStand(bench, subject),
            "program": lambda: ProgramStand(bench, subject),
            "mixed": lambda: ProgramStand(bench, subject, MIXED),
            "package": lambda: PackageStand(bench, subject),
            "transform": lambda: TransformStand(bench, subject),
            "joiner": lambda: JoinerStand(bench, subject),
            "stems": lambda: StemStand(bench, subject),
            "goldens": lambda: GoldenStand(bench.goldens.store.layout.recipes),
            "feature": FeatureStand,
            "suite": SuiteStand,
            "session": SessionStand,
            "gates": lambda: GateStand(self._stand_with_control),
        }
        self._stand: Callable[[str], Stand] = lru_cache(maxsize=None)(lambda name: make[name]())
        self._controls: dict[tuple[str, str], dict[str, str] | ParityError] = {}

    def inject(self, fault: Fault, *, thorough: bool = True) -> InjectedFault:
        """Inject one fault; see `harness.faults.judging.judge`."""
        control = self._control(fault)
        if isinstance(control, ParityError):
            return broken(fault, control)
        return judge(fault, self._stand(fault.on), control, thorough=thorough)

    def _control(self, fault: Fault) -> dict[str, str] | ParityError:
        """Return the sound digests for a stand and a case, or why the control isn't sound."""
        place = (fault.on, fault.case)
        if place not in self._controls:
            try:
                self._controls[place] = sound_digests(self._stand(fault.on), fault)
            except ParityError as error:
                self._controls[place] = error
        return self._controls[place]

    def _stand_with_control(self, fault: Fault) -> tuple[Stand, dict[str, str]]:
        control = self._control(fault)
        if isinstance(control, ParityError):
            raise control
        return self._stand(fault.on), control
