"""Reading and writing audio files.

If these fail, users get stems that are shifted, resampled wrongly, clipped without a word, or half
written; or a traceback where one sentence would have said what is wrong with their file.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.audio import files, writers
from harness.audio.contract import PUBLISHED
from harness.audio.files import AudioReader, read_audio
from harness.audio.writers import StemWriter
from harness.errors import AudioError

SOURCES = ("drums", "bass", "vocals")


def noise(frames: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """[frames, channels] float32, peak 0.5."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def tone(frames: int, rate: int, hertz: float = 441.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(frames) / rate)).astype(np.float32)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(5000), 44_100, subtype="FLOAT")
    return path


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "FLOAT", 0),
        ("a.wav", "PCM_U8", 2.0**-7),
        ("a.wav", "PCM_16", 2.0**-15),
        ("a.wav", "PCM_24", 2.0**-23),
        ("a.wav", "DOUBLE", 0),
        ("a.flac", "PCM_16", 2.0**-15),
        ("a.flac", "PCM_24", 2.0**-23),
        ("a.aiff", "PCM_24", 2.0**-23),
        ("a.caf", "FLOAT", 0),
        ("ünï códe.flac", "PCM_24", 2.0**-23),
    ],
)
def test_lossless_formats_keep_every_sample(tmp_path, name, subtype, tolerance):
    samples = noise(4000)
    soundfile.write(tmp_path / name, samples, 44_100, subtype=subtype)
    got = read_audio(tmp_path / name)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, samples.T, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg"])
def test_lossy_formats_keep_place_level_and_length(tmp_path, name):
    signal = tone(44_100, 44_100)
    soundfile.write(tmp_path / name, np.stack([signal, -signal], axis=1), 44_100)
    got = read_audio(tmp_path / name)
    assert got.shape == (2, 44_100)
    inner = slice(2000, -2000)
    np.testing.assert_allclose(got[:, inner], [signal[inner], -signal[inner]], rtol=0, atol=0.02)


def test_mono_is_duplicated_and_surround_is_refused(tmp_path):
    """Of a song in seven channels, stems of the first two are not stems of the song."""
    mono, surround = noise(3000, 1), noise(3000, 7, seed=1)
    soundfile.write(tmp_path / "mono.wav", mono, 44_100, subtype="FLOAT")
    soundfile.write(tmp_path / "surround.wav", surround, 44_100, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "mono.wav"), np.tile(mono.T, (2, 1)))
    with pytest.raises(AudioError, match="has 7 channels, but the network separates 2"):
        read_audio(tmp_path / "surround.wav")
    averaged = read_audio(tmp_path / "surround.wav", replace(PUBLISHED, channels=1))
    np.testing.assert_array_equal(averaged, surround.mean(axis=1, keepdims=True).T)


@given(
    rate=st.sampled_from([8000, 11_025, 22_050, 32_000, 44_056, 44_100, 48_000, 96_000, 192_000]),
    length=st.integers(4500, 40_000),
    block_length=st.integers(1000, 50_000),
    channels=st.integers(1, 2),
)
@settings(deadline=None, max_examples=25)
def test_any_rate_in_any_blocks(tmp_path_factory, rate, length, block_length, channels):
    path = tmp_path_factory.mktemp("rates") / "a.wav"
    soundfile.write(path, noise(length, channels), rate, subtype="FLOAT")
    with AudioReader(path) as reader:
        blocks = list(reader.blocks(block_length))
        assert (reader.samplerate, reader.channels) == (rate, channels)
        assert reader.source_frames == length
        assert reader.duration_s == length / rate
        assert reader.frames == int(length * 44_100 / rate + 0.5)
        assert all(b.dtype == np.float32 and b.shape[0] == 2 and b.shape[1] for b in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), read_audio(path))
        assert sum(b.shape[1] for b in blocks) == reader.frames


@pytest.mark.parametrize(
    ("rate", "frames"), [(8000, 9960), (16_000, 9840), (48_000, 30_960), (96_000, 30_880)]
)
def test_lengths_of_half_a_sample_are_rounded_up(tmp_path, rate, frames):
    """There, soxr alone gives one sample more for some files and one less for others."""
    assert (2 * frames * 44_100) % (2 * rate) == rate
    samples = noise(frames)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    got = read_audio(tmp_path / "a.wav")
    assert got.shape[1] == (2 * frames * 44_100 + rate) // (2 * rate)
    plain = soxr.resample(samples, rate, 44_100, quality="HQ").T
    shorter = min(plain.shape[1], got.shape[1])
    np.testing.assert_array_equal(got[:, :shorter], plain[:, :shorter])


