"""The ladder: each layer of a run with its verdict, its counts, and how near it came to a gate.

A layer fails with one gating check. It is not evaluated while a gating check of it was not, or
there is none, or none of one of the subjects that it is about, or nothing but silence was compared
of one, or fewer than the inventory expects.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from harness.verdicts.checks import Check, Verdict
from harness.verdicts.completeness import Completeness
from harness.verdicts.states import Profile
from harness.verdicts.tolerances import SUBJECT_LAYERS


@dataclass(frozen=True)
class LayerSummary:
    """One rung of the ladder."""

    layer: str
    required: bool
    verdict: Verdict
    reason: str
    counts: Mapping[str, int]
    exploratory: int
    worst_headroom_db: float | None
    duration_s: float


def summarise(
    layer: str,
    checks: Sequence[Check],
    profile: Profile,
    completeness: Completeness,
    waived: Container[str],
) -> LayerSummary:
    """Return what a run found on one rung.

    Args:
        layer: the rung.
        checks: of the run, those of other rungs included.
        profile: what the run set out to evaluate.
        completeness: what it has of what was expected.
        waived: identities of failed checks that a maintainer accepted.
    """
    mine = [check for check in checks if check.layer == layer]
    gating = [check for check in mine if check.gating]
    counts = Counter("waived" if check.id in waived else check.verdict.value for check in gating)
    made, total = completeness.gating(layer)
    required = layer in profile.layers or total > 0
    unseen = counts["not_evaluated"]
    if counts["fail"]:
        verdict, reason = Verdict.FAIL, f"{counts['fail']} of {len(gating)} gating checks failed"
        reason += f", {unseen} not evaluated" if unseen else ""
    elif unseen:
        verdict = Verdict.NOT_EVALUATED
        reason = f"{unseen} of {len(gating)} gating checks were not evaluated"
    elif not gating:
        verdict, reason = Verdict.NOT_EVALUATED, "no gating check was evaluated"
    elif absent := _absent_subjects(layer, gating, profile):
        verdict = Verdict.NOT_EVALUATED
        reason = f"no gating check was evaluated for {' and '.join(absent)}"
    elif silent := _silent_subjects(layer, gating):
        verdict = Verdict.NOT_EVALUATED
        reason = (
            f"every output of {' and '.join(silent)} that was compared is silent, and zero beside "
            "zero proves nothing: give other inputs"
        )
    elif completeness.shortfalls(layer):
        verdict = Verdict.NOT_EVALUATED
        reason = f"{made} of {total} expected gating checks were made"
        reason = reason if made < total else "exploratory checks that were expected are missing"
    else:
        verdict, reason = Verdict.PASS, f"all {len(gating)} gating checks hold"
        if counts["waived"]:
            kept = len(gating) - counts["waived"]
            reason = f"{kept} of {len(gating)} gating checks hold, {counts['waived']} waived"
    headrooms = [
        check.outcome.headroom_db for check in gating if check.outcome.headroom_db is not None
    ]
    return LayerSummary(
        layer=layer,
        required=required,
        verdict=verdict,
        reason=reason,
        counts={name: counts[name] for name in (*(v.value for v in Verdict), "waived")},
        exploratory=len(mine) - len(gating),
        worst_headroom_db=min(headrooms) if headrooms else None,
        duration_s=math.fsum(check.duration_s for check in mine),
    )


def _silent_subjects(layer: str, gating: Sequence[Check]) -> tuple[str, ...]:
    """Return the subjects of which a layer about subjects compared zeros or silence alone."""
    heard: dict[str, bool] = {}
    for check in gating if layer in SUBJECT_LAYERS else ():
        silent = check.outcome.metrics.get("silent")
        if silent is not None and not check.labels.get("tensor", "").startswith("tap "):
            subject = check.labels.get("subject", "the reference")
            heard[subject] = heard.get(subject, False) or not silent
    return tuple(subject for subject, loud in heard.items() if not loud)


def _absent_subjects(layer: str, gating: Sequence[Check], profile: Profile) -> tuple[str, ...]:
    """Return the subjects of the profile that a layer about subjects says nothing of."""
    if layer not in SUBJECT_LAYERS:
        return ()
    present = {check.labels.get("subject") for check in gating}
    return tuple(
        subject
        for subject in profile.subjects
        if subject not in present and layer not in profile.without.get(subject, ())
    )
