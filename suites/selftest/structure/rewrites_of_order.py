"""Rewrites of the order of operations and of operands."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from harness.mil.program import Operation
from harness.structure.terms import COMMUTATIVE
from suites.selftest.structure.rewriting import (
    Draft,
    rewrite,
)


@rewrite("independent operations in another order")
def another_order(draft: Draft) -> None:
    draft.operations = _ordered(draft, random.Random(0).random)


@rewrite("branches one after the other")
def depth_first(draft: Draft) -> None:
    """The operation that could run last is written first as soon as it can be."""
    places = iter(range(len(draft.operations), 0, -1))
    draft.operations = _ordered(draft, lambda: float(next(places)))


def _ordered(draft: Draft, priority: Callable[[], float]) -> list[Operation]:
    """Return the operations in the order of their priorities, as far as their inputs allow."""
    ranked = sorted((priority(), i) for i in range(len(draft.operations)))
    operations = draft.operations
    made = {variable.name for variable in draft.function.inputs}
    waiting = [operations[i] for _, i in ranked]
    written: list[Operation] = []
    while waiting:
        later = []
        for operation in waiting:
            if made.issuperset(operation.input_names):
                written.append(operation)
                made.update(variable.name for variable in operation.outputs)
            else:
                later.append(operation)
        waiting = later
    return written


@rewrite("operands commuted")
def operands_commuted(draft: Draft) -> None:
    draft.operations = [
        replace(o, inputs={**o.inputs, "x": o.inputs["y"], "y": o.inputs["x"]})
        if o.type in COMMUTATIVE
        else o
        for o in draft.operations
    ]
