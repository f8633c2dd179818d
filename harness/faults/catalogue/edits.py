"""Edits that bugs of a converted program are made of; each returns an injection.

An operation is found by its type and the PyTorch module that it was converted from; where there
are several, ``at`` says which in program order::

    rebound("layer_norm", "crosstransformer.layers.3.norm1", beta=None)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeAlias

import numpy as np

from harness.errors import PackageError
from harness.faults.judges.program import Converted
from harness.faults.operators import Edit, MutationSite
from harness.mil.editing import Bindable, computing, key, skipped, with_inputs

ProgramEdit: TypeAlias = Callable[[Converted], Converted]


def mutated(
    operator: Callable[[MutationSite], Edit | None], type: str, module: str, at: int = 0
) -> ProgramEdit:
    """Apply a mutation operator to an operation; a `PackageError` where it makes nothing of it."""

    def inject(converted: Converted) -> Converted:
        edit = operator(converted.site(type, module, at))
        if edit is None:
            raise PackageError("the program has nothing there that could be got wrong in this way")
        return converted.edited(edit[-1], before=edit[:-1])

    return inject


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
        @wraps(function)
        def inject(converted: Converted) -> Converted:
            place = key(converted.all(type, module)[at])
            return replace(converted, model=computing(converted.model, {place: function}))

        return inject

    return decorate
