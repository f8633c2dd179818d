"""End to end: STFT, package, inverse STFT and sum of branches give PyTorch's stems.

For one segment the golden is what the original HTDemucs returned. For an audio file it is what the
original returned on the same segments, joined by the same crossfade.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.conversion import load_recipe
from harness.golden import Golden
from harness.layers import stem_checks
from harness.pytest_plugin import Recorder
from harness.subjects import describe_subject
from harness.subjects.protocol import sound_of
from harness.workbench import Workbench
from harness.workbench.pictures import separation_rows

pytestmark = [
    pytest.mark.layer("end_to_end"),
    pytest.mark.engines("package"),
    pytest.mark.subjects("separating"),
]


@pytest.mark.cases("all")
def test_stems(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    actual: np.ndarray,
    labels: dict[str, str],
) -> None:
    """Every stem as a whole, each of its channels, and its worst second."""
    gating = load_recipe(labels["recipe"]).must_pass("end_to_end")
    network = describe_subject(labels["subject"])
    rate = sound_of(network).sample_rate
    pair, bounds = (golden["stems"], actual), bench.goldens.bounds(labels["subject"], "end_to_end")
    sources = network.sources
    parity.add(stem_checks(*pair, sources, labels, gating=gating, bounds=bounds, rate=rate))


@pytest.mark.cases("song")
def test_separation_metrics(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    actual: np.ndarray,
    labels: dict[str, str],
) -> None:
    """SDR, ISR, SIR and SAR of every stem: what kind of error it is. Measured, never gating."""
    music = bench.music(labels["subject"], labels["case"])
    rows = music.errors(actual)
    for item in separation_rows(golden["stems"], actual, rows, labels, rate=music.rate):
        parity.keep(item)
    ratios = [row.sdr_db for row in rows if row.sdr_db is not None]
    parity.bound(min(ratios), "separation", gating=False, what="lowest SDR", **labels)
