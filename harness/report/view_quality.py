"""View models of the quality: scores against the true stems, of PyTorch and of the package.

In: the ``quality`` rows of a run. Out: for each subject and recipe a table of stems, each the mean
over the songs, and the largest change of any of them. Scores are in dB; NaN where one can't be had.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.order import by_recipe, grouped, unique
from harness.verdicts import Run
from harness.verdicts.rows.signals import Quality

SCORES = (
    ("si_sdr_db", "SI-SDR"),
    ("sdr_db", "SDR"),
    ("isr_db", "ISR"),
    ("sir_db", "SIR"),
    ("sar_db", "SAR"),
)


@dataclass(frozen=True)
class Score:
    """One score: means over the songs, and the change of the song that changes most."""

    expected_db: float
    actual_db: float
    largest_change_db: float


@dataclass(frozen=True)
class QualityTable:
    """A subject under a recipe: for each stem its scores, in the order of `SCORES`."""

    subject: str
    recipe: str
    songs: tuple[str, ...]
    stems: tuple[tuple[str, tuple[Score, ...]], ...]

    @property
    def largest_change_db(self) -> float:
        """The largest change of any score of any song."""
        return _largest(score.largest_change_db for _, scores in self.stems for score in scores)


def quality_tables(run: Run) -> tuple[QualityTable, ...]:
    """Return a table for each subject and recipe that has quality rows, in the run's order."""
    rows = by_recipe(run, run.artefacts.quality)
    groups = grouped(rows, lambda row: (row.subject, row.recipe))
    return tuple(_table(pair, mine) for pair, mine in groups.items())


def _table(pair: tuple[str, str], rows: Sequence[Quality]) -> QualityTable:
    return QualityTable(
        *pair,
        songs=unique(row.case for row in rows),
        stems=tuple(
            (stem, tuple(_score(mine, name) for name, _ in SCORES))
            for stem, mine in grouped(rows, lambda row: row.stem).items()
        ),
    )


def _score(rows: Sequence[Quality], name: str) -> Score:
    """Return a score over all songs; not a number if it is that for one of them."""
    pairs = [(getattr(row.expected, name), getattr(row.actual, name)) for row in rows]
    changes = [other - one for one, other in pairs]
    return Score(
        expected_db=sum(one for one, _ in pairs) / len(pairs),
        actual_db=sum(other for _, other in pairs) / len(pairs),
        largest_change_db=_largest(changes),
    )


def _largest(changes: Iterable[float]) -> float:
    """Return the largest change; what is not a number is larger than every number."""
    return max(changes, key=lambda change: (math.isnan(change), abs(change)), default=0.0)
