"""View models of the published scores: for each subject and recipe a table of stems, and of bands.

In: the ``scores`` rows of a run. Scores are in dB or samples; None where one can't be had.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.order import by_recipe, grouped
from harness.verdicts import Run
from harness.verdicts.rows.scores import Scores, StemScores

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
