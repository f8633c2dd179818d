"""Test signals are what their names say, by measures that don't use their formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ParityError, UnknownNameError
from harness.subjects import SIGNALS, make_signal
from harness.subjects.signals import signal

SECOND = 44_100


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


@given(kind=st.sampled_from(sorted(SIGNALS)), length=st.integers(1, 5000))
def test_every_signal_is_stereo_float32_within_full_scale(kind: str, length: int) -> None:
    samples = make_signal(kind, length)
    assert samples.dtype == np.float32
    assert samples.shape == (2, length)
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1
    np.testing.assert_array_equal(samples, make_signal(kind, length))


@pytest.mark.parametrize("kind", sorted(set(SIGNALS) - {"silence", "dc"}))
def test_channels_differ_so_that_exchanged_ones_show(kind: str) -> None:
    left, right = make_signal(kind, 4096)
    assert np.abs(left - right).max() > 1e-4


def test_sine_has_one_frequency_and_a_phase_between_its_channels() -> None:
    samples = make_signal("sine", SECOND, frequency_hz=1000.0, amplitude=0.25)
    spectrum = np.fft.rfft(samples.astype(np.float64))
    assert np.abs(spectrum).argmax(axis=1).tolist() == [1000, 1000]
    phases = np.angle(spectrum[:, 1000])
    assert phases[1] - phases[0] == pytest.approx(0.1, abs=1e-6)
    assert level_db(samples) == pytest.approx(20 * np.log10(0.25 / np.sqrt(2)), abs=1e-4)


def test_noise_is_white_at_its_level_and_seeded() -> None:
    samples = make_signal("noise", 10 * SECOND)
    assert level_db(samples) == pytest.approx(-20, abs=0.05)
    power = np.abs(np.fft.rfft(samples[0].astype(np.float64))) ** 2
    octaves = [power[2**k : 2 ** (k + 1)].mean() for k in range(12, 17)]
    assert max(octaves) / min(octaves) < 1.15
    assert abs(np.corrcoef(samples)[0, 1]) < 0.01
    np.testing.assert_array_equal(samples, make_signal("noise", 10 * SECOND, seed=42))
    assert not np.array_equal(samples, make_signal("noise", 10 * SECOND, seed=1))


def test_chirp_rises_evenly_and_falls_on_the_right() -> None:
    samples = make_signal("chirp", 10 * SECOND, start_hz=100.0, stop_hz=10_000.0)
    np.testing.assert_array_equal(samples[1], samples[0][::-1])

    def frequency_hz(at_s: float) -> float:
        window = samples[0][int(at_s * SECOND) - 1000 : int(at_s * SECOND) + 1000]
        crossings = np.flatnonzero(np.diff(np.signbit(window)))
        return float(SECOND * (len(crossings) - 1) / (2 * (crossings[-1] - crossings[0])))

    assert frequency_hz(5.0) == pytest.approx(1000, rel=0.02)
    assert frequency_hz(7.5) == pytest.approx(3162, rel=0.02)


def test_impulse_is_one_sample() -> None:
    samples = make_signal("impulse", 100, position=99, amplitude=0.5)
    assert samples[:, 99].tolist() == [0.5, 0.25]
    assert np.count_nonzero(samples) == 2


def test_levels_are_those_of_their_names() -> None:
    assert level_db(make_signal("quiet", SECOND)) == pytest.approx(-60, abs=0.1)
    assert not make_signal("silence", 10).any()
    assert (make_signal("dc", 10, level=-0.5) == -0.5).all()
    hot = make_signal("hot", SECOND)
    assert np.mean(np.abs(hot) == 1) > 0.5
    antiphase = make_signal("antiphase", SECOND)
    assert not (antiphase[0] + antiphase[1]).any()
    assert level_db(antiphase) == pytest.approx(-20, abs=0.1)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'noise'"):
        make_signal("nois", 10)
    with pytest.raises(UnknownNameError, match="did you mean 'frequency_hz'"):
        make_signal("sine", 10, frequency=440.0)
    with pytest.raises(TypeError, match="multiple values"):
        make_signal("sine", 10, **{"length": 5})


@pytest.mark.parametrize(
    ("kind", "length", "parameters", "reason"),
    [
        ("sine", 0, {}, "length=0 must be a whole number of at least 1"),
        ("sine", 1.5, {}, r"length=1\.5"),
        ("sine", True, {}, "length=True"),
        ("sine", 10, {"frequency_hz": 30_000}, r"outside 0\.0 to 22050\.0"),
        ("sine", 10, {"amplitude": float("nan")}, "not finite"),
        ("sine", 10, {"amplitude": "loud"}, "no number"),
        ("sine", 10, {"amplitude": True}, "no number"),
        ("noise", 10, {"seed": -1}, "seed=-1"),
        ("noise", 10, {"seed": 1.0}, r"seed=1\.0"),
        ("noise", 10, {"level_db": 3.0}, r"level_db=3\.0"),
        ("chirp", 10, {"start_hz": 200.0, "stop_hz": 100.0}, "must be below"),
        ("impulse", 10, {"position": 10}, "behind the last of 10"),
        ("dc", 10, {"level": 2.0}, r"level=2\.0"),
    ],
)
def test_parameters_out_of_range_are_refused(
    kind: str, length: Any, parameters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ParityError, match=reason):
        make_signal(kind, length, **parameters)


def test_a_name_is_registered_once() -> None:
    def silence(length: int) -> np.ndarray:
        return np.ones((2, length))

    with pytest.raises(ValueError, match="already"):
        signal(silence)
    assert not make_signal("silence", 3).any()
