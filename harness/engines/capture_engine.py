"""What a Mac made of a package, replayed anywhere, for the inputs that it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import harness
from harness.engines.base import Availability, Executes, Session, engine
from harness.errors import command_line

BESIDE = ".capture.safetensors"
"""How the capture of ``X.mlpackage`` ends that lies beside it: ``X.capture.safetensors``."""


class CaptureSession:
    """A capture that was read."""

    def __init__(self, path: Path) -> None:
        from harness.captures import read_capture

        self._path, self._capture = path, read_capture(path)

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Return what was recorded.

        Raises:
            CaptureError: it was recorded with other inputs, or taps are asked for.
        """
        from harness.captures import CaptureError

        if taps:
            raise CaptureError("engine 'capture' can't show taps; use engine 'mil' for them")
        self._capture.check_inputs(inputs, self._path)
        return {name: np.array(value) for name, value in self._capture.outputs.items()}


@engine
class CaptureEngine:
    """Replays what ``parity capture`` had recorded on a Mac."""

    name = "capture"
    executes: Executes = "package"
    numerics = ()  # the device decided
    emulates = False
    gives_taps = False

    def availability(self) -> Availability:
        """Files can be read anywhere."""
        return Availability(True, "replays what was recorded on a Mac", harness.__version__)

    def open(self, candidate: Path, *, numerics: str) -> Session:
        """Read a capture: a file that a recorder wrote, or the one beside a package.

        Raises:
            CaptureError: it can't be read, or there is none beside the package.
        """
        from harness.captures import CaptureError

        if candidate.suffix == ".safetensors":
            return CaptureSession(candidate)
        beside = candidate.with_name(candidate.stem + BESIDE)
        if not beside.is_file():
            command = command_line(
                *("capture", candidate, "--inputs", "in.safetensors", "--out", "recording")
            )
            raise CaptureError(
                f"engine 'capture': {beside} is missing; record it on a Mac, and put it there; the "
                f"recorder is written by: {command}"
            )
        return CaptureSession(beside)
