"""Failing programs, small and known by heart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness import mil
from harness.mil import Model
from harness.reduction import Attempt
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import Body, make_program

MakeAttempt = Callable[..., Attempt]


@pytest.fixture
def make_attempt(tmp_path: Path) -> MakeAttempt:
    """Return a function that writes the program of ``body`` and gives it inputs."""

    numbers = itertools.count()

    def make(body: Body, dtype: type[np.generic] = np.float16, **inputs: np.ndarray) -> Attempt:
        shapes: dict[str, Sequence[int]] = {name: array.shape for name, array in inputs.items()}
        path = write_package(
            make_program(body, shapes, dtype), tmp_path / f"{next(numbers)}.mlpackage"
        )
        return Attempt(mil.load(path), inputs, path)

    return make


def kept(model: Model) -> list[str]:
    """Return the types of a program's operations."""
    return [operation.type for operation in model.operations]


def save_inputs(attempt: Attempt, path: Path) -> Path:
    save_file(dict(attempt.inputs), path)
    return path


def half(*values: Any) -> np.ndarray:
    return np.array(values, np.float16)
