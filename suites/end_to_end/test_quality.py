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

from harness.conversion import load_recipe
from harness.golden import Golden
from harness.layers import quality_checks, stem_scores
from harness.metrics import ReferenceProjection
from harness.pytest_plugin import Recorder
from harness.subjects import describe_subject
from harness.subjects.protocol import sound_of
from harness.verdicts.rows.scores import Scores
from harness.verdicts.rows.signals import Quality, StemQuality
from harness.workbench import Workbench
from harness.workbench.pictures import rows_beside, stem_qualities

pytestmark = [
    pytest.mark.layer("end_to_end"),
    pytest.mark.cases("song"),
    pytest.mark.engines("package"),
    pytest.mark.subjects("trained"),
    pytest.mark.subjects("separating"),
]

Qualities = Sequence[StemQuality]


@pytest.fixture(scope="session")
def judge() -> Callable[[Golden, str], tuple[ReferenceProjection, Qualities]]:
    """The factorised true stems of a song, and what PyTorch reaches; made once for each song."""

    @lru_cache(maxsize=1)
    def against_truth(golden: Golden, subject: str) -> tuple[ReferenceProjection, Qualities]:
        truth = ReferenceProjection(golden["true_stems"])
        sources = describe_subject(subject).sources
        return truth, stem_qualities(truth, golden["stems"], golden["audio"][0], sources)

    return against_truth


def test_quality(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    actual: np.ndarray,
    judge: Callable[[Golden, str], tuple[ReferenceProjection, Qualities]],
    labels: Mapping[str, str],
) -> None:
    truth, before = judge(golden, labels["subject"])
    network = describe_subject(labels["subject"])
    sources, rate = network.sources, sound_of(network).sample_rate
    after = stem_qualities(truth, actual, golden["audio"][0], sources)
    for item in rows_beside(Quality, before, after, labels):
        parity.keep(item)
    if bench.goldens.cases[labels["case"]].taps:  # of the music that figures show
        scores = [stem_scores(truth, s, sources, rate) for s in (golden["stems"], actual)]
        for scored in rows_beside(Scores, scores[0], scores[1], labels):
            parity.keep(scored)
    gating = load_recipe(labels["recipe"]).gating
    parity.add(quality_checks(before, after, labels, gating=gating))
