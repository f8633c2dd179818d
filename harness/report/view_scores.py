"""View models of scores: for each subject and recipe tables of stems.

In: the ``scores`` rows of a run, which are the published ones, in dB or samples, None where one
can't be had; and its ``quality`` rows, those of PyTorch and of the package against the true stems,
in dB, NaN where one can't be had. Out: of the former a row for each stem and the bands; of the
latter the mean over the songs of each stem, and the largest change of any of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.order import by_recipe, grouped, unique
from harness.verdicts import Run
from harness.verdicts.rows.scores import Scores, StemScores
from harness.verdicts.rows.signals import Quality

SCORES = (
    ("sdr_db", "SDR"),
    ("isr_db", "ISR"),
    ("sir_db", "SIR"),
    ("sar_db", "SAR"),
    ("source_sdr_db", "SDR, sources"),
    ("source_sir_db", "SIR, sources"),
    ("source_sar_db", "SAR, sources"),
    ("distance_db", "Spectral distance"),
    ("null_db", "Null test"),
)
"""Those in dB: attribute and title of the column."""
QUALITY_SCORES = (("si_sdr_db", "SI-SDR"), *SCORES[:4])
"""Those against the true stems, likewise."""


@dataclass(frozen=True)
class ScoreTable:
    """A subject under a recipe: the scores of its stems."""

    subject: str
    recipe: str
    rows: tuple[Scores, ...]

    @property
    def title(self) -> str:
        """Whose scores they are."""
        named = " under recipe ".join(name for name in (self.subject, self.recipe) if name)
        return named or "the candidate"

    @property
    def bands(self) -> tuple[float, ...]:
        """The upper edges in Hz of the bands that every row has."""
        shown = (row.actual.octaves for row in self.rows if row.actual.octaves)
        return tuple(high for _, high, _ in next(shown, ()))

    @property
    def compared(self) -> bool:
        """Whether PyTorch's scores stand beside the candidate's."""
        return any(row.expected for row in self.rows)


def sides(row: Scores) -> tuple[StemScores, ...]:
    """Return PyTorch's scores, if they are there, and the candidate's."""
    return tuple(side for side in (row.expected, row.actual) if side)


def score_tables(run: Run) -> tuple[ScoreTable, ...]:
    """Return a table for each subject and recipe that has scores, in the run's order."""
    rows = by_recipe(run, run.artefacts.scores)
    groups = grouped(rows, lambda row: (row.subject, row.recipe))
    return tuple(ScoreTable(*pair, tuple(mine)) for pair, mine in groups.items())


@dataclass(frozen=True)
class Score:
    """One score: means over the songs, and the change of the song that changes most."""

    expected_db: float
    actual_db: float
    largest_change_db: float


@dataclass(frozen=True)
class QualityTable:
    """A subject under a recipe: for each stem its scores, in the order of `QUALITY_SCORES`."""

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
    return tuple(_quality_table(pair, mine) for pair, mine in groups.items())


def _quality_table(pair: tuple[str, str], rows: Sequence[Quality]) -> QualityTable:
    return QualityTable(
        *pair,
        songs=unique(row.case for row in rows),
        stems=tuple(
            (stem, tuple(_score(mine, name) for name, _ in QUALITY_SCORES))
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
