"""The subject itself, cut out of its STFT, executed by PyTorch: the reference engine."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.engines.base import Availability, Candidate, Session, engine
from harness.errors import ParityError

if TYPE_CHECKING:
    from harness.subjects import FullHybridHTDemucs


class TorchSession:
    """The extracted inner model of one subject."""

    def __init__(self, inner: FullHybridHTDemucs) -> None:
        self._inner = inner

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute once in float32; taps go by their names in `harness.subjects`."""
        import torch

        from harness.subjects import capture_taps

        spectrogram = torch.from_numpy(inputs["spectrogram"])
        audio = torch.from_numpy(inputs["audio"])
        with torch.inference_mode():
            if taps:
                found = capture_taps(self._inner, spectrogram, audio)
                return {name: found[name].numpy() for name in (*taps, "freq", "time")}
            freq, time = self._inner(spectrogram, audio)
        return {"freq": freq.numpy(), "time": time.numpy()}


@engine
class TorchEngine:
    """Executes a subject with PyTorch."""

    name = "torch"

    def availability(self) -> Availability:
        """PyTorch is a dependency, so it is always there."""
        return Availability(True, "PyTorch on this processor", importlib.metadata.version("torch"))

    def open(self, candidate: Candidate, *, numerics: str) -> Session:
        """Extract the inner model of ``candidate.subject``; float32 whatever ``numerics`` says."""
        if candidate.subject is None:
            raise ParityError("engine 'torch' executes a subject, not a package")
        from harness.subjects import extract_inner_model

        return TorchSession(extract_inner_model(candidate.subject.model))
