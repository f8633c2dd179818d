"""What stands around a network at other sizes than the published ones.

If these fail, a network of 48 kHz, of one channel, with other segments or another STFT is proven on
sound that it was never meant for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from demucs.audio import convert_audio_channels
from demucs.htdemucs import HTDemucs

from harness.audio import PUBLISHED, Geometry
from harness.audio.files import AudioReader, read_audio
from harness.audio.segments import separate_stream
from harness.audio.stft import spectrogram_from_waveform, waveform_from_spectrogram
from harness.audio.writers import StemWriter
from harness.errors import AudioError

SPEECH = Geometry(sample_rate=48_000, channels=1, n_fft=2048, segment_length=24_000)


def noise(frames: int, channels: int) -> np.ndarray:
    """[frames, channels] float32, peak 0.5."""
    return np.random.default_rng(1).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def with_channels(channels: int) -> Geometry:
    return replace(PUBLISHED, channels=channels)


def test_the_published_geometry_is_the_model_contract() -> None:
    assert PUBLISHED.spectrogram_shape == (1, 4, 2048, 336)
    assert PUBLISHED.audio_shape == (1, 2, 343_980)
    assert (PUBLISHED.hop_length, PUBLISHED.overlap) == (1024, 44_100)


@pytest.mark.parametrize(
    ("rate", "length", "overlap"),
    [(44_100, 441_000, 44_100), (48_000, 374_400, 48_000), (44_100, 22_050, 5_512), (8, 3, 0)],
)
def test_neighbours_share_a_second_and_at_most_a_quarter(
    rate: int, length: int, overlap: int
) -> None:
    assert Geometry(rate, 2, 4096, length).overlap == overlap


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("n_fft", [1024, 2048, 4096, 6000])
def test_both_transforms_are_those_of_demucs(n_fft: int, channels: int) -> None:
    """Oracle: HTDemucs' own methods, at sizes that divide by neither the hop nor two."""
    length = 20_011
    with torch.device("meta"):
        demucs = HTDemucs(["a"], nfft=n_fft, channels=8, depth=1, t_layers=0, freq_emb=0)
    geometry = Geometry(44_100, channels, n_fft, length)
    waveform = torch.from_numpy(noise(length, channels).T[None].copy())
    z = demucs._spec(waveform)
    expected = demucs._magnitude(z)
    assert tuple(expected.shape) == geometry.spectrogram_shape
    torch.testing.assert_close(
        spectrogram_from_waveform(waveform, geometry), expected, rtol=1e-5, atol=1e-6
    )
    freq = torch.stack([expected, 2 * expected], dim=1)
    torch.testing.assert_close(
        waveform_from_spectrogram(freq, length, geometry),
        demucs._ispec(demucs._mask(z, freq), length),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_spectrogram_of_other_sizes_is_refused() -> None:
    waveform = torch.zeros(1, 2, 5000)
    with pytest.raises(AudioError, match=r"expected \[batch, 1, samples\]"):
        spectrogram_from_waveform(waveform, SPEECH)
    published = spectrogram_from_waveform(waveform)[:, None]
    with pytest.raises(AudioError, match=r"expected \[batch, sources, 2, 1024, frames\]"):
        waveform_from_spectrogram(published, 5000, SPEECH)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("of_file", [1, 2, 4, 6])
def test_channels_become_the_network_s_as_in_demucs_or_are_refused(
    tmp_path: Path, of_file: int, channels: int
) -> None:
    samples = noise(3000, of_file)
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    if 1 not in (of_file, channels) and of_file != channels:
        told = f"has {of_file} channels, but the network separates {channels}"
        with pytest.raises(AudioError, match=told):  # Demucs takes the first ones
            AudioReader(tmp_path / "a.wav", with_channels(channels))
        return
    expected = convert_audio_channels(torch.from_numpy(samples.T.copy()), channels)
    actual = read_audio(tmp_path / "a.wav", with_channels(channels))
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected.numpy(), rtol=0, atol=1e-7)


def test_a_file_is_resampled_to_the_network_s_rate(tmp_path: Path) -> None:
    samples = noise(44_100, 1)
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    with AudioReader(tmp_path / "a.wav", SPEECH) as reader:
        actual = np.concatenate(list(reader.blocks(1000)), axis=1)
        assert reader.frames == 48_000
    assert actual.shape == (1, 48_000)
    np.testing.assert_array_equal(actual.T, soxr.resample(samples, 44_100, 48_000, quality="HQ"))


def test_a_bad_sample_is_placed_in_its_own_channel_before_channels_are_averaged(
    tmp_path: Path,
) -> None:
    samples = noise(44_100, 2)
    samples[22_050, 1] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"NaN at 0\.500 s in channel 2"):
        read_audio(tmp_path / "a.wav", SPEECH)


def test_stems_are_written_at_the_network_s_rate_and_channels(tmp_path: Path) -> None:
    stems = np.stack([noise(3000, 1).T, -noise(3000, 1).T])
    with StemWriter(tmp_path / "out", ("speech", "rest"), geometry=SPEECH) as writer:
        writer.write(stems)
        with pytest.raises(AudioError, match=r"expected float32 \[1, samples\]"):
            writer.write(np.zeros((2, 2, 10), np.float32))
    for name, stem in zip(("speech", "rest"), stems, strict=True):
        samples, rate = soundfile.read(tmp_path / "out" / f"{name}.wav", dtype="float32")
        assert rate == 48_000
        np.testing.assert_array_equal(samples, stem[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_segments_of_other_channels_join_again(channels: int) -> None:
    signal = noise(5001, channels).T.copy()
    blocks = np.array_split(signal, 7, axis=1)
    joined = separate_stream(
        blocks, lambda audio: audio, segment_length=1000, overlap=250, channels=channels
    )
    np.testing.assert_allclose(np.concatenate(list(joined), axis=-1)[0], signal, atol=1e-7)
    with pytest.raises(AudioError, match=rf"expected float32 \[{channels}, samples\]"):
        next(separate_stream([np.zeros((2, 10), np.float32)], lambda x: x, channels=channels))
