"""How many checks meet each bound of their gate, counted bound by bound.

In: evaluated checks that share a gate. Out: one `Bound` for the ratio, one for silence, one for the
elementwise tolerance, one for a plain number, as far as they apply. A check that broke before a
number was computed (another shape, NaN) does not meet the bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.order import sortable, unique
from harness.report.units import db, factor, plural
from harness.verdicts import Check, Verdict


@dataclass(frozen=True)
class Bound:
    """One bound of a gate, counted over the checks of a recipe.

    Attributes:
        words: the bound ("SNR > 60 dB").
        met, total: how many of the evaluated checks meet it.
        hint: what the worst check would have needed; empty if all meet it.
    """

    words: str
    met: int
    total: int
    hint: str = ""

    @property
    def sentence(self) -> str:
        """Return what was found in words."""
        hint = f" ({self.hint})" if self.hint else ""
        checks = plural(self.total, "check")
        if self.met == self.total:
            every = {1: "its one check", 2: "both checks"}.get(self.total, f"all {checks}")
            return f"meets {self.words} on {every}"
        if self.met:
            return f"meets {self.words} on {self.met} of {checks}{hint}"
        return f"does not meet {self.words} on any of {checks}{hint}"


def bounds_of(checks: Sequence[Check]) -> tuple[Bound, ...]:
    """Return the bounds of the gate that ``checks`` share, each with its count."""
    loud = [check for check in checks if not _silent(check)]
    found = (
        _snr(loud),
        _silence([check for check in checks if _silent(check)]),
        _elementwise(checks),
        _plain_number(checks),
    )
    return tuple(bound for bound in found if bound is not None)


def would_need(ratio: float) -> str:
    """Return in words by how much tolerances would have to grow to be met."""
    if math.isfinite(ratio):
        return f"the worst would need {factor(ratio)} times these tolerances"
    return "no multiple of these tolerances would do"


def _silent(check: Check) -> bool:
    return check.outcome.metrics.get("silent") is True


def _metric(check: Check, name: str) -> float:
    value = check.outcome.metrics.get(name)
    return float(value) if isinstance(value, (int, float)) else math.nan


def _snr(checks: Sequence[Check]) -> Bound | None:
    pairs = [
        (_metric(check, "snr_db"), check.gate.min_snr_db)
        for check in checks
        if check.gate and check.gate.min_snr_db is not None
    ]
    if not pairs:
        return None
    limits = sorted({limit for _, limit in pairs})
    words = f"SNR > {limits[0]:g} dB"
    if len(limits) > 1:
        words = f"the SNR bound of each check ({limits[0]:.1f} to {limits[-1]:.1f} dB)"
    met = sum(value > limit for value, limit in pairs)
    worst = _worst(checks) if met < len(pairs) else None
    hint = f"worst {db(_metric(worst, 'snr_db'))}{_where(worst)}" if worst else ""
    return Bound(words, met, len(pairs), hint)


def worst_snr_db(checks: Sequence[Check]) -> float | None:
    """Return the lowest SNR of those against a reference that is not silent; ``None`` if none."""
    worst = _worst([check for check in checks if not _silent(check)])
    return _metric(worst, "snr_db") if worst else None


def _worst(checks: Sequence[Check]) -> Check | None:
    known = [check for check in checks if not math.isnan(_metric(check, "snr_db"))]
    return min(known, key=lambda check: _metric(check, "snr_db"), default=None)


def _where(check: Check) -> str:
    names = unique(check.labels.get(name, "") for name in ("case", "tensor", "stem", "channel"))
    return f": {', '.join(names)}" if names else ""


def _silence(checks: Sequence[Check]) -> Bound | None:
    if not checks:
        return None
    met = sum(check.verdict is Verdict.PASS for check in checks)
    return Bound("its gate in silence", met, len(checks))


def _elementwise(checks: Sequence[Check]) -> Bound | None:
    mine = [check for check in checks if check.gate and check.gate.rtol is not None]
    if not mine:
        return None
    names = unique(
        f"rtol {check.gate.rtol:g}, atol {check.gate.atol:g}" for check in mine if check.gate
    )
    words = names[0] if len(names) == 1 else "the tolerances of each check"
    ratios = [
        math.inf if check.outcome.tolerance_ratio is None else check.outcome.tolerance_ratio
        for check in mine
    ]
    met = sum(ratio <= 1.0 for ratio in ratios)
    known = [ratio for ratio in ratios if not math.isnan(ratio)]
    return Bound(words, met, len(mine), would_need(max(known)) if known and met < len(mine) else "")


def _observed(check: Check) -> str:
    value = _metric(check, "value")
    decibels = check.gate is not None and check.gate.unit == "dB" and not math.isnan(value)
    return db(value) if decibels else check.outcome.observed


def _plain_number(checks: Sequence[Check]) -> Bound | None:
    mine = [
        check
        for check in checks
        if check.gate and (check.gate.at_most is not None or check.gate.at_least is not None)
    ]
    if not mine:
        return None
    names = unique(check.gate.describe() for check in mine if check.gate)
    words = f"its bound ({names[0]})" if len(names) == 1 else "the bound of each check"
    met = sum(check.verdict is Verdict.PASS for check in mine)
    judged = [check for check in mine if check.outcome.headroom_db is not None]
    worst = min(judged, key=lambda check: sortable(check.outcome.headroom_db), default=None)
    hint = f"worst {_observed(worst)}{_where(worst)}" if worst and met < len(mine) else ""
    return Bound(words, met, len(mine), hint)
