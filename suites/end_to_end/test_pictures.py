"""What is left of the worst stem: over time and frequency, counted, heard where asked for.

Nothing is judged here: these are the figures of the report.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from harness.golden import Golden
from harness.metrics import segmental_snr_db
from harness.pytest_plugin import Recorder
from harness.subjects import describe_subject
from harness.subjects.protocol import sound_of
from harness.workbench import Workbench
from harness.workbench.pictures import (
    audio_clip,
    count_rows,
    picture_row,
    timeline_rows,
    worst_stem,
)

pytestmark = [
    pytest.mark.layer("end_to_end"),
    pytest.mark.engines("package"),
    pytest.mark.subjects("separating"),
]


@pytest.mark.cases("song")
def test_every_second(
    parity: Recorder, golden: Golden, actual: np.ndarray, labels: Mapping[str, str]
) -> None:
    """The SNR of every stem, second by second."""
    network, lowest = describe_subject(labels["subject"]), []
    pair, rate = (golden["stems"], actual), sound_of(network).sample_rate
    for line in timeline_rows(*pair, network.sources, labels, rate=rate):
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
    package = bench.packages.path(labels["subject"], labels["recipe"])
    made = bench.predictions.of(labels["subject"], labels["case"], package, labels["engine"])
    for row in count_rows(golden, made, labels):
        parity.keep(row)
    network, expected = describe_subject(labels["subject"]), golden["stems"]
    sources, rate = network.sources, sound_of(network).sample_rate
    parity.keep(picture_row(expected, actual, sources, labels, rate=rate))
    worst = worst_stem(expected, actual)
    pair, stem = (expected[worst], actual[worst]), sources[worst]
    if pytestconfig.getoption("--parity-audio"):
        place = segmental_snr_db(*pair, rate).worst
        start_s = place.start / rate if place else 0.0
        parity.keep(audio_clip(*pair, stem, start_s, labels, rate=rate))
    what = "the stem that is drawn"
    parity.compare(*pair, "end_to_end", gating=False, stem=stem, what=what, **labels)
