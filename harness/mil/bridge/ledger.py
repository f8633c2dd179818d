"""What went through the bridge: the proof that a test or a tool really ran a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from harness.mil.model import Model

Predict: TypeAlias = Callable[..., Mapping[str, np.ndarray]]
"""Called as `harness.mil.Model.predict` is: with inputs by name, and with a state."""


@dataclass(frozen=True)
class Loading:
    """One model that coremltools asked to load.

    Attributes:
        path: the package.
        kind: what coremltools calls the type of model (``mlProgram``, ``neuralNetwork``, ...).
        function: name of the function to run; empty for the default one.
        compute_units: what was asked for (``ALL``, ``CPU_ONLY``, ...). The executor is the same
            for all.
        operations: the types of all operations of the program, constants left out.
        refusal: why it can't be run; empty if it can.
    """

    path: str
    kind: str
    function: str
    compute_units: str
    operations: frozenset[str]
    refusal: str = ""


def _by_this_executor(model: Model) -> Predict:
    return model.predict


@dataclass
class Ledger:
    """Counts what happens while the bridge is installed, and says what executes.

    Attributes:
        loadings: every model, in order.
        predictions: how many predictions returned a result; a batch counts as its length.
        execute: what runs a loaded model; another executor may be put here.
    """

    loadings: list[Loading] = field(default_factory=list)
    predictions: int = 0
    execute: Callable[[Model], Predict] = _by_this_executor
