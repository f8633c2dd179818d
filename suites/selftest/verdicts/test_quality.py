"""If these fail, a conversion is blamed for a stem that PyTorch doesn't separate, or never."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.metrics import si_sdr_db
from harness.verdicts.rows.signals import StemQuality


def quality(si_sdr: float, sdr: float) -> StemQuality:
    return StemQuality("vocals", si_sdr, 0.0, sdr, 0.0, 0.0, 0.0)


def test_a_change_counts_in_full_where_something_is_separated() -> None:
    assert quality(-19.0, 3.0).moved_db(quality(-18.5, 3.0)) == pytest.approx(0.5)
    assert quality(9.0, 3.0).moved_db(quality(9.0, 2.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("level_db", [-25.0, -40.0, -57.0])
def test_noise_at_the_gate_of_stems_moves_no_quality_of_what_is_not_separated(
    level_db: float,
) -> None:
    """60 dB under a stem moves a ratio of -57 dB by a tenth of a decibel and more."""
    rng = np.random.default_rng(0)
    source, rest = rng.standard_normal((2, 2, 44100))
    rest -= source * float(np.vdot(rest, source) / np.vdot(source, source))
    stem = 10 ** (level_db / 20) * source + rest
    before = si_sdr_db(source, stem)
    assert before == pytest.approx(level_db, abs=0.1)
    for seed in range(8):
        noise = 1e-3 * np.random.default_rng(seed + 1).standard_normal(stem.shape)
        after = si_sdr_db(source, stem + noise)
        assert after is not None
        assert quality(before, 3.0).moved_db(quality(after, 3.0)) < 0.01


@pytest.mark.parametrize("level_db", [10.0, -10.0, -57.0])
def test_a_source_that_gets_lost_is_seen(level_db: float) -> None:
    assert quality(level_db, 0.0).moved_db(quality(level_db - 6, 0.0)) > 0.05


def test_silence_and_what_is_no_number_are_not_forgiven() -> None:
    assert quality(-math.inf, 0.0).moved_db(quality(-50.0, 0.0)) == math.inf
    assert math.isnan(quality(math.nan, 0.0).moved_db(quality(1.0, 0.0)))
