"""View models of the precision maps: which operations run in FP16, and whether the recipe did it.

In: the ``precision_map`` rows of a run. Out: for each subject one table by operation type with a
column per recipe, and a card per recipe with its rules and the audit of its package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.order import by_recipe, grouped
from harness.report.text import words
from harness.verdicts import Run, Verdict
from harness.verdicts.rows.packages import PackageDescription, Split


@dataclass(frozen=True)
class PrecisionCard:
    """One recipe of one subject; ``state`` and ``word`` are those of its audit."""

    row: PackageDescription
    split: Split
    state: str
    word: str

    @property
    def cost(self) -> tuple[float, int]:
        """Return the share of its operations that runs in FP32, and the bytes of its package."""
        return self.split.fp32 / max(self.split.fp16 + self.split.fp32, 1), self.row.size_bytes

    @property
    def idle_rules(self) -> int:
        """How many rules matched nothing although they had to."""
        return sum(rule.idle for rule in self.row.rules)


@dataclass(frozen=True)
class PrecisionMap:
    """The recipes of one subject; ``table`` has a split per recipe for each operation type."""

    subject: str
    cards: tuple[PrecisionCard, ...]
    table: tuple[tuple[str, tuple[Split, ...]], ...]


def precision_maps(run: Run) -> tuple[PrecisionMap, ...]:
    """Return a map for each subject, in the order of the run."""
    groups = grouped(by_recipe(run, run.artefacts.precision_map), lambda row: row.subject)
    return tuple(_map(subject, rows) for subject, rows in groups.items())


def _map(subject: str, rows: Sequence[PackageDescription]) -> PrecisionMap:
    types = dict.fromkeys(name for row in rows for name in row.counts)
    table = [(name, tuple(row.counts.get(name, Split()) for row in rows)) for name in types]
    table.sort(key=lambda line: (-max(split.total for split in line[1]), line[0]))
    return PrecisionMap(subject, tuple(map(_card, rows)), tuple(table))


def _card(row: PackageDescription) -> PrecisionCard:
    state, word = row.audit.verdict.value, words(row.audit.verdict.value)
    if not row.gating and row.audit.verdict is not Verdict.NOT_EVALUATED:
        same = row.audit.verdict is Verdict.PASS
        state, word = "measured", "as declared" if same else "not as declared"
    return PrecisionCard(row, sum(row.counts.values(), Split()), state, word)
