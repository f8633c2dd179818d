"""Levels, the silence rule, and SNR by channel and by stretch."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from harness.errors import ParityError
from harness.metrics import channel_snr_db, dbfs, is_silent, rms, segmental_snr_db, snr_db


def test_levels_of_known_signals() -> None:
    time = np.arange(44_100) / 44_100
    assert dbfs(rms(np.sin(2 * np.pi * 100 * time))) == pytest.approx(-3.0103, abs=1e-4)
    assert dbfs(rms(np.full(7, -0.1, dtype=np.float32))) == pytest.approx(-20, abs=1e-6)
    assert dbfs(rms(np.zeros(3))) == -math.inf
    assert rms([1e200, 1e200]) == pytest.approx(1e200)
    assert math.isnan(dbfs(rms([math.nan, 1.0])))


def test_silence_begins_under_minus_80_dbfs() -> None:
    assert not is_silent(1.001e-4)
    assert is_silent(0.999e-4)
    assert is_silent(0.0)
    assert not is_silent(math.nan)


def test_a_negative_rms_is_refused() -> None:
    with pytest.raises(ParityError, match=r"-0\.1"):
        dbfs(-0.1)


def signal(seed: int = 0, samples: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, 3, samples))


def test_each_channel_has_its_own_ratio() -> None:
    expected = signal()
    actual = expected * (1 + 10.0 ** -np.arange(1, 7).reshape(2, 3, 1))
    channels = channel_snr_db(expected, actual)
    assert [c.index for c in channels] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [c.snr_db for c in channels] == pytest.approx([20, 40, 60, 80, 100, 120], abs=1e-6)
    assert channels[3].snr_db == pytest.approx(snr_db(expected[1, 0], actual[1, 0]))


def test_the_worst_stretch_is_found_where_it_is() -> None:
    expected = signal()
    actual = expected * (1 + 1e-6)
    actual[1, 2, 430:450] += 0.5
    result = segmental_snr_db(expected, actual, segment=100)
    assert result.evaluated == 60
    assert result.silent == 0
    assert result.worst is not None
    assert (result.worst.index, result.worst.start, result.worst.stop) == ((1, 2), 400, 500)
    assert result.worst.snr_db == snr_db(expected[1, 2, 400:500], actual[1, 2, 400:500])
    assert snr_db(expected, actual) > result.worst.snr_db + 15


def test_the_last_stretch_reaches_the_end_and_is_as_long_as_the_others() -> None:
    expected = signal(samples=250)
    actual = expected.copy()
    actual[0, 0, 249] += 1
    worst = segmental_snr_db(expected, actual, segment=100).worst
    assert worst is not None
    assert (worst.start, worst.stop) == (150, 250)
    short = segmental_snr_db(expected, actual, segment=44_100)
    assert short.evaluated == 6
    assert short.worst is not None
    assert (short.worst.start, short.worst.stop) == (0, 250)


def test_silent_stretches_are_judged_by_their_error_alone() -> None:
    expected = signal()
    expected[:, :, 300:400] = 0
    actual = expected * (1 + 1e-4)
    actual[0, 1, 300:400] = 1e-3
    result = segmental_snr_db(expected, actual, segment=100)
    assert (result.evaluated, result.silent) == (54, 6)
    assert result.worst is not None
    assert result.worst.snr_db == pytest.approx(80, abs=1e-6)
    assert result.worst_silent is not None
    assert result.worst_silent.index == (0, 1)
    assert result.worst_silent.start == 300
    assert result.worst_silent.snr_db is None
    assert result.worst_silent.error_rms_dbfs == pytest.approx(-60, abs=1e-9)


def test_a_silent_signal_has_no_worst_ratio() -> None:
    result = segmental_snr_db(np.zeros((2, 500)), np.zeros((2, 500)), segment=100)
    assert result.worst is None
    assert result.worst_silent is not None
    assert result.worst_silent.error_rms_dbfs == -math.inf


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_stretch_that_is_not_finite_is_the_worst(broken: float) -> None:
    expected = signal()
    actual = expected.copy()
    actual[0, 0, 10:20] += 1e6
    actual[1, 1, 555] = broken
    worst = segmental_snr_db(expected, actual, segment=100).worst
    assert worst is not None
    assert (worst.index, worst.start) == ((1, 1), 500)


def test_results_are_plain_data() -> None:
    expected = signal().astype(np.float32)
    document = asdict(segmental_snr_db(expected, expected * np.float32(1.1), segment=100))
    assert json.loads(json.dumps(document))["worst"]["start"] >= 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(ParityError, match="segment is 0"):
        segmental_snr_db(signal(), signal(), segment=0)
    with pytest.raises(ParityError, match="single number"):
        channel_snr_db(1.0, 1.0)
    with pytest.raises(ParityError, match="shapes differ"):
        segmental_snr_db(np.zeros((2, 5)), np.zeros((1, 5)), 5)