@pytest.mark.parametrize("rate", [16_000, 48_000, 96_000])
def test_resampling_keeps_time_and_level(tmp_path, rate):
    """A resampler that shifts by one sample would cost 23 dB at 1 kHz already."""
    soundfile.write(tmp_path / "a.wav", tone(rate, rate), rate, subtype="FLOAT")
    got = read_audio(tmp_path / "a.wav")
    inner = slice(3000, -3000)
    np.testing.assert_allclose(got[0, inner], tone(44_100, 44_100)[inner], rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".ogg"])
def test_blocks_can_be_read_twice(tmp_path, suffix):
    path = tmp_path / f"song{suffix}"
    soundfile.write(path, noise(50_000), 48_000)
    with AudioReader(path) as reader:
        first, second = list(reader.blocks(999)), list(reader.blocks())
    np.testing.assert_array_equal(np.concatenate(first, axis=1), np.concatenate(second, axis=1))


def test_flac_of_unknown_length_is_refused(tmp_path):
    """Encoders that write to a pipe leave the number of samples open."""
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(5000), 44_100, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO: the 36-bit number of samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(AudioError, match="doesn't say how long it is"):
        AudioReader(path)


def test_missing_file(tmp_path):
    with pytest.raises(AudioError, match=r"no audio file at .*nowhere\.wav"):
        AudioReader(tmp_path / "nowhere.wav")


