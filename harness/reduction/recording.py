"""Every intermediate value of one run, on disk: a large program's don't fit into memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from harness.errors import ExecutionError
from harness.mil import get_numerics
from harness.mil.program import Operation
from harness.mil.types import TensorType
from harness.reduction.attempt import Attempt


class RunValues:
    """The values of operations outside blocks, as far as the run came.

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
