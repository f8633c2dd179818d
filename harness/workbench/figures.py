"""What a run keeps of a package's stems and outputs, so that the report can draw them.

In: expected and actual tensors of one case, and the labels of its checks (subject, case, recipe,
engine, numerics). Out: rows as a run keeps them, each with its kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
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
from harness.verdicts.artefacts import KIND_OF
from harness.workbench.pictures import error_counts, stem_picture, stem_timeline
from harness.workbench.predictions import Prediction
from harness.workbench.quality import StemQuality

Stems = npt.NDArray[np.floating[Any]]
Labels = Mapping[str, str]
Row = tuple[str, Any]
"""The kind of a row, and the row as plain JSON data."""


def drawn(item: Any) -> Row:
    """Return a row of `harness.verdicts.artefacts` with its kind."""
    return KIND_OF[type(item)], asdict(item)


def separation_rows(
    expected: Stems, actual: Stems, metrics: Sequence[SeparationMetrics], labels: Labels
) -> Iterator[Row]:
    """Yield for each stem [C, n] what kind of error it has."""
    for index, row in enumerate(metrics):
        worst = segmental_snr_db(expected[index], actual[index]).worst
        item: Mapping[str, object] = {
            "stem": row.source,
            "snr_db": snr_db(expected[index], actual[index]),
            "channel_snr_db": [c.snr_db for c in channel_snr_db(expected[index], actual[index])],
            "worst_segment_snr_db": worst.snr_db if worst else None,
            "worst_segment_s": worst.start / SAMPLE_RATE if worst else None,
            "sdr_db": row.sdr_db,
            "isr_db": row.isr_db,
            "sir_db": row.sir_db,
            "sar_db": row.sar_db,
            "diagnosis": diagnose(row),
            "note": row.reason or "",
        }
        yield "separation", {**labels, **item}


def quality_rows(
    before: Sequence[StemQuality], after: Sequence[StemQuality], labels: Labels
) -> Iterator[Row]:
    """Yield for each stem how well it is separated by PyTorch and by the candidate."""
    for expected, found in zip(before, after, strict=True):
        sides = {"expected": asdict(expected), "actual": asdict(found)}
        yield "quality", {**labels, "stem": expected.stem, **sides}


def timeline_rows(
    expected: Stems, actual: Stems, sources: Sequence[str], labels: Labels
) -> Iterator[Row]:
    """Yield the SNR of every stem [S, C, n], second by second."""
    for index, stem in enumerate(sources):
        yield drawn(stem_timeline(expected[index], actual[index], stem, labels))


def count_rows(expected: Tensors, made: Prediction, labels: Labels) -> Iterator[Row]:
    """Yield the errors of outputs and stems by size."""
    for tensor in made.results:
        yield drawn(error_counts(expected[tensor], made.tensors[tensor], tensor, labels))


def worst_stem(expected: Stems, actual: Stems) -> int:
    """Return the index of the stem with the lowest SNR."""
    return int(np.argmin([snr_db(one, other) for one, other in zip(expected, actual, strict=True)]))


def picture_row(expected: Stems, actual: Stems, sources: Sequence[str], labels: Labels) -> Row:
    """Return the worst stem over time and frequency, with what is left over."""
    worst = worst_stem(expected, actual)
    return drawn(stem_picture(expected[worst], actual[worst], sources[worst], labels))
