"""What consumers of a generated song rely on: shape, sum, determinism, levels, independence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.errors import ParityError
from harness.subjects.songs import STEMS, Song, instruments, make_song

SEEDS = range(20)
pytestmark = pytest.mark.exhaustive  # goldens hold songs to the bit in every run


@pytest.fixture(scope="module")
def songs() -> list[Song]:
    return [make_song(seed) for seed in SEEDS]


def rms_dbfs(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(signal.astype(np.float64) ** 2)))


def energy_share(signal: np.ndarray, low_hz: float, high_hz: float, rate: int = 44_100) -> float:
    """Share of the energy of [2, n] between two frequencies."""
    power = (np.abs(np.fft.rfft(signal.astype(np.float64), axis=1)) ** 2).sum(axis=0)
    frequencies = np.fft.rfftfreq(signal.shape[1], 1 / rate)
    return float(power[(frequencies >= low_hz) & (frequencies < high_hz)].sum() / power.sum())


def test_stems_have_the_shape_and_type_of_the_contract(songs: list[Song]) -> None:
    for song in songs:
        assert song.stems.shape == (6, 2, 343_980)
        assert song.stems.dtype == np.float32
        assert np.isfinite(song.stems).all()
        assert song.sources == STEMS == ("drums", "bass", "other", "vocals", "guitar", "piano")


def test_the_mixture_is_the_sum_of_the_stems_to_one_rounding(songs: list[Song]) -> None:
    for song in songs:
        exact = song.stems.astype(np.float64).sum(axis=0)
        assert song.mixture.dtype == np.float32
        assert (np.abs(song.mixture - exact) <= 0.5 * np.spacing(np.abs(song.mixture))).all()


def test_the_mixture_peaks_between_minus_three_and_minus_one_dbfs(songs: list[Song]) -> None:
    peaks_db = [20 * np.log10(np.abs(song.mixture).max()) for song in songs]
    assert min(peaks_db) > -3.01
    assert max(peaks_db) < -0.99


def test_no_stem_is_silent_and_none_drowns_the_others(songs: list[Song]) -> None:
    for song in songs:
        mixture_db = rms_dbfs(song.mixture)
        for name, stem in zip(song.sources, song.stems, strict=True):
            level = rms_dbfs(stem) - mixture_db
            assert -20.0 < level < -1.0, (
                f"seed {song.seed}: {name} at {level:.1f} dB of the mixture"
            )


def test_loud_and_soft_songs_exist(songs: list[Song]) -> None:
    levels = [rms_dbfs(song.mixture) for song in songs]
    assert max(levels) - min(levels) > 5.0
    assert min(levels) > -30.0
    assert max(levels) < -6.0


def test_stems_sound_most_of_the_time(songs: list[Song]) -> None:
    """A separation model that is trained on silent targets learns to be silent."""
    shares = np.zeros((len(songs), 6))
    for row, song in enumerate(songs):
        blocks = song.stems[:, :, :343_000].astype(np.float64).reshape(6, 2, -1, 4900)
        power = (blocks**2).mean(axis=(1, 3))
        shares[row] = (power > 1e-4 * power.max(axis=1, keepdims=True)).mean(axis=1)
    assert shares.min() > 0.3
    assert (shares.mean(axis=0) > 0.6).all()


def test_stems_start_and_stop_within_a_song(songs: list[Song]) -> None:
    silent = [section["silent"] for song in songs for section in song.description["sections"]]
    assert sum(bool(names) for names in silent) > len(songs) / 2


def test_stems_are_free_of_dc(songs: list[Song]) -> None:
    for song in songs:
        for name, stem in zip(song.sources, song.stems, strict=True):
            windowed = stem * np.hanning(stem.shape[1])  # a cut note must not read as DC
            share = energy_share(windowed, 0, 10)
            assert share < 1e-3, f"seed {song.seed}: {name} has {share:.1e} of its energy at DC"


def test_stems_are_independent(songs: list[Song]) -> None:
    """Correlated stems would make interference impossible to attribute."""
    for song in songs:
        flat = song.stems.astype(np.float64).reshape(6, -1)
        correlation = np.corrcoef(flat) - np.eye(6)
        assert np.abs(correlation).max() < 0.25, f"seed {song.seed}"


def test_bass_is_low_and_drums_reach_high(songs: list[Song]) -> None:
    for song in songs:
        stem = dict(zip(song.sources, song.stems, strict=True))
        assert energy_share(stem["bass"], 0, 500) > 0.8
        high = energy_share(stem["drums"], 5000, 22_050)
        others = max(energy_share(stem[name], 5000, 22_050) for name in ("bass", "piano"))
        assert high > 2 * others


def test_melodic_stems_overlap_in_the_middle(songs: list[Song]) -> None:
    """Stems that a band-pass could separate would train nothing but a band-pass."""
    for name in ("other", "vocals", "guitar", "piano"):
        index = STEMS.index(name)
        shares = [energy_share(song.stems[index], 150, 3000) for song in songs]
        assert np.median(shares) > 0.6, name


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = make_song(11, 4.0), make_song(11, 4.0)
    assert first.stems.tobytes() == second.stems.tobytes()
    assert first.description == second.description


def test_different_seeds_give_different_songs(songs: list[Song]) -> None:
    assert len({song.stems.tobytes() for song in songs}) == len(songs)
    assert len({song.description["tempo_bpm"] for song in songs}) > 15
    assert len({song.description["key"] for song in songs}) > 8


def test_the_description_is_ready_for_json(songs: list[Song]) -> None:
    for song in songs:
        assert json.loads(json.dumps(song.description)) == song.description
        assert 80 <= song.description["tempo_bpm"] <= 150
        for stem, name in song.description["instruments"].items():
            assert name in {row.name for row in instruments(stem)}


def test_stems_can_not_be_changed_by_a_consumer() -> None:
    song = make_song(3, 2.0)
    with pytest.raises(ValueError, match="read-only"):
        song.stems[0] = 0


@pytest.mark.parametrize("duration_s", [1.0, 2.5, 3.3])
def test_other_durations(duration_s: float) -> None:
    song = make_song(8, duration_s)
    assert song.stems.shape == (6, 2, round(duration_s * 44_100))
    assert np.isfinite(song.stems).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"seed": -1}, "seed -1"),
        ({"seed": 1.5}, "seed 1.5"),
        ({"seed": True}, "seed True"),
        ({"seed": 1, "duration_s": 0.0}, "duration 0.0 s"),
        ({"seed": 1, "duration_s": float("nan")}, "duration nan s"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], named: str) -> None:
    with pytest.raises(ParityError, match=named):
        make_song(**arguments)
