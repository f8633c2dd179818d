"""What became of a known bug that was injected on purpose: a row of the kill matrix.

A fault is *caught* only if the layer or mechanism that it belongs to turns red. *Missed* means that
the layer stayed green although the bug changed what it looks at; *not effective*, that the bug
changed nothing at all, so nothing was proven; *error*, that the injection itself broke. *Not tried*
means that something which it takes is not on this machine (a golden, the suites, a package), so
that nothing was injected: that is not evaluated. Only caught is green.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from harness.verdicts.checks import Verdict


class FaultOutcome(str, Enum):
    """What became of an injected bug."""

    CAUGHT = "caught"
    MISSED = "missed"
    NOT_EFFECTIVE = "not_effective"
    ERROR = "error"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True)
class InjectedFault:
    """One bug that was injected, and what noticed it.

    Attributes:
        name: ``LEVEL.what``; unique within a run.
        level: where in the conversion the bug lives.
        bug: what the wrong implementation does, in one sentence.
        source: where it was seen.
        expected: the layer or mechanism that has to catch it.
        outcome: what became of it.
        caught_by: the first check of ``expected`` that failed; empty if none did.
        seen_by: every layer and gate that failed, as far as they were looked at.
        reason: what the failing check said, or why the bug wasn't caught.
        headroom_db: distance of the worst failing check to its gate in dB, negative; ``None`` where
            no distance exists (another shape, a refusal).
        proof: what shows that the bug was really there.
        duration_s: of injection and judgement.
    """

    name: str
    level: str
    bug: str
    source: str
    expected: str
    outcome: FaultOutcome
    caught_by: str = ""
    seen_by: tuple[str, ...] = ()
    reason: str = ""
    headroom_db: float | None = None
    proof: str = ""
    duration_s: float = 0.0

    @property
    def caught(self) -> bool:
        """Whether the one that should have noticed the bug did."""
        return self.outcome is FaultOutcome.CAUGHT

    @property
    def escaped(self) -> bool:
        """Whether it was injected, and the one that should have noticed it did not."""
        return self.outcome not in (FaultOutcome.CAUGHT, FaultOutcome.NOT_TRIED)

    @property
    def verdict(self) -> Verdict:
        """What it does to a run: caught lets it be green, escaped turns it red."""
        if self.caught:
            return Verdict.PASS
        return Verdict.FAIL if self.escaped else Verdict.NOT_EVALUATED

    @property
    def complaint(self) -> str:
        """Why a run with it is not green, in one line."""
        return f"fault {self.name}: {self.outcome.value.replace('_', ' ')}: {self.reason}"
