"""Gradients through every operation: what the precision lab's backward passes stand on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from suites.ops.cases import Case, all_cases
from suites.ops.packages import build_program, package_inputs, write_package

NUDGE, STEP = 1e-3, 1e-6


def tensors_of(case: Case) -> dict[str, torch.Tensor]:
    """Return a case's inputs for float64 numerics, moved off the kinks that rows aim at."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name, array in package_inputs(case, "fp32").items():
        moved = array + rng.uniform(0, NUDGE, array.shape) if array.dtype.kind == "f" else array
        tensors[name] = torch.from_numpy(moved)
    return tensors


def slopes(model: mil.Model, inputs: dict[str, Any], seed: int) -> tuple[float, float] | None:
    """Return a directional derivative of a random sum of the results: by gradients, by differences.

    ``None`` where no floating result depends on a floating input.
    """
    generator = torch.Generator().manual_seed(seed)

    def total(values: dict[str, torch.Tensor], differentiable: bool) -> torch.Tensor:
        results = model.run(values, numerics="float64", differentiable=differentiable).values()
        generator.manual_seed(seed)
        floats = [y for y in results if y.is_floating_point()]
        weights = [torch.randn(y.shape, dtype=y.dtype, generator=generator) for y in floats]
        return sum(
            ((w * y).sum() for w, y in zip(weights, floats, strict=True)),
            torch.zeros((), dtype=torch.float64),
        )

    leaves = {n: x.clone().requires_grad_() for n, x in inputs.items() if x.is_floating_point()}
    value = total(inputs | leaves, True)
    if not leaves or not value.requires_grad:
        return None
    value.backward()
    directions = {
        n: torch.from_numpy(np.random.default_rng(seed).standard_normal(x.shape))
        for n, x in leaves.items()
    }
    by_gradients = sum(
        float((x.grad * directions[n]).sum()) for n, x in leaves.items() if x.grad is not None
    )
    ends = [
        float(total(inputs | {n: inputs[n] + s * STEP * d for n, d in directions.items()}, False))
        for s in (1, -1)
    ]
    return by_gradients, (ends[0] - ends[1]) / (2 * STEP)


@pytest.mark.filterwarnings("ignore::harness.mil.refusals.RefusedByCoreMLWarning")
def test_gradients_are_the_limits_of_differences(tmp_path):
    """An operation that breaks the chain, or writes over what backward needs, spoils a lab run."""
    wrong, checked = {}, set()
    for case in all_cases():
        if "fp32" not in case.dtypes or not case.tensors:
            continue
        model = mil.load(write_package(build_program(case, "fp32"), tmp_path / case.id))
        found = slopes(model, tensors_of(case), seed=4)
        if found is not None:
            checked.add(case.op)
            if not np.isclose(*found, rtol=1e-4, atol=1e-6):
                wrong[case.id] = found
    assert wrong == {}
    assert len(checked) >= 120, f"only {sorted(checked)} have a gradient"
