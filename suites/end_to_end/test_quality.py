"""Quality: the package separates songs as well as PyTorch does, measured on what was mixed.

The other suites of this layer compare the package with PyTorch. Here both are compared with the
true stems, which generated songs have, by the scores that separation is published with. How good
they are is the subject's affair and reported only; that the conversion doesn't move them is gated.
Seeded weights separate nothing, so they have no quality to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache

import numpy as np
import pytest

from harness.conversion import load_recipe
from harness.golden import Golden
from harness.metrics import ReferenceProjection
from harness.pytest_plugin import Recorder
from harness.workbench import StemQuality, stem_qualities, subject_sources

pytestmark = [
    pytest.mark.layer("end_to_end"),
    pytest.mark.cases("song"),
    pytest.mark.subjects("trained"),
]

Qualities = Sequence[StemQuality]


@pytest.fixture(scope="session")
def judge() -> Callable[[Golden, str], tuple[ReferenceProjection, Qualities]]:
    """The factorised true stems of a song, and what PyTorch reaches; made once for each song."""

    @lru_cache(maxsize=1)
    def against_truth(golden: Golden, subject: str) -> tuple[ReferenceProjection, Qualities]:
        truth = ReferenceProjection(golden["true_stems"])
        sources = subject_sources(subject)
        return truth, stem_qualities(truth, golden["stems"], golden["audio"][0], sources)

    return against_truth


def test_quality(
    parity: Recorder,
    golden: Golden,
    actual: np.ndarray,
    judge: Callable[[Golden, str], tuple[ReferenceProjection, Qualities]],
    labels: Mapping[str, str],
) -> None:
    truth, before = judge(golden, labels["subject"])
    after = stem_qualities(truth, actual, golden["audio"][0], subject_sources(labels["subject"]))
    pairs = list(zip(before, after, strict=True))
    for expected, found in pairs:
        row = {"stem": expected.stem, "expected": asdict(expected), "actual": asdict(found)}
        parity.artefact("quality", dict(labels) | row)
    for side, rows in (("PyTorch", before), ("the package", after)):
        gain = float(np.mean([row.si_sdr_gain_db for row in rows]))
        what = f"mean SI-SDR of {side} over the mixture's"
        parity.bound(gain, "quality_gain", gating=False, what=what, **labels)
    gating = load_recipe(labels["recipe"]).gating
    for expected, found in pairs:
        moved = expected.moved_db(found)
        what = "change of SI-SDR or SDR"
        parity.bound(moved, "quality", gating=gating, stem=expected.stem, what=what, **labels)
