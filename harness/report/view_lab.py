"""View models of the precision lab's documents that were attached to a run.

In: the ``attachment`` rows of a run: documents that ``parity sensitivity``, ``parity tune`` and
``parity headroom`` wrote. Out: the few operations that carry most of the error, the sets that were
tried against their cost, and the operations at risk in FP16. A document of a shape that is not
known is named and not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.report.reading import Row, as_number, number, objects, rows, sequence, text, whole
from harness.report.view_proofs import BESIDE
from harness.verdicts import Run

SHOWN = 12


@dataclass(frozen=True)
class SharedBy:
    """An operation, a type or a module, and its share of the error in percent."""

    name: str
    type: str
    module: str
    percent: float
    alone_db: float | None


@dataclass(frozen=True)
class SensitivityView:
    """What each operation adds to the error of the first measure.

    Attributes:
        top: the operations that carry most.
        cumulative: percent that the first operations carry together, worst first.
        half: how many carry half.
        levels: (case and measure, predicted, measured), in dB.
    """

    name: str
    subject: str
    precision: str
    measure: str
    cases: tuple[str, ...]
    count: int
    top: tuple[SharedBy, ...]
    types: tuple[SharedBy, ...]
    cumulative: tuple[float, ...]
    half: int
    levels: tuple[tuple[str, float | None, float | None], ...]


@dataclass(frozen=True)
class TrialView:
    """A set of FP32 operations that was measured."""

    fp32: int | None
    fp32_share: float
    worst_db: float
    holds: bool


@dataclass(frozen=True)
class TuningView:
    """What ``parity tune`` tried; ``pareto`` is what nothing else beats, cheapest first."""

    name: str
    subject: str
    cases: tuple[str, ...]
    cost: str
    goal_db: float | None
    reached: bool
    limit: str
    best: TrialView | None
    pareto: tuple[TrialView, ...]
    trials: tuple[TrialView, ...]


@dataclass(frozen=True)
class RiskView:
    """An operation that FP16 endangers, and why."""

    operation: str
    type: str
    module: str
    headroom_db: float | None
    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class HeadroomView:
    """The headroom audit; ``risks`` are in program order, the first ones."""

    name: str
    numerics: str
    as_fp16: bool
    cases: tuple[str, ...]
    operations: int
    at_risk: int
    risks: tuple[RiskView, ...]
    least_db: float | None


@dataclass(frozen=True)
class LabView:
    """All documents; ``unknown`` names those that can't be drawn."""

    sensitivities: tuple[SensitivityView, ...]
    tunings: tuple[TuningView, ...]
    headrooms: tuple[HeadroomView, ...]
    unknown: tuple[str, ...]


def lab_view(run: Run) -> LabView:
    """Return a view of every attached document."""
    sensitivities, tunings, headrooms, unknown = [], [], [], []
    for row in rows(run, "attachment"):
        document, name = row.get("document"), text(row, "name")
        kind = text(row, "kind")
        if not isinstance(document, Mapping):
            unknown.append(name or "no name")
        elif kind == "sensitivity":
            sensitivities.append(_sensitivity(name, document))
        elif kind == "tuning":
            tunings.append(_tuning(name, document))
        elif kind == "headroom":
            headrooms.append(_headroom(name, document))
        elif kind not in BESIDE:
            unknown.append(name or "no name")
    return LabView(tuple(sensitivities), tuple(tunings), tuple(headrooms), tuple(unknown))


