"""Which values of a program a caller wants to see: names, patterns, or all."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TypeAlias

from harness.errors import ContractError, UnknownNameError
from harness.mil.program import Operation, walk
from harness.mil.types import TensorType

Taps: TypeAlias = Sequence[str]


def select_taps(operations: Sequence[Operation], taps: Taps | str) -> list[str]:
    """Return the operation outputs that names, patterns (``*``, ``?``, ``[]``) or ``"all"`` mean.

    Raises:
        UnknownNameError: a name or pattern matches nothing.
        ContractError: it matches nothing but values inside blocks.
    """
    if not taps:
        return []
    known = [
        variable.name
        for operation in operations
        for variable in operation.outputs
        if isinstance(variable.type, TensorType)
    ]
    patterns = ["*"] if taps == "all" else [taps] if isinstance(taps, str) else list(taps)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        if not found:
            _refuse_inner_tap(operations, pattern)
            raise UnknownNameError("tap", pattern, known)
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _refuse_inner_tap(operations: Sequence[Operation], pattern: str) -> None:
    for outer in operations:
        for inner in (o for block in outer.blocks for o in walk(block)):
            if fnmatch.filter([variable.name for variable in inner.outputs], pattern):
                raise ContractError(
                    f"{pattern!r} is a value inside {outer}: it may exist many times in one "
                    "prediction, or not at all, so it can't be tapped; use observe= of Model.run, "
                    "which sees it each time"
                )
