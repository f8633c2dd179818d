"""Was a bug noticed? The rules that turn judgements into an outcome; the same for every level.

A judge looks at a candidate and yields a `FaultJudgement` for each thing that its layer looks at:
the outcome of the project's own comparison under its own gate, and a digest of what was judged. It
does so twice: for the sound candidate (the *control*) and for the one with the bug. Then

- the control must pass everything, or nothing that the layer says of the bug means anything;
  where it could not be looked at, the bug is not tried;
- a judgement whose digest is not the control's proves that the bug reached what is judged;
- the bug is caught if a judgement of the layer it belongs to doesn't pass.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from harness.errors import NotEvaluatedError, ParityError
from harness.faults.registry import Fault
from harness.verdicts import (
    LABELS,
    Check,
    FaultOutcome,
    InjectedFault,
    Outcome,
    Run,
    Verdict,
    failed,
    not_evaluated,
)


@dataclass(frozen=True)
class FaultJudgement:
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
        """Where it was looked at: unique among the judgements on one candidate."""
        return f"{self.layer}/{self.gate}/{self.what}"


Judge: TypeAlias = Callable[[Fault], Iterator[FaultJudgement]]
"""Makes a sound candidate, injects the fault and judges as one or more layers do, cheapest first;
work goes on as it is read. Given `Fault.control`, it judges the sound candidate."""


def judgement(check: Check) -> FaultJudgement:
    """Return what a check of a layer says.

    Its evidence is all that the comparison measured: float64 sums over every element, so a
    candidate that differs in one bit of what is judged differs there, too.
    """
    outcome = check.outcome
    said = f"{outcome.verdict.value} {outcome.reason} {sorted(outcome.metrics.items())}"
    where = " ".join(check.labels[name] for name in LABELS if name in check.labels)
    gate = check.gate.name if check.gate else ""
    return FaultJudgement(check.layer, gate, where, outcome, digest(said))


def judgements(layer: str, checks: Iterable[Check]) -> Iterator[FaultJudgement]:
    """Turn checks into judgements; what can't be executed is one of ``layer``, too."""
    try:
        yield from map(judgement, checks)
    except (ParityError, RuntimeError) as error:  # PyTorch refuses shapes by RuntimeError
        yield refused(layer, "execution", ParityError(str(error)))


def refused(layer: str, rule: str, error: ParityError) -> FaultJudgement:
    """Return the judgement of a candidate that could not even be executed, or was refused."""
    reason = f"{type(error).__name__}: {error}"
    return FaultJudgement(layer, rule, "execution", failed(reason), digest(reason))


def outcome_of(run: Run, sound: str) -> Outcome:
    """Return what a run as a whole says; ``sound`` is what it says where nothing is wrong."""
    if run.verdict is Verdict.FAIL:
        return failed(run.red[0])
    if run.verdict is Verdict.NOT_EVALUATED:
        return not_evaluated(run.missing[0])
    return Outcome(Verdict.PASS, run.sentence(), sound, sound)


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


def sound_digests(judge: Judge, fault: Fault) -> dict[str, str]:
    """Return the digests of the control of ``fault``, by place.

    Raises:
        InjectionError: the control doesn't pass.
        NotEvaluatedError: the control could not be judged.
    """
    digests = {}
    for said in judge(fault.control):
        verdict = said.outcome.verdict
        if verdict is not Verdict.PASS:
            kind = NotEvaluatedError if verdict is Verdict.NOT_EVALUATED else InjectionError
            word = verdict.value.replace("_", " ")
            raise kind(f"without any bug {said.place} is {word}: {said.outcome.reason}")
        digests[said.place] = said.evidence
    return digests


def inject(
    fault: Fault, judge: Judge, control: Mapping[str, str], *, thorough: bool = True
) -> InjectedFault:
    """Inject ``fault`` and return what became of it.

    Args:
        fault: the bug.
        judge: judges it.
        control: from `sound_digests`.
        thorough: look at everything, to say what else would have seen the bug; otherwise stop at
            the first check that catches it.
    """
    clock = time.perf_counter()
    row = _injected(fault, judge, control, thorough)
    return replace(row, duration_s=round(time.perf_counter() - clock, 3))


def untried(fault: Fault, error: ParityError) -> InjectedFault:
    """Return the row of a fault of which the control is not sound, or could not be judged."""
    lacking = isinstance(error, NotEvaluatedError)
    return _row(fault, FaultOutcome.NOT_TRIED if lacking else FaultOutcome.ERROR, str(error))


def _injected(
    fault: Fault, judge: Judge, control: Mapping[str, str], thorough: bool
) -> InjectedFault:
    differing: list[str] = []
    failing: list[FaultJudgement] = []
    try:
        for said in judge(fault):
            if control.get(said.place) != said.evidence:
                differing.append(said.place)
            if said.outcome.verdict is not Verdict.PASS:
                failing.append(said)
                if said.layer == fault.caught_by and not thorough:
                    break
    except NotEvaluatedError as error:
        return _row(fault, FaultOutcome.NOT_TRIED, str(error))
    except _BREAKAGE as error:
        return _row(fault, FaultOutcome.ERROR, f"{type(error).__name__}: {error}")
    if not differing:
        reason = "the bug changed nothing that any check looks at, so nothing is proven"
        return _row(fault, FaultOutcome.NOT_EFFECTIVE, reason)
    return _concluded(fault, failing, f"differs from the sound candidate at {differing[0]}")


def _concluded(fault: Fault, failing: Sequence[FaultJudgement], proof: str) -> InjectedFault:
    """Return the row of a bug that reached what is judged, from the judgements that don't pass."""
    gates = tuple(dict.fromkeys(f"{said.layer}/{said.gate}" for said in failing))
    catching = [said for said in failing if said.layer == fault.caught_by]
    if not catching:
        elsewhere = f"; noticed by {', '.join(gates)} alone" if gates else ""
        row = _row(fault, FaultOutcome.MISSED, f"{fault.caught_by} stayed green{elsewhere}")
        return replace(row, seen_by=gates, proof=proof)
    distances = [said.outcome.headroom_db for said in catching]
    return replace(
        _row(fault, FaultOutcome.CAUGHT, catching[0].outcome.reason),
        caught_by=catching[0].place,
        seen_by=gates,
        headroom_db=min((db for db in distances if db is not None), default=None),
        proof=proof,
    )


def _row(fault: Fault, outcome: FaultOutcome, reason: str) -> InjectedFault:
    return InjectedFault(
        fault.name, fault.level, fault.bug, fault.source, fault.caught_by, outcome, reason=reason
    )
