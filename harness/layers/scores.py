"""The scores that separation is published with, of a set of stems. They gate nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.layers.end_to_end import Stems
from harness.metrics import (
    ReferenceProjection,
    alignment,
    framewise_metrics,
    log_spectral_distance_db,
    mixture_null,
    octave_snr_db,
    source_metrics,
)
from harness.verdicts.rows.scores import StemScores


def stem_scores(
    references: ReferenceProjection, estimates: Stems, sources: Sequence[str], rate: int
) -> tuple[StemScores, ...]:
    """Score every stem, all of them together.

    Args:
        references: the stems [S, C, n] that are right, factorised once for all candidates.
        estimates: of them.
        sources: names of the S stems.
        rate: samples per second; windows are a second long.

    Raises:
        ParityError: the shapes don't fit.
    """
    windows = framewise_metrics(references, estimates, sources=sources, window=rate, hop=rate)
    whole = source_metrics(references, estimates, sources=sources)
    null = mixture_null(references.references, estimates).depth_db
    rows = []
    for index, (row, source) in enumerate(zip(windows, whole, strict=True)):
        expected, actual = references.references[index], estimates[index]
        if not np.isfinite(actual).all():
            rows.append(StemScores(row.source, note=row.reason or ""))
            continue
        place = alignment(expected, actual, longest=rate)
        bands = octave_snr_db(expected, actual, rate)
        rows.append(
            StemScores(
                row.source,
                sdr_db=row.median_db("sdr_db"),
                isr_db=row.median_db("isr_db"),
                sir_db=row.median_db("sir_db"),
                sar_db=row.median_db("sar_db"),
                source_sdr_db=source.sdr_db,
                source_sir_db=source.sir_db,
                source_sar_db=source.sar_db,
                distance_db=log_spectral_distance_db(expected, actual),
                delay_samples=place.delay_samples if place else None,
                gain=place.gain if place else None,
                null_db=null,
                octaves=tuple((band.low_hz, band.high_hz, band.snr_db) for band in bands),
                note=row.reason or source.reason or "",
            )
        )
    return tuple(rows)
