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
from harness.comparison.kinds import kind_of
from harness.errors import ParityError

TENSOR_SUFFIXES: Final = (".safetensors", ".npz", ".npy")
AUDIO_SUFFIXES: Final = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")

_COMPANIONS: Final = (
    *(".txt", ".md", ".json", ".toml", ".yaml", ".yml", ".csv", ".tsv", ".log", ".html"),
    *(".pdf", ".py", ".png", ".jpg", ".jpeg", ".svg"),
)
"""What lies beside stems and is none."""
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


Item = Tensor | Audio | ParityError
"""The error is in the place of what can't be read."""


def read_file(path: Path) -> dict[str, Item]:
    """Return what a file holds, by name; the arrays themselves are not read yet.

    Raises:
        ParityError: the file is missing, of an unknown kind, broken, or holds nothing.
    """
    if path.is_symlink() and not path.is_file():
        what = "a folder, which is not followed" if path.is_dir() else "nothing"
        raise ParityError(f"{path} is a link to {what}")
    if not path.exists():
        raise ParityError(f"{path} does not exist")
    if path.is_dir():
        raise ParityError(f"{path} is a folder that can't be listed")
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        return {_shown(path.stem): _audio(path)}
    if suffix not in TENSOR_SUFFIXES:
        known = ", ".join(TENSOR_SUFFIXES + AUDIO_SUFFIXES)
        raise ParityError(f"{path} has the unknown suffix {suffix!r}; known are {known}")
    readers = array_readers(path, ParityError)
    if not readers:
        raise ParityError(f"{path} holds no tensors")
    return {_shown(name): Tensor(path, read) for name, read in readers.items()}


def read_side(path: Path) -> dict[str, Item]:
    """Return what a file or a folder holds; in a folder, names start with the file's.

    Of a folder, hidden files of unknown kinds and known companions are left out, and nothing else.

    Raises:
        ParityError: as `read_file`, of a file; there is nothing, or two things of one name.
    """
    if not path.is_dir():
        return read_file(path)
    side: dict[str, Item] = {}
    for file in sorted(path.rglob("*")):
        place, suffix = _shown(file.relative_to(path).as_posix()), file.suffix.lower()
        hidden = "/." in f"/{place}" and suffix not in TENSOR_SUFFIXES + AUDIO_SUFFIXES
        listed = file.is_dir() and not file.is_symlink() and os.access(file, os.R_OK | os.X_OK)
        if hidden or listed or suffix in _COMPANIONS:
            continue
        try:
            found = read_file(file)
        except ParityError as error:
            found = {place: error}
        for name, item in found.items():
            # A tensor whose own name says what judges it keeps that name.
            named = isinstance(item, Tensor) and kind_of(name) != kind_of(place)
            own = f"{place}:{name}" if named or len(found) > 1 else place
            if own in side:
                raise ParityError(f"{path} holds two of the name {own!r}; rename one of them")
            side[own] = item
    if not side:
        raise ParityError(f"{path} holds no tensors and no audio files")
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
