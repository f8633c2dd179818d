"""Each operation of a program, executed by ONNX Runtime on the executor's own values.

An error is inherited by everything behind it, and in FP16 two engines that round alike drift apart
by chance. Where each operation gets the same values in both, what differs is its own doing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.metrics import snr_db
from harness.mil.program import Operation

ROUNDING_DB: Final = {"float32": 100.0, "float16": 55.0}
"""What rounding may cost one operation: in FP16 a whole unit in the last place of every element is
60 dB; in FP32 the mean of a signal without one cancels to 105 dB in HTDemucs."""


@dataclass(frozen=True)
class Disagreement:
    """An operation of which two engines make different results of the same values.

    Attributes:
        operation: as it stands in the program.
        value: name of its result.
        snr_db: of one engine's result against the other's.
    """

    operation: Operation
    value: str
    snr_db: float


def disagreements(
    operations: Iterable[Operation],
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
) -> list[Disagreement]:
    """Return the results that differ by more than rounding, in program order.

    Args:
        operations: of the program, in its order.
        expected: what one engine makes of the values of the program, by name.
        actual: what another makes of the same values.
    """
    found = []
    for operation in operations:
        for name in (variable.name for variable in operation.outputs):
            if name in expected and name in actual:
                level = _level_db(expected[name], actual[name])
                if level < ROUNDING_DB.get(expected[name].dtype.name, np.inf):
                    found.append(Disagreement(operation, name, level))
    return found


def _level_db(expected: np.ndarray, actual: np.ndarray) -> float:
    """Return the ratio of ``expected`` to the difference; of what is the same it is infinite."""
    floating = expected.dtype.kind == "f"
    if np.array_equal(expected, actual, equal_nan=floating):
        return np.inf
    if not floating or expected.shape != actual.shape:
        return -np.inf
    level = snr_db(expected, actual)
    return -np.inf if np.isnan(level) else level
