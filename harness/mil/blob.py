"""Weight files: the MIL blob storage format, version 2, read in place and written.

The file is a 64-byte header (``count``, ``version``), then pairs of 64-byte metadata and raw data,
each aligned to 64 bytes. A program names the offset of a metadata record; the record names the
element type, the size in bytes and the offset of the data. Little-endian throughout.

Source: ``mlmodel/src/MILBlob/Blob/{StorageFormat,BlobDataType,StorageReader}`` of coremltools.

Nothing in the file is trusted: every range is checked against the file's size before anything is
allocated or mapped to an array.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from harness.bounded import open_regular
from harness.errors import PackageError
from harness.mil.types import DataType

ALIGNMENT = 64
VERSION = 2
SENTINEL = 0xDEADBEEF
HEADER = struct.Struct("<II56x")
METADATA = struct.Struct("<IIQQQ32x")

_LIMIT_BYTES = 64 << 30  # mapped, so it costs nothing until values are read

_TYPES = {dtype.blob_code: dtype for dtype in DataType if dtype.blob_code}


class BlobFile:
    """One weight file, mapped into memory; arrays that `read` returns keep the mapping alive.

    Raises:
        PackageError: the file is missing, too short for its header, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open_regular(path, _LIMIT_BYTES, PackageError) as file:
                self._size = file.seek(0, 2)
                if self._size < HEADER.size:
                    raise PackageError(
                        f"weight file {path} has {self._size} bytes, fewer than its "
                        f"{HEADER.size}-byte header; the package is truncated"
                    )
                # A private writable mapping: PyTorch warns about arrays that can't be written,
                # and a write would stay in this process.
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise PackageError(f"weight file {path} can't be read: {error.strerror}") from error
        self.count, version = HEADER.unpack_from(self._data, 0)
        if version != VERSION:
            raise PackageError(
                f"weight file {path} says version {version}; only version {VERSION} "
                "(ML Programs) can be read"
            )

    def read(self, offset: int, dtype: DataType, count: int) -> np.ndarray:
        """Return the ``count`` elements whose metadata lies at ``offset``, as a flat array.

        The array has type ``dtype.numpy`` and, but for types below one byte and bfloat16, shares
        the mapping.

        Raises:
            PackageError: the offset, the record or the size does not fit the file or the type.
        """
        stored, size, start, padding = self._metadata(offset)
        if stored is not dtype:
            raise self._broken(offset, f"holds {stored}, but the program declares {dtype}")
        bits = size * 8 - (padding if dtype.bits < 8 else 0)
        if bits != count * dtype.bits or (padding >= 8 and dtype.bits < 8):
            needed = math.ceil(count * dtype.bits / 8)
            what = f"has {size} bytes, but {count} elements of {dtype} need {needed}"
            raise self._broken(offset, what)
        return decode_elements(memoryview(self._data)[start : start + size], dtype, count)

    def _metadata(self, offset: int) -> tuple[DataType, int, int, int]:
        if offset % ALIGNMENT or not HEADER.size <= offset <= self._size - METADATA.size:
            raise PackageError(
                f"weight file {self.path}: no blob can lie at offset {offset} "
                f"(file size {self._size}, alignment {ALIGNMENT})"
            )
        sentinel, code, size, start, padding = METADATA.unpack_from(self._data, offset)
        if sentinel != SENTINEL:
            raise PackageError(
                f"weight file {self.path}: no blob at offset {offset} "
                f"(sentinel {sentinel:#x}, expected {SENTINEL:#x})"
            )
        if code not in _TYPES:
            raise self._broken(offset, f"has the unknown element type {code}")
        if start % ALIGNMENT or start < HEADER.size or start + size > self._size:
            raise self._broken(
                offset,
                f"claims bytes {start} to {start + size}, but the file has {self._size}; "
                "the package is truncated or broken",
            )
        return _TYPES[code], size, start, padding

    def _broken(self, offset: int, what: str) -> PackageError:
        return PackageError(f"weight file {self.path}: the blob at offset {offset} {what}")


def decode_elements(data: bytes | memoryview, dtype: DataType, count: int) -> np.ndarray:
    """Return ``count`` little-endian elements of ``dtype``; sub-byte ones fill bytes from bit 0.

    Raises:
        PackageError: ``data`` has another size, or the type has no decoder yet.
    """
    needed = math.ceil(count * dtype.bits / 8)
    if len(data) != needed:
        raise PackageError(
            f"{len(data)} bytes of data, but {count} elements of {dtype} need {needed}"
        )
    if dtype.bits < 8:
        return _unpack(np.frombuffer(data, np.uint8), dtype, count)
    if dtype is DataType.BFLOAT16:
        # A bfloat16 is the upper half of a float32.
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    if dtype in (DataType.FLOAT8E4M3FN, DataType.FLOAT8E5M2):
        raise PackageError(f"constants of type {dtype} can't be read yet; add a decoder in blob.py")
    return np.frombuffer(data, dtype.numpy.newbyteorder("<"))


def _unpack(data: np.ndarray, dtype: DataType, count: int) -> np.ndarray:
    bits = np.unpackbits(data, count=count * dtype.bits, bitorder="little")
    weights = (1 << np.arange(dtype.bits)).astype(np.uint8)
    values = bits.reshape(count, dtype.bits) @ weights
    if dtype is DataType.INT4:
        return (((values ^ 8).astype(np.int16)) - 8).astype(np.int8)
    return values.astype(np.uint8)


class BlobWriter:
    """One weight file, written from front to back::

    with BlobWriter(path) as weights:
        offset = weights.write(array, DataType.FLOAT16)
    """

    def __init__(self, path: Path) -> None:
        self._path, self._count = path, 0

    def __enter__(self) -> BlobWriter:
        self._file = self._path.open("wb")
        self._file.write(HEADER.pack(0, VERSION))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.seek(0)
        self._file.write(HEADER.pack(self._count, VERSION))
        self._file.close()

    def write(self, array: np.ndarray, dtype: DataType) -> int:
        """Write the elements of ``array`` and return the offset of their metadata.

        Raises:
            PackageError: a weight file can't hold elements of ``dtype``.
        """
        if not dtype.blob_code:
            raise PackageError(f"a weight file can't hold elements of type {dtype}")
        data = encode_elements(array, dtype)
        padding = len(data) * 8 - array.size * dtype.bits
        offset = self._file.tell()
        start = offset + METADATA.size
        self._file.write(METADATA.pack(SENTINEL, dtype.blob_code, len(data), start, padding))
        self._file.write(data)
        self._file.write(bytes(-len(data) % ALIGNMENT))
        self._count += 1
        return offset


def encode_elements(array: np.ndarray, dtype: DataType) -> bytes:
    """Return the elements of ``array`` as `decode_elements` reads them.

    Raises:
        PackageError: the type has no encoder.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if dtype.bits < 8:
        bits = (flat.astype(np.uint8)[:, None] >> np.arange(dtype.bits, dtype=np.uint8)) & 1
        return np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    if dtype is DataType.BFLOAT16:
        return (flat.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    if dtype in (DataType.FLOAT8E4M3FN, DataType.FLOAT8E5M2, DataType.STRING):
        raise PackageError(f"elements of type {dtype} can't be written")
    return flat.astype(dtype.numpy.newbyteorder("<")).tobytes()
