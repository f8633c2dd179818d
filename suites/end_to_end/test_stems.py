"""End to end: STFT, package, inverse STFT and sum of branches give PyTorch's stems.

For one segment the golden is what the original HTDemucs returned. For an audio file it is what the
original returned on the same segments, joined by the same crossfade.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pytest

from harness.audio import SAMPLE_RATE
from harness.conversion import load_recipe
from harness.golden import Golden
from harness.metrics import (
    ReferenceProjection,
    channel_snr_db,
    diagnose,
    segmental_snr_db,
    separation_metrics,
    snr_db,
)
from harness.pytest_plugin import Recorder
from harness.verdicts import compare_worst_second, gate
from harness.workbench import subject_sources

pytestmark = pytest.mark.layer("end_to_end")

CHANNELS = {"left": 0, "right": 1}


@pytest.fixture
def pair(
    golden: Golden, actual: np.ndarray, subject: str, stem: str
) -> tuple[np.ndarray, np.ndarray]:
    """One stem [2, n], expected and actual."""
    index = subject_sources(subject).index(stem)
    return golden["stems"][index], actual[index]


@pytest.mark.cases("all")
def test_stem(
    parity: Recorder, pair: tuple[np.ndarray, np.ndarray], labels: dict[str, str], stem: str
) -> None:
    """The whole stem, both channels together."""
    gating = load_recipe(labels["recipe"]).must_pass("end_to_end")
    parity.compare(*pair, "end_to_end", gating=gating, stem=stem, **labels)


@pytest.mark.cases("all")
def test_channel(
    parity: Recorder,
    pair: tuple[np.ndarray, np.ndarray],
    labels: dict[str, str],
    stem: str,
    channel: str,
) -> None:
    """One channel: a quiet one can be wrong while the loud one carries the stem's SNR."""
    expected, actual = (side[CHANNELS[channel]] for side in pair)
    gating = load_recipe(labels["recipe"]).must_pass("end_to_end")
    parity.compare(
        expected, actual, "end_to_end", gating=gating, stem=stem, channel=channel, **labels
    )


@pytest.mark.cases("all")
def test_worst_second(
    parity: Recorder, pair: tuple[np.ndarray, np.ndarray], labels: dict[str, str], stem: str
) -> None:
    """The second with the lowest SNR: a click drowns in the SNR of the whole, as a leak does."""
    outcome = compare_worst_second(*pair, gate("end_to_end"))
    gating = load_recipe(labels["recipe"]).must_pass("end_to_end")
    parity.record(outcome, "end_to_end", gating=gating, stem=stem, what="worst second", **labels)


@pytest.fixture(scope="session")
def projection() -> object:
    """The factorised references of a golden; every candidate is projected on the same ones."""

    @lru_cache(maxsize=1)
    def factorise(golden: Golden) -> ReferenceProjection:
        return ReferenceProjection(golden["stems"])

    return factorise


@pytest.mark.cases("song")
def test_separation_metrics(
    parity: Recorder,
    golden: Golden,
    actual: np.ndarray,
    projection: object,
    labels: dict[str, str],
) -> None:
    """SDR, ISR, SIR and SAR of every stem: what kind of error it is. Measured, never gating."""
    assert callable(projection)
    expected, sources = golden["stems"], subject_sources(labels["subject"])
    rows = separation_metrics(projection(golden), actual, sources=sources)
    for index, row in enumerate(rows):
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
        parity.artefact("separation", labels | item)
    ratios = [row.sdr_db for row in rows if row.sdr_db is not None]
    parity.bound(min(ratios), "separation", gating=False, what="lowest SDR", **labels)
