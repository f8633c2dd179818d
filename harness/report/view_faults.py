"""View model of the kill matrix: the known bugs that were injected, and what caught each of them.

In: a run. Out: a table of levels by outcome, and the rows of each level, those that escaped first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.order import unique
from harness.verdicts import FaultOutcome, InjectedFault, Run

OUTCOMES = tuple(outcome.value for outcome in FaultOutcome)


@dataclass(frozen=True)
class FaultLevel:
    """The bugs of a level, those that escaped first; ``counts`` are in the order of `OUTCOMES`."""

    level: str
    state: str
    counts: tuple[int, ...]
    faults: tuple[InjectedFault, ...]
    duration_s: float


@dataclass(frozen=True)
class FaultMatrix:
    """All injected bugs of a run."""

    state: str
    levels: tuple[FaultLevel, ...]
    total: int
    caught: int
    required: bool


def fault_matrix(run: Run) -> FaultMatrix:
    """Return the kill matrix of ``run``."""
    levels = tuple(
        _level(name, [fault for fault in run.faults if fault.level == name])
        for name in unique(fault.level for fault in run.faults)
    )
    caught = sum(fault.caught for fault in run.faults)
    return FaultMatrix(
        state=_state(run.faults),
        levels=levels,
        total=len(run.faults),
        caught=caught,
        required=run.profile.faults,
    )


def _level(name: str, faults: list[InjectedFault]) -> FaultLevel:
    counts = Counter(fault.outcome.value for fault in faults)
    return FaultLevel(
        level=name,
        state=_state(faults),
        counts=tuple(counts[outcome] for outcome in OUTCOMES),
        faults=tuple(sorted(faults, key=lambda fault: fault.caught)),
        duration_s=sum(fault.duration_s for fault in faults),
    )


def _state(faults: Sequence[InjectedFault]) -> str:
    if any(fault.escaped for fault in faults):
        return "fail"
    return "pass" if faults and all(fault.caught for fault in faults) else "not_evaluated"
