"""The saved package, executed by `harness.mil` on any machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence

import numpy as np

import harness
from harness.engines.base import Availability, Candidate, Session, engine
from harness.errors import ParityError


@engine
class MilEngine:
    """Executes a package, operation by operation, at the precision that it declares."""

    name = "mil"

    def availability(self) -> Availability:
        """The executor needs PyTorch for its arithmetic and coremltools for the file format."""
        if importlib.util.find_spec("coremltools") is None:
            return Availability(False, "coremltools, which knows the package format, is missing")
        reason = "emulates the program's declared precision; it is not the Neural Engine"
        return Availability(True, reason, harness.__version__)

    def open(self, candidate: Candidate, *, numerics: str) -> Session:
        """Load ``candidate.package``; taps go by the names of the program's values."""
        from harness import mil

        if candidate.package is None:
            raise ParityError("engine 'mil' executes a package, not a subject")
        model = mil.load(candidate.package)

        class MilSession:
            def predict(
                self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
            ) -> dict[str, np.ndarray]:
                return model.predict(inputs, taps=taps, numerics=numerics)

        return MilSession()
