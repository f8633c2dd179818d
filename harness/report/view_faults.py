"""View models of the known bugs that were injected: by level, those that escaped first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.report.order import grouped
from harness.report.text import words
from harness.report.units import count
from harness.verdicts import InjectedFault, Run


@dataclass(frozen=True)
class FaultLevel:
    """The bugs of a level, those that escaped first."""

    level: str
    faults: tuple[InjectedFault, ...]

    @property
    def state(self) -> str:
        """``pass`` if each was caught, ``fail`` if one escaped; else they were not all tried."""
        if any(fault.escaped for fault in self.faults):
            return "fail"
        return "pass" if all(fault.caught for fault in self.faults) else "not_evaluated"

    @property
    def outcomes(self) -> str:
        """How many came out how, in words."""
        counts = Counter(words(fault.outcome.value) for fault in self.faults)
        return ", ".join(f"{count(number)} {outcome}" for outcome, number in counts.items())

    @property
    def duration_s(self) -> float:
        """What they took together."""
        return sum(fault.duration_s for fault in self.faults)


def fault_levels(run: Run) -> tuple[FaultLevel, ...]:
    """Return the levels of the bugs that were injected into ``run``."""
    return tuple(
        FaultLevel(level, tuple(sorted(faults, key=lambda fault: fault.caught)))
        for level, faults in grouped(run.faults, lambda fault: fault.level).items()
    )
