"""One WAV or FLAC file under a temporary name: what :mod:`harness.audio.writers` builds on.

Blocks in are float32 [channels, n], at the sample rate of a `Geometry`. PCM codes are
``round(sample * 2^(bits - 1))``, ties to even, clipped and counted; they are made here because
libsndfile's own conversion rounds down. Equal samples give equal bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from harness.audio.contract import Geometry
from harness.errors import AudioError

Array = NDArray[np.float32]

_SUBTYPES: Final = {"float32": "FLOAT", "pcm24": "PCM_24", "pcm16": "PCM_16"}
_BITS: Final = {"float32": 32, "pcm24": 24, "pcm16": 16}
_CONTAINERS: Final = {".wav": ("float32", "pcm24", "pcm16"), ".flac": ("pcm24", "pcm16")}
"""Suffix -> encodings, the default first."""
_WAV_LIMIT_BYTES = 2**32 - 2**16


def checked_encoding(suffix: str, encoding: str | None) -> str:
    """Return ``encoding``, or the default of the container that ``suffix`` names.

    Raises:
        AudioError: unknown suffix, or an encoding that the container can't hold.
    """
    known = _CONTAINERS.get(suffix.lower())
    if known is None:
        raise AudioError(
            f"can't write {suffix or 'a file without suffix'!r}; expected .wav or .flac"
        )
    if encoding is not None and encoding not in known:
        raise AudioError(f"{suffix} can't hold {encoding!r} samples; expected {', '.join(known)}")
    return encoding or known[0]


class Encoder:
    """A file being written by libsndfile; a context manager.

    Args:
        path: where it is written.
        name: what messages call it.
        encoding: as :func:`checked_encoding` returned it.
        announced: samples in each channel to come, if known; decides between WAV and RF64.
        geometry: its sample rate and channels are those of the file.

    Attributes:
        frames: samples in each channel so far.
        clipped_samples: values so far that were beyond full scale and have been clipped.
    """

    def __init__(
        self, path: Path, name: str, encoding: str, announced: int | None, geometry: Geometry
    ) -> None:
        self.frames = 0
        self._rate, self._channels = geometry.sample_rate, geometry.channels
        self.clipped_samples = 0
        self._path, self._name, self._encoding = path, name, encoding
        self._frame_bytes = self._channels * _BITS[encoding] // 8
        self._container = path.suffix.lower()[1:].upper()
        if self._container == "WAV" and (announced or 0) * self._frame_bytes > _WAV_LIMIT_BYTES:
            self._container = "RF64"
        self._file = soundfile.SoundFile(
            str(path),
            "w",
            self._rate,
            self._channels,
            _SUBTYPES[encoding],
            format=self._container,
        )

    def write(self, block: Array) -> None:
        """Append ``block``, float32 [channels, n].

        Raises:
            AudioError: another shape or dtype, NaN or infinity, or too long for WAV.
            OSError, soundfile.SoundFileError: it could not be written.
        """
        self._check(block)
        samples: NDArray[Any] = block.T
        if self._encoding != "float32":
            samples = self._codes(samples)
        self._file.write(np.ascontiguousarray(samples))
        self.frames += block.shape[1]

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()
        kept = exception[0] is None
        if kept and self._container == "WAV" and self._encoding == "float32":
            _clear_timestamp(self._path)

    def _codes(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return what libsndfile stores as it is."""
        bits = _BITS[self._encoding]
        codes = np.rint(samples * 2.0 ** (bits - 1))
        fitting = np.clip(codes, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        self.clipped_samples += int(np.count_nonzero(codes != fitting))
        if bits == 16:
            return fitting.astype(np.int16)
        return fitting.astype(np.int32) << 8  # libsndfile takes the upper 24 of 32 bits

    def _check(self, block: Array) -> None:
        if block.dtype != np.float32 or block.ndim != 2 or block.shape[0] != self._channels:
            raise AudioError(
                f"a block for {self._name} is {block.dtype} {list(block.shape)}; "
                f"expected float32 [{self._channels}, samples]"
            )
        finite = np.isfinite(block)
        if not finite.all():
            channel, column = np.argwhere(~finite)[0]
            what = "NaN" if np.isnan(block[channel, column]) else "infinity"
            second = (self.frames + column) / self._rate
            raise AudioError(
                f"{self._name} would contain {what} at {second:.3f} s in channel {channel + 1}; "
                f"nothing was written"
            )
        size = (self.frames + block.shape[1]) * self._frame_bytes
        if self._container == "WAV" and size > _WAV_LIMIT_BYTES:
            raise AudioError(
                f"{self._name} would be longer than the 4 GiB that WAV can hold; "
                f"announce its length (frames=...) to get RF64, or write .flac"
            )


def _clear_timestamp(path: Path) -> None:
    """Zero the time that libsndfile puts into the PEAK chunk of float WAV files."""
    with path.open("r+b") as file:
        place = file.read(256).find(b"PEAK")
        if place >= 0:
            file.seek(place + 12)  # name, size and version of the chunk come before it
            file.write(bytes(4))
