"""How long the published scores of a further candidate take beside museval's.

The references are factorised once, so what a candidate costs is the ratio; museval does all of its
work again for each. Both run in turns in this process, on one song, and give the same numbers. What
grows with the length differs from what does not, so three lengths are measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from harness.audio import SAMPLE_RATE
from harness.metrics import ReferenceProjection, framewise_metrics
from harness.subjects.songs import make_song
from suites.bench.conftest import Measured
from suites.selftest.metrics.published import museval_metrics

SECONDS = (30, 60, 120)
FASTER = 15.0
"""At least so many times."""
ROUNDS = 2


def timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


@pytest.mark.parametrize("seconds", SECONDS)
def test_framewise_scores_of_a_further_candidate(measured: Measured, seconds: int) -> None:
    rng = np.random.default_rng(0)
    stems = make_song(3, float(seconds)).stems[:4]
    references = stems + 1e-4 * rng.standard_normal(stems.shape)
    estimates = references + 0.1 * references[::-1] + 0.01 * rng.standard_normal(stems.shape)
    rows = [side.transpose(0, 2, 1) for side in (references, estimates)]
    museval = museval_metrics()
    once, projection = timed(lambda: ReferenceProjection(references))
    assert isinstance(projection, ReferenceProjection)
    theirs, ours = [], []
    for _ in range(ROUNDS):
        taken, found = timed(
            lambda: museval.bss_eval(*rows, window=SAMPLE_RATE, hop=SAMPLE_RATE)[2]
        )
        theirs.append((taken, found))
        ours.append(timed(lambda: framewise_metrics(projection, estimates)))
    medians = np.nanmedian(np.asarray(theirs[0][1]), axis=1)
    assert [row.median_db("sir_db") for row in ours[0][1]] == pytest.approx(medians, abs=1e-6)  # type: ignore[attr-defined]
    times = [min(taken for taken, _ in side) for side in (theirs, ours)]
    print(
        f"\n{seconds} s of four stereo stems: museval {times[0]:.2f} s, "
        f"here {times[1]:.2f} s (x{times[0] / times[1]:.1f}), once {once:.2f} s to factorise"
    )
    what = f"published scores of a further candidate beside museval, {seconds} s"
    measured(what, times[1] / times[0], "")
    assert times[0] > FASTER * times[1]
