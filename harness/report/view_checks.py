"""View models of the checks: one row each, sorted so that what matters comes first.

In: the checks of a run. Out: frozen rows and one table per layer; numbers stay numbers, the page
gives them their units.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.order import grouped
from harness.report.text import numerals, shorten, words
from harness.report.units import db, dbfs, factor, plural
from harness.verdicts import LAYERS, Check, Gate, Run, Verdict, Waiver, sortable

BAR_RANGE_DB = 60.0
"""The headroom that fills one half of a bar."""

_EXECUTION = ("engine", "numerics")
_TOLD = 250
GATING_WORDS = {"pass": "pass", "fail": "fail", "not_evaluated": "not evaluated"}
MEASURED_WORDS = {"pass": "meets", "fail": "does not meet", "not_evaluated": "not evaluated"}


@dataclass(frozen=True)
class CheckRow:
    """One check as the table shows it.

    Attributes:
        check: as the run has it.
        anchor: the id of its row in the page.
        state: ``pass``, ``fail``, ``not_evaluated``, ``waived`` for a failure that a waiver covers,
            or ``measured`` for an exploratory check that was evaluated; the page colours by it.
        word: the verdict in words; an exploratory check meets a gate or does not.
        what, context, executed: the labels, in three groups.
        family: the labels that a `CheckGroup` says for all of its rows.
        place: the others, beside ``what``.
        reason: why it is not a pass; empty for a pass.
        waiver: since when and why its failure is accepted; empty if it is not.
        bar_percent: the length of the headroom bar in percent of the whole width, at most 50.
        bar_side: ``above`` or ``below`` the bound, ``exact``, or empty without a headroom.
        passes_with: the tightest gate that this check would still have met.
    """

    check: Check
    anchor: str
    state: str
    word: str
    what: str
    context: str
    executed: str
    family: str
    place: str
    gate: str
    expected: str
    reason: str
    waiver: str
    bar_percent: float
    bar_side: str
    passes_with: tuple[str, ...]

    @property
    def observed(self) -> str:
        """What was found, in words."""
        return numerals(self.check.outcome.observed)

    @property
    def told(self) -> str:
        """What was found, what was expected, what an SNR doesn't tell, and the cause.

        Without a distance, it is the reason.
        """
        if self.headroom_db is None and self.reason:
            return shorten(self.reason, _TOLD)
        cause = self.reason.partition("; cause: ")[2]
        expected = f"expected {self.expected}" if self.expected else ""
        parts = self.observed, expected, self.excess, cause and f"cause: {cause}"
        return "; ".join(filter(None, parts))

    @property
    def excess(self) -> str:
        """By how much it misses its tolerances, in words; empty if it meets them or has none."""
        ratio = self.check.outcome.tolerance_ratio
        return f"needs {factor(ratio)} times its tolerances" if ratio and ratio > 1.0 else ""

    @property
    def headroom_db(self) -> float | None:
        """The distance to its bound."""
        return self.check.outcome.headroom_db

    @property
    def silent(self) -> bool:
        """Whether it was held against silence, where there is no ratio."""
        return self.check.outcome.metrics.get("silent") is True

    @property
    def snr_db(self) -> float | None:
        """Its SNR; ``None`` where it has none, as against silence, or where it is no number."""
        value = None if self.silent else self.check.outcome.metrics.get("snr_db")
        return None if not isinstance(value, (int, float)) or math.isnan(value) else float(value)

    def of(self, label: str) -> str:
        """Return a label of the check; empty if it has none of that name."""
        return self.check.labels.get(label, "")


@dataclass(frozen=True)
class CheckGroup:
    """Rows that share subject, gate, recipe and engine: each of them says only what is its own.

    Attributes:
        expected: what most of its rows expect; a row with another bound says so itself.
    """

    title: str
    state: str
    gate: str
    expected: str
    rows: tuple[CheckRow, ...]

    @property
    def least_headroom_db(self) -> float | None:
        """The headroom of the row that is closest to its bound."""
        return min((row.headroom_db for row in self.rows), key=sortable)

    @property
    def reproducible(self) -> bool:
        """Whether any of its rows has a command or a duration."""
        return any(row.check.command or row.check.duration_s for row in self.rows)

    @property
    def unmet(self) -> int:
        """How many exploratory rows do not meet their gate."""
        return sum(row.word == MEASURED_WORDS["fail"] for row in self.rows)


@dataclass(frozen=True)
class LayerChecks:
    """The checks of one layer: the gating ones, and the exploratory ones apart."""

    layer: str
    name: str
    gating: tuple[CheckRow, ...]
    exploratory: tuple[CheckRow, ...]

    @property
    def attention(self) -> tuple[CheckRow, ...]:
        """The gating checks that failed, also those that are waived, or were not evaluated."""
        return tuple(row for row in self.gating if row.state != "pass")

    @property
    def passing(self) -> tuple[CheckRow, ...]:
        """The gating checks that pass."""
        return tuple(row for row in self.gating if row.state == "pass")

    @property
    def passing_groups(self) -> tuple[CheckGroup, ...]:
        """The same in groups, the closest to its bound first."""
        return _grouped(self.passing, "pass")

    @property
    def exploratory_groups(self) -> tuple[CheckGroup, ...]:
        """The exploratory checks in groups, the farthest from its gate first."""
        return _grouped(self.exploratory, "measured")

    @property
    def drawn(self) -> int:
        """How many gating checks have a headroom."""
        return sum(bool(row.bar_side) for row in self.gating)

    @property
    def failed(self) -> int:
        """How many gating checks failed."""
        return sum(row.state == "fail" for row in self.gating)

    @property
    def not_evaluated(self) -> int:
        """How many gating checks were not evaluated."""
        return sum(row.state == "not_evaluated" for row in self.gating)


def check_rows(run: Run) -> tuple[CheckRow, ...]:
    """Return a row for each check, in the order of the run.

    Where the run has one subject only, its name is left out of the rows: the page says it once.
    """
    subjects = run.profile.subjects
    only = subjects[0] if len(subjects) == 1 else ""
    return tuple(
        _row(check, index, only, _waiver_words(run.waived.get(check.id), run.started))
        for index, check in enumerate(run.checks)
    )


def _waiver_words(waiver: Waiver | None, today: str) -> str:
    """Return why a failure is accepted, since when, and until when; empty if it is not."""
    if waiver is None:
        return ""
    return (
        f"accepted {plural(waiver.age_days(today), 'day')} ago, until {waiver.until}, down to "
        f"{db(waiver.lowest_headroom_db)} of headroom: {waiver.reason}"
    )


def layer_checks(rows: Sequence[CheckRow]) -> tuple[LayerChecks, ...]:
    """Return a table for each layer, also for those without a check."""
    groups = grouped(ranked(rows), lambda row: (row.check.layer, row.check.gating))
    found = {key: tuple(mine) for key, mine in groups.items()}
    return tuple(
        LayerChecks(
            layer, words(layer), found.get((layer, True), ()), found.get((layer, False), ())
        )
        for layer in LAYERS
    )


def ranked(rows: Iterable[CheckRow]) -> tuple[CheckRow, ...]:
    """Return failed rows, then those not evaluated, then the others; least headroom first.

    Of equals the run's first stays first: the terminal leads with it too.
    """
    return tuple(sorted(rows, key=_rank))


def _grouped(rows: Sequence[CheckRow], state: str) -> tuple[CheckGroup, ...]:
    return tuple(
        CheckGroup(
            title=family,
            state=state,
            gate=gate,
            expected=Counter(row.expected for row in members).most_common(1)[0][0],
            rows=tuple(members),
        )
        # Ranked: a group takes the place of its first row.
        for (gate, family), members in grouped(rows, lambda row: (row.gate, row.family)).items()
    )


def _rank(row: CheckRow) -> tuple[int, float]:
    order = {"fail": 0, "not_evaluated": 1, "waived": 2}.get(row.state, 3)
    return order, sortable(row.headroom_db)


def _row(check: Check, index: int, only_subject: str, waiver: str) -> CheckRow:
    outcome, verdict = check.outcome, check.verdict
    labels = check.labels
    percent, side = _bar(outcome.headroom_db)
    measured = not check.gating and verdict is not Verdict.NOT_EVALUATED
    vocabulary = GATING_WORDS if check.gating else MEASURED_WORDS
    what = [labels[name] for name in ("what", "tensor", "stem", "channel") if labels.get(name)]
    context = [labels[name] for name in ("subject", "case", "recipe") if labels.get(name)]
    if context and labels.get("subject") == only_subject:
        context = context[1:]
    executed = [labels[name] for name in _EXECUTION if labels.get(name)]
    return CheckRow(
        check=check,
        anchor=f"check-{index + 1}",
        state="waived" if waiver else "measured" if measured else verdict.value,
        word="fail, waived" if waiver else vocabulary[verdict.value],
        what=" · ".join(what) or (words(check.gate.name) if check.gate else check.layer),
        context=" · ".join(context),
        executed=", ".join(executed),
        family=" · ".join(
            labels[name]
            for name in ("subject", "recipe", *_EXECUTION)
            if labels.get(name) not in (None, "", only_subject)
        ),
        place=labels.get("case", ""),
        gate=words(check.gate.name) if check.gate else "",
        expected=numerals(outcome.expected or (check.gate.describe() if check.gate else "")),
        reason="" if verdict is Verdict.PASS else numerals(outcome.reason),
        waiver=waiver,
        bar_percent=percent,
        bar_side=side,
        passes_with=_passes_with(check),
    )


def _bar(headroom_db: float | None) -> tuple[float, str]:
    if headroom_db is None or math.isnan(headroom_db):
        return 0.0, ""
    if headroom_db == math.inf:
        return 50.0, "exact"
    share = min(abs(headroom_db), BAR_RANGE_DB) / BAR_RANGE_DB
    return round(50.0 * share, 1), "above" if headroom_db >= 0 else "below"


def _passes_with(check: Check) -> tuple[str, ...]:
    gate, outcome = check.gate, check.outcome
    if gate is None or not outcome.metrics:
        return ()
    found = [_elementwise(gate, outcome.tolerance_ratio)]
    if outcome.metrics.get("silent") is True:
        found.append(_level(outcome.metrics.get("error_rms_dbfs")))
    elif gate.min_snr_db is not None:
        found.append(_snr(outcome.metrics.get("snr_db")))
    value = outcome.metrics.get("value")
    if isinstance(value, (int, float)):
        found += [
            f"{side} {value:.4g} {gate.unit}".rstrip()
            for side, bound in (("at most", gate.at_most), ("at least", gate.at_least))
            if bound is not None
        ]
    return tuple(text for text in found if text)


def _elementwise(gate: Gate, ratio: float | None) -> str:
    if gate.rtol is None or gate.atol is None or ratio is None:
        return ""
    if ratio == 0.0:
        return "rtol 0, atol 0"
    if not math.isfinite(ratio):
        return "no multiple of these tolerances"
    return f"rtol {_up(gate.rtol * ratio)}, atol {_up(gate.atol * ratio)}"


def _up(tolerance: float) -> str:
    """Return two digits, rounded up: a tolerance rounded down would not pass."""
    if not 1e-300 < tolerance < 1e300:
        return f"{tolerance:.2g}"
    step = 10.0 ** (math.floor(math.log10(tolerance)) - 1)
    return f"{math.ceil(round(tolerance / step, 9)) * step:.2g}"


def _snr(value: object) -> str:
    if not isinstance(value, (int, float)) or math.isnan(value):
        return ""
    if math.isinf(value):
        return "any SNR" if value > 0 else "no SNR"
    tenths = value * 10.0
    return f"SNR > {db(math.floor(tenths) / 10.0 if math.isfinite(tenths) else value)}"


def _level(value: object) -> str:
    if not isinstance(value, (int, float)) or math.isnan(value):
        return ""
    return "no error" if value == -math.inf else f"error at most {dbfs(value)}"
