"""Writes weight files, the counterpart of `harness.mil.blob`, which says what they look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import PackageError
from harness.mil.blob import ALIGNMENT, HEADER, METADATA, SENTINEL, VERSION
from harness.mil.types import DataType


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
    """Return the elements of ``array`` as `harness.mil.blob.decode_elements` reads them.

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
