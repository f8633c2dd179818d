"""The two sides of a comparison: what the files hold, read when it is asked for.

``.safetensors`` and ``.npz`` hold named tensors, ``.npy`` one that is named after its file, audio
files one signal at their own rate, with all of their channels. A folder holds whatever its files
hold. Nothing is resampled, mixed down or rounded here: PCM of up to 24 bits and float files are
exact in float32, and everything wider is read as float64.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.arrayfiles import array_readers
from harness.audio.files import decoded, open_sound
from harness.errors import ParityError

TENSOR_SUFFIXES: Final = (".safetensors", ".npz", ".npy")
AUDIO_SUFFIXES: Final = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")

_WIDE: Final = ("DOUBLE", "PCM_32")
_BLOCK: Final = 1 << 16
_MOST_IN_MEMORY_BYTES: Final = 128 << 20
"""A longer signal is decoded to a temporary file, and mapped."""


@dataclass(frozen=True)
class Tensor:
    """A named array of a file.

    Attributes:
        path: the file.
        load: reads it; raises `ParityError` where the file is broken.
    """

    path: Path
    load: Callable[[], npt.NDArray[Any]] = field(repr=False)


@dataclass(frozen=True)
class Audio:
    """The signal of an audio file.

    Attributes:
        path: the file.
        rate: samples per second.
        channels: of the file.
        frames: samples in each channel.
        encoding: libsndfile's name of it.
    """

    path: Path
    rate: int
    channels: int
    frames: int
    encoding: str

    def read(self, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Return the samples from ``start`` to ``stop``, [channels, n], float32 or float64.

        Raises:
            AudioError: the file is damaged, or ends before its announced length.
        """
        stop = self.frames if stop is None else min(stop, self.frames)
        dtype = np.dtype("float64" if self.encoding in _WIDE else "float32")
        wanted = max(0, stop - start)
        with tempfile.TemporaryFile() as spool:
            if wanted * self.channels * dtype.itemsize > _MOST_IN_MEMORY_BYTES:
                for block in self._blocks(start, wanted, dtype):
                    spool.write(block.tobytes())
                spool.flush()
                return np.memmap(spool, dtype, "r", shape=(wanted, self.channels)).T
            whole = np.empty((self.channels, wanted), dtype)
            done = 0
            for block in self._blocks(start, wanted, dtype):
                whole[:, done : done + block.shape[0]] = block.T
                done += block.shape[0]
        return whole

    def _blocks(self, start: int, wanted: int, dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
        """Yield ``wanted`` samples from ``start`` on, [n, channels] at a time."""
        with open_sound(self.path) as sound:
            yield from decoded(sound, self.path, _BLOCK, start, wanted, dtype.name)


Item = Tensor | Audio


def read_file(path: Path) -> dict[str, Item]:
    """Return what a file holds, by name; the arrays themselves are not read yet.

    Raises:
        ParityError: the file is missing, of an unknown kind, or broken.
    """
    if not path.exists():
        raise ParityError(f"{path} does not exist")
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return {_shown(path.stem): _audio(path)}
    if suffix in TENSOR_SUFFIXES:
        return {
            _shown(name): Tensor(path, read)
            for name, read in array_readers(path, ParityError).items()
        }
    known = ", ".join(TENSOR_SUFFIXES + AUDIO_SUFFIXES)
    raise ParityError(f"{path} has the unknown suffix {suffix!r}; known are {known}")


def read_side(path: Path) -> dict[str, Item]:
    """Return what a file or a folder holds; in a folder, names start with the file's.

    Raises:
        ParityError: as `read_file`, or there is nothing.
    """
    if not path.is_dir():
        side = read_file(path)
        if not side:
            raise ParityError(f"{path} holds no tensors")
        return side
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in TENSOR_SUFFIXES + AUDIO_SUFFIXES and file.is_file()
    )
    if not files:
        raise ParityError(f"{path} holds no tensors and no audio files")
    side = {}
    for file in files:
        place = _shown(file.relative_to(path).as_posix())
        found = read_file(file)
        single = len(found) == 1
        side.update({place if single else f"{place}:{name}": it for name, it in found.items()})
    if not side:
        raise ParityError(f"the files in {path} hold no tensors")
    return side


def load_all(items: Mapping[str, Item]) -> dict[str, npt.NDArray[Any]]:
    """Return every tensor of a file, read; none of the items is audio."""
    return {name: item.load() for name, item in items.items() if isinstance(item, Tensor)}


def _shown(name: str) -> str:
    """Return a file's name as text that can be printed anywhere."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _audio(path: Path) -> Audio:
    with open_sound(path) as sound:
        return Audio(path, sound.samplerate, sound.channels, sound.frames, sound.subtype)
