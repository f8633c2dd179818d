"""What is left of the worst stem: over time and frequency, counted, heard where asked for.

Nothing is judged here: these are the figures of the report.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from harness.audio import SAMPLE_RATE
from harness.golden import Golden
from harness.metrics import segmental_snr_db, snr_db
from harness.pytest_plugin import Recorder
from harness.workbench import Workbench, subject_sources
from harness.workbench.pictures import audio_clip, error_counts, stem_picture, stem_timeline

pytestmark = pytest.mark.layer("end_to_end")


@pytest.mark.cases("song")
def test_every_second(
    parity: Recorder, golden: Golden, actual: np.ndarray, labels: Mapping[str, str]
) -> None:
    """The SNR of every stem, second by second."""
    expected = golden["stems"]
    lowest = []
    for index, stem in enumerate(subject_sources(labels["subject"])):
        line = stem_timeline(expected[index], actual[index], stem, labels)
        parity.keep(line)
        lowest += [level for level in line.snr_db if level is not None]
    what = "lowest SNR of any second"
    parity.bound(min(lowest), "separation", gating=False, what=what, **labels)


@pytest.mark.cases("figures")
def test_what_is_left(
    parity: Recorder,
    pytestconfig: pytest.Config,
    bench: Workbench,
    golden: Golden,
    actual: np.ndarray,
    labels: Mapping[str, str],
) -> None:
    """The worst stem in pictures, and the errors of outputs and stems by size."""
    package = bench.package(labels["subject"], labels["recipe"])
    outputs = bench.prediction(labels["subject"], labels["case"], package).outputs
    for tensor, made in (*outputs.items(), ("stems", actual)):
        parity.keep(error_counts(golden[tensor], made, tensor, labels))
    expected, sources = golden["stems"], subject_sources(labels["subject"])
    levels = [snr_db(one, other) for one, other in zip(expected, actual, strict=True)]
    worst = int(np.argmin(levels))
    pair, stem = (expected[worst], actual[worst]), sources[worst]
    parity.keep(stem_picture(*pair, stem, labels))
    if pytestconfig.getoption("--parity-audio"):
        place = segmental_snr_db(*pair).worst
        start_s = place.start / SAMPLE_RATE if place else 0.0
        parity.keep(audio_clip(*pair, stem, start_s, labels))
    what = "the stem that is drawn"
    parity.compare(*pair, "end_to_end", gating=False, stem=stem, what=what, **labels)
