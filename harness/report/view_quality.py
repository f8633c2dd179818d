"""View models of the quality: scores against the true stems, of PyTorch and of the package.

In: the ``quality`` rows of a run. Out: for each subject and recipe a table of stems, each the mean
over the songs, and the largest change of any of them. Scores are in dB; ``None`` is "not computed".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.reading import Row, number, rows, text, unique
from harness.verdicts import Run

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

    expected_db: float | None
    actual_db: float | None
    largest_change_db: float | None


@dataclass(frozen=True)
class QualityTable:
    """A subject under a recipe: for each stem its scores, in the order of `SCORES`."""

    subject: str
    recipe: str
    songs: tuple[str, ...]
    stems: tuple[tuple[str, tuple[Score, ...]], ...]


def quality_tables(run: Run) -> tuple[QualityTable, ...]:
    """Return a table for each subject and recipe that has quality rows, in the run's order."""
    items = rows(run, "quality")
    pairs = dict.fromkeys((text(row, "subject"), text(row, "recipe")) for row in items)
    return tuple(
        _table(pair, [row for row in items if (text(row, "subject"), text(row, "recipe")) == pair])
        for pair in pairs
    )


def _table(pair: tuple[str, str], items: Sequence[Row]) -> QualityTable:
    stems = unique(text(row, "stem") for row in items)
    return QualityTable(
        *pair,
        songs=unique(text(row, "case") for row in items),
        stems=tuple(
            (
                stem,
                tuple(
                    _score([row for row in items if text(row, "stem") == stem], key)
                    for key, _ in SCORES
                ),
            )
            for stem in stems
        ),
    )


def _score(items: Sequence[Row], key: str) -> Score:
    """Return a score over all songs; unknown if it is for one of them."""
    pairs = [(_side(row, "expected", key), _side(row, "actual", key)) for row in items]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    if len(known) < len(pairs) or not known:
        return Score(None, None, None)
    changes = [other - one for one, other in known]
    return Score(
        expected_db=sum(one for one, _ in known) / len(known),
        actual_db=sum(other for _, other in known) / len(known),
        largest_change_db=max(changes, key=lambda change: (math.isnan(change), abs(change))),
    )


def _side(row: Row, side: str, key: str) -> float | None:
    scores = row.get(side)
    return number(scores, key) if isinstance(scores, Mapping) else None