def test_folder(tmp_path):
    with pytest.raises(AudioError, match="is a folder"):
        AudioReader(tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.wav", b"", "no bytes"),
        ("a.txt", b"these are words, no samples", "not an audio file"),
        ("a.mp3", b"<!DOCTYPE html>" * 100, "not an audio file"),
        ("a.flac", b"fLaC" + bytes(100), "not an audio file"),
        ("a.raw", bytes(10_000), "raw audio without a header"),
    ],
)
def test_what_is_no_audio_is_refused(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(AudioError, match=message):
        AudioReader(tmp_path / name)


def test_unreadable_file(song, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(AudioError, match=r"can't be read: Permission denied"):
        AudioReader(song)


@pytest.mark.parametrize(("rate", "frames"), [(44_100, 1023), (48_000, 1113), (22_050, 511)])
def test_shorter_than_one_hop(tmp_path, rate, frames):
    soundfile.write(tmp_path / "a.wav", noise(frames), rate)
    with pytest.raises(AudioError, match=r"too short.*at least 1024"):
        AudioReader(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", noise(frames + 2), rate)
    assert read_audio(tmp_path / "a.wav").shape[1] >= 1024


@pytest.mark.parametrize("rate", [1, 1999, 768_001, 10**9])
def test_rates_that_no_sound_has(tmp_path, rate):
    """At 1 Hz, a small file would become hours of audio, and the resampler take gigabytes."""
    soundfile.write(tmp_path / "a.wav", noise(5000), rate)
    with pytest.raises(AudioError, match=f"says that its sample rate is {rate} Hz; expected 2000"):
        AudioReader(tmp_path / "a.wav")


def test_lengths_that_no_sound_has(tmp_path, monkeypatch):
    """A header may announce weeks; and what is read whole must fit into memory."""
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(50_000), 44_100)
    monkeypatch.setattr(files, "LONGEST_WHOLE_S", 1)
    with pytest.raises(AudioError, match="is held in memory whole: cut it"):
        read_audio(path)
    with AudioReader(path) as reader:
        assert reader.frames == 50_000
    data = bytearray(path.read_bytes())
    data[22:26] = b"\xff" * 4  # STREAMINFO: 27 hours
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"says that it lasts 27\.1 hours; expected at most 12"):
        AudioReader(path)


def test_many_channels_are_read_in_small_blocks(tmp_path):
    samples = noise(3000, 600)
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    with AudioReader(tmp_path / "a.wav", replace(PUBLISHED, channels=1)) as reader:
        blocks = list(reader.blocks(30_000))
    assert [block.shape[1] for block in blocks] == [50] * 60
    mean = samples.mean(axis=1, keepdims=True).T
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), mean)


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(0), 44_100)
    with pytest.raises(AudioError, match="holds no samples"):
        AudioReader(tmp_path / "a.wav")


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_samples_that_are_not_finite(tmp_path, value, word, rate):
    samples = noise(3 * rate)
    samples[2 * rate + rate // 2, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"contains {word} at 2\.500 s in channel 2"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("name", "format"),
    [(f"a.{f}", f.upper()) for f in ("flac", "mp3", "wav", "wavex", "aiff", "rf64", "w64", "au")],
)
def test_truncated_file(tmp_path, name, format):
    """A download that broke off: its stems would be those of half a song."""
    path = tmp_path / name
    soundfile.write(path, noise(100_000), 44_100, format=format)
    assert read_audio(path).shape == (2, 100_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(AudioError, match=r"damaged|truncated"):
        read_audio(path)


@pytest.mark.parametrize("announced", [0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFFFFF, 0x7FFFF000])
def test_streamed_wav_is_all_that_is_there(tmp_path, announced):
    """What FFmpeg and SoX write to a pipe announces the greatest length that there is."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3000), 44_100)
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = announced.to_bytes(4, "little")
    path.write_bytes(data)
    assert read_audio(path).shape == (2, 3000)


# --- writing -----------------------------------------------------------------------------------


class OneStem(StemWriter):
    """A single file, by the writer that stems come from."""

    def __init__(self, path: Path, **words: Any) -> None:
        super().__init__(path.parent, [path.stem], suffix=path.suffix, **words)

    def write(self, block: np.ndarray) -> None:
        super().write(block[np.newaxis])


def write(path: Path, blocks: list[np.ndarray]) -> None:
    with OneStem(path) as writer:
        for block in blocks:
            writer.write(block)


@pytest.mark.parametrize(
    ("suffix", "encoding", "subtype", "tolerance"),
    [
        (".wav", None, "FLOAT", 0),
        (".WAV", "pcm24", "PCM_24", 2.0**-24),
        (".wav", "pcm16", "PCM_16", 2.0**-16),
        (".flac", None, "PCM_24", 2.0**-24),
        (".flac", "pcm16", "PCM_16", 2.0**-16),
    ],
)
def test_written_samples_read_back(tmp_path, suffix, encoding, subtype, tolerance):
    path, samples = tmp_path / f"a{suffix.lower()}", noise(9000).T
    with OneStem(tmp_path / f"a{suffix}", encoding=encoding) as writer:
        for start in range(0, 9000, 4000):
            writer.write(samples[:, start : start + 4000])
        assert not path.exists()
    assert writer.clipped_samples == {"a": 0}
    info = soundfile.info(path)
    assert (info.subtype, info.samplerate, info.channels) == (subtype, 44_100, 2)
    # Half a step, rounded to nearest; libsndfile alone rounds down, which is a whole step.
    np.testing.assert_allclose(read_audio(path), samples, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("encoding", "clipped"), [("pcm16", 3), ("pcm24", 3), ("float32", 0)])
def test_clipping_is_counted_and_float_keeps_it(tmp_path, encoding, clipped):
    samples = noise(2000).T.copy()
    samples[0, 10], samples[1, 20], samples[1, 30], samples[0, 40] = 1.5, -1.25, 1.0, -1.0
    with OneStem(tmp_path / "a.wav", encoding=encoding) as writer:
        writer.write(samples)
    assert writer.clipped_samples == {"a": clipped}
    got = read_audio(tmp_path / "a.wav")
    limits = (-1.0, 1.0) if clipped else (-2.0, 2.0)
    np.testing.assert_allclose(got, samples.clip(*limits), rtol=0, atol=2.0**-15)


def test_equal_samples_give_equal_bytes(tmp_path):
    """libsndfile stamps float WAV files with the time of writing."""
    for name in ("a.wav", "b.wav"):
        with OneStem(tmp_path / name) as writer:
            writer.write(noise(2000).T)
    data = (tmp_path / "a.wav").read_bytes()
    stamp = data.index(b"PEAK") + 12
    assert data[stamp : stamp + 4] == bytes(4)
    assert data == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    ("name", "encoding", "message"),
    [
        ("a.mp3", None, r"can't write '\.mp3'; expected \.wav or \.flac"),
        ("a", None, "file without suffix"),
        ("a.flac", "float32", "can't hold 'float32'"),
        ("a.wav", "pcm8", "expected float32, pcm24, pcm16"),
    ],
)
def test_unknown_formats_are_refused_before_anything_is_written(tmp_path, name, encoding, message):
    with pytest.raises(AudioError, match=message):
        OneStem(tmp_path / name, encoding=encoding)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_interrupted_file_leaves_the_old_one(tmp_path, failure):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")

    def interrupted():
        with OneStem(path) as writer:
            writer.write(noise(100_000).T)
            raise failure

    with pytest.raises(failure):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_not_finite_output_is_refused(tmp_path, value, word):
    """An FP16 overflow in the network must not become a file that players mute."""
    bad = noise(44_100).T.copy()
    bad[1, 22_050] = value
    message = rf"a\.wav would contain {word} at 1\.500 s in channel 2"
    with pytest.raises(AudioError, match=message):
        write(tmp_path / "a.wav", [noise(44_100).T, bad])
    assert list(tmp_path.iterdir()) == []


def test_beyond_4_gib_wav_is_refused_or_announced_as_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_WAV_LIMIT_BYTES", 8 * 5000)
    path, samples = tmp_path / "a.wav", noise(5001).T
    with pytest.raises(AudioError, match="4 GiB"), OneStem(path) as writer:
        writer.write(samples)
    assert not path.exists()
    with OneStem(path, frames=5001) as writer:
        writer.write(samples)
    assert path.read_bytes()[:4] == b"RF64"
    np.testing.assert_array_equal(read_audio(path), samples)
    with OneStem(path, frames=5000) as writer:
        writer.write(samples[:, :5000])
    assert path.read_bytes()[:4] == b"RIFF"


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize(("free", "message"), [(1000, "no space left"), (10**12, "System error")])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, free, message, suffix):
    import resource

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, free))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(AudioError, match=message):
            write(tmp_path / f"a{suffix}", [noise(50_000).T] * 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_disk_that_is_full_at_the_last_flush(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AudioError, match="no space left"), StemWriter(tmp_path, SOURCES) as writer:
        writer.write(np.stack([noise(100).T] * 3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("block", [np.zeros((1, 9), np.float32), np.zeros((2, 9))])
def test_blocks_to_write_must_be_stereo_float32(tmp_path, block):
    with (
        pytest.raises(AudioError, match=r"expected float32 \[2, samples\]"),
        OneStem(tmp_path / "a.wav") as writer,
    ):
        writer.write(block)


# --- stems -------------------------------------------------------------------------------------


def stems(frames: int = 3000) -> np.ndarray:
    return np.stack([noise(frames, seed=s).T for s in range(len(SOURCES))])


@pytest.mark.parametrize("exists", [False, True])
def test_stems_appear_together(tmp_path, exists):
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
        (folder / "bass.wav").write_bytes(b"old")
    with StemWriter(folder, SOURCES) as writer:
        writer.write(stems()[..., :1000])
        writer.write(stems()[..., 1000:])
        assert not (folder / "drums.wav").exists()
    for name, expected in zip(SOURCES, stems(), strict=True):
        assert writer.paths[name] == folder / f"{name}.wav"
        np.testing.assert_array_equal(read_audio(writer.paths[name]), expected)
    kept = {"notes.txt"} if exists else set()
    assert {path.name for path in folder.iterdir()} == kept | {f"{s}.wav" for s in SOURCES}
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("exists", [False, True])
def test_interrupted_stems_leave_nothing(tmp_path, exists):
    folder = tmp_path / "out"
    if exists:
        folder.mkdir()
        (folder / "bass.wav").write_bytes(b"old")

    def interrupted():
        with StemWriter(folder, SOURCES) as writer:
            writer.write(stems())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == ([folder] if exists else [])
    if exists:
        assert [path.read_bytes() for path in folder.iterdir()] == [b"old"]


@pytest.mark.parametrize("failing", range(1, 6))
@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(errno.EIO, "I/O error")])
def test_failure_between_two_stems_restores_the_old_ones(tmp_path, monkeypatch, failing, failure):
    (tmp_path / "bass.wav").write_bytes(b"old bass")
    calls, replace = 0, Path.replace

    def failing_replace(self, target):
        nonlocal calls
        calls += 1
        if calls == failing:  # the way to the old ones, a link for each stem, the way to the new
            raise failure
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing_replace)
    with (
        pytest.raises((KeyboardInterrupt, AudioError)),
        StemWriter(tmp_path, SOURCES) as writer,
    ):
        writer.write(stems())
    assert calls >= failing
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"bass.wav": b"old bass"}


def test_clipped_samples_are_named_by_stem(tmp_path):
    loud = stems()
    loud[2, 0, :7] = 3
    with StemWriter(tmp_path / "out", SOURCES, suffix=".flac") as writer:
        writer.write(loud)
    assert writer.clipped_samples == {"drums": 0, "bass": 0, "vocals": 7}


def test_wrong_number_of_stems(tmp_path):
    with (
        pytest.raises(AudioError, match=r"expected \[3, 2, samples\]"),
        StemWriter(tmp_path / "out", SOURCES) as writer,
    ):
        writer.write(stems()[:2])
    assert list(tmp_path.iterdir()) == []


def test_places_where_stems_cannot_go(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(AudioError, match="is a file; expected a folder"):
        StemWriter(tmp_path / "file", SOURCES)
    (tmp_path / "out" / "bass.wav").mkdir(parents=True)
    with pytest.raises(AudioError, match="is a folder, where a stem has to go"):
        StemWriter(tmp_path / "out", SOURCES)
    with pytest.raises(AudioError, match="can't be a file name"):
        StemWriter(tmp_path / "new", ["../escape"])
