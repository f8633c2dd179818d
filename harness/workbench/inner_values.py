"""Values that two programs have at one place, operation by operation, without keeping them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.diagnosis.replay import Replay
from harness.diagnosis.sides import Reference
from harness.metrics import snr_db
from harness.mil import Model
from harness.precision.virtual import is_floating
from harness.verdicts.rows.operations import OperationProfile
from harness.workbench.given import Arrays, as_tensors
from harness.workbench.matching import Alignment


@dataclass(frozen=True, eq=False)
class InnerValue:
    """What three programs have at one place: float32.

    Attributes:
        operation: that makes it, as the candidate calls it.
        dtype: that the candidate declares.
        expected, promised, actual: of the reference, of the reference with the candidate's
            roundings, and of the candidate.
    """

    operation: str
    dtype: str
    expected: np.ndarray
    promised: np.ndarray
    actual: np.ndarray

    def profile(self, index: int) -> OperationProfile:
        """Return its row."""
        return OperationProfile(
            index=index,
            operation=self.operation,
            type="tap",
            module="",
            precision="fp16" if self.dtype == "fp16" else "fp32",
            metrics={"snr_db": snr_db(self.expected, self.actual)},
        )


def inner_values(
    alignment: Alignment, promised: Model, given: Arrays, mine: Arrays, numerics: str
) -> Iterator[InnerValue]:
    """Yield the values that an operation makes and both programs have, in program order."""
    base, candidate, places = alignment.lab.base, alignment.candidate, alignment.places
    inputs = as_tensors(given, base)
    rounded = as_tensors(as_types_of(mine, given), base)
    replay = Replay(candidate, numerics)
    sides = [
        Reference(base, replay, inputs, lambda s: s.outputs, places=places),
        Reference(promised, replay, rounded, lambda s: s.outputs, numerics, places),
    ]
    for played in replay.steps(inputs):
        for slot, made in zip(played.step.outputs, played.results, strict=True):
            expected, allowed = (side.use(slot) for side in sides)
            if expected is None or allowed is None or played.step.operation.type == "cast":
                continue
            if is_floating(candidate.plan.types[slot]):
                values = (value.float().numpy() for value in (expected, allowed, made))
                operation = played.step.operation
                yield InnerValue(operation.name, str(operation.dtype), *values)


def as_types_of(made: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in the element types of others, by name: rounded as those are."""
    return {
        name: value.astype(like[name].dtype) if isinstance(value, np.ndarray) else value
        for name, value in made.items()
    }
