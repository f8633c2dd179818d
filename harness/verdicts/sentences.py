"""The verdict of a run in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.verdicts.checks import Verdict
from harness.verdicts.faults import FaultOutcome

if TYPE_CHECKING:
    from harness.verdicts.runs import Run


def sentence_of(run: Run) -> str:
    """Return the verdict of a run in one sentence, and what failed or is missing first."""
    word = run.verdict.value.upper().replace("_", " ")
    reasons = run.red or run.missing
    return f"{word}: {headline_of(run)}" + (f"; first: {reasons[0]}" if reasons else ".")


def headline_of(run: Run) -> str:
    """Return why a run has its verdict, without a full stop."""
    gating = sum(check.gating for check in run.checks)
    subjects = " and ".join(run.profile.subjects) or "no subject"
    subjects += f" (narrowed to {run.narrowed})" if run.narrowed else ""
    injected = sum(fault.outcome is not FaultOutcome.NOT_TRIED for fault in run.faults)
    if run.verdict is Verdict.PASS:
        parts = [_holding(run, gating, subjects)] if gating else []
        parts += [f"{injected} of {injected} injected faults were caught"] if injected else []
        return ", and ".join(parts) or "nothing was asked for"
    if run.verdict is Verdict.FAIL:
        escaped, failed = sum(fault.escaped for fault in run.faults), len(run.failing)
        broken = len(run.red) - escaped - failed
        waived = f" ({len(run.waived)} more are waived)" if run.waived else ""
        parts = [f"{failed} of {gating} gating checks failed for {subjects}{waived}"] * bool(gating)
        parts += [f"{escaped} of {injected} injected faults were not caught"] * bool(escaped)
        things = "thing" if broken == 1 else "things"
        parts += [f"{broken} {things} that the checks rest on broke"] * bool(broken)
        return " and ".join(parts)
    waived = f" ({len(run.waived)} failures are waived)" if run.waived else ""
    things = "thing was" if len(run.missing) == 1 else "things were"
    return f"{len(run.missing)} required {things} not looked at for {subjects}{waived}"


def _holding(run: Run, gating: int, subjects: str) -> str:
    if not run.waived:
        return f"all {gating} gating checks hold for {subjects}"
    oldest = max(waiver.age_days(run.started) for waiver in run.waived.values())
    failed = "1 failed and is" if len(run.waived) == 1 else f"{len(run.waived)} failed and are"
    return (
        f"{gating - len(run.waived)} of {gating} gating checks hold for {subjects}, "
        f"{failed} waived (the oldest for {oldest} days)"
    )
