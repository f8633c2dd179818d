"""Rules that say which operations treat the rows of their operands independently.

A row is what lies at one index of the leading axis. A rule gives, of one call, the operands that
are taken row by row: row i of each result depends on row i of these, and on all of the others.
Where there is none, the call needs its operands whole. What treats rows independently may be
executed for a few of them at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """What is known of a call before it is made.

    Attributes:
        literals: by parameter, arguments that are plain Python values.
        shapes: by parameter, the shapes of the tensors in it: one, or those of a variadic one.
        results: the declared shape of each result.
    """

    literals: Mapping[str, Any]
    shapes: Mapping[str, tuple[Shape, ...]]
    results: tuple[Shape, ...]


@dataclass(frozen=True)
class Rows:
    """How an operation treats rows.

    Attributes:
        taken: which operands are taken row by row.
        shape: name of the literal that says which shape the result has, if there is one.
    """

    taken: Callable[[Call], Collection[str]]
    shape: str | None = None


def _aligned(call: Call) -> Collection[str]:
    (result,) = call.results
    return [
        name
        for name, (shape,) in call.shapes.items()
        if len(shape) == len(result) and shape[0] == result[0]
    ]


ELEMENTWISE = Rows(_aligned)
"""Each element of the result depends on one of each operand, which broadcasts as in NumPy."""


def along(axes: str, operand: str = "x") -> Rows:
    """Return how an operation works along the axes in the literal ``axes`` of ``operand``.

    Without axes it works along all; any further operand is needed whole.
    """

    def taken(call: Call) -> Collection[str]:
        chosen, rank = call.literals.get(axes), len(call.shapes[operand][0])
        if chosen is None or rank == 0:
            return ()
        listed = (chosen,) if isinstance(chosen, int) else chosen
        return () if any(axis % rank == 0 for axis in listed) else (operand,)

    return Rows(taken)


def in_order(shape: str | None = None) -> Rows:
    """Return how an operation treats rows that keeps the order of the elements of ``x``.

    They stay as they are if as many come out as went in. A literal ``shape`` has to agree with
    what is declared: for some of the rows that takes its place.
    """

    def taken(call: Call) -> Collection[str]:
        (before,), (after,) = call.shapes["x"], call.results
        wanted = after if shape is None else call.literals[shape]
        agrees = all(size in (known, -1) for size, known in zip(wanted, after, strict=True))
        same = math.prod(before) == math.prod(after) and before[:1] == after[:1]
        return ("x",) if agrees and same else ()

    return Rows(taken, shape)
