"""A target of mutation that can be sent to another process; its goldens lie in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.conversion import tap_operations
from harness.faults.mutation.detector import Detection, Detector
from harness.faults.mutation.runner import MutantRunner
from harness.mil import Model


@dataclass(frozen=True)
class TinyTarget:
    package: Path
    goldens: Path
    subject: str = "tiny"

    def cases(self) -> tuple[str, ...]:
        return ("song", "noise")

    def read(self, model: Model) -> Detection | None:
        return None  # this network has no checkpoint

    def runner(self, model: Model, name: str) -> MutantRunner:
        with np.load(self.goldens) as file:
            golden = {
                key.removeprefix(f"{name}/"): file[key]
                for key in file
                if key.startswith(f"{name}/")
            }
        inputs = {key: golden.pop(key) for key in ("spectrogram", "audio")}
        located = tap_operations(self.package)
        taps = {tap: where for tap, where in located.items() if f"tap.{tap}" in golden}
        return MutantRunner(model, name, inputs, Detector(golden, taps))
