"""Edits that bugs of a converted program are made of; each returns an injection.

An operation is found by its type and the PyTorch module that it was converted from; where there
are several, ``at`` says which in program order::

    rebound("layer_norm", "crosstransformer.layers.3.norm1", beta=None)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import numpy as np

from harness.faults.judges.program import Converted
from harness.faults.operators import Edit, MutationSite
from harness.mil.editing import Bindable, skipped, with_inputs

ProgramEdit: TypeAlias = Callable[[Converted], Converted]


def mutated(
    operator: Callable[[MutationSite], Edit | None], type: str, module: str, at: int = 0
) -> ProgramEdit:
    """Apply a mutation operator to an operation."""
    return lambda converted: converted.applied(operator(converted.site(type, module, at)))


def rebound(type: str, module: str, **inputs: Bindable) -> ProgramEdit:
    """Bind some inputs of an operation to other values; ``None`` unbinds."""
    return mutated(lambda site: [with_inputs(site.operation, **inputs)], type, module)


def left_out(type: str, module: str, parameter: str = "x") -> ProgramEdit:
    """Leave an operation out: its input stands for its result."""
    return mutated(lambda site: [skipped(site.operation, parameter)], type, module)


def constant_changed(
    type: str, module: str, parameter: str, at: int = 0
) -> Callable[[Callable[[np.ndarray], np.ndarray]], ProgramEdit]:
    """Change a constant that an operation reads by the decorated function, which gets a copy."""

    def decorate(change: Callable[[np.ndarray], np.ndarray]) -> ProgramEdit:
        edit = mutated(lambda site: site.changed(parameter, change), type, module, at)
        return wraps(change)(edit)

    return decorate


def computed(type: str, module: str, at: int = 0) -> Callable[[Callable[..., Any]], ProgramEdit]:
    """Let the executor compute an operation by the decorated function."""

    def decorate(function: Callable[..., Any]) -> ProgramEdit:
        return wraps(function)(
            lambda converted: converted.computing(converted.all(type, module)[at], function)
        )

    return decorate
