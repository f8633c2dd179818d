"""View models of the stems: how close each separated source is, and what kind of error remains.

In: the ``separation`` rows of a run. Out: for each subject a matrix (worst SNR of every stem under
every recipe) and the rows of each recipe. Ratios are in dB; ``None`` is "not computed".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.order import by_recipe, grouped, sortable, unique
from harness.verdicts import GATES, Run
from harness.verdicts.rows.signals import Separation

LIMIT_DB = GATES["end_to_end"].min_snr_db or 0.0
"""The ratio that each stem must exceed under a gating recipe."""


def below_limit(snr_db: float | None) -> bool:
    """Return whether a ratio does not exceed the limit; an unknown one counts as below."""
    return not sortable(snr_db) > LIMIT_DB


@dataclass(frozen=True)
class StemTable:
    """All stems of one subject under one recipe, worst first."""

    recipe: str
    rows: tuple[Separation, ...]

    @property
    def below(self) -> int:
        """How many stems do not exceed the limit."""
        return sum(below_limit(row.snr_db) for row in self.rows)

    def worst(self, stem: str) -> Separation | None:
        """Return the row of a stem with the lowest ratio; None if no ratio of it is known."""
        known = (row for row in self.rows if row.stem == stem and row.snr_db is not None)
        return next(known, None)


@dataclass(frozen=True)
class SubjectStems:
    """The stems of one subject: ``matrix`` has its worst row in each table, for each stem."""

    subject: str
    tables: tuple[StemTable, ...]
    matrix: tuple[tuple[str, tuple[Separation | None, ...]], ...]


def stem_views(run: Run) -> tuple[SubjectStems, ...]:
    """Return a view for each subject that has separation rows, in the order of the run."""
    groups = grouped(by_recipe(run, run.artefacts.separation), lambda row: row.subject)
    return tuple(_subject(subject, rows) for subject, rows in groups.items())


def _subject(subject: str, rows: Sequence[Separation]) -> SubjectStems:
    tables = tuple(
        StemTable(recipe, tuple(sorted(mine, key=lambda row: sortable(row.snr_db))))
        for recipe, mine in grouped(rows, lambda row: row.recipe).items()
    )
    stems = unique(row.stem for row in rows)
    matrix = tuple((stem, tuple(table.worst(stem) for table in tables)) for stem in stems)
    return SubjectStems(subject, tables, matrix)
