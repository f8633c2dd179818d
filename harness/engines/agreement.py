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

ROUNDING: Final = 1e-5
"""How much of the largest element, or of what a mean adds up, FP32 arithmetic may cost one
operation. To it comes a unit in the last place as stored."""


@dataclass(frozen=True)
class Disagreement:
    """An operation of which two engines make different results of the same values.

    Attributes:
        operation: as it stands in the program.
        value: name of its result.
        snr_db: of one engine's result against the other's; NaN where there is no such ratio.
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
            if name not in expected or name not in actual:
                continue
            one, other = expected[name], actual[name]
            if not _agree(one, other, _added(operation, expected)):
                related = one.shape == other.shape and one.dtype.kind == "f" and one.size
                level = snr_db(one, other) if related else np.nan
                found.append(Disagreement(operation, name, level))
    return found


def _added(operation: Operation, values: Mapping[str, np.ndarray]) -> float:
    """Return the mean magnitude of what a mean adds up: it may be far above what is left of it."""
    read = values.get(operation.input_names[0]) if operation.type == "reduce_mean" else None
    return 0.0 if read is None else float(np.abs(read).mean(where=np.isfinite(read)))


def _agree(expected: np.ndarray, actual: np.ndarray, added: float) -> bool:
    """Whether two results differ by no more than rounding; integers and truth values by nothing."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return False
    if expected.dtype.kind != "f":
        return np.array_equal(expected, actual)
    apart = expected != actual
    if not apart.any():
        return True
    e, a = expected[apart], actual[apart]
    finite = np.isfinite(e)
    if not np.array_equal(e[~finite], a[~finite], equal_nan=True):
        return False
    e, a = e[finite], a[finite]
    largest = np.max(np.abs(expected), where=np.isfinite(expected), initial=0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        step = np.spacing(np.maximum(np.abs(e), np.abs(a))).astype(np.float64)
        allowed = step + ROUNDING * max(float(largest), added)
        return bool((np.abs(e.astype(np.float64) - a) <= allowed).all())
