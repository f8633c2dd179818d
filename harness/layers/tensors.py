"""Tensors by name, and one comparison of two of them as a check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy.typing as npt

from harness.verdicts import Check, Gate, Verdict, compare, gate

ENGINE_GATES: Final = {
    "subject": frozenset({"surgery"}),
    "package": frozenset(
        {
            "conversion",
            "expected_precision",
            "expected_precision_fp32",
            "expected_precision_state",
            "expected_precision_carried",
            "end_to_end",
            "quality",
        }
    ),
}
"""By what an engine executes, the gates of the checks about what it made."""
TAP_GATES: Final = frozenset({"surgery", "expected_precision", "expected_precision_fp32"})
"""Those that ask for inner values, too."""


class Tensors(Protocol):
    """Arrays by the names of a golden; a dictionary, or a golden's file."""

    def __contains__(self, name: object, /) -> bool:
        """Return whether there is such a tensor."""
        ...

    def __getitem__(self, name: str, /) -> npt.NDArray[Any]:
        """Return one of them."""
        ...


@lru_cache
def tensor_label(name: str) -> str:
    """Return how checks call a golden's tensor: ``tap.encoder.0`` is the tap ``encoder.0``."""
    return name.replace("tap.", "tap ", 1)


def compared(
    layer: str,
    gate_name: str,
    expected: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    labels: Mapping[str, str],
    *,
    gating: bool = True,
    bounds: Gate | None = None,
) -> Check:
    """Compare two arrays under a gate of the table, or under other bounds in its place."""
    bounds = bounds or gate(gate_name)
    return Check(layer, dict(labels), gating, bounds, compare(expected, actual, bounds))


def first_failing(checks: Iterable[Check]) -> Check | None:
    """Return the first gating check that doesn't pass; what comes after it is not even made."""
    return next((c for c in checks if c.gating and c.verdict is not Verdict.PASS), None)
