"""View models of the stems: how close each separated source is, and what kind of error remains.

In: the ``separation`` rows of a run. Out: for each subject a matrix (worst SNR of every stem under
every recipe) and a table for each recipe. Ratios are in dB; ``None`` is "not computed".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.reading import Row, as_number, number, rows, sequence, text, unique
from harness.report.view_checks import sortable
from harness.verdicts import GATES, Run

LIMIT_DB = GATES["end_to_end"].min_snr_db or 0.0
"""The ratio that each stem must exceed under a gating recipe."""


@dataclass(frozen=True)
class StemRow:
    """One stem of one case under one recipe; ``channel_snr_db`` is (left, right)."""

    case: str
    stem: str
    snr_db: float | None
    channel_snr_db: tuple[float | None, ...]
    worst_segment_snr_db: float | None
    worst_segment_s: float | None
    sdr_db: float | None
    isr_db: float | None
    sir_db: float | None
    sar_db: float | None
    diagnosis: str
    note: str

    @property
    def below(self) -> bool:
        """Whether the SNR does not exceed the limit; unknown counts as below."""
        return not sortable(self.snr_db) > LIMIT_DB


@dataclass(frozen=True)
class StemTable:
    """All stems of one subject under one recipe, worst first."""

    recipe: str
    rows: tuple[StemRow, ...]

    @property
    def below(self) -> int:
        """How many stems do not exceed the limit."""
        return sum(row.below for row in self.rows)


@dataclass(frozen=True)
class StemCell:
    """The worst SNR of a stem under a recipe, and the case that it comes from."""

    snr_db: float | None
    case: str
    below: bool
    known: bool


@dataclass(frozen=True)
class SubjectStems:
    """The stems of one subject: ``matrix`` has a row of cells, one per recipe, for each stem."""

    subject: str
    recipes: tuple[str, ...]
    matrix: tuple[tuple[str, tuple[StemCell, ...]], ...]
    tables: tuple[StemTable, ...]


def stem_views(run: Run) -> tuple[SubjectStems, ...]:
    """Return a view for each subject that has separation rows, in the order of the run."""
    items = rows(run, "separation")
    return tuple(
        _subject(name, [row for row in items if text(row, "subject") == name])
        for name in dict.fromkeys(text(row, "subject") for row in items)
    )


def _subject(name: str, items: Sequence[Row]) -> SubjectStems:
    recipes = tuple(dict.fromkeys(text(row, "recipe") for row in items))
    by_recipe = {
        recipe: [_row(row) for row in items if text(row, "recipe") == recipe] for recipe in recipes
    }
    stems = unique(text(row, "stem") for row in items)
    matrix = tuple(
        (stem, tuple(_cell(stem, by_recipe[recipe]) for recipe in recipes)) for stem in stems
    )
    tables = tuple(
        StemTable(recipe, tuple(sorted(found, key=lambda row: sortable(row.snr_db))))
        for recipe, found in by_recipe.items()
    )
    return SubjectStems(name, recipes, matrix, tables)


def _cell(stem: str, found: Sequence[StemRow]) -> StemCell:
    mine = [row for row in found if row.stem == stem and row.snr_db is not None]
    if not mine:
        return StemCell(None, "", below=False, known=False)
    worst = min(mine, key=lambda row: sortable(row.snr_db))
    return StemCell(worst.snr_db, worst.case, worst.below, known=True)


def _row(row: Row) -> StemRow:
    return StemRow(
        case=text(row, "case"),
        stem=text(row, "stem"),
        snr_db=number(row, "snr_db"),
        channel_snr_db=tuple(as_number(value) for value in sequence(row.get("channel_snr_db"))),
        worst_segment_snr_db=number(row, "worst_segment_snr_db"),
        worst_segment_s=number(row, "worst_segment_s"),
        sdr_db=number(row, "sdr_db"),
        isr_db=number(row, "isr_db"),
        sir_db=number(row, "sir_db"),
        sar_db=number(row, "sar_db"),
        diagnosis=text(row, "diagnosis"),
        note=text(row, "note"),
    )
