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
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from harness.arrayfiles import array_readers
from harness.audio.files import decoded, open_sound
from harness.comparison.kinds import kind_of
from harness.errors import ParityError

TENSOR_SUFFIXES: Final = (".safetensors", ".npz", ".npy")
AUDIO_SUFFIXES: Final = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")

_KNOWN: Final = TENSOR_SUFFIXES + AUDIO_SUFFIXES
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


@dataclass(frozen=True)
class Unread:
    """What is in a folder and may belong to it, and the reason for which it is not read."""

    path: Path
    reason: str


Item = Tensor | Audio | Unread


def read_file(path: Path) -> dict[str, Item]:
    """Return what a file holds, by name; the arrays themselves are not read yet.

    Raises:
        ParityError: the file is missing, of an unknown kind, or broken.
    """
    suffix = path.suffix.lower() if path.exists() else ""
    if suffix in AUDIO_SUFFIXES:
        return {_shown(path.stem): _audio(path)}
    if suffix in TENSOR_SUFFIXES:
        return {
            _shown(name): Tensor(path, read)
            for name, read in array_readers(path, ParityError).items()
        }
    raise ParityError(f"{path} {_unread(path)}")


def read_side(path: Path) -> dict[str, Item]:
    """Return what a file or a folder holds; in a folder, names start with the file's.

    What is in a folder, and neither read nor a known companion nor hidden, is there as `Unread`.

    Raises:
        ParityError: as `read_file`, a folder can't be listed, or there is nothing.
    """
    side: dict[str, Item] = {}
    if not path.is_dir():
        side = read_file(path)
        if not side:
            raise ParityError(f"{path} holds no tensors")
        return side
    for file in _below(path):
        place, suffix = _shown(file.relative_to(path).as_posix()), file.suffix.lower()
        if suffix in _KNOWN and not file.is_dir():
            found = read_file(file)
            for name, item in found.items():
                # A tensor whose own name says what judges it keeps that name.
                same = isinstance(item, Audio) or kind_of(name) == kind_of(place)
                own = place if len(found) == 1 and same else f"{place}:{name}"
                if own in side:
                    raise ParityError(f"{path} holds two of the name {own!r}; rename one of them")
                side[own] = item
            if not found:
                side[place] = Unread(file, "holds no tensors")
        elif suffix not in _COMPANIONS and "/." not in f"/{place}":
            side[place] = Unread(file, _unread(file))
    if not side:
        raise ParityError(f"{path} holds no tensors and no audio files")
    return side


def load_all(items: Mapping[str, Item]) -> dict[str, npt.NDArray[Any]]:
    """Return every tensor of a file, read; none of the items is audio."""
    return {name: item.load() for name, item in items.items() if isinstance(item, Tensor)}


def _below(folder: Path) -> list[Path]:
    """Return the files below a folder, and the links to folders."""

    def refuse(error: OSError) -> NoReturn:
        raise ParityError(f"{error.filename} can't be listed: {error.strerror}") from error

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        links = (name for name in folders if Path(parent, name).is_symlink())
        found += [Path(parent, name) for name in (*names, *links)]
    return sorted(found)


def _unread(path: Path) -> str:
    if not path.exists():
        return "is a link to nothing" if path.is_symlink() else "does not exist"
    if path.is_symlink() and path.is_dir():
        return "is a link to a folder, which is not followed"
    return f"has the unknown suffix {path.suffix.lower()!r}; known are {', '.join(_KNOWN)}"


def _shown(name: str) -> str:
    """Return a file's name as text that can be printed anywhere."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _audio(path: Path) -> Audio:
    with open_sound(path) as sound:
        return Audio(path, sound.samplerate, sound.channels, sound.frames, sound.subtype)
