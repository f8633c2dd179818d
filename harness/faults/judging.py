"""Was a bug noticed? The rules that turn findings into an outcome; the same for every level.

A stand looks at a candidate and yields a `Finding` for each thing that its layer judges: the
outcome of the project's own comparison under its own gate, and a digest of what was judged. It
does so twice: for the sound candidate (the *control*) and for the one with the bug. Then

- the control must pass everything, or nothing that the layer says of the bug means anything;
  where it could not be looked at, the bug is not tried;
- a finding whose digest is not the control's proves that the bug reached what is judged;
- the bug is caught if a finding of the layer it belongs to doesn't pass.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harness.errors import NotEvaluatedError, ParityError
from harness.faults.registry import Fault
from harness.verdicts import LABELS, Check, FaultOutcome, InjectedFault, Outcome, Verdict


@dataclass(frozen=True)
class Finding:
    """One thing that was judged.

    Attributes:
        layer: the layer or mechanism that judged.
        gate: under which gate of the table, or by which rule.
        what: the tensor, test or rule.
        outcome: what the project's own comparison says.
        evidence: a digest of what was judged.
    """

    layer: str
    gate: str
    what: str
    outcome: Outcome
    evidence: str

    @property
    def place(self) -> str:
        """Where it was looked at: unique among the findings on one candidate."""
        return f"{self.layer}/{self.gate}/{self.what}"


def found(check: Check) -> Finding:
    """Return a check of a layer as a finding.

    Its evidence is all that the comparison measured: float64 sums over every element, so a
    candidate that differs in one bit of what is judged differs there, too.
    """
    outcome = check.outcome
    said = f"{outcome.verdict.value} {outcome.reason} {sorted(outcome.metrics.items())}"
    where = " ".join(check.labels[name] for name in LABELS if name in check.labels)
    return Finding(check.layer, check.gate.name if check.gate else "", where, outcome, digest(said))


class Stand(Protocol):
    """Judges candidates as one or more layers do."""

    def control(self, fault: Fault) -> Iterator[Finding]:
        """Judge the sound candidate, on the case of ``fault``."""
        ...

    def trial(self, fault: Fault) -> Iterator[Finding]:
        """Inject ``fault`` and judge what comes out, cheapest first; work goes on as it is read."""
        ...


_BREAKAGE = (
    ParityError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What an injection may raise that doesn't fit what it gets any more."""


class InjectionError(ParityError):
    """A bug that could not be injected: the injection is wrong, not the candidate."""


def digest(value: np.ndarray | str) -> str:
    """Return what tells two candidates apart, bit for bit."""
    if isinstance(value, str):
        return hashlib.blake2b(value.encode(), digest_size=12).hexdigest()
    described = hashlib.blake2b(f"{value.dtype}{value.shape}".encode(), digest_size=12)
    described.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    return described.hexdigest()


def sound_digests(stand: Stand, fault: Fault) -> dict[str, str]:
    """Return the digests of the control, by place.

    Raises:
        InjectionError: the control doesn't pass.
        NotEvaluatedError: the control could not be judged.
    """
    digests = {}
    for finding in stand.control(fault):
        verdict = finding.outcome.verdict
        if verdict is not Verdict.PASS:
            kind = NotEvaluatedError if verdict is Verdict.NOT_EVALUATED else InjectionError
            raise kind(
                f"without any bug {finding.place} is {verdict.value}: {finding.outcome.reason}"
            )
        digests[finding.place] = finding.evidence
    return digests


def judge(
    fault: Fault, stand: Stand, control: Mapping[str, str], *, thorough: bool = True
) -> InjectedFault:
    """Inject ``fault`` and return what became of it.

    Args:
        fault: the bug.
        stand: judges it.
        control: from `sound_digests`.
        thorough: look at everything, to say what else would have seen the bug; otherwise stop at
            the first check that catches it.
    """
    clock = time.perf_counter()
    differing: list[str] = []
    failing: list[Finding] = []
    try:
        for finding in stand.trial(fault):
            if control.get(finding.place) != finding.evidence:
                differing.append(finding.place)
            if finding.outcome.verdict is not Verdict.PASS:
                failing.append(finding)
                if finding.layer == fault.caught_by and not thorough:
                    break
    except NotEvaluatedError as error:
        return _row(fault, FaultOutcome.NOT_TRIED, clock, reason=str(error))
    except _BREAKAGE as error:
        reason = f"{type(error).__name__}: {error}"
        return _row(fault, FaultOutcome.ERROR, clock, reason=reason)
    catching = [finding for finding in failing if finding.layer == fault.caught_by]
    if not differing:
        reason = "the bug changed nothing that any check looks at, so nothing is proven"
        return _row(fault, FaultOutcome.NOT_EFFECTIVE, clock, reason=reason)
    seen_by = tuple(dict.fromkeys(f"{item.layer}/{item.gate}" for item in failing))
    proof = f"differs from the sound candidate at {differing[0]}"
    if not catching:
        elsewhere = f"; noticed by {', '.join(seen_by)} alone" if seen_by else ""
        reason = f"{fault.caught_by} stayed green{elsewhere}"
        return _row(fault, FaultOutcome.MISSED, clock, reason=reason, seen_by=seen_by, proof=proof)
    distances = [
        item.outcome.headroom_db for item in catching if item.outcome.headroom_db is not None
    ]
    return _row(
        fault,
        FaultOutcome.CAUGHT,
        clock,
        caught_by=catching[0].place,
        seen_by=seen_by,
        reason=catching[0].outcome.reason,
        headroom_db=min(distances, default=None),
        proof=proof,
    )


def broken(fault: Fault, error: ParityError) -> InjectedFault:
    """Return the row of a fault of which the control is not sound, or could not be judged."""
    untried = isinstance(error, NotEvaluatedError)
    outcome = FaultOutcome.NOT_TRIED if untried else FaultOutcome.ERROR
    return _row(fault, outcome, time.perf_counter(), reason=str(error))


def _row(
    fault: Fault,
    outcome: FaultOutcome,
    clock: float,
    *,
    reason: str,
    caught_by: str = "",
    seen_by: tuple[str, ...] = (),
    headroom_db: float | None = None,
    proof: str = "",
) -> InjectedFault:
    return InjectedFault(
        name=fault.name,
        level=fault.level,
        bug=fault.bug,
        source=fault.source,
        expected=fault.caught_by,
        outcome=outcome,
        caught_by=caught_by,
        seen_by=seen_by,
        reason=reason,
        headroom_db=headroom_db,
        proof=proof,
        duration_s=round(time.perf_counter() - clock, 3),
    )
