"""What a run keeps of a package's stems and outputs, so that the report can draw them.

In: expected and actual tensors of one case, and the labels of its checks (subject, case, recipe,
engine, numerics). Out: rows of `harness.verdicts.rows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.audio import SAMPLE_RATE
from harness.layers import Tensors
from harness.metrics import (
    SeparationMetrics,
    channel_snr_db,
    diagnose,
    segmental_snr_db,
    snr_db,
)
from harness.verdicts.rows.labelled import labels_of
from harness.verdicts.rows.signals import (
    ErrorCounts,
    Quality,
    Separation,
    StemPicture,
    StemQuality,
    StemTimeline,
)
from harness.workbench.pictures import error_counts, stem_picture, stem_timeline
from harness.workbench.predictions import Prediction

Stems = npt.NDArray[np.floating[Any]]
Labels = Mapping[str, str]


def separation_rows(
    expected: Stems, actual: Stems, metrics: Sequence[SeparationMetrics], labels: Labels
) -> Iterator[Separation]:
    """Yield for each stem [C, n] what kind of error it has."""
    for index, row in enumerate(metrics):
        worst = segmental_snr_db(expected[index], actual[index], SAMPLE_RATE).worst
        channels = channel_snr_db(expected[index], actual[index])
        yield Separation(
            **labels_of(labels),
            stem=row.source,
            snr_db=snr_db(expected[index], actual[index]),
            channel_snr_db=tuple(channel.snr_db for channel in channels),
            worst_segment_snr_db=worst.snr_db if worst else None,
            worst_segment_s=worst.start / SAMPLE_RATE if worst else None,
            sdr_db=row.sdr_db,
            isr_db=row.isr_db,
            sir_db=row.sir_db,
            sar_db=row.sar_db,
            diagnosis=diagnose(row),
            note=row.reason or "",
        )


def quality_rows(
    before: Sequence[StemQuality], after: Sequence[StemQuality], labels: Labels
) -> Iterator[Quality]:
    """Yield for each stem how well it is separated by PyTorch and by the candidate."""
    for expected, found in zip(before, after, strict=True):
        yield Quality(**labels_of(labels), expected=expected, actual=found)


def timeline_rows(
    expected: Stems, actual: Stems, sources: Sequence[str], labels: Labels
) -> Iterator[StemTimeline]:
    """Yield the SNR of every stem [S, C, n], second by second."""
    for index, stem in enumerate(sources):
        yield stem_timeline(expected[index], actual[index], stem, labels)


def count_rows(expected: Tensors, made: Prediction, labels: Labels) -> Iterator[ErrorCounts]:
    """Yield the errors of outputs and stems by size."""
    for tensor in made.results:
        yield error_counts(expected[tensor], made.tensors[tensor], tensor, labels)


def worst_stem(expected: Stems, actual: Stems) -> int:
    """Return the index of the stem with the lowest SNR."""
    return int(np.argmin([snr_db(one, other) for one, other in zip(expected, actual, strict=True)]))


def picture_row(
    expected: Stems, actual: Stems, sources: Sequence[str], labels: Labels
) -> StemPicture:
    """Return the worst stem over time and frequency, with what is left over."""
    worst = worst_stem(expected, actual)
    return stem_picture(expected[worst], actual[worst], sources[worst], labels)
