"""What of a subject is converted, executed by PyTorch: the reference engine."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.engines.base import Availability, Executes, Session, engine

if TYPE_CHECKING:
    from harness.subjects import Extracted, Subject


class TorchSession:
    """What of one subject is converted, as a module."""

    def __init__(self, inner: Extracted) -> None:
        self._inner = inner

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute once in float32; taps go by the names of the network's interface."""
        import torch

        from harness.subjects import run_extracted

        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        made = run_extracted(self._inner, given, taps)
        return {name: value.numpy() for name, value in made.items()}


@engine
class TorchEngine:
    """Executes a subject with PyTorch, without what surgery cuts off."""

    name = "torch"
    executes: Executes = "subject"
    numerics = ()  # float32
    emulates = False
    gives_taps = True

    def availability(self) -> Availability:
        """PyTorch is a dependency, so it is always there."""
        return Availability(True, "PyTorch on this processor", importlib.metadata.version("torch"))

    def open(self, candidate: Subject, *, numerics: str) -> Session:
        """Extract what is converted of a subject of one model."""
        return TorchSession(candidate.extract())
