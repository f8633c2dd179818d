"""The top of the page: the verdict, what it rests on, and what stands in its way.

In: a `Run` with the views of its checks and recipes. Out: a frozen `Banner` of texts and numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.order import unique
from harness.report.text import words
from harness.report.units import plural
from harness.report.view_checks import MEASURED_WORDS, CheckRow, ranked
from harness.report.view_origin import device, engines_of, golden_hash, golden_summary
from harness.report.view_recipes import RecipeView
from harness.verdicts import EngineState, Run, Verdict

NUMERICS_MEANINGS = {
    "storage": "float32 arithmetic, one rounding to the declared type after each operation",
    "float64": "float64 arithmetic: the reference",
    "native": "the half-precision kernels of this machine",
    "fp16_accumulate": "sums and products accumulate in FP16: the pessimistic bound",
}


@dataclass(frozen=True)
class Banner:
    """The verdict, what it rests on, and what it does not cover.

    Attributes:
        emulation: what the executed engines can't tell about a device; empty if Core ML ran.
        state: the verdict, or ``waived`` for a pass that rests on waivers.
        failures: the gating checks that failed, least headroom first.
        waived: those that failed and are accepted for a while.
        broken: what turned the run red besides checks (the harness, goldens, duplicates).
        escaped: the injected bugs that were not caught, each with its reason.
        golden_hash: of all goldens together.
        distance: what is known of the distance between the emulation and a device.
        faults: how many bugs were injected and caught, in words.
        cases: for each subject the cases on which something of it was evaluated.
    """

    state: str
    word: str
    headline: str
    subjects: tuple[str, ...]
    cases: tuple[tuple[str, tuple[str, ...]], ...]
    gating_recipes: tuple[str, ...]
    exploratory_recipes: tuple[str, ...]
    engines: tuple[EngineState, ...]
    numerics: tuple[tuple[str, str], ...]
    device: str
    goldens: str
    golden_hash: str
    distance: str
    gating_checks: int
    exploratory_checks: int
    exploratory_unmet: int
    emulation: str
    failures: tuple[CheckRow, ...]
    waived: tuple[CheckRow, ...]
    broken: tuple[str, ...]
    escaped: tuple[str, ...]
    faults: str


def banner(run: Run, rows: Sequence[CheckRow], recipes: Sequence[RecipeView]) -> Banner:
    """Return the banner of ``run`` above the views of its checks and recipes."""
    failing = {f"{check.id}: {check.outcome.reason}" for check in run.failing}
    failures = ranked(row for row in rows if row.state == "fail")
    escaped = tuple(fault.complaint for fault in run.faults if fault.escaped)
    broken = tuple(reason for reason in run.red if reason not in failing.union(escaped))
    evaluated = [view for view in recipes if view.state != "not_evaluated"]
    gating = unique(view.recipe for view in evaluated if view.gating)
    sentence = run.headline()
    accepted = run.waived if run.verdict is Verdict.PASS else {}
    return Banner(
        state="waived" if accepted else run.verdict.value,
        word=words(run.verdict.value) + (f", {len(accepted)} waived" if accepted else ""),
        headline=f"{sentence[0].upper()}{sentence[1:]}.",
        subjects=run.profile.subjects or _labels(run, "subject"),
        cases=tuple(
            (subject, _labels(run, "case", subject)) for subject in _labels(run, "subject")
        ),
        gating_recipes=gating,
        exploratory_recipes=tuple(
            name for name in unique(view.recipe for view in evaluated) if name not in gating
        ),
        engines=engines_of(run),
        numerics=tuple(
            (name, NUMERICS_MEANINGS.get(name, "")) for name in _labels(run, "numerics")
        ),
        device=device(run),
        goldens=golden_summary(run),
        golden_hash=golden_hash(run),
        distance=_distance(run),
        gating_checks=sum(row.check.gating for row in rows),
        exploratory_checks=sum(not row.check.gating for row in rows),
        exploratory_unmet=sum(row.word == MEASURED_WORDS["fail"] for row in rows),
        emulation=_emulation(run),
        failures=failures,
        waived=ranked(row for row in rows if row.state == "waived"),
        broken=broken,
        escaped=escaped,
        faults=_fault_words(run),
    )


def _labels(run: Run, name: str, subject: str = "") -> tuple[str, ...]:
    """Return the values of a label among the evaluated checks, of a subject or all, in order."""
    return unique(
        check.labels.get(name, "")
        for check in run.checks
        if check.verdict is not Verdict.NOT_EVALUATED
        and subject in ("", check.labels.get("subject"))
    )


def _fault_words(run: Run) -> str:
    if not run.faults:
        return "none injected"
    caught = sum(fault.caught for fault in run.faults)
    tried = caught + sum(fault.escaped for fault in run.faults)
    untried = len(run.faults) - tried
    return f"{plural(tried, 'known bug')} injected, {caught} caught" + (
        f"; {untried} not tried" if untried else ""
    )


CORE_ML = "coreml"
"""How the names of its engines begin: one for each compute unit."""


def _emulation(run: Run) -> str:
    executed = {engine.name for engine in run.engines if engine.executed}
    if any(name.startswith(CORE_ML) for name in executed):
        return ""
    reasons = [engine.reason for engine in run.engines if engine.name == "coreml" and engine.reason]
    why = f" ({reasons[0].rstrip('.')})" if reasons else ""
    if not any(engine.emulates and engine.executed for engine in run.engines):
        return f"The Core ML engine did not run{why}, and no other engine executed a package."
    return (
        f"The Core ML engine did not run{why}. The package was executed by an emulation that "
        "follows its operations and declared precisions. An emulation is not the Neural Engine: "
        "what a device's own kernels add or leave out is not in these numbers."
    )


def _distance(run: Run) -> str:
    if any(engine.name.startswith(CORE_ML) and engine.executed for engine in run.engines):
        return "none: Core ML itself ran"
    return "not measured: no device was compared"
