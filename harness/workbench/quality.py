"""How well stems are separated: scores against what was really mixed.

In: the true stems of a song (factorised once), estimates of them, and the mixture; float32, [S, 2,
n] and [2, n]. Out: one `StemQuality` for each stem, in dB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.metrics import ReferenceProjection, separation_metrics, si_sdr_db

SCORES: Final = ("si_sdr_db", "sdr_db")
"""What quality is judged by; ISR, SIR and SAR say what kind of error there is."""


@dataclass(frozen=True)
class StemQuality:
    """The scores of one estimated stem; NaN where a score can't be had (a silent stem).

    Attributes:
        stem: name of the source.
        si_sdr_db: scale-invariant SDR.
        si_sdr_gain_db: how much of that the mixture itself doesn't have.
        sdr_db, isr_db, sir_db, sar_db: as in `harness.metrics.separation`.
    """

    stem: str
    si_sdr_db: float
    si_sdr_gain_db: float
    sdr_db: float
    isr_db: float
    sir_db: float
    sar_db: float

    def moved_db(self, other: StemQuality) -> float:
        """Return by how much the most different one of `SCORES` differs; NaN if one is NaN."""
        moved = [abs(getattr(self, name) - getattr(other, name)) for name in SCORES]
        return math.nan if any(map(math.isnan, moved)) else max(moved)


def stem_qualities(
    truth: ReferenceProjection,
    estimates: np.ndarray,
    mixture: np.ndarray,
    sources: Sequence[str],
) -> tuple[StemQuality, ...]:
    """Return the scores of every stem.

    Raises:
        ParityError: the shapes don't fit.
    """
    qualities = []
    rows = separation_metrics(truth, estimates, sources=sources)
    for row, reference, estimate in zip(rows, truth.references, estimates, strict=True):
        si_sdr = _number(si_sdr_db(reference, estimate))
        qualities.append(
            StemQuality(
                stem=row.source,
                si_sdr_db=si_sdr,
                si_sdr_gain_db=si_sdr - _number(si_sdr_db(reference, mixture)),
                sdr_db=_number(row.sdr_db),
                isr_db=_number(row.isr_db),
                sir_db=_number(row.sir_db),
                sar_db=_number(row.sar_db),
            )
        )
    return tuple(qualities)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
