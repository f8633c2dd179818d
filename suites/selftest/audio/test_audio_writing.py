"""Writing audio files, and stems that appear together.

If these fail, users get stems that are clipped without a word, half written, or of two runs.
"""

from __future__ import annotations

import errno
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harness.audio import writers
from harness.audio.files import read_audio
from harness.audio.writers import StemWriter
from harness.errors import AudioError
from suites.selftest.audio.signals import noise

SOURCES = ("drums", "bass", "vocals")


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
