"""Reading audio files.

If these fail, users get stems of a song that was read shifted, resampled wrongly or cut; or a
traceback where one sentence would have said what is wrong with their file.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.audio import files
from harness.audio.contract import PUBLISHED
from harness.audio.files import AudioReader, read_audio
from harness.errors import AudioError
from suites.selftest.audio.signals import noise


def tone(frames: int, rate: int, hertz: float = 441.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(frames) / rate)).astype(np.float32)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(5000), 44_100, subtype="FLOAT")
    return path


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


def announcing(path, format, size):
    """Write 3000 samples in 16 bits under a header that announces ``size`` bytes of them."""
    soundfile.write(path, noise(3000), 44_100, format=format)
    data = bytearray(path.read_bytes())
    if format == "RF64":  # a 64-bit size of the file, one of its samples, and their number
        place, sizes = data.index(b"ds64") + 8, (size + 96, size, size // 4)
        data[place : place + 24] = b"".join(n.to_bytes(8, "little") for n in sizes)
    else:
        order = "big" if format == "AIFF" else "little"
        place = data.index(b"SSND" if format == "AIFF" else b"data") + 4
        data[place : place + 4] = size.to_bytes(4, order)
    path.write_bytes(data)
    return len(data) - 4 * 3000


@pytest.mark.parametrize(
    ("format", "announced"),
    [
        ("WAV", 0xFFFFFFFF),  # FFmpeg
        ("WAV", 0xFFFFFFFF - 36),
        ("WAV", 0xFFFFFFFF - 60),
        ("WAV", 0x7FFFFFFF),  # LAME
        ("WAV", 0x7FFFFFFF - 44),  # oggdec
        ("WAV", 0x7FFFF000),  # SoX
        ("WAV", 0x7FFFF000 // 6 * 6),  # SoX, 24 bits
        ("WAV", 0x80000000),  # arecord
        ("AIFF", 0x7F000000 + 8),  # SoX
        ("AIFF", 0x7F000000 // 6 * 6 + 8),
    ],
)
def test_a_streamed_file_is_all_that_is_there(tmp_path, format, announced):
    """What writes to a pipe announces a length that stands for none."""
    path = tmp_path / "a"
    announcing(path, format, announced)
    assert read_audio(path).shape == (2, 3000)


@pytest.mark.parametrize(
    ("format", "size"),
    [
        ("WAV", 0x7FFF0000),
        ("WAV", 2_500_000_000),
        ("WAVEX", 3_000_000_000),
        ("WAV", 2**32 - 2**16),  # the most that we write
        ("AIFF", 3_000_000_008),
        ("RF64", 5_000_000_000),
    ],
)
def test_a_large_file_that_was_cut_is_no_streamed_one(tmp_path, format, size):
    """Hours of a concert: its stems would end where the download broke off."""
    path = tmp_path / "a"
    header = announcing(path, format, size)
    chunk = 8 if format == "AIFF" else 0  # of its size, before the samples
    os.truncate(path, header + size - chunk)  # a hole, which takes no room
    with AudioReader(path) as whole:
        assert format == "AIFF" or whole.source_frames == size // 4
    os.truncate(path, header + size * 2 // 3)
    with pytest.raises(AudioError, match=r"announces \d{10} bytes, but holds .* truncated"):
        AudioReader(path)
