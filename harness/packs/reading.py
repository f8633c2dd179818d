"""Packs and results that are read: files from strangers, checked before any number is used."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness.arrayfiles import (
    ARRAYS_LIMIT_BYTES,
    FOREIGN,
    array_readers,
    open_safetensors,
)
from harness.bounded import open_regular, parse_json, read_text
from harness.digests import sha256
from harness.packs.manifest import (
    FILES,
    JSON_NAME,
    LIMIT_BYTES,
    TSV_NAME,
    CaseEntry,
    Manifest,
    PackError,
    TensorEntry,
    read_manifest,
)
from harness.packs.problems import Array

_DTYPES: Final = {"F32": "float32", "I32": "int32"}
_MOST_FILES: Final = 100_000  # of a folder with results


@dataclass(frozen=True)
class Pack:
    """A pack whose files are what its manifest says.

    Attributes:
        folder: where it lies.
        manifest: what it says.
    """

    folder: Path
    manifest: Manifest

    def read(self, case: CaseEntry, tensor: TensorEntry) -> Array:
        """Return one tensor.

        Raises:
            PackError: it can't be read any more.
        """
        path = self.folder / FILES[tensor.file]
        size = math.prod(tensor.shape)
        kind = np.dtype(tensor.dtype).newbyteorder("<")
        with open_regular(path, ARRAYS_LIMIT_BYTES, PackError) as file:
            file.seek(tensor.offset)
            content = file.read(tensor.bytes)
        if len(content) != size * kind.itemsize:
            raise PackError(f"{path} breaks off within {case.name}/{tensor.name}")
        return np.frombuffer(content, kind).astype(tensor.dtype, copy=False).reshape(tensor.shape)


def open_pack(folder: Path) -> Pack:
    """Open the pack in ``folder``.

    Raises:
        PackError: there is no manifest, or one of an unknown version; a file is missing, truncated
            or changed; a tensor has another dtype, shape or place than the manifest says; the TSV
            says something else.
    """
    if not folder.is_dir():
        raise PackError(f"{folder} is no folder; make one with 'parity pack build NAME --out DIR'")
    manifest = read_manifest(folder)
    for key, file in FILES.items():
        entry = manifest.files[key]
        path = folder / file
        _require_tensors(path, entry.bytes, _listed(manifest, key))
        if sha256(path) != entry.sha256:
            raise PackError(
                f"{path} is not what the manifest was written for: its SHA-256 is another; fetch "
                "or build the pack again"
            )
    if read_text(folder / TSV_NAME, LIMIT_BYTES, PackError) != manifest.to_tsv():
        raise PackError(
            f"{folder / TSV_NAME} does not say what {JSON_NAME} says, and other languages read it; "
            "build the pack again"
        )
    return Pack(folder, manifest)


def _listed(manifest: Manifest, key: str) -> dict[str, TensorEntry]:
    return {
        f"{case.name}/{tensor.name}": tensor
        for case in manifest.cases
        for tensor in case.tensors
        if tensor.file == key
    }


def _require_tensors(path: Path, size: int, listed: Mapping[str, TensorEntry]) -> None:
    places = tensor_places(path)
    if path.stat().st_size != size:
        raise PackError(
            f"{path} has {path.stat().st_size:,} bytes; the manifest says {size:,}: it is "
            "truncated or another file"
        )
    strange = sorted(set(places) ^ set(listed))
    if strange:
        raise PackError(f"{path} and the manifest disagree on the tensor {strange[0]!r}")
    for name, entry in listed.items():
        said = TensorPlace(entry.dtype, entry.shape, entry.offset, entry.bytes)
        if places[name] != said:
            raise PackError(
                f"tensor {name!r} of {path} is {places[name]}; the manifest says {said}"
            )


@dataclass(frozen=True)
class TensorPlace:
    """What the header of a safetensors file says of one tensor; the offset is that in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)} in {self.bytes} bytes at {self.offset}"


def tensor_places(path: Path) -> dict[str, TensorPlace]:
    """Return where each tensor of a safetensors file lies.

    Raises:
        PackError: the file can't be read, is none, or its header does not fit its bytes.
    """
    try:
        with open_safetensors(path, ARRAYS_LIMIT_BYTES, PackError):
            pass  # the library has checked that the tensors fill the file without gap or overlap
        with open_regular(path, ARRAYS_LIMIT_BYTES, PackError) as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(length).decode("utf-8"))
        header.pop("__metadata__", None)
        return {name: _place(entry, 8 + length) for name, entry in header.items()}
    except FOREIGN as problem:
        raise PackError(f"{path} is truncated or no safetensors file ({problem})") from problem


def _place(entry: Mapping[str, Any], start: int) -> TensorPlace:
    begin, end = entry["data_offsets"]
    dtype = _DTYPES.get(entry["dtype"], str(entry["dtype"]))
    return TensorPlace(dtype, tuple(entry["shape"]), start + begin, end - begin)


class Results:
    """The tensors that an implementation made, by names like ``linear.basic/out/y``."""

    def __init__(self, loaders: Mapping[str, Callable[[], Array]]) -> None:
        self._loaders = dict(loaders)

    @property
    def names(self) -> list[str]:
        """What there is."""
        return list(self._loaders)

    def __contains__(self, name: str) -> bool:
        return name in self._loaders

    def read(self, name: str) -> Array:
        """Return one tensor.

        Raises:
            PackError: its file is broken, or it is big-endian.
        """
        array = self._loaders[name]()
        if array.dtype.byteorder == ">":
            raise PackError(f"result {name!r} is big-endian ({array.dtype.str}); write '<f4'")
        return array


def read_results(path: Path, pack: Pack) -> Results:
    """Return the results in a ``.safetensors`` file, or a folder of them and of ``.npy`` files.

    In a folder, ``CASE/out/y.npy`` holds the tensor ``CASE/out/y``.

    Raises:
        PackError: nothing is there, a file can't be read or is the pack's own answers, or two hold
            one tensor.
    """
    if not path.exists():
        raise PackError(f"{path} does not exist; expected a .safetensors file or a folder of .npy")
    loaders: dict[str, Callable[[], Array]] = {}
    several = path.is_dir()
    answers = pack.manifest.files["expected"]
    for file in _files(path) if several else [path]:
        if file.stat().st_size == answers.bytes and sha256(file) == answers.sha256:
            raise PackError(f"{file} holds the pack's own answers; give what your code computed")
        for name, load in array_readers(file, PackError).items():
            if several and file.suffix == ".npy":
                name = file.relative_to(path).with_suffix("").as_posix()
            if name in loaders:
                raise PackError(f"result {name!r} is there twice; the second time in {file}")
            loaders[name] = load
    return Results(loaders)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of arrays below ``folder``; links to folders are not followed."""
    seen = 0
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            seen += 1
            if seen > _MOST_FILES:
                raise PackError(f"{folder} has more than {_MOST_FILES:,} files; expected results")
            if name.endswith((".npy", ".safetensors")):
                yield Path(parent, name)
