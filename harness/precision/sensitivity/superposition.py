"""What weighted sums of the operations' errors do to a program's outputs.

With e_k what FP16 does to operation k, and J_k the derivative of the outputs with respect to its
result, one sum is ``sum(w_k J_k e_k)``: the program is run once more with ``w_k e_k`` added to each
result, and the outputs are subtracted. That holds to first order, so weights should leave the sum
small beside the outputs. A sum costs about as much as a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from harness.mil.plan import Step
from harness.precision.sensitivity.adjoint import Recording

Tensor: TypeAlias = torch.Tensor
Errors: TypeAlias = Mapping[int, Tensor]
"""What is added to an operation's results, by slot."""
ErrorOf: TypeAlias = Callable[[Step, Mapping[int, Any], Mapping[int, Tensor]], Errors]
"""Gives the error of a step, from the values that it reads and its results, by slot."""


@torch.no_grad()
def superpose(
    recording: Recording, error_of: ErrorOf, weights: Mapping[str, Sequence[float]]
) -> list[dict[str, Tensor]]:
    """Return what each sum adds to the outputs.

    Args:
        recording: of the program.
        error_of: gives e.
        weights: for each operation, by its name in the plan, its weight in each sum; one that is
            missing has no part in them.

    Raises:
        ExecutionError: an operation failed.
    """
    executable = recording.executable
    moved: list[dict[int, Any]] = [
        {**executable.constants, **recording.inputs} for _ in next(iter(weights.values()), ())
    ]
    for scheduled, values in recording.steps():
        step = scheduled.step
        wanted = weights.get(step.operation.name, ())
        results = {slot: values[slot] for slot in step.outputs}
        error = error_of(step, values, results) if wanted else {}
        # The memory of a view is an operand's.
        add = torch.add if step.definition.effect.shares_memory else torch.Tensor.add_
        for number, own in enumerate(moved):
            own.update(zip(step.outputs, executable.call(step, own), strict=True))
            for slot, part in error.items():
                own[slot] = add(own[slot], part, alpha=wanted[number])
            for slot in scheduled.free:
                del own[slot]
    return [
        {name: own[slot] - recording.outputs[name] for name, slot in recording.slots.items()}
        for own in moved
    ]
