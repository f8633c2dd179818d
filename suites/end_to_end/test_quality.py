"""Quality: the package separates songs as well as PyTorch does, measured on what was mixed.

The other suites of this layer compare the package with PyTorch. Here both are compared with the
true stems, which generated songs have, by the scores that separation is published with. How good
they are is the subject's affair and reported only; that the conversion doesn't move them is gated.
Seeded weights separate nothing, so they have no quality to keep.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from harness.conversion import load_recipe
from harness.golden import Golden
from harness.layers import quality_checks
from harness.pytest_plugin import Recorder
from harness.verdicts.rows.signals import Quality
from harness.workbench import Workbench
from harness.workbench.pictures import rows_beside

pytestmark = [
    pytest.mark.layer("end_to_end"),
    pytest.mark.cases("song"),
    pytest.mark.engines("package"),
    pytest.mark.subjects("trained"),
    pytest.mark.subjects("separating"),
]


def test_quality(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    actual: np.ndarray,
    labels: Mapping[str, str],
) -> None:
    music = bench.music(labels["subject"], labels["case"])
    before, after = music.quality, music.quality_of(actual)
    for item in rows_beside(Quality, before, after, labels):
        parity.keep(item)
    if bench.goldens.cases[labels["case"]].taps:  # of the music that figures show
        for scored in music.score_rows(actual, labels):
            parity.keep(scored)
    gating = load_recipe(labels["recipe"]).gating
    parity.add(quality_checks(before, after, labels, gating=gating))
