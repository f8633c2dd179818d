"""A comparison that forgives is worse than none: each rule of a check must be able to fail it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import ParityError, UnknownNameError
from harness.layers import worst_second
from harness.verdicts import (
    GATES,
    LAYERS,
    Check,
    Gate,
    Outcome,
    Verdict,
    bound,
    compare,
    gate,
)

CONVERSION = gate("conversion")
LOOSE = Gate("loose", "test", rtol=1e-3, atol=1e-4)
SNR = Gate("snr", "test", min_snr_db=60.0)
HEARD = replace(SNR, audio=True)

finite = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=3, max_side=6),
    elements=st.floats(-100, 100, width=32),
)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)


def test_identical_tensors_pass_and_say_so(noise: np.ndarray) -> None:
    outcome = compare(noise, noise.copy(), CONVERSION)
    assert outcome.verdict is Verdict.PASS
    assert outcome.observed == "exact"
    assert outcome.headroom_db == math.inf
    assert outcome.tolerance_ratio == 0.0


def test_a_tensor_that_would_broadcast_is_refused(noise: np.ndarray) -> None:
    outcome = compare(noise, noise[:1], CONVERSION)
    assert outcome.verdict is Verdict.FAIL
    assert "shape" in outcome.reason
    assert "(2, 1000)" in outcome.reason
    assert "(1, 1000)" in outcome.reason


def test_a_half_precision_output_is_refused_whatever_its_values(noise: np.ndarray) -> None:
    expected = np.zeros_like(noise)
    outcome = compare(expected, expected.astype(np.float16), CONVERSION)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.reason.startswith("dtype")


def test_an_empty_tensor_proves_nothing() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert compare(empty, empty, CONVERSION).verdict is Verdict.FAIL


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_one_bad_sample_fails_and_is_located(noise: np.ndarray, bad: float, side: str) -> None:
    broken = noise.copy()
    broken[1, 7] = bad
    pair = (broken, noise) if side == "reference" else (noise, broken)
    outcome = compare(*pair, CONVERSION)
    assert outcome.verdict is Verdict.FAIL
    assert side in outcome.reason
    assert "(1, 7)" in outcome.reason


def test_nan_in_both_is_not_agreement(noise: np.ndarray) -> None:
    broken = noise.copy()
    broken[0, 0] = np.nan
    assert compare(broken, broken.copy(), CONVERSION).verdict is Verdict.FAIL


@pytest.mark.parametrize("broken", ["loud second", "pause", "all of a pause"])
def test_a_pause_is_judged_beside_the_second_with_the_lowest_snr(broken: str) -> None:
    """What leaks into a pause is far below the whole, and is all that is heard there."""
    stem = np.random.default_rng(3).standard_normal((2, 3 * 44_100)).astype(np.float32) * 0.3
    stem[:, 44_100:88_200] = 0
    bounds = gate("end_to_end")
    assert worst_second(stem, stem, bounds).verdict is Verdict.PASS
    wrong = stem.copy()
    if broken == "loud second":
        wrong[1, 100:200] += 0.1
    elif broken == "pause":
        wrong[1, 60_000:60_100] += 0.002
    else:
        stem, wrong = stem[:, 44_100:88_200], wrong[:, 44_100:88_200] + np.float32(1e-4)
    assert worst_second(stem, wrong, bounds).verdict is Verdict.FAIL
    if broken == "pause":
        assert compare(stem, wrong, bounds).verdict is Verdict.PASS


def test_a_quiet_stem_replaced_by_silence_fails(noise: np.ndarray) -> None:
    quiet = (noise * 1e-3).astype(np.float32)  # -60 dBFS: quiet, not silent
    assert compare(quiet, np.zeros_like(quiet), HEARD).verdict is Verdict.FAIL


def test_against_silence_only_the_level_of_the_error_counts(noise: np.ndarray) -> None:
    silent = (noise * 1e-6).astype(np.float32)
    tolerable = (silent + noise * 5e-6).astype(np.float32)
    audible = (silent + noise * 1e-4).astype(np.float32)
    assert compare(silent, tolerable, HEARD).verdict is Verdict.PASS
    assert compare(silent, tolerable, HEARD).metrics["silent"] is True
    assert compare(silent, audible, HEARD).verdict is Verdict.FAIL


@pytest.mark.parametrize("scale", [1e-5, 1e-12, 1e-30])
def test_a_small_tensor_that_is_no_audio_is_held_to_its_ratio(
    noise: np.ndarray, scale: float
) -> None:
    """A gradient, a logit, or an output in volts: decibels of full scale say nothing of it."""
    small = (noise * scale).astype(np.float32)
    for wrong in (np.zeros_like(small), -small, small[..., ::-1].copy()):
        assert compare(small, wrong, SNR).verdict is Verdict.FAIL
    assert compare(small, small * np.float32(1.0001), SNR).verdict is Verdict.PASS


def test_beside_nothing_but_zeros_the_level_of_the_error_counts_whatever_the_tensor_is() -> None:
    zeros = np.zeros((2, 500), np.float32)
    for bounds in (SNR, HEARD):
        assert compare(zeros, zeros, bounds).metrics["silent"] is True
        assert compare(zeros, zeros + np.float32(1e-6), bounds).verdict is Verdict.PASS
        assert compare(zeros, zeros + np.float32(1e-4), bounds).verdict is Verdict.FAIL


def test_tolerance_alone_misses_a_quiet_error_and_snr_catches_it() -> None:
    rng = np.random.default_rng(1)
    expected = (rng.standard_normal(100_000) * 0.005).astype(np.float32)
    actual = (expected + rng.uniform(-9e-5, 9e-5, expected.shape)).astype(np.float32)
    assert compare(expected, actual, LOOSE).verdict is Verdict.PASS
    assert compare(expected, actual, CONVERSION).verdict is Verdict.FAIL


def test_snr_alone_misses_one_bad_sample_and_tolerance_catches_it() -> None:
    expected = np.random.default_rng(2).standard_normal(1_000_000).astype(np.float32)
    actual = expected.copy()
    actual[123_456] += 0.5
    assert compare(expected, actual, SNR).verdict is Verdict.PASS
    outcome = compare(expected, actual, CONVERSION)
    assert outcome.verdict is Verdict.FAIL
    assert "(123456,)" in outcome.reason


@given(finite, st.floats(1e-6, 1e-1))
def test_elementwise_verdict_is_that_of_torch_allclose(expected: np.ndarray, scale: float) -> None:
    rng = np.random.default_rng(3)
    actual = (expected + scale * rng.standard_normal(expected.shape)).astype(np.float32)
    want = torch.allclose(
        torch.from_numpy(actual).double(),
        torch.from_numpy(expected).double(),
        rtol=1e-3,
        atol=1e-4,
    )
    got = compare(expected, actual, Gate("t", "test", rtol=1e-3, atol=1e-4))
    if not got.metrics["silent"]:
        assert (got.verdict is Verdict.PASS) == want


@given(finite, st.floats(1e-6, 1e-1))
def test_minimum_tolerance_would_have_passed_and_less_would_not(
    expected: np.ndarray, scale: float
) -> None:
    rng = np.random.default_rng(4)
    actual = (expected + scale * rng.standard_normal(expected.shape)).astype(np.float32)
    ratio = compare(expected, actual, LOOSE).tolerance_ratio
    assert ratio is not None
    for factor, share in ((1.000001, True), (0.999, ratio == 0.0)):
        scaled = Gate("t", "test", rtol=1e-3 * ratio * factor, atol=1e-4 * ratio * factor)
        outcome = compare(expected, actual, scaled)
        assert (outcome.metrics["mismatched"] == 0) is share


@pytest.mark.parametrize(("value", "verdict"), [(0.5, "pass"), (1.5, "fail"), (math.nan, "fail")])
def test_a_number_is_judged_against_its_bound(value: float, verdict: str) -> None:
    outcome = bound(value, Gate("t", "test", at_most=1.0), what="ripple")
    assert outcome.verdict.value == verdict


@pytest.mark.parametrize(
    "bounds",
    [
        {"rtol": 1e-3},
        {"atol": 1e-3},
        {},
        {"min_snr_db": -math.inf},
        {"at_most": math.inf},
        {"at_least": math.nan},
    ],
)
def test_a_gate_that_could_not_fail_or_is_half_specified_is_refused(
    bounds: dict[str, float],
) -> None:
    with pytest.raises(ParityError):
        Gate("t", "test", **bounds)


def test_every_gate_gives_its_reason() -> None:
    assert all(len(row.reason) > 30 for row in GATES.values())
    with pytest.raises(UnknownNameError, match="conversion"):
        gate("conversoin")


def test_a_check_of_an_unknown_layer_or_label_is_refused() -> None:
    outcome = Outcome(Verdict.PASS, "", "", "")
    with pytest.raises(ParityError, match="layer"):
        Check("basement", {}, True, None, outcome)
    with pytest.raises(ParityError, match="labels"):
        Check(LAYERS[0], {"colour": "red"}, True, None, outcome)
