"""The verdict of a run in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.verdicts.checks import Verdict
from harness.verdicts.faults import FaultOutcome

if TYPE_CHECKING:
    from harness.verdicts.runs import Run


def sentence_of(run: Run) -> str:
    """Return the verdict of a run in one sentence, with what failed or is missing first."""
    gating = [check for check in run.checks if check.gating]
    subjects = " and ".join(run.profile.subjects) or "no subject"
    subjects += f" (narrowed to {run.narrowed})" if run.narrowed else ""
    injected = sum(fault.outcome is not FaultOutcome.NOT_TRIED for fault in run.faults)
    if run.verdict is Verdict.PASS:
        parts = [_holding(run, len(gating), subjects)] if gating else []
        parts += [f"{injected} of {injected} injected faults were caught"] if injected else []
        return f"PASS: {', and '.join(parts) or 'nothing was asked for'}."
    if run.verdict is Verdict.FAIL:
        escaped = sum(fault.escaped for fault in run.faults)
        parts = [f"{len(run.failing)} of {len(gating)} gating checks failed for {subjects}"]
        if run.waived:
            parts[0] += f" ({len(run.waived)} more are waived)"
        if escaped or not gating:
            parts = parts if gating else []
            parts.append(f"{escaped} of {injected} injected faults were not caught")
        return f"FAIL: {' and '.join(parts)}; first: {run.red[0]}"
    waived = f" ({len(run.waived)} failures are waived)" if run.waived else ""
    return (
        f"NOT EVALUATED: {len(run.missing)} required thing(s) were not looked at for "
        f"{subjects}{waived}; first: {run.missing[0]}"
    )


def _holding(run: Run, gating: int, subjects: str) -> str:
    if not run.waived:
        return f"all {gating} gating checks hold for {subjects}"
    oldest = max(waiver.age_days(run.started) for waiver in run.waived.values())
    return (
        f"{gating - len(run.waived)} of {gating} gating checks hold for {subjects}, "
        f"{len(run.waived)} failed and are waived (the oldest for {oldest} days)"
    )
