"""The saved package, executed by Core ML itself; macOS only."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

import numpy as np

from harness._coremltools import import_coremltools
from harness.engines.base import Availability, Candidate, Session, engine
from harness.errors import ParityError


class CoremlSession:
    """A package that Core ML has compiled and loaded."""

    def __init__(self, candidate: Candidate) -> None:
        ct = import_coremltools()
        self._model = ct.models.MLModel(
            str(candidate.package), compute_units=ct.ComputeUnit.CPU_AND_NE
        )

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

    def availability(self) -> Availability:
        """Core ML is a part of macOS."""
        if platform.system() != "Darwin":
            return Availability(False, f"Core ML runs on macOS only; this is {platform.system()}")
        return Availability(True, "Core ML of this Mac", platform.mac_ver()[0])

    def open(self, candidate: Candidate, *, numerics: str) -> Session:
        """Compile and load ``candidate.package``; the device decides the numerics."""
        if candidate.package is None:
            raise ParityError("engine 'coreml' executes a package, not a subject")
        return CoremlSession(candidate)
