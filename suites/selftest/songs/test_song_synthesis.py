"""The synthesis against independent oracles: direct sums, SciPy's responses, known harmony."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter, sosfreqz

from harness.subjects.songs import effects, filters
from harness.subjects.songs.oscillators import decaying_partials, oscillator, plucked_string
from harness.subjects.songs.theory import NOTE_NAMES, Key, midi_to_hz, pitch_near, voicing

RATE = 44_100


def test_partials_equal_the_sum_of_their_cosines() -> None:
    rng = np.random.default_rng(0)
    hz, decays = rng.uniform(50, 19_000, 30), rng.uniform(0.01, 2.0, 30)
    amplitudes, phases = rng.uniform(0, 1, 30), rng.uniform(0, 6, 30)
    times = np.arange(5000)[:, None] / RATE
    direct = (amplitudes * np.exp(-times / decays) * np.cos(2 * np.pi * hz * times + phases)).sum(1)
    actual = decaying_partials(hz, decays, amplitudes, phases, 5000)
    np.testing.assert_allclose(actual, direct, atol=1e-10)


def test_partials_above_the_band_are_left_out() -> None:
    one = np.ones(1)
    assert not decaying_partials(21_000 * one, one, one, 0 * one, 100).any()


def test_a_plucked_string_decays_like_a_karplus_strong_loop() -> None:
    """The loop itself, run by a recursive filter, is the oracle for every mode's decay."""
    period, damping, sustain_s = 200, 0.5, 1.5
    # The low-pass delays by half a sample, so the loop sounds at rate / 200.5.
    frequency = RATE / (period + 0.5)
    rho = np.exp(-1 / (sustain_s * frequency))
    loop = np.zeros(period + 2)
    loop[0], loop[period], loop[period + 1] = 1.0, -rho * (1 - damping), -rho * damping
    burst = np.zeros(RATE)
    burst[:period] = np.random.default_rng(1).standard_normal(period)
    expected = lfilter([1.0], loop, burst)
    actual = plucked_string(
        frequency, RATE, np.random.default_rng(2), sustain_s=sustain_s, damping=damping
    )

    def fall_db(signal: np.ndarray, mode: int) -> float:
        angle = np.exp(-2j * np.pi * mode * frequency / RATE * np.arange(RATE))
        early, late = (np.abs((signal * angle)[s : s + 4410].mean()) for s in (4410, 22_050))
        return float(20 * np.log10(early / late))

    for mode in (1, 3, 8, 12):
        assert fall_db(actual, mode) == pytest.approx(fall_db(expected, mode), rel=0.03, abs=0.1)


@pytest.mark.parametrize("shape", ["saw", "square", "triangle", "pulse"])
def test_oscillators_do_not_alias(shape: str) -> None:
    cycles = 1764  # a whole number in one second, so that harmonics fall on bins
    wave = oscillator(shape, np.full(RATE, float(cycles)), 0.1)
    spectrum = np.abs(np.fft.rfft(wave))
    harmonic = np.arange(spectrum.size) % cycles == 0
    assert spectrum[~harmonic].max() < 1e-3 * spectrum.max()


@pytest.mark.parametrize(
    ("section", "hz", "gain_db"),
    [
        (filters.lowpass(1000), 1000, -3.01),
        (filters.highpass(1000), 1000, -3.01),
        (filters.bandpass(1000, 2.0), 1000, 0.0),
        (filters.peaking(1000, 7.0), 1000, 7.0),
        (filters.high_shelf(2000, -5.0), 20_000, -5.0),
    ],
)
def test_filters_have_their_gain(section: np.ndarray, hz: float, gain_db: float) -> None:
    _, response = sosfreqz(section[None], worN=[hz], fs=RATE)
    assert 20 * np.log10(np.abs(response[0])) == pytest.approx(gain_db, abs=0.1)


def test_a_moving_filter_that_stands_still_is_the_fixed_one() -> None:
    signal = np.random.default_rng(0).standard_normal(3000)
    moving = filters.moving_lowpass(signal, np.full(3000, 800.0), 1.5)
    np.testing.assert_allclose(moving, filters.apply(signal, filters.lowpass(800.0, 1.5)))


def test_the_bus_gain_keeps_the_sum() -> None:
    rng = np.random.default_rng(0)
    stems = rng.standard_normal((3, 2, RATE)) * np.linspace(0.01, 1.0, RATE)
    gain = effects.compressor_gain(
        stems.sum(axis=0), threshold_db=-20, ratio=4, attack_s=0.005, release_s=0.1
    )
    assert gain[0] > gain[-1] > 0.05
    np.testing.assert_allclose((stems * gain).sum(axis=0), stems.sum(axis=0) * gain, atol=1e-12)


def test_the_room_adds_a_tail_and_nothing_before_the_sound() -> None:
    impulse = np.zeros((2, RATE))
    impulse[:, 1000] = 1.0
    response = effects.Room(0.4, 0.01, 6000.0).response(np.random.default_rng(0))
    wet = effects.reverberated(impulse, response, 0.5) - impulse
    assert np.abs(wet[:, : 1000 + 441]).max() < 1e-12
    early, late = (np.mean(wet[:, s : s + 2000] ** 2) for s in (2000, 2000 + 8820))
    assert 20 < 10 * np.log10(early / late) < 50  # 60 dB in 0.4 s, faster in the treble


@given(tonic=st.integers(0, 11), degree=st.integers(0, 6))
def test_chords_lie_in_their_key(tonic: int, degree: int) -> None:
    for mode in ("major", "minor", "dorian", "mixolydian"):
        key = Key(tonic, mode)
        scale = {pitch % 12 for pitch in key.scale_pitches(60, 71)}
        chord = key.chord(degree, 4)
        assert set(chord.pitch_classes) <= scale
        pitches = voicing(chord, 60.0, 4)
        assert len(pitches) == 4
        assert {pitch % 12 for pitch in pitches} <= scale


def test_known_harmony() -> None:
    key = Key(NOTE_NAMES.index("A"), "minor")
    assert key.name == "A minor"
    assert [key.chord(degree).numeral for degree in (0, 1, 2, 4)] == ["i", "ii°", "III", "v"]
    assert [NOTE_NAMES[c] for c in key.chord(0).pitch_classes] == ["A", "C", "E"]
    assert float(midi_to_hz(69)) == 440.0
    assert pitch_near(NOTE_NAMES.index("E"), 35.0) == 40
