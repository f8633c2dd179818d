"""View models of the precision lab's documents that were attached to a run.

In: the ``sensitivity``, ``tuning`` and ``headroom`` rows of a run. Out: the few operations that
carry most of the error, and the sets that were tried against their cost. A headroom row is drawn as
it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.report.order import grouped
from harness.verdicts.rows.documents import OperationShare, SensitivityRow, TrialRow, TuningRow

SHOWN = 12
_DRAWN = 200


@dataclass(frozen=True)
class SharedBy:
    """An operation or a type, and its share of the error in percent."""

    name: str
    type: str
    module: str
    percent: float
    alone_db: float | None


@dataclass(frozen=True)
class SensitivityView:
    """What each operation adds to the error.

    Attributes:
        row: as the run has it.
        top: the operations that carry most.
        types: the same by type.
        cumulative: percent that the first operations carry together, worst first.
        half: how many carry half.
    """

    row: SensitivityRow
    top: tuple[SharedBy, ...]
    types: tuple[SharedBy, ...]
    cumulative: tuple[float, ...]
    half: int

    @property
    def levels(self) -> tuple[tuple[str, float | None, float | None], ...]:
        """Case and measure, what the shares predict and what was measured, in dB."""
        measured = self.row.measured_db
        return tuple(
            (name, level, measured.get(name)) for name, level in self.row.predicted_db.items()
        )


@dataclass(frozen=True)
class TuningView:
    """What ``parity tune`` tried; ``pareto`` is what nothing else beats, cheapest first."""

    row: TuningRow
    best: TrialRow | None
    pareto: tuple[TrialRow, ...]
    trials: tuple[TrialRow, ...]


def sensitivity_view(row: SensitivityRow) -> SensitivityView:
    """Return a view of one sensitivity document."""
    ranked = sorted(row.operations, key=lambda item: (-_share(item), item.operation))
    total = math.fsum(map(_share, ranked))
    carried, sum_ = [], 0.0
    for item in ranked:
        sum_ += _share(item)
        carried.append(round(100 * sum_ / total, 3) if total > 0 else 0.0)
    sums = {kind: math.fsum(map(_share, mine)) for kind, mine in grouped(ranked, _kind).items()}
    types = sorted(sums.items(), key=lambda pair: (-pair[1], pair[0]))
    return SensitivityView(
        row=row,
        top=tuple(
            _shared(item.operation, _share(item), total, _kind(item), item.module or "")
            for item in ranked[:SHOWN]
        ),
        types=tuple(_shared(kind, share, total) for kind, share in types[:SHOWN]),
        cumulative=tuple(carried[:_DRAWN]),
        half=next((place + 1 for place, share in enumerate(carried) if share >= 50.0), 0),
    )


def tuning_view(row: TuningRow) -> TuningView:
    """Return a view of one tuning document."""
    known = [trial for trial in row.trials if math.isfinite(trial.worst_db)]
    curve: list[TrialRow] = []
    for tried in sorted(known, key=lambda tried: (tried.fp32_share, -tried.worst_db)):
        if not curve or tried.worst_db > curve[-1].worst_db:
            curve.append(tried)
    best = row.best if row.best and math.isfinite(row.best.worst_db) else None
    return TuningView(row, best, tuple(curve), tuple(known))


def _kind(item: OperationShare) -> str:
    """Return an operation's type, and what of it errs where that is its compressed weights."""
    return item.type if item.error in ("", "fp16") else f"{item.type}, {item.error} weights"


def _share(item: OperationShare) -> float:
    share = item.share
    return share if share is not None and math.isfinite(share) and share > 0 else 0.0


def _shared(name: str, share: float, total: float, kind: str = "", module: str = "") -> SharedBy:
    percent = 100 * share / total if total > 0 else 0.0
    return SharedBy(name, kind, module, percent, -10 * math.log10(share) if share > 0 else None)
