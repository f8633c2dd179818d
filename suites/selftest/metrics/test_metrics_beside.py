"""What stands beside the scores: octave bands, spectral distance, delay and gain, the null test."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ParityError
from harness.metrics import (
    Alignment,
    BandSnr,
    alignment,
    dbfs,
    log_spectral_distance_db,
    mixture_null,
    octave_snr_db,
    rms,
    snr_db,
)

Array = npt.NDArray[np.float64]
RATE = 44_100


def noise(samples: int = 20_000, seed: int = 0) -> Array:
    """Stereo noise with a falling spectrum."""
    white = np.random.default_rng(seed).standard_normal((2, samples))
    return np.asarray(scipy.signal.lfilter([0.05], [1, -0.9], white))


def band_at(bands: tuple[BandSnr, ...], hz: float) -> BandSnr:
    return next(band for band in bands if band.low_hz <= hz < band.high_hz)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.integers(50, 40_000), st.sampled_from([8000, 44_100, 96_000]), st.integers(0, 9))
def test_the_bands_hold_all_the_energy(samples: int, rate: int, seed: int) -> None:
    reference = noise(samples, seed)
    estimate = reference + 0.01 * noise(samples, seed + 1)
    bands = octave_snr_db(reference, estimate, rate)
    for side, signal in (("expected", reference), ("error", estimate - reference)):
        total = sum(10 ** (getattr(band, f"{side}_rms_dbfs") / 10) for band in bands)
        assert 10 * math.log10(total) == pytest.approx(dbfs(rms(signal)), abs=1e-6)
    assert (bands[0].low_hz, bands[-1].high_hz) == (0, rate / 2)


def test_an_error_counts_in_the_octave_in_which_it_is() -> None:
    seconds = np.arange(2 * RATE) / RATE
    fade = np.hanning(seconds.size)  # a tone that begins at once is in all bands
    reference = sum(0.1 * fade * np.sin(2 * np.pi * hz * seconds) for hz in (63, 1000, 4000))
    estimate = reference + 1e-4 * fade * np.sin(2 * np.pi * 1100 * seconds)
    bands = octave_snr_db(reference, estimate, RATE)
    hit = band_at(bands, 1000).snr_db
    assert hit == pytest.approx(60, abs=0.02)
    for hz in (63, 4000):
        quiet = band_at(bands, hz).snr_db
        assert quiet is not None
        assert quiet > hit + 30
    assert band_at(bands, 250).snr_db is None  # nothing was there
    assert band_at(bands, 1000).low_hz == pytest.approx(1000 / 10**0.15)


def test_a_band_agrees_with_a_bandpass_filter() -> None:
    """A Butterworth filter of the band's edges, of high order, finds the same SNR."""
    reference, error = noise(4 * RATE), 0.01 * noise(4 * RATE, 1)
    band = band_at(octave_snr_db(reference, reference + error, RATE), 1000)
    sos = scipy.signal.butter(
        12, [band.low_hz, band.high_hz], btype="bandpass", fs=RATE, output="sos"
    )
    one, other = (scipy.signal.sosfilt(sos, signal) for signal in (reference, reference + error))
    assert band.snr_db == pytest.approx(snr_db(one, other), abs=0.05)


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.floats(0.2, 5), st.integers(0, 9))
def test_a_gain_is_its_own_spectral_distance(gain: float, seed: int) -> None:
    reference = noise(6000, seed)
    assert log_spectral_distance_db(reference, reference) == 0
    distance = log_spectral_distance_db(reference, gain * reference)
    assert distance == pytest.approx(abs(20 * math.log10(gain)), abs=1e-3)
    assert log_spectral_distance_db(reference, -reference) == 0


