"""The saved package, executed by Core ML itself; macOS only."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness._coremltools import import_coremltools
from harness.engines.base import Availability, Executes, Session, engine
from harness.errors import ParityError


class CoremlSession:
    """A package that Core ML has compiled and loaded."""

    def __init__(self, package: Path) -> None:
        ct = import_coremltools()
        self._model = ct.models.MLModel(str(package), compute_units=ct.ComputeUnit.CPU_AND_NE)

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute once; Core ML shows no intermediate value, so taps are refused."""
        if taps:
            raise ParityError("engine 'coreml' can't show taps; use engine 'mil' for them")
        return {name: np.asarray(value) for name, value in self._model.predict(inputs).items()}


@engine
class CoremlEngine:
    """Executes a package with Core ML, on the CPU and the Neural Engine."""

    name = "coreml"
    executes: Executes = "package"
    numerics = ()  # the device decides
    emulates = False
    gives_taps = False

    def availability(self) -> Availability:
        """Core ML is a part of macOS."""
        if platform.system() != "Darwin":
            return Availability(False, f"Core ML runs on macOS only; this is {platform.system()}")
        return Availability(True, "Core ML of this Mac", platform.mac_ver()[0])

    def open(self, candidate: Path, *, numerics: str) -> Session:
        """Compile and load a package."""
        return CoremlSession(candidate)
