"""Named arrays in files: what ``parity predict`` and ``parity compare`` read and write.

``.safetensors`` and ``.npz`` hold names; ``.npy`` and audio files hold one array, named after the
file. A folder holds whatever its files hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from harness.arrayfiles import read_arrays
from harness.atomic import atomic_file
from harness.audio import read_audio
from harness.errors import ParityError

TENSOR_SUFFIXES = (".safetensors", ".npz", ".npy")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".aiff", ".aif")


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read every array of a file.

    Raises:
        ParityError: the file is missing, of another kind, or broken.
    """
    if not path.is_file():
        raise ParityError(f"{path} is not a file")
    suffix = path.suffix.lower()
    if suffix in TENSOR_SUFFIXES:
        return read_arrays(path, ParityError)
    if suffix in AUDIO_SUFFIXES:
        return {path.stem: read_audio(path)}
    known = ", ".join(TENSOR_SUFFIXES + AUDIO_SUFFIXES)
    raise ParityError(f"{path} has the unknown suffix {suffix!r}; known are {known}")


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to a ``.safetensors`` or ``.npz`` file, atomically."""
    if path.suffix.lower() not in (".safetensors", ".npz"):
        raise ParityError(f"{path} must end in .safetensors or .npz")
    with atomic_file(path) as temporary:
        if path.suffix.lower() == ".npz":
            np.savez(temporary, **dict(tensors))  # type: ignore[arg-type]
        else:
            dense = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
            save_file(dense, temporary)


def pair_up(expected: Path, actual: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read both sides of a comparison: two files, or two folders with files of the same names.

    Raises:
        ParityError: one is a folder and the other is not, or a side holds nothing.
    """
    if expected.is_dir() != actual.is_dir():
        raise ParityError(f"{expected} and {actual} must both be files or both be folders")
    if not expected.is_dir():
        left, right = read_tensors(expected), read_tensors(actual)
        for file, side in ((expected, left), (actual, right)):
            if not side:
                raise ParityError(f"{file} holds no tensors")
        if len(left) == len(right) == 1:  # one array each: their files' names don't matter
            right = dict(zip(left, right.values(), strict=True))
        return left, right
    sides = []
    for folder in (expected, actual):
        files = sorted(
            file
            for file in folder.rglob("*")
            if file.is_file() and file.suffix.lower() in TENSOR_SUFFIXES + AUDIO_SUFFIXES
        )
        if not files:
            raise ParityError(f"{folder} holds no tensors and no audio files")
        side = {}
        for file in files:
            place = file.relative_to(folder).as_posix()
            tensors = read_tensors(file)
            single = len(tensors) == 1
            side.update({place if single else f"{place}:{k}": v for k, v in tensors.items()})
        if not side:
            raise ParityError(f"the files in {folder} hold no tensors")
        sides.append(side)
    return sides[0], sides[1]