def test_spectral_distance_of_one_frame_by_hand() -> None:
    """A signal of one window's length: the frame that covers it, computed without framing."""
    reference, estimate = noise(2048)[0], noise(2048, 1)[0]
    window = scipy.signal.get_window("hann", 2048)
    whole = []
    for shift in range(-1536, 2048, 512):
        sides = []
        for signal in (reference, estimate):
            frame = np.zeros(2048)
            start, stop = max(shift, 0), min(shift + 2048, 2048)
            frame[start - shift : stop - shift] = signal[start:stop]
            sides.append(np.abs(np.fft.rfft(frame * window)))
        floor = sides[0].max() * 1e-5
        ratio = 20 * np.log10(np.maximum(sides[0], floor) / np.maximum(sides[1], floor))
        whole.append(np.sqrt(np.mean(ratio**2)))
    assert log_spectral_distance_db(reference, estimate) == pytest.approx(np.mean(whole))


def test_silence_has_a_spectral_distance_and_a_silent_reference_none() -> None:
    reference = noise()
    lost = log_spectral_distance_db(reference, 0 * reference)
    assert lost is not None
    assert 40 < lost <= 100
    assert log_spectral_distance_db(0 * reference, reference) is None
    assert octave_snr_db(reference, reference, RATE)[3].snr_db == math.inf


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.floats(-40, 40), st.floats(0.1, 3), st.booleans())
def test_delay_and_gain_are_found_together(delay: float, gain: float, inverted: bool) -> None:
    """A band-limited burst, so that nothing is cut off, late by any fraction of a sample."""
    gain = -gain if inverted else gain
    burst = noise(4096) * np.pad(np.hanning(2048), 1024)
    spectrum = np.fft.rfft(burst)
    spectrum[:, 1600:] = 0
    turns = np.exp(-2j * np.pi * np.fft.rfftfreq(4096) * delay)
    reference, estimate = np.fft.irfft(spectrum), np.fft.irfft(spectrum * turns)
    found = alignment(reference, gain * estimate)
    assert found is not None
    assert found.delay_samples == pytest.approx(delay, abs=1e-3)
    assert found.gain == pytest.approx(gain, rel=1e-4)
    assert found.gain_db == pytest.approx(20 * math.log10(abs(gain)), abs=1e-3)


def test_an_exact_delay_stays_exact() -> None:
    reference = noise()
    assert alignment(reference, reference) == Alignment(0.0, pytest.approx(1.0))
    late = np.pad(reference, ((0, 0), (17, 0)))
    padded = np.pad(reference, ((0, 0), (0, 17)))
    assert alignment(padded, late) == Alignment(17.0, pytest.approx(1.0))
    assert alignment(late, padded, longest=5) != Alignment(-17.0, 1.0)  # too far to be searched
    assert alignment(reference, 0 * reference) is None
    assert Alignment(0.0, 0.0).gain_db == -math.inf


def test_the_null_test_forgives_leakage_and_finds_loss() -> None:
    stems = np.stack([noise(seed=seed) for seed in range(4)])
    leaked = stems.copy()
    leaked[0] += 0.1 * stems[1]
    leaked[1] -= 0.1 * stems[1]
    assert (mixture_null(stems, leaked).depth_db or 0) > 250
    assert mixture_null(stems, stems).depth_db == math.inf
    lost = stems.copy()
    lost[2] *= 0.99
    found = mixture_null(stems, lost)
    assert found.depth_db == pytest.approx(snr_db(stems.sum(0), lost.sum(0)))
    assert found.rest_rms_dbfs == pytest.approx(dbfs(0.01 * rms(stems[2])))
    assert mixture_null(0 * stems, stems).depth_db is None


def test_what_has_no_spectrum_is_refused() -> None:
    good, bad = np.ones(10), np.full(10, np.nan)
    for metric in (lambda *pair: octave_snr_db(*pair, RATE), log_spectral_distance_db, alignment):
        with pytest.raises(ParityError, match="estimate holds samples that are not finite"):
            metric(good, bad)
        with pytest.raises(ParityError, match="shapes differ"):
            metric(good, good[1:])
        with pytest.raises(ParityError, match="last axis"):
            metric(np.float64(1), np.float64(1))
    with pytest.raises(ParityError, match=r"expected \[sources, ..., samples\]"):
        mixture_null(good, good)
    with pytest.raises(ParityError, match="rate is 0 Hz"):
        octave_snr_db(good, good, 0)
