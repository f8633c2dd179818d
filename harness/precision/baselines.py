"""What a tuned set has to beat: how FP32 operations are chosen without sensitivities by operation.

Each baseline is an order in which operations become FP32, a step at a time, until the goal is
reached; the first step that reaches it is found by bisection, with virtual runs.

- ``list``: the published list of sensitive types, then the other types by their share of the error;
- ``types``: type by type, by share of the error for what the type costs in FP32;
- ``prefix`` and ``suffix``: from the front or the back of the program.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.conversion.recipes import load_recipe
from harness.precision.goals import Trial
from harness.precision.parts import Parts
from harness.precision.tune import Tuner

Steps = Sequence[tuple[str, ...]]


def baselines(tuner: Tuner, parts: Parts) -> dict[str, Trial | None]:
    """Return the cheapest trial of each baseline that holds; None where not even all FP32 does."""
    types = {operation.name: operation.type for operation in tuner.lab.operations}
    computing = parts.operations
    shares = dict(zip(computing, (parts.own / parts.own.sum(0)).max(1), strict=True))
    by_type: dict[str, list[str]] = {}
    for name in computing:
        by_type.setdefault(types[name], []).append(name)
    share = {kind: sum(shares[name] for name in names) for kind, names in by_type.items()}
    cost = {kind: sum(tuner.costs[name] for name in names) for kind, names in by_type.items()}
    listed = tuner.lab.by_recipe(load_recipe("mixed"))
    published = {types[name] for name, precision in listed.items() if precision == "fp32"}
    first = tuple(name for name in computing if types[name] in published)
    rest = sorted(set(by_type) - published, key=lambda kind: -share[kind])
    worth = sorted(by_type, key=lambda kind: -share[kind] / max(cost[kind], 1e-12))
    orders: dict[str, Steps] = {
        "list": [first, *(tuple(by_type[kind]) for kind in rest)],
        "types": [tuple(by_type[kind]) for kind in worth],
        "prefix": [(name,) for name in computing],
        "suffix": [(name,) for name in reversed(computing)],
    }
    return {name: first_that_holds(tuner, steps) for name, steps in orders.items()}


def first_that_holds(tuner: Tuner, steps: Steps) -> Trial | None:
    """Return the trial of the fewest steps that reach the goal, found by bisection."""
    ends = np.cumsum([len(step) for step in steps])
    names = [name for step in steps for name in step]
    best, low, high = None, 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        trial = tuner.trial(names[: ends[middle]])
        tuner.report(f"{ends[middle]} operations: {trial.worst_db:.2f} dB")
        if trial.holds:
            best, high = trial, middle
        else:
            low = middle + 1
    return best
