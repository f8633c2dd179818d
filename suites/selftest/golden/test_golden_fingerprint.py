"""Fingerprints notice what moved and forgive the last bits of another processor."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import GoldenError, RunError
from harness.golden import Fingerprint, fingerprint, largest_difference
from harness.golden.fingerprint import SAMPLES, TOLERANCE, sample_positions
from harness.golden.records import rounded
from harness.verdicts.jsondata import plain, restored

NAMES = st.text(min_size=1, max_size=20)
SHAPES = st.lists(st.integers(1, 12), max_size=4).map(tuple)
SEEDS = st.integers(0, 2**32 - 1)


def random_tensor(seed: int, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.standard_normal(shape) * scale, dtype=np.float32)


def relative(name: str, expected: np.ndarray, actual: np.ndarray) -> float:
    difference = largest_difference(
        {name: fingerprint(name, expected)}, {name: fingerprint(name, actual)}
    )
    assert difference is not None
    return difference.relative


@given(seed=SEEDS, shape=SHAPES)
def test_moments_are_those_of_numpy_in_float64(seed: int, shape: tuple[int, ...]) -> None:
    tensor = random_tensor(seed, shape)
    wide = tensor.astype(np.float64)
    print_ = fingerprint("x", tensor)
    assert print_.rms == pytest.approx(np.sqrt(np.mean(wide**2)), rel=1e-12)
    assert print_.mean == pytest.approx(np.mean(wide), rel=1e-12, abs=1e-12)
    assert (print_.min, print_.max) == (wide.min(), wide.max())
    assert print_.shape == shape


def test_moments_of_a_tensor_that_is_read_in_blocks_are_the_same() -> None:
    tensor = random_tensor(0, (3, 700_001)) + np.float32(0.25)
    print_ = fingerprint("x", tensor)
    assert print_.mean == pytest.approx(np.mean(tensor, dtype=np.float64), rel=1e-12)
    assert print_.rms == pytest.approx(np.sqrt(np.mean(tensor.astype(np.float64) ** 2)), rel=1e-12)


@given(name=NAMES, size=st.integers(1, 10**9))
def test_positions_follow_the_rule_that_other_languages_implement(name: str, size: int) -> None:
    positions = sample_positions(name, size)
    assert positions.shape == (SAMPLES,)
    for index in (0, SAMPLES - 1):
        digest = hashlib.sha256(f"{name}/{index}".encode()).digest()
        assert positions[index] == int.from_bytes(digest[:8], "little") % size


def test_positions_are_those_of_every_release() -> None:
    # Computed with sha256sum: another rule would make every committed fingerprint drift.
    assert sample_positions("freq", 16_515_072)[:4].tolist() == [
        9967682,
        16150844,
        12131977,
        11241957,
    ]


def test_positions_spread_over_the_tensor() -> None:
    positions = np.sort(sample_positions("time", 4_127_760)) / 4_127_760
    assert np.abs(positions - (np.arange(SAMPLES) + 0.5) / SAMPLES).max() < 0.25


@given(name=NAMES, seed=SEEDS, shape=SHAPES)
def test_json_loses_nothing_of_float32(name: str, seed: int, shape: tuple[int, ...]) -> None:
    expected = fingerprint(name, random_tensor(seed, shape))
    document = json.loads(json.dumps(rounded(plain(expected))))
    read = restored(Fingerprint, document, name)
    assert read.samples == pytest.approx(expected.samples, rel=1e-8)
    assert [np.float32(v) for v in read.samples] == [np.float32(v) for v in expected.samples]
    assert largest_difference({name: expected}, {name: read}).relative < 1e-8  # type: ignore[union-attr]


@given(seed=SEEDS, exponent=st.integers(-20, 20))
def test_noise_of_1e_6_matches_at_every_level(seed: int, exponent: int) -> None:
    expected = random_tensor(seed, (4, 100), 10.0**exponent)
    noise = random_tensor(seed + 1, (4, 100))
    actual = (expected * (1 + 1e-6 * noise)).astype(np.float32)
    assert relative("x", expected, actual) <= TOLERANCE


@given(seed=SEEDS, exponent=st.integers(-20, 20), sample=st.integers(0, SAMPLES - 1))
def test_one_sampled_value_that_moves_by_1e_4_is_caught(
    seed: int, exponent: int, sample: int
) -> None:
    expected = random_tensor(seed, (40, 100), 10.0**exponent)
    actual = expected.copy()
    position = sample_positions("x", actual.size)[sample]
    level = max(abs(actual.flat[position]), math.sqrt(np.mean(expected.astype(np.float64) ** 2)))
    actual.flat[position] += np.float32(1e-4 * level)
    assert relative("x", expected, actual) > TOLERANCE


@given(seed=SEEDS, name=NAMES)
def test_a_gain_of_1e_4_is_caught(seed: int, name: str) -> None:
    expected = random_tensor(seed, (4, 100))
    assert relative(name, expected, expected * np.float32(1.0001)) > TOLERANCE


@given(seed=SEEDS)
def test_one_rounding_to_half_precision_is_caught(seed: int) -> None:
    expected = random_tensor(seed, (4, 100))
    half = expected.astype(np.float16).astype(np.float32)
    assert relative("x", expected, half) > TOLERANCE


def test_an_outlier_that_is_not_sampled_is_caught_by_the_extremes() -> None:
    expected = random_tensor(3, (1000, 100))
    actual = expected.copy()
    index = next(i for i in range(actual.size) if i not in set(sample_positions("x", actual.size)))
    actual.flat[index] = 100.0
    assert relative("x", expected, actual) > 1


def test_the_last_bit_of_a_peak_is_no_drift() -> None:
    expected = np.zeros(1_000_000, np.float32)
    position = sample_positions("x", expected.size)[0]
    expected[position] = 100.0
    actual = expected.copy()
    actual[position] = np.nextafter(np.float32(100.0), np.float32(200.0))
    assert 0 < relative("x", expected, actual) < TOLERANCE


def test_a_noise_floor_under_a_peak_may_not_drift() -> None:
    expected = random_tensor(4, (1000, 100), 1e-3)
    expected[500, 50] = 1.0  # 1000 times the floor, and not sampled
    actual = expected * np.float32(1 + 5e-5)
    actual[500, 50] = 1.0
    assert np.abs(actual - expected).max() < TOLERANCE
    assert relative("x", expected, actual) > TOLERANCE


def test_what_was_zero_must_stay_exactly_zero() -> None:
    zeros = np.zeros((2, 50), np.float32)
    assert relative("x", zeros, zeros) == 0.0
    assert relative("x", zeros, zeros + np.float32(1e-30)) == math.inf


def test_shape_and_dtype_are_never_forgiven() -> None:
    tensor = random_tensor(0, (2, 6))
    assert relative("x", tensor, tensor.reshape(6, 2)) == math.inf
    assert relative("x", tensor, tensor.astype(np.float64)) == math.inf


@pytest.mark.parametrize(
    "change",
    [
        {"samples": [0.0] * 63},
        {"rms": float("nan")},
        {"shape": [0, 3]},
        {"samples": "abc"},
        {"mean": "high"},
    ],
)
def test_a_broken_fingerprint_is_refused(change: dict[str, object]) -> None:
    document = plain(fingerprint("x", random_tensor(0, (2, 6)))) | change
    with pytest.raises(RunError, match=next(iter(change))):
        restored(Fingerprint, document, "fingerprint")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_tensor_with_one_bad_value_has_no_fingerprint(bad: float) -> None:
    tensor = random_tensor(0, (3, 700_001))
    tensor[1, 350_000] = bad
    with pytest.raises(GoldenError, match="'deep' holds inf or NaN"):
        fingerprint("deep", tensor)