def _sensitivity(name: str, document: Row) -> SensitivityView:
    measures = [str(measure) for measure in sequence(document.get("measures"))]
    measure = measures[0] if measures else ""
    found = sorted(
        ((_mean(item, measure), item) for item in objects(document, "operations")),
        key=lambda pair: (-pair[0], text(pair[1], "operation")),
    )
    total = math.fsum(share for share, _ in found)
    carried, sum_ = [], 0.0
    for share, _ in found:
        sum_ += share
        carried.append(round(100 * sum_ / total, 3) if total > 0 else 0.0)
    sums: dict[str, float] = {}
    for share, item in found:
        sums[_kind(item)] = sums.get(_kind(item), 0.0) + share
    ranked = sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))
    predicted, measured = (_mapping(document, key) for key in ("predicted_db", "measured_db"))
    return SensitivityView(
        name=name,
        subject=text(document, "subject"),
        precision=text(document, "precision"),
        measure=measure,
        cases=tuple(str(case) for case in sequence(document.get("cases"))),
        count=len(found),
        top=tuple(
            _shared(text(item, "operation"), share, total, _kind(item), text(item, "module"))
            for share, item in found[:SHOWN]
        ),
        types=tuple(_shared(kind, share, total) for kind, share in ranked[:SHOWN]),
        cumulative=tuple(carried[:200]),
        half=next((place + 1 for place, share in enumerate(carried) if share >= 50.0), 0),
        levels=tuple(
            (str(key), as_number(value), as_number(measured.get(key)))
            for key, value in predicted.items()
        ),
    )


def _kind(item: Row) -> str:
    """Return an operation's type, and what of it errs where that is its compressed weights."""
    kind, error = text(item, "type"), text(item, "error")
    return kind if error in ("", "fp16") else f"{kind}, {error} weights"


def _mean(item: Row, measure: str) -> float:
    value = number(_mapping(item, "mean"), measure)
    return value if value is not None and math.isfinite(value) and value > 0 else 0.0


def _mapping(row: Row, key: str) -> Row:
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}


def _shared(name: str, share: float, total: float, kind: str = "", module: str = "") -> SharedBy:
    percent = 100 * share / total if total > 0 else 0.0
    return SharedBy(name, kind, module, percent, -10 * math.log10(share) if share > 0 else None)


def _tuning(name: str, document: Row) -> TuningView:
    goal = _mapping(document, "goal")
    trials = [_trial(item) for item in objects(document, "trials")]
    known = [trial for trial in trials if trial is not None]
    curve: list[TrialView] = []
    for trial in sorted(known, key=lambda trial: (trial.fp32_share, -trial.worst_db)):
        if not curve or trial.worst_db > curve[-1].worst_db:
            curve.append(trial)
    best = document.get("best")
    return TuningView(
        name=name,
        subject=text(document, "subject"),
        cases=tuple(str(case) for case in sequence(document.get("cases"))),
        cost=text(goal, "cost") or "operations",
        goal_db=number(goal, "min_snr_db"),
        reached=document.get("reached") is True,
        limit=text(document, "limit"),
        best=_trial(best) if isinstance(best, Mapping) else None,
        pareto=tuple(curve),
        trials=tuple(known),
    )


def _trial(item: Row) -> TrialView | None:
    share = number(item, "fp32_share")
    levels = [as_number(value) for value in _mapping(item, "measured_db").values()]
    known = [level for level in levels if level is not None and math.isfinite(level)]
    if share is None or not known or not 0.0 <= share <= 1.0:
        return None
    return TrialView(whole(item, "fp32_count"), share, min(known), item.get("holds") is True)


def _headroom(name: str, document: Row) -> HeadroomView:
    operations = objects(document, "operations")
    risky = [item for item in operations if objects(item, "risks")]
    return HeadroomView(
        name=name,
        numerics=text(document, "numerics"),
        as_fp16=document.get("as_fp16") is True,
        cases=tuple(str(case) for case in sequence(document.get("cases"))),
        operations=whole(document, "operation_count") or len(operations),
        at_risk=whole(document, "at_risk_count") or len(risky),
        risks=tuple(
            RiskView(
                operation=text(item, "operation"),
                type=text(item, "type"),
                module=text(item, "module"),
                headroom_db=number(item, "headroom_db"),
                reasons=tuple(
                    (text(risk, "kind"), f"{text(risk, 'reason')} ({text(risk, 'case')})")
                    for risk in objects(item, "risks")
                ),
            )
            for item in risky[:SHOWN]
        ),
        least_db=number(document, "least_headroom_db"),
    )
