"""Which numerics each operation of one run has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from harness.errors import ContractError
from harness.mil.numerics import Numerics, get_numerics
from harness.mil.program import Operation

OperationNumerics: TypeAlias = Callable[[Operation], "str | Numerics | None"]
"""What a caller gives: a numerics or its name, ``None`` for that of the run."""

Assignment: TypeAlias = Callable[[Operation], Numerics]
"""What the executor asks."""


def assignment(default: Numerics, choose: OperationNumerics | None) -> Assignment:
    """Return ``choose`` with names looked up, ``None`` replaced, and carriers checked."""
    if choose is None:
        return lambda operation: default

    def assign(operation: Operation) -> Numerics:
        chosen = choose(operation)
        numerics = default if chosen is None else get_numerics(chosen)
        if not numerics.carries_as(default):
            raise ContractError(
                f"operation {operation} can't be computed in numerics {numerics.name!r} in a run "
                f"in {default.name!r}: they carry values in different types"
            )
        return numerics

    return assign
