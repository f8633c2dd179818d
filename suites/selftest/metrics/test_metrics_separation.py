"""SDR, ISR, SIR, SAR: against mir_eval, against theory, and against what fools other tools."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import asdict
from typing import Any

import mir_eval.separation
import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ParityError
from harness.metrics import (
    ReferenceProjection,
    SeparationMetrics,
    diagnose,
    separation_metrics,
    si_sdr_db,
    snr_db,
    source_metrics,
)

Array = npt.NDArray[np.float64]
SAMPLES, TAPS = 6000, 32


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def music(sources: int = 3, samples: int = SAMPLES, seed: int = 0) -> Array:
    """Stereo noise with a falling spectrum and correlated channels."""
    noise = rng(seed).standard_normal((sources, 2, samples))
    noise[:, 1] += 0.5 * noise[:, 0]
    return np.asarray(scipy.signal.lfilter([0.02], [1, -0.95], noise))


def ratios(metrics: SeparationMetrics) -> list[float]:
    values = [metrics.sdr_db, metrics.isr_db, metrics.sir_db, metrics.sar_db]
    assert all(value is not None for value in values)
    return [float(value) for value in values if value is not None]


def first(references: Array, estimates: Array) -> SeparationMetrics:
    return separation_metrics(references, estimates, filter_length=TAPS)[0]


def mir_eval_images(references: Array, estimates: Array) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, removal announced for 0.9
        sdr, isr, sir, sar, _ = mir_eval.separation.bss_eval_images(
            references.transpose(0, 2, 1), estimates.transpose(0, 2, 1), compute_permutation=False
        )
    return np.array([sdr, isr, sir, sar]).T


@pytest.mark.parametrize("target_db", [20, 40, 60])
def test_agrees_with_mir_eval(target_db: int) -> None:
    """Gain, leakage, a filter and noise together, 0.7 s of two stereo sources, 512 taps."""
    references = music(2, 30_870)
    error = (
        0.5 * references
        + 0.6 * references[::-1]
        + np.roll(references[:, ::-1], 5, axis=-1)
        + 0.1 * references.std() * rng(1).standard_normal(references.shape)
    )
    error *= 10 ** (-target_db / 20) * np.linalg.norm(references) / np.linalg.norm(error)
    ours = separation_metrics(references, references + error)
    theirs = mir_eval_images(references, references + error)
    assert ours[0].sdr_db == pytest.approx(target_db, abs=1)
    for mine, other in zip(ours, theirs, strict=True):
        assert ratios(mine) == pytest.approx(other.tolist(), abs=0.01)


def test_holds_where_band_limited_audio_makes_mir_eval_fail() -> None:
    """Cut at 4 kHz the Gram matrix is singular; an explicit least-squares solution is the judge."""
    low_pass = scipy.signal.butter(10, 4 / 22.05, output="sos")
    references = scipy.signal.sosfiltfilt(low_pass, rng().standard_normal((2, 2, 3000)), axis=-1)
    references = references.astype(np.float32).astype(np.float64)
    error = 0.05 * references + 0.03 * references[::-1]
    error += 0.01 * rng(1).standard_normal(references.shape)
    taps = 64
    ours = separation_metrics(references, references + 1e-3 * error, filter_length=taps)[0]

    def explicit(basis_signals: Array, signals: Array) -> Array:
        longer = np.pad(signals, ((0, 0), (0, taps - 1)))
        columns = [
            np.concatenate([np.zeros(d), s, np.zeros(taps - 1 - d)])
            for s in basis_signals.reshape(-1, 3000) / np.linalg.norm(references[0])
            for d in range(taps)
        ]
        basis = np.array(columns).T
        # The same floor as the loading: directions 120 dB under a unit source.
        left, singular, _ = np.linalg.svd(basis, full_matrices=False)
        kept = left[:, singular > 1e-6]
        return np.asarray((kept @ (kept.T @ longer.T)).T)

    residual = 1e-3 * error[0]
    spatial, joint = explicit(references[:1], residual), explicit(references, residual)
    source = np.pad(references[0], ((0, 0), (0, taps - 1)))
    longer = np.pad(residual, ((0, 0), (0, taps - 1)))
    truth = [
        snr_db(source, source + longer),
        snr_db(source, source + spatial),
        snr_db(source + spatial, source + joint),
        snr_db(source + joint, source + longer),
    ]
    assert ratios(ours) == pytest.approx(truth, abs=0.1)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.floats(0, 7), st.integers(0, 5))
def test_is_linear_down_to_200_db(depth: float, seed: int) -> None:
    references = music()
    error = 0.1 * (0.3 * references + 0.3 * references[::-1])
    error += 0.01 * rng(seed).standard_normal(references.shape)
    projection = ReferenceProjection(references, filter_length=TAPS)
    # The numerators of SIR and SAR hold the error, too: begin where that is under 0.001 dB.
    shallow = separation_metrics(projection, references + 1e-3 * error)
    deep = separation_metrics(projection, references + 1e-3 * 10**-depth * error)
    for upper, lower in zip(shallow, deep, strict=True):
        expected = [value + 20 * depth for value in ratios(upper)]
        assert ratios(lower) == pytest.approx(expected, abs=1e-3)
        assert lower.gain == pytest.approx(1, abs=10**-depth)


def test_reaches_200_db_to_a_thousandth() -> None:
    references = music()
    error = references[::-1] + 0.3 * references + 0.1 * rng(1).standard_normal(references.shape)
    projection = ReferenceProjection(references, filter_length=TAPS)
    at_100 = separation_metrics(projection, references + 1e-5 * error)
    at_200 = separation_metrics(projection, references + 1e-10 * error)
    for upper, lower in zip(at_100, at_200, strict=True):
        assert ratios(lower) == pytest.approx([value + 100 for value in ratios(upper)], abs=1e-3)
    assert at_200[0].sdr_db == pytest.approx(195, abs=10)


def test_identical_stems_are_exact() -> None:
    references = music()
    for metrics in separation_metrics(references, references.copy(), filter_length=TAPS):
        assert ratios(metrics) == [math.inf] * 4
        assert metrics.gain == 1
        assert metrics.spatial_share is None
        assert metrics.reason is None
        assert diagnose(metrics).startswith("exact")


def test_sdr_is_the_snr_over_all_channels() -> None:
    references = music()
    estimates = references + 1e-3 * rng(1).standard_normal(references.shape)
    for j, metrics in enumerate(separation_metrics(references, estimates, filter_length=TAPS)):
        assert metrics.sdr_db == pytest.approx(snr_db(references[j], estimates[j]), abs=1e-9)


# --- one error, one metric -----------------------------------------------------------------------


def test_noise_shows_in_sar() -> None:
    references = music()
    estimates = references + 1e-3 * rng(1).standard_normal(references.shape)
    metrics = first(references, estimates)
    sdr, isr, sir, sar = ratios(metrics)
    assert sar == pytest.approx(sdr, abs=0.3)
    assert min(isr, sir) > sdr + 10
    assert metrics.artifact_share == pytest.approx(1, abs=0.05)
    assert "noise" in diagnose(metrics)


def test_leakage_shows_in_sir() -> None:
    references = music()
    estimates = references.copy()
    estimates[0] += 0.01 * references[1]
    sdr, isr, sir, sar = ratios(metrics := first(references, estimates))
    assert sir == pytest.approx(sdr, abs=0.3)
    assert isr > sdr + 10
    assert sar > 150
    assert metrics.interference_share == pytest.approx(1, abs=0.05)
    assert "leakage" in diagnose(metrics)


def test_half_gain_shows_in_isr_and_not_in_sar() -> None:
    references = music()
    estimates = references.copy()
    estimates[0] *= 0.5
    sdr, isr, sir, sar = ratios(metrics := first(references, estimates))
    assert [sdr, isr] == pytest.approx([20 * math.log10(2)] * 2, abs=1e-6)
    assert min(sir, sar) > 110
    assert metrics.gain == pytest.approx(0.5)
    assert "the gain is wrong (0.5 instead of 1)" in diagnose(metrics)


def test_a_gain_error_of_a_thousandth_is_named_as_such() -> None:
    references = music()
    metrics = first(references, references * 1.001)
    assert metrics.isr_db == pytest.approx(60, abs=1e-6)
    assert "the gain is wrong (1.001 instead of 1)" in diagnose(metrics)


def test_inverted_polarity_is_no_good_separation() -> None:
    """SDR of BSS-eval's sources reads 302 dB here."""
    references = music()
    estimates = references.copy()
    estimates[0] *= -1
    sdr, isr, _, sar = ratios(metrics := first(references, estimates))
    assert [sdr, isr] == pytest.approx([-20 * math.log10(2)] * 2, abs=1e-6)
    assert sar > 110
    assert metrics.gain == pytest.approx(-1)
    assert "polarity is inverted" in diagnose(metrics)


