"""If these fail, the report blames an operation that is right, or calls one right that is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness import mil
from harness.diagnosis import three_way
from harness.diagnosis.profile import COMPUTED, profile_operations
from harness.metrics import snr_db
from harness.mil.editing import edited, find, with_constant
from harness.mil.numerics.rounding import FP16_MAX
from harness.precision.virtual import VirtualPrecision
from harness.verdicts.rows.operations import OperationProfile, measured_metrics

Signal = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def half(small: VirtualPrecision) -> mil.Model:
    return small.model(small.fp32_for(()))


def by_name(found: tuple[OperationProfile, ...]) -> dict[str, OperationProfile]:
    return {profile.operation: profile for profile in found}


def test_every_level_is_that_of_the_whole_tensors(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    found = by_name(profile_operations(small.base, half, signal))
    expected, actual = (model.run(signal, taps="all") for model in (small.base, half))
    compared = 0
    for name, profile in found.items():
        if name in expected and name in actual and profile.snr_db is not None:
            one, other = (values[name].double().numpy() for values in (expected, actual))
            assert profile.snr_db == pytest.approx(snr_db(one, other), abs=1e-3)
            assert profile.value("max_abs_error") == pytest.approx(
                np.abs(one - other).max(), rel=1e-5
            )
            assert profile.value("peak") == pytest.approx(np.abs(one).max())
            compared += 1
    assert compared > 8


def test_it_agrees_with_the_three_way_comparison(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    found = by_name(profile_operations(small.base, half, signal))
    for other in three_way(small.base, half, signal).operations:
        mine = found[other.operation]
        assert mine.snr_db == pytest.approx(other.expected_db, abs=1e-3)
        assert mine.value("local_db") == pytest.approx(other.local_db, abs=1e-3)


def test_a_wrong_operation_adds_itself_and_what_follows_inherits(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    conv = find(half, type="conv")[0]
    wrong = edited(half, with_constant(half, conv, "weight", lambda weight: 1.02 * weight))
    found = by_name(profile_operations(small.base, wrong, signal))
    assert found["conv"].value("local_db") == pytest.approx(34.0, abs=0.3)
    assert found["centred"].snr_db == pytest.approx(34.0, abs=0.5)
    itself = found["centred"].value("local_db")
    assert itself is not None
    assert itself > 60


def test_a_model_is_its_own_reference_in_float64(small: VirtualPrecision, signal: Signal) -> None:
    found = profile_operations(small.base, small.base, signal, reference_numerics="float64")
    levels = [profile.snr_db for profile in found if profile.snr_db is not None]
    assert min(levels) > 110
    assert any(math.isfinite(level) for level in levels)
    assert {profile.precision for profile in found} == {"fp32"}


def test_without_the_third_run_nothing_is_said_of_what_an_operation_adds(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    whole = profile_operations(small.base, half, signal)
    short = profile_operations(small.base, half, signal, local=False)
    assert {profile.value("local_db") for profile in short} == {None}
    assert [profile.snr_db for profile in short] == [profile.snr_db for profile in whole]


def test_silence_has_no_ratio_and_overflow_the_worst(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    silent = by_name(profile_operations(small.base, half, {"x": 0 * signal["x"]}))
    assert silent["conv"].snr_db == math.inf, "zero for zero is exact"
    loud = by_name(profile_operations(small.base, half, {"x": 1e3 * signal["x"]}))
    peak, headroom = (loud["squared"].value(name) for name in ("peak", "headroom_db"))
    assert peak is not None
    assert headroom is not None
    assert peak > FP16_MAX
    assert headroom < 0
    assert loud["squared"].snr_db == -math.inf
    assert loud["conv"].snr_db is not None
    assert loud["conv"].snr_db > 60


def test_every_metric_that_rows_hold_is_measured() -> None:
    """A metric in the list that nothing computes would be a column of dashes."""
    assert set(COMPUTED) == set(measured_metrics())
