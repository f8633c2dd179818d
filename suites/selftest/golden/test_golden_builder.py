"""The real builder: a golden holds what the original HTDemucs computes, tensor by tensor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from demucs.htdemucs import HTDemucs

from harness.audio import PUBLISHED, SEGMENT_LENGTH, Geometry
from harness.audio.stft import waveform_from_spectrogram
from harness.errors import ParityError
from harness.golden import Case
from harness.golden.builder import build_tensors, make_audio
from harness.subjects import HTDemucsNetwork, Subject, separate_segment, tap_names

SEGMENT = 22_050
SIX = ("drums", "bass", "other", "vocals", "guitar", "piano")
FOUR = SIX[:4]


def small_model(seed: int, sources: tuple[str, ...]) -> HTDemucs:
    torch.manual_seed(seed)
    model = HTDemucs(
        list(sources), channels=8, t_layers=2, t_heads=2, bottom_channels=0, segment=Fraction(1, 2)
    )
    return model.eval()


def geometry(segment_length: int) -> Geometry:
    return replace(PUBLISHED, segment_length=segment_length)


def small_subject(sources: tuple[str, ...], weights: tuple[tuple[float, ...], ...]) -> Subject:
    models = tuple(small_model(seed, sources) for seed in range(len(weights)))
    network = HTDemucsNetwork("mini", (), weights, sources, geometry(SEGMENT))
    return Subject("small", network, models, "f" * 64)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slowed down by threads, most of all where tests run in parallel."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return small_subject(SIX, ((1.0,) * 6,))


def segment_case(**changes: object) -> Case:
    recipe = {
        "name": "noise",
        "kind": "noise",
        "parameters": {"level_db": -20.0, "seed": 42},
        "why": "x",
        "length": SEGMENT,
    }
    return Case(**{**recipe, **changes})  # type: ignore[arg-type]


def test_a_segment_holds_inputs_branches_and_the_original_s_stems(subject: Subject) -> None:
    tensors = build_tensors(subject, segment_case())
    assert set(tensors) == {"audio", "spectrogram", "freq", "time", "stems"}
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    frames = -(-SEGMENT // 1024)
    assert tensors["audio"].shape == (1, 2, SEGMENT)
    assert tensors["spectrogram"].shape == (1, 4, 2048, frames)
    assert tensors["freq"].shape == (1, 6, 4, 2048, frames)
    assert tensors["time"].shape == (1, 6, 2, SEGMENT)
    with torch.no_grad():
        plain = subject.model(torch.from_numpy(tensors["audio"]))[0].numpy()
    np.testing.assert_array_equal(tensors["stems"], plain, strict=True)


def test_the_branches_of_a_segment_add_up_to_its_stems(subject: Subject) -> None:
    tensors = build_tensors(subject, segment_case())
    freq = torch.from_numpy(tensors["freq"])
    waveform = waveform_from_spectrogram(freq, SEGMENT).numpy()
    np.testing.assert_allclose(
        (waveform + tensors["time"])[0], tensors["stems"], rtol=1e-5, atol=1e-7
    )


def test_taps_are_stored_once_and_under_their_own_names(subject: Subject) -> None:
    tensors = build_tensors(subject, segment_case(taps=True))
    expected = {f"tap.{name}" for name in tap_names(subject.model)} - {"tap.freq", "tap.time"}
    assert {name for name in tensors if name.startswith("tap.")} == expected
    assert expected


def test_building_twice_gives_the_same_bits(subject: Subject) -> None:
    case = segment_case(taps=True)
    first, second = build_tensors(subject, case), build_tensors(subject, case)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_bag_has_branches_for_each_model_and_averaged_stems() -> None:
    weights = ((1.0, 0.0, 1.0, 0.5), (0.0, 1.0, 1.0, 1.5))
    bag = small_subject(FOUR, weights)
    tensors = build_tensors(bag, segment_case(taps=True))
    branches = {f"model.{index}.{name}" for index in (0, 1) for name in ("freq", "time")}
    assert branches <= tensors.keys()
    assert "model.1.tap.encoder.0" in tensors
    assert "freq" not in tensors
    assert not np.array_equal(tensors["model.0.freq"], tensors["model.1.freq"])
    averaged = separate_segment(bag, torch.from_numpy(tensors["audio"])).numpy()
    np.testing.assert_allclose(tensors["stems"], averaged, rtol=1e-6, atol=1e-9)


def test_a_floor_is_noise_under_the_signal_at_its_level() -> None:
    recipe = {"kind": "impulse", "parameters": {"position": 100, "amplitude": 1.0}}
    plain, _ = make_audio(segment_case(**recipe), SIX)
    over_noise, _ = make_audio(segment_case(**recipe, floor_db=-40.0), SIX)
    assert over_noise.dtype == np.float32
    assert np.abs(over_noise).max() == 1.0, "the floor pushed the peak over full scale"
    floor = np.delete(over_noise - plain, 100, axis=-1)
    assert 20 * np.log10(np.sqrt(np.mean(floor**2))) == pytest.approx(-40.0, abs=0.1)


def test_a_song_has_its_true_stems(subject: Subject) -> None:
    case = segment_case(kind="song", parameters={"seed": 1}, length=2 * SEGMENT)
    audio, stems = make_audio(case, subject.sources)
    assert stems is not None
    assert stems.shape == (6, 2, 2 * SEGMENT)
    np.testing.assert_allclose(stems.sum(axis=0), audio[0], atol=1e-6)


def test_a_song_for_four_sources_keeps_everything_in_other() -> None:
    case = segment_case(kind="song", parameters={"seed": 1}, length=2 * SEGMENT)
    audio, six = make_audio(case, SIX)
    same_audio, four = make_audio(case, FOUR)
    assert six is not None
    assert four is not None
    np.testing.assert_array_equal(audio, same_audio)
    np.testing.assert_array_equal(four[0], six[0])
    np.testing.assert_allclose(four[2], six[2] + six[4] + six[5], atol=1e-7)


def test_a_song_has_no_true_stems_for_what_is_no_stem_of_a_song() -> None:
    """Sums of the wrong instruments would be judged as if they had been mixed."""
    case = segment_case(kind="song", parameters={"seed": 1}, length=2 * SEGMENT)
    audio, stems = make_audio(case, ("drums", "harp", "other"))
    assert stems is None
    np.testing.assert_array_equal(audio, make_audio(case, SIX)[0])


def test_a_case_of_one_segment_is_one_of_the_subject_s_own() -> None:
    own = Geometry(sample_rate=48_000, channels=1, n_fft=2048, segment_length=9_600)
    case = segment_case(length=SEGMENT_LENGTH)
    audio, _ = make_audio(case, FOUR, own.audio_shape)
    published, _ = make_audio(case, FOUR)
    assert audio.shape == (1, 1, 9_600)
    assert published.shape == (1, 2, SEGMENT_LENGTH)
    song = segment_case(kind="song", parameters={"seed": 1}, length=SEGMENT_LENGTH)
    mixture, stems = make_audio(song, FOUR, own.audio_shape)
    assert mixture.shape == (1, 1, 9_600)
    assert stems is not None
    assert stems.shape == (4, 1, 9_600)


def test_a_file_has_the_stems_of_all_its_segments(subject: Subject) -> None:
    length = 3 * 44_100 + 777
    short = small_subject(SIX, ((1.0,) * 6,))
    long_model = HTDemucs(
        list(SIX), channels=8, t_layers=2, t_heads=2, bottom_channels=0, segment=Fraction(2)
    ).eval()
    network = replace(short.network, geometry=geometry(88_200))
    subject = Subject("long", network, (long_model,), "f" * 64)
    case = segment_case(kind="song", parameters={"seed": 3}, length=length, scope="file")
    tensors = build_tensors(subject, case)
    assert set(tensors) == {"audio", "stems", "true_stems"}
    assert tensors["audio"].shape == (1, 2, length)
    assert tensors["stems"].shape == tensors["true_stems"].shape == (6, 2, length)
    first = separate_segment(subject, torch.from_numpy(tensors["audio"][..., :88_200].copy()))
    np.testing.assert_array_equal(tensors["stems"][..., :44_100], first.numpy()[..., :44_100])


def test_a_signal_that_is_no_segment_of_the_subject_is_refused(subject: Subject) -> None:
    with pytest.raises(ParityError, match="shape"):
        build_tensors(subject, segment_case(length=SEGMENT + 1))


def test_building_leaves_pytorch_s_settings_alone(subject: Subject) -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    build_tensors(subject, segment_case())
    assert not torch.are_deterministic_algorithms_enabled()


def test_importing_the_room_is_cheap() -> None:
    code = "import sys, harness.golden; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
