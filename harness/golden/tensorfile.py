"""One golden file: named tensors in a safetensors file, with where they come from.

In: a mapping of names to arrays of any shape. Out: a file whose bytes depend on nothing but the
tensors and the provenance, and a `Golden`, which reads single tensors from it on demand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.arrayfiles import ARRAYS_LIMIT_BYTES, FOREIGN, open_safetensors
from harness.bounded import parse_json
from harness.errors import GoldenError, UnknownNameError
from harness.golden.records import Record

METADATA_KEY: Final = "golden"
"""The one metadata entry; its value is JSON."""


class Golden:
    """The tensors of one golden, read from its file when they are asked for.

    A golden keeps its file open; use it as a context manager, or `close` it. It stays what it was
    when another process replaces the file (except on Windows, which refuses the replacement).

    Attributes:
        subject, case: names.
        path: the file.
        record: how it was made.
    """

    def __init__(self, subject: str, case: str, path: Path, record: Record) -> None:
        self.subject, self.case, self.path, self.record = subject, case, path, record
        self._file = _open(path)

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, sorted."""
        return tuple(sorted(self.record.tensors))

    def __contains__(self, name: object) -> bool:
        return name in self.record.tensors

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Read one tensor.

        Raises:
            UnknownNameError: this golden has no such tensor.
        """
        if name not in self:
            raise UnknownNameError(f"tensor of golden {self.case!r}", name, self.names)
        tensor: npt.NDArray[Any] = self._file.get_tensor(name)
        return tensor

    def close(self) -> None:
        """Release the file; arrays that were read stay valid."""
        self._file.__exit__(None, None, None)

    def __enter__(self) -> Golden:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


def write_tensors(
    path: Path, tensors: Mapping[str, npt.NDArray[Any]], provenance: Mapping[str, Any]
) -> None:
    """Write a safetensors file to ``path``; ``provenance`` becomes its metadata.

    It has the same bytes as ``safetensors.numpy.save`` would give, without a second copy of the
    tensors in memory. ``save_file`` won't do: it writes to a hidden file of its own, which stays
    when the process is killed, and ignores the strides of arrays.

    Args:
        path: an existing folder's file.
        tensors: float16, float32, float64 or int32 arrays by name.
        provenance: JSON values.

    Raises:
        OSError: the disk is full or ``path`` can't be written.
    """
    text = json.dumps(provenance, sort_keys=True, separators=(",", ":"))
    header: dict[str, Any] = {"__metadata__": {METADATA_KEY: text}}
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": f"{tensors[name].dtype.kind.upper()}{8 * tensors[name].itemsize}",
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)  # tensors start at a multiple of eight bytes
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for name in names:
            little = tensors[name].astype(tensors[name].dtype.newbyteorder("<"), copy=False)
            file.write(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance that a golden file carries.

    Raises:
        GoldenError: ``path`` is no safetensors file, or one without provenance.
    """
    try:
        with _open(path) as file:
            document = parse_json((file.metadata() or {})[METADATA_KEY])
    except (KeyError, ValueError) as error:
        raise GoldenError(f"{path} carries no golden provenance; build it again") from error
    if not isinstance(document, dict):
        raise GoldenError(f"{path} carries no golden provenance; build it again")
    return document


def _open(path: Path) -> Any:
    try:
        return open_safetensors(path, ARRAYS_LIMIT_BYTES, GoldenError)
    except FOREIGN as error:
        raise GoldenError(f"{path} is no safetensors file ({error}); build it again") from error
