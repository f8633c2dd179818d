"""A program with the inputs on which it may fail, the values of its run, and names of files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from harness.atomic import atomic_file
from harness.errors import ExecutionError
from harness.mil import Model, get_numerics
from harness.mil.executor import Observer
from harness.mil.program import Operation
from harness.mil.types import TensorType

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


class RunValues:
    """The values of operations outside blocks, as far as the run came, on disk.

    Those of a large program don't fit into memory.

    Args:
        attempt: what to run.
        numerics: how.
        folder: an empty one, the caller's to delete.
    """

    def __init__(self, attempt: Attempt, numerics: str, folder: Path) -> None:
        self._paths: dict[str, Path] = {}
        self._folder, self._numerics = folder, get_numerics(numerics)
        self._outer = set(attempt.model.operations)
        with contextlib.suppress(ExecutionError):  # what ran before it is what is wanted
            attempt.predict(numerics, observe=self._keep)

    def _keep(self, operation: Operation, results: tuple[torch.Tensor, ...]) -> None:
        if operation not in self._outer:
            return
        for variable, tensor in zip(operation.outputs, results, strict=True):
            assert isinstance(variable.type, TensorType)  # observers see nothing else
            path = self._folder / f"{len(self._paths)}.npy"
            np.save(path, self._numerics.to_numpy(tensor, variable.type.dtype))
            self._paths[variable.name] = path

    def __contains__(self, name: str) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        """The names of all values, in the order in which they were made."""
        return iter(self._paths)

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(np.load(self._paths[name], allow_pickle=False))
