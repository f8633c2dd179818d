"""A program with the inputs on which it may fail, and the names of their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from harness.atomic import atomic_file
from harness.mil import Model
from harness.mil.executor import Observer

PACKAGE, INPUTS, EXPECTED = "reduced.mlpackage", "inputs.safetensors", "expected.safetensors"
"""Names of the files of a reduced failure."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """A program and its inputs.

    Attributes:
        model: the program; states start from zero.
        inputs: by name.
        path: the package on disk; ``None`` for one that is in memory only.
    """

    model: Model
    inputs: Mapping[str, np.ndarray]
    path: Path | None = None

    def predict(self, numerics: str, observe: Observer | None = None) -> dict[str, Any]:
        """Return the model's outputs.

        Raises:
            As `harness.mil.Model.predict`.
        """
        state = self.model.new_state() if self.model.states else None
        return self.model.predict(self.inputs, state=state, numerics=numerics, observe=observe)


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a ``.safetensors`` file."""
    dense = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    with atomic_file(path) as temporary:  # whose mode is that of other files
        save_file(dense, temporary)
