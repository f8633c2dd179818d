"""What a tuned set has to beat: how FP32 operations are chosen without sensitivities by operation.

Each baseline is an order in which operations become FP32, a step at a time, until the goal is
reached, as virtual runs tell:

- ``list``: the published list of sensitive types, then the other types by their share of the error;
- ``types``: type by type, by share of the error for what the type costs in FP32;
- ``prefix`` and ``suffix``: operation by operation from the front or the back of the program, by
  bisection.

A type's share of the error is that of the measure where it is greatest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.conversion.recipes import load_recipe
from harness.precision.tuning import Parts, Trial, Tuner

Steps = Sequence[tuple[str, ...]]


def baselines(tuner: Tuner, parts: Parts) -> dict[str, Trial | None]:
    """Return the cheapest trial of each baseline that holds; None where not even all FP32 does."""
    types = {operation.name: operation.type for operation in tuner.lab.operations}
    computing = parts.operations
    own = parts.without_unknown()[0].own
    total = own.sum(0)
    relative = np.divide(own, total, out=np.zeros_like(own), where=total > 0)
    shares = dict(zip(computing, relative, strict=True))
    by_type: dict[str, list[str]] = {}
    for name in computing:
        by_type.setdefault(types[name], []).append(name)
    share = {
        kind: float(np.sum([shares[name] for name in names], axis=0).max())
        for kind, names in by_type.items()
    }
    cost = {kind: sum(tuner.costs[name] for name in names) for kind, names in by_type.items()}
    listed = tuner.lab.by_recipe(load_recipe("mixed"))
    published = {types[name] for name, precision in listed.items() if precision == "fp32"}
    first = tuple(name for name in computing if types[name] in published)
    rest = sorted(set(by_type) - published, key=lambda kind: -share[kind])
    worth = sorted(by_type, key=lambda kind: -share[kind] / max(cost[kind], 1e-12))
    by_types: dict[str, Steps] = {
        "list": [first, *(tuple(by_type[kind]) for kind in rest)],
        "types": [tuple(by_type[kind]) for kind in worth],
    }
    by_place: dict[str, Steps] = {
        "prefix": [(name,) for name in computing],
        "suffix": [(name,) for name in reversed(computing)],
    }
    found = {name: first_that_holds(tuner, steps) for name, steps in by_types.items()}
    return found | {name: bisected(tuner, steps) for name, steps in by_place.items()}


def first_that_holds(tuner: Tuner, steps: Steps) -> Trial | None:
    """Return the trial of the fewest steps that reach the goal."""
    names: list[str] = []
    for step in steps:
        names += step
        trial = tuner.trial(names)
        if trial.holds:
            return trial
    return None


def bisected(tuner: Tuner, steps: Steps) -> Trial | None:
    """Return the trial of about the fewest steps that reach the goal, as if more were better."""
    names = [name for step in steps for name in step]
    ends = np.cumsum([len(step) for step in steps])
    best, low, high = None, 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        if tuner.trial(names[: ends[middle]]).holds:
            best, high = names[: ends[middle]], middle
        else:
            low = middle + 1
    return None if best is None else tuner.trial(best)