def test_swapped_channels_are_a_spatial_error() -> None:
    references = music()
    estimates = references.copy()
    estimates[0] = references[0, ::-1]
    sdr, isr, _, sar = ratios(metrics := first(references, estimates))
    assert isr == pytest.approx(sdr, abs=0.01)
    assert sar > 110
    assert "channel error" in diagnose(metrics)


def test_a_low_passed_stem_is_a_filter_error() -> None:
    """SDR of BSS-eval's sources reads 61 dB here."""
    references = music()
    estimates = references.copy()
    low_pass = scipy.signal.firwin(TAPS // 2 + 1, 0.2)
    estimates[0] = scipy.signal.lfilter(low_pass, [1.0], references[0], axis=-1)
    sdr, isr, _, sar = ratios(metrics := first(references, estimates))
    assert sdr < 10
    assert isr == pytest.approx(sdr, abs=0.1)
    assert sar > 20
    assert "filter, delay or channel error" in diagnose(metrics)


def test_a_stem_replaced_by_silence_is_0_db_and_never_better() -> None:
    references = music()
    estimates = references.copy()
    estimates[0] = 0
    metrics = first(references, estimates)
    assert [metrics.sdr_db, metrics.isr_db] == pytest.approx([0, 0], abs=1e-6)
    assert metrics.sir_db is None
    assert metrics.sar_db is None
    assert metrics.reason is not None
    assert "estimate is silent" in metrics.reason
    assert metrics.gain == pytest.approx(0, abs=1e-12)
    assert "lost" in diagnose(metrics)


def test_swapped_stems_are_recognised() -> None:
    references = music()
    estimates = references[[1, 0, 2]]
    results = separation_metrics(references, estimates, filter_length=TAPS)
    assert "another stem stands in its place" in diagnose(results[0])
    assert "another stem stands in its place" in diagnose(results[1])
    assert diagnose(results[2]).startswith("exact")


def test_a_mixture_of_causes_is_called_that() -> None:
    references = music()
    noise = 0.001 * rng(1).standard_normal(references.shape)
    metrics = first(references, 1.05 * references + 0.05 * references[::-1] + noise)
    assert diagnose(metrics).startswith("no single cause")
    shares = (metrics.spatial_share, metrics.interference_share, metrics.artifact_share)
    assert sum(share for share in shares if share is not None) == pytest.approx(1)


# --- silent, anti-phase and broken stems ---------------------------------------------------------


@pytest.mark.parametrize("metrics", [separation_metrics, source_metrics])
def test_stems_that_are_not_finite_have_a_reason_each(metrics: Any) -> None:
    """As where FP16 overflows: no stem is left to be measured."""
    references = music(2)
    found = metrics(references, references * np.nan, filter_length=TAPS)
    assert [stem.reason for stem in found] == [
        f"the estimate holds {2 * SAMPLES} samples that are not finite"
    ] * 2


def test_an_anti_phase_stem_is_not_silent() -> None:
    """Its channels sum to nothing: mir_eval refuses the whole song."""
    references = music()
    references[0, 1] = -references[0, 0]
    estimates = references + 1e-4 * rng(1).standard_normal(references.shape)
    results = separation_metrics(references, estimates, filter_length=TAPS)
    for metrics, reference, estimate in zip(results, references, estimates, strict=True):
        assert metrics.sdr_db == pytest.approx(snr_db(reference, estimate), abs=1e-9)
        assert metrics.reason is None


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_a_silent_reference_has_no_metrics_and_leaves_the_others_alone(level: float) -> None:
    references = music()
    references[1] *= level
    estimates = references + 1e-3 * rng(1).standard_normal(references.shape)
    results = separation_metrics(references, estimates, filter_length=TAPS)
    assert results[1] == SeparationMetrics("1", reason="the reference is silent")
    assert diagnose(results[1]) == "not computed: the reference is silent"
    others = separation_metrics(references[[0, 2]], estimates[[0, 2]], filter_length=TAPS)
    assert ratios(results[0]) == pytest.approx(ratios(others[0]), abs=1e-9)
    assert ratios(results[2]) == pytest.approx(ratios(others[1]), abs=1e-9)


def test_a_silent_song_has_no_metrics_at_all() -> None:
    results = separation_metrics(np.zeros((2, 2, 500)), np.ones((2, 2, 500)), filter_length=TAPS)
    assert [metrics.reason for metrics in results] == ["the reference is silent"] * 2


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_stem_gets_no_number_and_leaves_the_others_alone(broken: float) -> None:
    references = music()
    estimates = references * 1.01
    estimates[0, 1, 17] = broken
    results = separation_metrics(references, estimates, filter_length=TAPS)
    assert results[0].sdr_db is None
    assert results[0].reason == "the estimate holds 1 samples that are not finite"
    assert results[1].sdr_db == pytest.approx(40, abs=1e-6)


def test_identical_sources_do_not_break_the_song() -> None:
    references = music()
    references[1] = references[0]
    metrics = first(references, references * 1.01)
    assert [metrics.sdr_db, metrics.isr_db] == pytest.approx([40, 40], abs=1e-6)


# --- interface ------------------------------------------------------------------------------------


def test_one_projection_serves_every_candidate() -> None:
    references = music().astype(np.float32)
    projection = ReferenceProjection(references, filter_length=TAPS)
    for scale in (1e-2, 1e-4):
        estimates = references + scale * rng(1).standard_normal(references.shape)
        direct = separation_metrics(references, estimates, filter_length=TAPS)
        assert separation_metrics(projection, estimates) == direct


def test_results_are_named_and_plain() -> None:
    references = music().astype(np.float32)
    estimates = references * np.float32(1.01)
    results = separation_metrics(
        references, estimates, sources=("drums", "bass", "other"), filter_length=TAPS
    )
    assert [metrics.source for metrics in results] == ["drums", "bass", "other"]
    document = json.loads(json.dumps([asdict(metrics) for metrics in results]))
    assert document[2]["sdr_db"] == pytest.approx(40, abs=1e-3)
    for metrics in results:
        assert {type(value) for value in asdict(metrics).values()} <= {str, float, type(None)}


def test_bad_input_is_refused() -> None:
    references = music()
    with pytest.raises(ParityError, match="shapes differ"):
        separation_metrics(references, references[:2], filter_length=TAPS)
    with pytest.raises(ParityError, match=r"2 source names \(drums, bass\) for 3"):
        separation_metrics(references, references, sources=["drums", "bass"], filter_length=TAPS)
    broken = references.copy()
    broken[0, 0, 0] = math.nan
    with pytest.raises(ParityError, match="references hold 1 samples"):
        separation_metrics(broken, references, filter_length=TAPS)


# --- SI-SDR --------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.floats(0.1, 10), st.booleans(), st.floats(0, 4))
def test_si_sdr_follows_its_definition_and_ignores_gain(
    gain: float, inverted: bool, depth: float
) -> None:
    reference = music(1, 2000)[0]
    estimate = reference + 10**-depth * rng(1).standard_normal(reference.shape)
    scale = np.sum(estimate * reference) / np.sum(reference**2)
    target = scale * reference
    truth = 10 * math.log10(np.sum(target**2) / np.sum((target - estimate) ** 2))
    assert si_sdr_db(reference, estimate) == pytest.approx(truth, abs=1e-6)
    scaled = estimate * (-gain if inverted else gain)
    assert si_sdr_db(reference, scaled) == pytest.approx(truth, abs=1e-6)


def test_si_sdr_does_not_saturate() -> None:
    reference = music(1, 2000)[0]
    error = rng(1).standard_normal(reference.shape)
    shallow = si_sdr_db(reference, reference + 1e-3 * error)
    deep = si_sdr_db(reference, reference + 1e-10 * error)
    assert shallow is not None
    assert deep == pytest.approx(shallow + 140, abs=0.05)


def test_si_sdr_at_the_edges() -> None:
    reference = music(1, 2000)[0]
    assert si_sdr_db(reference, reference) == math.inf
    assert si_sdr_db(reference, np.zeros_like(reference)) == -math.inf
    assert si_sdr_db(np.zeros_like(reference), reference) is None
    broken = reference.copy()
    broken[0, 0] = math.nan
    value = si_sdr_db(reference, broken)
    assert value is not None
    assert math.isnan(value)
    with pytest.raises(ParityError, match="shapes differ"):
        si_sdr_db(reference, reference[:1])
