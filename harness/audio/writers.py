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

PCM codes are ``round(sample * 2^(bits - 1))``, ties to even, without dither. WAV holds 4 GiB; a
longer file is written as RF64 (same suffix, EBU Tech 3306) if its length is announced.
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
from harness.audio.encoder import Encoder, checked_encoding
from harness.errors import AudioError

Array = NDArray[np.float32]

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
        self._encoding = checked_encoding(suffix, encoding)
        self._announced = frames
        self.paths = {source: self.folder / f"{source}{suffix.lower()}" for source in sources}
        self._encoders: list[Encoder] = []
        self._stack = ExitStack()
        _check_targets(self.folder, self.paths)

    def __enter__(self) -> StemWriter:
        names = [path.name for path in self.paths.values()]
        with _explained(self.folder), ExitStack() as stack:
            workspace = stack.enter_context(atomic_set(self.folder))
            for name in names:
                encoder = Encoder(
                    workspace / name, name, self._encoding, self._announced, self._geometry
                )
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
