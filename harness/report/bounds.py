"""How many checks meet each bound of their gate, counted bound by bound.

In: evaluated checks that share a gate. Out: one `Bound` for the ratio, one for silence, one for the
elementwise tolerance, one for a plain number, as far as they apply. A check that broke before a
number was computed (another shape, NaN) does not meet the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.order import unique
from harness.report.units import db, factor, plural
from harness.report.view_checks import CheckRow
from harness.verdicts import GATES, Run, Verdict, sortable


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


def bounds_of(rows: Sequence[CheckRow]) -> tuple[Bound, ...]:
    """Return the bounds of the gate that ``rows`` share, each with its count."""
    silent = [row.check.verdict is Verdict.PASS for row in rows if row.silent]
    found = (
        _snr([row for row in rows if not row.silent]),
        _bound("its gate in silence", silent),
        _elementwise(rows),
        _plain_number(rows),
    )
    return tuple(bound for bound in found if bound is not None)


def limit_db(run: Run, gate: str, subject: str) -> float:
    """Return the SNR that a gate demands of a subject in this run, or else in the table of gates.

    The command line or a network's declaration may have put another number there.
    """
    applied = (
        check.gate.min_snr_db
        for check in run.checks
        if check.gate and check.gate.name == gate and check.labels.get("subject", "") == subject
    )
    return next((limit for limit in applied if limit is not None), GATES[gate].min_snr_db or 0.0)


def lowest_snr(rows: Iterable[CheckRow]) -> CheckRow | None:
    """Return the row with the lowest SNR; ``None`` if none of them has one."""
    known = [row for row in rows if row.snr_db is not None]
    return min(known, key=lambda row: sortable(row.snr_db), default=None)


def _bound(words: str, met: Sequence[bool], hint: str = "") -> Bound | None:
    return Bound(words, sum(met), len(met), "" if all(met) else hint) if met else None


def _where(row: CheckRow) -> str:
    names = unique(map(row.of, ("case", "tensor", "stem", "channel")))
    return f": {', '.join(names)}" if names else ""


def _snr(rows: Sequence[CheckRow]) -> Bound | None:
    gates = [(row.snr_db, row.check.gate.min_snr_db) for row in rows if row.check.gate]
    pairs = [(ratio, limit) for ratio, limit in gates if limit is not None]
    limits = sorted({limit for _, limit in pairs}) or [0.0]
    words = f"SNR > {limits[0]:g} dB"
    if len(limits) > 1:
        words = f"the SNR bound of each check ({limits[0]:.1f} to {limits[-1]:.1f} dB)"
    worst = lowest_snr(rows)
    hint = f"worst {db(worst.snr_db)}{_where(worst)}" if worst else ""
    return _bound(words, [ratio is not None and ratio > limit for ratio, limit in pairs], hint)


def _elementwise(rows: Sequence[CheckRow]) -> Bound | None:
    mine = [row.check for row in rows if row.check.gate and row.check.gate.rtol is not None]
    names = unique(f"rtol {c.gate.rtol:g}, atol {c.gate.atol:g}" for c in mine if c.gate)
    ratios = [
        math.inf if check.outcome.tolerance_ratio is None else check.outcome.tolerance_ratio
        for check in mine
    ]
    worst = max((ratio for ratio in ratios if not math.isnan(ratio)), default=math.inf)
    hint = "no multiple of these tolerances would do"
    if math.isfinite(worst):
        hint = f"the worst would need {factor(worst)} times these tolerances"
    words = names[0] if len(names) == 1 else "the tolerances of each check"
    return _bound(words, [ratio <= 1.0 for ratio in ratios], hint)


def _plain_number(rows: Sequence[CheckRow]) -> Bound | None:
    gates = [(row, row.check.gate) for row in rows if row.check.gate]
    mine = [(row, g) for row, g in gates if g.at_most is not None or g.at_least is not None]
    names = unique(gate.describe() for _, gate in mine)
    judged = [pair for pair in mine if pair[0].headroom_db is not None]
    worst, gate = min(judged, key=lambda pair: sortable(pair[0].headroom_db), default=(None, None))
    hint = ""
    if worst and gate:
        value = worst.check.outcome.metrics.get("value")
        observed = worst.observed
        if gate.unit == "dB" and isinstance(value, (int, float)) and not math.isnan(value):
            observed = db(float(value))
        hint = f"worst {observed}{_where(worst)}"
    words = f"its bound ({names[0]})" if len(names) == 1 else "the bound of each check"
    return _bound(words, [row.check.verdict is Verdict.PASS for row, _ in mine], hint)
