"""How well stems are separated: scores against what was really mixed.

In: the true stems of a song (factorised once), estimates of them, and the mixture; float32, [S, 2,
n] and [2, n]. Out: one `StemQuality` for each stem, in dB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.metrics import ReferenceProjection, separation_metrics, si_sdr_db
from harness.verdicts.rows.signals import StemQuality


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
