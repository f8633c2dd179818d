"""Audio files in: any file that libsndfile reads, as float32 [2, n] at 44.1 kHz.

A `Geometry` of other channels or another sample rate gives those instead.

A file is read, resampled and handed out in blocks, so memory doesn't grow with its length. Samples
keep the file's scale: full scale is 1, float files may exceed it. Mono is duplicated, and for a
mono network all channels are averaged, as Demucs' ``convert_audio_channels`` does; a file of more
channels than the network is refused, where Demucs takes the first two and says nothing.
Other sample rates are resampled by soxr (quality HQ, 20 bit), as a stream that gives exactly
round(samples * 44100 / rate) samples, the same ones for any size of block.

A file that can't be used raises :class:`~harness.errors.AudioError`: missing, no audio, empty,
shorter than one hop (1024 samples at 44.1 kHz), NaN or infinity in it, beyond the limits below (no
sound has such a rate or length: its header is damaged or a lie), or damaged, as one that ends
before its announced length. Streamed WAV and AIFF files announce one of a few lengths that stand
for none: what is there is all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from harness.audio.contract import PUBLISHED, Geometry
from harness.bounded import open_regular
from harness.errors import AudioError

Array = NDArray[np.float32]

BLOCK_LENGTH = 65_536
LOWEST_RATE: Final = 2_000
HIGHEST_RATE: Final = 768_000
"""Sample rates in Hz; telephones have 8,000, the fastest converters 768,000."""
LONGEST_S: Final = 12 * 3600
LONGEST_WHOLE_S: Final = 2 * 3600
"""In seconds; as one array, two hours take 2.5 GB."""
_LIMIT_BYTES: Final = 16 << 30  # 12 hours of stereo in float32
_CUT: Final = re.compile(r"(?:data|SSND|Data Size|Riff size|riff) *: (\d+) \(should be (\d+)\)")
"""How libsndfile's log tells of a file that ends too early; the length is that of what is there."""
_STREAMED_BYTES: Final = (
    range(0x7EFFF000, 0x7F000009),  # SoX, AIFF: 0x7F000000 in whole frames, and 8 of the chunk
    range(0x7FFFE000, 0x80000001),  # SoX: 0x7FFFF000 in whole blocks; oggdec, LAME; arecord: 2^31
    range(0xFFFFE000, 0x100000000),  # FFmpeg: all ones; others subtract their header from that
)
"""What is announced by writers to a pipe, who don't know the length. A file of such a length that
was cut can't be told from theirs; one of any other length, 2 GB and more too, can."""
_UNKNOWN_LENGTH = 2**63 - 1
"""What libsndfile answers for a stream that doesn't announce its length."""


