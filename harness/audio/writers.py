"""Audio files out: WAV or FLAC, 44.1 kHz stereo by default, written in blocks, whole or not at all.

A file appears under its name when it is complete: an error, Ctrl-C or a full disk leaves what was
there before. The stems of one song appear together. Equal samples give equal bytes.

===========  ==============  ===================================================================
encoding     container       samples beyond full scale
===========  ==============  ===================================================================
``float32``  WAV (default)   kept
``pcm24``    FLAC (default)  clipped, and counted in ``clipped_samples``
             or WAV
``pcm16``    FLAC or WAV     clipped, and counted in ``clipped_samples``
===========  ==============  ===================================================================

PCM codes are ``round(sample * 2^(bits - 1))``, ties to even, without dither; they are made here
because libsndfile's own conversion rounds down. WAV holds 4 GiB; a longer file is written as RF64
(same suffix, EBU Tech 3306) if its length is announced.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from harness.atomic import atomic_set
from harness.audio.contract import PUBLISHED, Geometry
from harness.audio.segments import Array, check_block
from harness.errors import AudioError

_SUBTYPES: Final = {"float32": "FLOAT", "pcm24": "PCM_24", "pcm16": "PCM_16"}
_BITS: Final = {"float32": 32, "pcm24": 24, "pcm16": 16}
_CONTAINERS: Final = {".wav": ("float32", "pcm24", "pcm16"), ".flac": ("pcm24", "pcm16")}
"""Suffix -> encodings, the default first."""
_WAV_LIMIT_BYTES = 2**32 - 2**16
_FULL_DISK_BYTES: Final = 2**20


class StemWriter:
    """The stems of one song, one file each, that appear together; a context manager.

    They replace files of the same names in one step when all are complete, and every other file of
    the folder stays.

    Args:
        folder: where the stems go.
        sources: their names in order, which become file names.
        suffix: ``.wav`` or ``.flac``.
        encoding: ``float32``, ``pcm24`` or ``pcm16``; by default the best that the container has.
        frames: samples in each channel that will be written, if known: needed beyond 4 GiB.
        geometry: its sample rate and channels are those of the files.

    Attributes:
        paths: source name -> the file that it becomes.
        clipped_samples: source name -> values that have been clipped so far.

    Raises:
        AudioError: unknown suffix or encoding, or the files can't be written.
    """

    def __init__(
        self,
        folder: str | Path,
        sources: Sequence[str],
        *,
        suffix: str = ".wav",
        encoding: str | None = None,
        frames: int | None = None,
        geometry: Geometry = PUBLISHED,
    ) -> None:
        self.folder = Path(folder)
        self._geometry = geometry
        self._encoding = _checked_encoding(suffix, encoding)
        self._announced = frames
        self.paths = {source: self.folder / f"{source}{suffix.lower()}" for source in sources}
        self._encoders: list[_Encoder] = []
        self._stack = ExitStack()
        _check_targets(self.folder, self.paths)

    def __enter__(self) -> StemWriter:
        with _explained(self.folder), ExitStack() as stack:
            workspace = stack.enter_context(atomic_set(self.folder))
            for path in self.paths.values():
                place = workspace / path.name
                encoder = _Encoder(place, self._encoding, self._announced, self._geometry)
                self._encoders.append(stack.enter_context(encoder))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        with _explained(self.folder):
            self._stack.__exit__(*exception)

    @property
    def clipped_samples(self) -> dict[str, int]:
        """Source name -> values that were beyond full scale and have been clipped."""
        counts = [encoder.clipped_samples for encoder in self._encoders]
        return dict(zip(self.paths, counts, strict=True))

    def write(self, stems: Array) -> None:
        """Append ``stems``, float32 [S, channels, n], in the order of ``sources``.

        Raises:
            AudioError: another shape, NaN or infinity, too long for WAV, or the disk is full.
        """
        if stems.ndim != 3 or stems.shape[0] != len(self.paths):
            raise AudioError(
                f"stems have shape {list(stems.shape)}; "
                f"expected [{len(self.paths)}, {self._geometry.channels}, samples]"
            )
        with _explained(self.folder):
            for encoder, block in zip(self._encoders, stems, strict=True):
                encoder.write(block)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Turn what the system and libsndfile raise into one sentence."""
    try:
        yield
    except (OSError, soundfile.SoundFileError) as error:
        folder = next(place for place in [target, *target.absolute().parents] if place.is_dir())
        if _is_full(error, folder):
            raise AudioError(
                f"no space left on the disk of {folder}: {target} was not written; "
                f"free some space, or choose another folder"
            ) from error
        reason = error.strerror if isinstance(error, OSError) else error
        raise AudioError(f"{target} could not be written: {reason}") from error


def _is_full(error: Exception, folder: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    # libsndfile says no more than "System error", so ask the disk.
    return shutil.disk_usage(folder).free < _FULL_DISK_BYTES


def _check_targets(folder: Path, paths: dict[str, Path]) -> None:
    if folder.exists() and not folder.is_dir():
        raise AudioError(f"{folder} is a file; expected a folder for the stems")
    for source, path in paths.items():
        if path.parent != folder:
            raise AudioError(f"source name {source!r} can't be a file name")
        if path.is_dir():
            raise AudioError(f"{path} is a folder, where a stem has to go; move it away")


def _checked_encoding(suffix: str, encoding: str | None) -> str:
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


class _Encoder:
    """One file under a temporary name, being written by libsndfile; a context manager.

    Args:
        path: where it is written; messages call it by its name.
        encoding: one that its container holds.
        announced: samples in each channel to come, if known; decides between WAV and RF64.
        geometry: its sample rate and channels are those of the file.

    Attributes:
        frames: samples in each channel so far.
        clipped_samples: values so far that were beyond full scale and have been clipped.
    """

    def __init__(
        self, path: Path, encoding: str, announced: int | None, geometry: Geometry
    ) -> None:
        self.frames = self.clipped_samples = 0
        self._rate, self._channels = geometry.sample_rate, geometry.channels
        self._path, self._name, self._encoding = path, path.name, encoding
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

    def __enter__(self) -> _Encoder:
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
        check_block(block, self._channels, f"a block for {self._name}")
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
