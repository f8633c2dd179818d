"""Quality: the package separates songs as well as PyTorch does, measured on what was mixed.

The other suites of this layer compare the package with PyTorch. Here both are compared with the
true stems, which generated songs have, by the scores that separation is published with. How good
they are is the subject's affair and reported only; that the conversion doesn't move them is gated.
Seeded weights separate nothing, so they have no quality to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pytest

from harness.audio import SAMPLE_RATE
from harness.conversion import load_recipe
from harness.golden import Golden
from harness.layers import quality_checks, stem_scores
from harness.metrics import ReferenceProjection
from harness.pytest_plugin import Recorder
from harness.subjects import describe_subject
from harness.verdicts.rows.scores import StemScores
from harness.verdicts.rows.signals import StemQuality
from harness.workbench import stem_qualities
from harness.workbench.pictures import quality_rows, score_rows

pytestmark = [
    pytest.mark.layer("end_to_end"),
    pytest.mark.cases("song"),
    pytest.mark.engines("package"),
    pytest.mark.subjects("trained"),
    pytest.mark.subjects("separating"),
]

Qualities = Sequence[StemQuality]
Reached = tuple[Qualities, tuple[StemScores, ...]]


@pytest.fixture(scope="session")
def judge() -> Callable[[Golden, str], tuple[ReferenceProjection, Reached]]:
    """The factorised true stems of a song, and what PyTorch reaches; made once for each song."""

    @lru_cache(maxsize=1)
    def against_truth(golden: Golden, subject: str) -> tuple[ReferenceProjection, Reached]:
        truth = ReferenceProjection(golden["true_stems"])
        sources = describe_subject(subject).sources
        stems = golden["stems"]
        quality = stem_qualities(truth, stems, golden["audio"][0], sources)
        return truth, (quality, stem_scores(truth, stems, sources, SAMPLE_RATE))

    return against_truth


def test_quality(
    parity: Recorder,
    golden: Golden,
    actual: np.ndarray,
    judge: Callable[[Golden, str], tuple[ReferenceProjection, Reached]],
    labels: Mapping[str, str],
) -> None:
    truth, (before, scores) = judge(golden, labels["subject"])
    sources = describe_subject(labels["subject"]).sources
    after = stem_qualities(truth, actual, golden["audio"][0], sources)
    for item in quality_rows(before, after, labels):
        parity.keep(item)
    for scored in score_rows(scores, stem_scores(truth, actual, sources, SAMPLE_RATE), labels):
        parity.keep(scored)
    gating = load_recipe(labels["recipe"]).gating
    parity.add(quality_checks(before, after, labels, gating=gating))