class AudioReader:
    """An audio file, open for reading; a context manager.

    Args:
        path: the file.
        geometry: of the network that it is read for: its sample rate, channels and hop.

    Attributes:
        path: as given.
        samplerate, channels: of the file itself.
        source_frames: samples in each channel of the file itself.
        frames: samples that :meth:`blocks` yields in all, at the network's sample rate.
        duration_s: length in seconds.

    Raises:
        AudioError: the file is missing, unreadable, no audio, empty or too short, or has
            more than one channel, and not as many as the network.
    """

    def __init__(self, path: str | Path, geometry: Geometry = PUBLISHED) -> None:
        self.path = Path(path)
        self._geometry = geometry
        self._file = open_sound(self.path)
        self.samplerate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.source_frames: int = self._file.frames
        try:
            self.duration_s = self.source_frames / self.samplerate
            rate, wanted = self.samplerate, geometry.sample_rate
            self.frames = (2 * self.source_frames * wanted + rate) // (2 * rate)  # halves go up
            self._check_length()
            self._check_channels()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()

    def blocks(self, block_length: int = BLOCK_LENGTH) -> Iterator[Array]:
        """Yield the whole file from its start, float32 [channels, n] at the network's sample rate.

        It may be called again, but only the latest iterator is valid.

        Args:
            block_length: samples of the file in a block, before resampling; of a file with more
                channels than the network, as many in all.

        Raises:
            AudioError: a sample is NaN or infinite (the message says where), or the file ends
                before its announced length.
        """
        done = 0
        for samples in self._resampled(self._used_channels(block_length)):
            wanted = samples[: self.frames - done]
            done += wanted.shape[0]
            if wanted.shape[0]:
                every = np.broadcast_to(wanted, (wanted.shape[0], self._geometry.channels))
                yield np.ascontiguousarray(every.T)

    def _used_channels(self, block_length: int) -> Iterator[Array]:
        done, wanted = 0, self._geometry.channels
        length = max(1, wanted * block_length // max(wanted, self.channels))
        for samples in decoded(self._file, self.path, length, 0, self.source_frames):
            self._check_finite(samples, done)
            done += samples.shape[0]
            yield samples.mean(axis=1, keepdims=True) if wanted == 1 else samples

    @property
    def _used(self) -> int:
        return min(self.channels, self._geometry.channels)

    def _resampled(self, blocks: Iterator[Array]) -> Iterator[Array]:
        rate = self._geometry.sample_rate
        if self.samplerate == rate:
            yield from blocks
            return
        resampler = soxr.ResampleStream(self.samplerate, rate, self._used, quality="HQ")
        for samples in blocks:
            yield resampler.resample_chunk(samples)
        # Where the length comes to half a sample, soxr rounds up for some files, down for others.
        # Silence for two more samples, then a cut: the announced length, and the same samples.
        silence = np.zeros((2 * self.samplerate // rate + 2, self._used), np.float32)
        yield resampler.resample_chunk(silence, last=True)

    def _check_length(self) -> None:
        if self.duration_s > LONGEST_S:
            raise AudioError(
                f"{self.path} says that it lasts {self.duration_s / 3600:.1f} hours; expected at "
                f"most {LONGEST_S // 3600}: its header is damaged, or it has to be cut"
            )
        hop = self._geometry.hop_length
        if self.frames < hop:
            raise AudioError(
                f"{self.path} is too short: {self.frames} samples at "
                f"{self._geometry.sample_rate} Hz; expected at least {hop}, one hop of the STFT"
            )

    def _check_channels(self) -> None:
        if 1 not in (self.channels, wanted := self._geometry.channels) and self.channels != wanted:
            raise AudioError(
                f"{self.path} has {self.channels} channels, but the network separates "
                f"{wanted}; give a file with those, mixed down if need be, or a mono one"
            )

    def _check_finite(self, samples: Array, start: int) -> None:
        finite = np.isfinite(samples)
        if finite.all():
            return
        row, channel = np.argwhere(~finite)[0]
        what = "NaN" if np.isnan(samples[row, channel]) else "infinity"
        raise AudioError(
            f"{self.path} contains {what} at {(start + row) / self.samplerate:.3f} s "
            f"in channel {channel + 1}; every sample must be finite: repair the file"
        )


def read_audio(path: str | Path, geometry: Geometry = PUBLISHED) -> Array:
    """Return a whole file as float32 [channels, samples] at the network's sample rate.

    Raises:
        AudioError: as :class:`AudioReader` and :meth:`AudioReader.blocks`, or it lasts longer than
            `LONGEST_WHOLE_S`.
    """
    with AudioReader(path, geometry) as reader:
        if reader.duration_s > LONGEST_WHOLE_S:
            raise AudioError(
                f"{path} lasts {reader.duration_s / 3600:.1f} hours; expected at most "
                f"{LONGEST_WHOLE_S // 3600}, because it is held in memory whole: cut it"
            )
        return np.concatenate(list(reader.blocks()), axis=1)


def open_sound(path: Path) -> soundfile.SoundFile:
    """Open a file that libsndfile decodes.

    Raises:
        AudioError: it is missing, empty, no audio, or its header says nothing or the impossible.
    """
    if not path.exists():
        raise AudioError(f"no audio file at {path}; check the path")
    with open_regular(path, _LIMIT_BYTES, AudioError) as file:
        if not file.read(1):
            raise AudioError(f"{path} is empty: it has no bytes")
    if path.suffix.lower() == ".raw":
        raise AudioError(
            f"{path} is raw audio without a header; convert it to WAV or FLAC, "
            f"which say their sample rate and channels"
        )
    try:
        # As bytes, because a name need not be UTF-8; on Windows it is always text.
        sound = soundfile.SoundFile(str(path) if os.name == "nt" else os.fsencode(path))
    except soundfile.SoundFileError as error:
        raise AudioError(
            f"{path} is not an audio file that libsndfile {soundfile.__libsndfile_version__} reads "
            f"(WAV, FLAC, OGG, MP3, AIFF, CAF, ...); convert it to WAV or FLAC"
        ) from error
    try:
        _check_header(sound, path)
    except AudioError:
        sound.close()
        raise
    return sound


def _check_header(sound: soundfile.SoundFile, path: Path) -> None:
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        raise AudioError(
            f"{path} says that its sample rate is {sound.samplerate} Hz; expected "
            f"{LOWEST_RATE} to {HIGHEST_RATE}: its header is damaged, export it again"
        )
    if sound.frames == _UNKNOWN_LENGTH:
        raise AudioError(
            f"{path} doesn't say how long it is, and libsndfile can't read it so; "
            f"encode it again, to a file and not to a pipe"
        )
    if sound.frames <= 0:
        raise AudioError(f"{path} is empty: it holds no samples")
    cut = _CUT.search(sound.extra_info)
    if cut is None:
        return
    announced, held = int(cut[1]), int(cut[2])
    if held < announced and not any(announced in lengths for lengths in _STREAMED_BYTES):
        raise AudioError(
            f"{path} announces {announced} bytes, but holds {held}; it is truncated: export it "
            "again"
        )


def decoded(
    sound: soundfile.SoundFile,
    path: Path,
    length: int,
    start: int,
    wanted: int,
    dtype: str = "float32",
) -> Iterator[NDArray[Any]]:
    """Yield ``wanted`` samples of each channel from ``start`` on, ``length`` at a time.

    Yields:
        [n, channels] of ``dtype``.

    Raises:
        AudioError: the file is damaged, or ends before that.
    """
    done = start
    try:
        if sound.tell() != start:
            sound.seek(start)
        while done < start + wanted:
            block = sound.read(min(length, start + wanted - done), dtype, always_2d=True)
            if not block.shape[0]:
                break
            done += block.shape[0]
            yield block
    except soundfile.SoundFileError as error:
        raise AudioError(f"{path} is damaged and can't be decoded: {error}") from error
    if done != start + wanted:
        raise AudioError(
            f"{path} ends after {done / sound.samplerate:.3f} s, but announces "
            f"{sound.frames / sound.samplerate:.3f} s; it is truncated or damaged: export it again"
        )
