"""The saved package, executed by `harness.mil` on any machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

import harness
from harness.engines.base import Availability, Executes, Session, engine


@engine
class MilEngine:
    """Executes a package, operation by operation, at the precision that it declares."""

    name = "mil"
    executes: Executes = "package"
    emulates = True
    gives_taps = True

    @cached_property
    def numerics(self) -> tuple[str, ...]:
        """The numerics of the executor."""
        from harness.mil import numerics_names

        return tuple(numerics_names())

    def availability(self) -> Availability:
        """The executor needs PyTorch for its arithmetic and coremltools for the file format."""
        if importlib.util.find_spec("coremltools") is None:
            return Availability(False, "coremltools, which knows the package format, is missing")
        reason = "emulates the program's declared precision; it is not the Neural Engine"
        return Availability(True, reason, harness.__version__)

    def open(self, candidate: Path, *, numerics: str) -> Session:
        """Load a package; taps go by the names of the program's values."""
        from harness import mil

        model = mil.load(candidate)

        class MilSession:
            def predict(
                self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
            ) -> dict[str, np.ndarray]:
                return mil.call(model, inputs, taps=taps, numerics=numerics)

        return MilSession()
