"""Containers of arrays from strangers: safetensors, ``.npz`` and ``.npy``, within bounds.

Sizes in such files are claims. What a header announces is held against the bytes that are there
before anything is allocated; an archive's directory is measured before it is read. Nothing is
unpickled.
"""

from __future__ import annotations

import math
import os
import tempfile
import tokenize
import warnings
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from harness.bounded import MEBIBYTE, open_regular
from harness.errors import ParityError

ARRAYS_LIMIT_BYTES: Final = 16 << 30
"""Of one file, and of what an archive unpacks to; every value of a segment of the largest network
in float32 has 9 GB."""

_HEADER_LIMIT_BYTES: Final = 16 * MEBIBYTE  # of safetensors; a thousand tensors take 0.1 MB
_DIRECTORY_LIMIT_BYTES: Final = 16 * MEBIBYTE  # of a zip archive, as many bytes for each part
_ZIP_END, _ZIP64_END, _ZIP64_LOCATOR = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_FORMAT: Final[Any] = np.lib.format
_FEW: Final = 100  # arrays: who opens a folder has not that many files open
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others need much memory

FOREIGN: Final = (
    SafetensorError, OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError,
    MemoryError, RuntimeError, AttributeError, SyntaxError, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What the libraries raise on containers that are not well-formed."""


def read_arrays(path: Path, error: type[ParityError]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a ``.safetensors``, ``.npz`` or ``.npy`` file by name.

    An ``.npy`` file holds one, which is named after the file.

    Raises:
        ParityError: of class ``error``: the file is missing, none of these, broken, too large, or
            holds something else than numbers.
    """
    with _opened(path, error, whole=True) as members:
        return {name: read() for name, read in members.items()}


def array_readers(
    path: Path, error: type[ParityError]
) -> dict[str, Callable[[], npt.NDArray[Any]]]:
    """Return what reads each array of a file, by name, in their order.

    A file of many stays open as long as one of them is held: else its list is read for each again.

    Raises:
        ParityError: of class ``error``, as `read_arrays`; and when an array is read.
    """
    held = _Held(path, error)
    if len(held.members) <= _FEW:
        return {name: partial(read_array, path, name, error) for name in held.members}
    return {name: partial(held.read, name) for name in held.members}


class _Held:
    """A file that is open for as long as this is there."""

    def __init__(self, path: Path, error: type[ParityError]) -> None:
        self._path, self._error = path, error
        with ExitStack() as stack:
            self.members = dict(stack.enter_context(_opened(path, error)))
            weakref.finalize(self, stack.pop_all().close)

    def read(self, name: str) -> npt.NDArray[Any]:
        with _blaming(self._path, self._error, f"tensor {name!r} of "):
            return self.members[name]()


def read_array(path: Path, name: str, error: type[ParityError]) -> npt.NDArray[Any]:
    """Return one array of a file by its name.

    Raises:
        ParityError: of class ``error``, as `read_arrays`.
    """
    with _opened(path, error, f"tensor {name!r} of ") as members:
        return members[name]()


@contextmanager
def _opened(
    path: Path, error: type[ParityError], what: str = "", *, whole: bool = False
) -> Iterator[Mapping[str, Callable[[], npt.NDArray[Any]]]]:
    """Yield what reads each array of a file, by name; what is broken is ``error``, of ``what``.

    Where all of them will be read (``whole``), they must fit together.
    """
    suffix = path.suffix.lower()
    with _blaming(path, error, what):
        if suffix == ".safetensors":
            with open_safetensors(path, ARRAYS_LIMIT_BYTES, error) as held:
                yield {name: partial(held.get_tensor, name) for name in held.keys()}  # noqa: SIM118
            return
        with open_regular(path, ARRAYS_LIMIT_BYTES, error) as stream:
            if suffix == ".npy":
                yield {path.stem: lambda: _read_npy(stream, stream.seek(0, 2))}
                return
            with open_archive(stream) as archive:
                members = _members(archive)
                unpacked = sum(member.file_size for member in members.values())
                if whole and unpacked > ARRAYS_LIMIT_BYTES:
                    raise ValueError(f"it unpacks to {unpacked:,} bytes")
                yield {n: partial(_read_member, archive, member) for n, member in members.items()}


@contextmanager
def _blaming(path: Path, error: type[ParityError], what: str = "") -> Iterator[None]:
    try:
        yield
    except FOREIGN as problem:
        suffix = path.suffix.lower()
        raise error(f"{what}{path} can't be read as {suffix} ({problem})") from problem


def open_safetensors(
    path: Path, limit_bytes: int, error: type[ParityError], framework: str = "numpy"
) -> Any:
    """Open a safetensors file, as `safetensors.safe_open` does.

    Raises:
        ParityError: of class ``error``: no regular file, or one whose header can't be right.
        Exception: one of `FOREIGN`, from the library.
    """
    with open_regular(path, limit_bytes, error) as file:
        length, size = int.from_bytes(file.read(8), "little"), file.seek(0, 2)
    if length > min(_HEADER_LIMIT_BYTES, size - 8):
        raise error(
            f"{path} is truncated or no safetensors file: it announces a header of {length} bytes "
            f"in a file of {size} bytes"
        )
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # the library takes only names in UTF-8
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, "link.safetensors")
            link.symlink_to(path.absolute())
            return safe_open(link, framework=framework)
    return safe_open(path, framework=framework)


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Open a zip archive whose directory is of a sound size.

    Raises:
        zipfile.BadZipFile, OSError, ValueError: it is none, or its directory is too large.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - (1 << 16) - 128))
    tail = file.read()
    end = tail.rfind(_ZIP_END)
    directory = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    if end >= 20 and tail[end - 20 : end - 16] == _ZIP64_LOCATOR:
        if tail[max(0, end - 76) :][:4] != _ZIP64_END:
            raise zipfile.BadZipFile("its zip64 record is not where it belongs")
        directory = int.from_bytes(tail[end - 36 : end - 28], "little")
    if directory > _DIRECTORY_LIMIT_BYTES:
        raise zipfile.BadZipFile(f"its directory has {directory:,} bytes")
    return zipfile.ZipFile(file)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the parts of an archive by the names of their arrays."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = member
    return found


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    if member.compress_type not in _METHODS:
        raise ValueError(f"{member.filename!r} is compressed in a way that NumPy doesn't write")
    if member.file_size > ARRAYS_LIMIT_BYTES:
        raise ValueError(f"{member.filename!r} unpacks to {member.file_size:,} bytes")
    with archive.open(member) as part:
        return _read_npy(part, member.file_size)


def _read_npy(file: Any, size: int) -> npt.NDArray[Any]:
    """Return the array in ``file``, which has ``size`` bytes."""
    file.seek(0)
    version = _FORMAT.read_magic(file)
    readers = {
        (1, 0): _FORMAT.read_array_header_1_0,
        (2, 0): _FORMAT.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"it is an array file of version {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers as Python 2 wrote them, which can be read
        shape, in_columns, dtype = readers[version](file)
    if dtype.kind not in "biufc":
        raise ValueError(f"it holds {dtype}, expected numbers")
    needed, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or needed > there:
        raise ValueError(f"it announces {needed:,} bytes of shape {list(shape)}, and has {there:,}")
    array = np.empty(math.prod(shape), dtype)
    if file.readinto(array.view(np.uint8)) != needed:
        raise EOFError("it breaks off")
    return array.reshape(shape, order="F" if in_columns else "C")
