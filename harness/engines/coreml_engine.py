"""The saved package, executed by Core ML itself, an engine for each compute unit; macOS only.

``coreml`` offers Core ML the CPU and the Neural Engine, ``coreml-gpu`` the CPU and the GPU,
``coreml-all`` all three, ``coreml-cpu`` the CPU alone. Which of those that it is offered runs an
operation, Core ML decides.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness._coremltools import import_coremltools
from harness.engines.base import Availability, Executes, Session, engine
from harness.errors import ParityError


class CoremlSession:
    """A package that Core ML has compiled and loaded for some compute units.

    Args:
        package: the package.
        unit: member of coremltools' ``ComputeUnit``.
        name: of the engine.
    """

    def __init__(self, package: Path, unit: str, name: str) -> None:
        ct = import_coremltools()
        self._name = name
        self._model = ct.models.MLModel(str(package), compute_units=ct.ComputeUnit[unit])

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute once; Core ML shows no intermediate value, so taps are refused."""
        if taps:
            raise ParityError(f"engine {self._name!r} can't show taps; use engine 'mil' for them")
        made = self._model.predict(dict(inputs))  # it replaces entries by others of its own types
        return {name: np.asarray(value) for name, value in made.items()}


class _Coreml:
    """Executes a package with Core ML, on the units that it offers."""

    name: ClassVar[str]
    unit: ClassVar[str]
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
        return CoremlSession(candidate, self.unit, self.name)


for _name, _unit in {
    "coreml": "CPU_AND_NE",
    "coreml-cpu": "CPU_ONLY",
    "coreml-gpu": "CPU_AND_GPU",
    "coreml-all": "ALL",
}.items():
    engine(type("CoremlEngine", (_Coreml,), {"name": _name, "unit": _unit}))
