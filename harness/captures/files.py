"""Captures as files: safetensors with the outputs by name and where they come from as metadata.

Read as data from a stranger: within bounds, every text of the metadata a short one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness.arrayfiles import FOREIGN, open_safetensors
from harness.bounded import MEBIBYTE
from harness.captures.recorder import FORMAT, inputs_digest
from harness.errors import ParityError, one_line

Arrays = Mapping[str, np.ndarray[Any, Any]]
CAPTURE_LIMIT_BYTES: Final = 2048 * MEBIBYTE
_TEXTS: Final = ("compute_unit", "device", "system", "versions")
_LONGEST_TEXT: Final = 300


class CaptureError(ParityError):
    """A file that is no capture, or one of something else than was asked about."""


@dataclass(frozen=True)
class Capture:
    """What a device made of a package.

    Attributes:
        outputs: by name.
        inputs: digest of what it was given (`harness.captures.recorder.inputs_digest`).
        origin: compute unit, device, system and versions; printable lines.
    """

    outputs: Arrays
    inputs: str
    origin: Mapping[str, str]

    @classmethod
    def of(cls, inputs: Arrays, outputs: Arrays, **origin: str) -> Capture:
        """Return what ``outputs`` a device made of ``inputs``."""
        return cls(outputs, inputs_digest(inputs), {key: origin.get(key, "") for key in _TEXTS})

    def check_inputs(self, inputs: Arrays, where: Path) -> None:
        """Check that it was made of ``inputs``.

        Raises:
            CaptureError: it was made of others.
        """
        expected = inputs_digest(inputs)
        if self.inputs != expected:
            raise CaptureError(
                f"{where} was recorded with other inputs (digest {self.inputs[:12]}, expected "
                f"{expected[:12]}); record it again with those that it is to be held against"
            )

    def check_outputs(self, shapes: Mapping[str, tuple[int, ...]], where: Path) -> None:
        """Check that it has numbers of these shapes, by the names of a package's outputs.

        Raises:
            CaptureError: one is missing, or is something else.
        """
        for name, shape in shapes.items():
            found = self.outputs.get(name)
            if found is None or found.shape != shape or found.dtype.kind != "f":
                what = (
                    f"{found.dtype} of shape {list(found.shape)}" if found is not None else "none"
                )
                raise CaptureError(
                    f"{where} is of another package: expected its output {name!r} as "
                    f"floating-point numbers of shape {list(shape)}, found {what}; record this "
                    "package ('parity capture')"
                )


def read_capture(path: Path) -> Capture:
    """Return the capture in a file.

    Raises:
        CaptureError: the file can't be read or is none.
    """
    try:
        with open_safetensors(path, CAPTURE_LIMIT_BYTES, CaptureError) as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CaptureError(
                    f"{path} is no capture: expected {FORMAT!r} as its format, found "
                    f"{metadata.get('format')!r}; 'parity kit' writes what records one"
                )
            outputs = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FOREIGN as problem:
        raise CaptureError(f"{path} can't be read as a capture ({problem})") from problem
    for key in ("inputs", *_TEXTS):
        if key not in metadata or len(metadata[key]) > _LONGEST_TEXT:
            raise CaptureError(
                f"{path}: expected {key!r} in its metadata, of at most {_LONGEST_TEXT} characters"
            )
    origin = {key: one_line(metadata[key]) for key in _TEXTS}
    return Capture(outputs, metadata["inputs"], origin)
