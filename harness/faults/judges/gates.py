"""The table of gates itself: a loosened gate is noticed because a known bug then goes unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.faults.judging import Finding, Stand, digest, judge
from harness.faults.registry import Fault, get_fault
from harness.verdicts import GATES, Gate, Outcome, Profile, Run, Verdict, failed


class GateStand:
    """Injections get the table's gate, named by ``Fault.case`` before a colon, and loosen it.

    After the colon stands the sentinel: a known bug that the sound gate catches.
    """

    def __init__(self, stand_of: Callable[[Fault], tuple[Stand, dict[str, str]]]) -> None:
        self._stand_of = stand_of

    def control(self, fault: Fault) -> Iterator[Finding]:
        """Judge the sound table."""
        return self._judge(fault, lambda gate: gate)

    def trial(self, fault: Fault) -> Iterator[Finding]:
        """Judge the loosened table."""
        return self._judge(fault, fault.inject)

    def _judge(self, fault: Fault, change: Callable[[Gate], Gate]) -> Iterator[Finding]:
        name, _, sentinel_name = fault.case.partition(":")
        sentinel = get_fault(sentinel_name)
        stand, digests = self._stand_of(sentinel)
        with _changed(name, change(GATES[name])):
            row = judge(sentinel, stand, digests)
        run = Run(Profile("faults", layers=(), engines=()), checks=(), faults=(row,))
        outcome = Outcome(Verdict.PASS, "the sentinel is caught", "caught", "caught")
        if run.verdict is not Verdict.PASS:
            outcome = failed(run.sentence(), expected="caught", observed=row.outcome.value)
        said = digest(row.outcome.value)
        yield Finding("kill matrix", "run verdict", sentinel_name, outcome, said)


@contextmanager
def _changed(name: str, gate: Gate) -> Iterator[None]:
    """Put another gate into the table for a while."""
    sound = GATES[name]
    GATES[name] = gate
    try:
        yield
    finally:
        GATES[name] = sound
