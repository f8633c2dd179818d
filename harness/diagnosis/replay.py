"""A run that stops after every operation, and what one operation does to given inputs.

`Replay` executes a model as `Model.run` does, but hands each step over with what it read and made,
so that a tool can ask what the same step would have made of something else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import torch

from harness.errors import PackageError
from harness.mil import Model, Numerics, get_numerics
from harness.mil.assignment import OperationNumerics, assignment
from harness.mil.plan import Step
from harness.mil.schedule import build_schedule
from harness.mil.types import element_type

Tensor: TypeAlias = torch.Tensor
_ROW: Final = 1 << 13


@dataclass(frozen=True, eq=False)
class Played:
    """A step that has just been executed.

    Attributes:
        step: of the model's plan.
        values: what each slot holds that it may read, constants included.
        results: what it made, in the order of its outputs.
    """

    step: Step
    values: Mapping[int, Any]
    results: tuple[Any, ...]


class Replay:
    """One run of a model without blocks and states.

    Args:
        model: what is run.
        numerics: how.
        operation_numerics: as in `Model.run`.

    Raises:
        PackageError: an operation has blocks, or the model has states.
    """

    def __init__(
        self,
        model: Model,
        numerics: str | Numerics = "storage",
        operation_numerics: OperationNumerics | None = None,
    ) -> None:
        blocks = next((o for o in model.operations if o.blocks), None)
        if blocks is not None or model.states:
            what = f"{blocks} has blocks" if blocks is not None else "the model has states"
            raise PackageError(f"{model.package.path} can't be replayed by operation: {what}")
        self.model = model
        self.numerics = get_numerics(numerics)
        self.numerics_of = assignment(self.numerics, operation_numerics)
        self._executable = model.executable(self.numerics, torch.device("cpu"))

    def steps(self, inputs: Mapping[str, Tensor]) -> Iterator[Played]:
        """Execute the model on float32 ``inputs`` and yield each step behind its execution."""
        plan = self.model.plan
        values: dict[int, Any] = dict(self._executable.constants)
        for name, tensor in inputs.items():
            slot = plan.inputs[name]
            values[slot] = self.stored(tensor, slot)
        schedule = build_schedule(plan, {plan.slots[name] for name in plan.outputs}, reuse=False)
        for scheduled in schedule.steps:
            step = scheduled.step
            results = self.call(step, values)
            yield Played(step, values, results)
            values.update(zip(step.outputs, results, strict=True))
            for slot in scheduled.free:
                values.pop(slot, None)

    def call(
        self, step: Step, values: Mapping[int, Any], numerics: Numerics | None = None
    ) -> tuple[Any, ...]:
        """Return what ``step`` makes of ``values``, in its own numerics or another.

        Constants need not be among ``values``.
        """
        known = {**self._executable.constants, **values}
        return self._executable.call(step, known, numerics or self.numerics_of(step.operation))

    def stored(self, tensor: Tensor, slot: int) -> Tensor:
        """Return ``tensor`` as a value of the slot's declared type."""
        dtype = element_type(self.model.plan.types[slot])
        assert dtype is not None  # slots of tensors only
        return self.numerics.store(tensor, dtype, writable=False)


def snr_db(reference: Tensor, actual: Tensor) -> float:
    """Return the SNR of ``actual`` in dB: ``inf`` if exact, ``-inf`` if anything isn't finite.

    A zero reference has no ratio: whatever differs from it is at ``-inf``.
    """
    if not reference.is_floating_point():  # integers that are moved
        reference = reference.double()
    return level_db(norm(reference), norm(actual.to(reference.dtype) - reference))


def level_db(signal: float, error: float) -> float:
    """Return the SNR in dB of what has these norms, as `snr_db`."""
    if error == 0.0:
        return math.inf
    if not math.isfinite(error) or signal == 0.0:
        return -math.inf
    return 20 * math.log10(signal / error)


def norm(tensor: Tensor) -> float:
    """Return the norm: of rows in the tensor's own type, which is fast, of those in float64."""
    flat = tensor.reshape(-1)
    whole = flat.numel() - flat.numel() % _ROW
    rows = torch.linalg.vector_norm(flat[:whole].view(-1, _ROW), dim=1)
    rest = torch.linalg.vector_norm(flat[whole:], dtype=torch.float64)
    return math.hypot(float(torch.linalg.vector_norm(rows, dtype=torch.float64)), float(rest))


def local_snr_db(
    model: Model,
    inputs: Mapping[str, Tensor],
    numerics: str | Numerics,
    operation_numerics: OperationNumerics | None = None,
) -> dict[str, float]:
    """Return what each operation alone loses by its numerics, in dB by its name.

    Each operation is computed twice on what it reads in that run: as it is, and wide with one
    rounding (``storage``). Operations that are computed alike are left out.

    Raises:
        ParityError: the numerics carries values otherwise than ``storage``.
    """
    replay, wide = Replay(model, numerics, operation_numerics), get_numerics("storage")
    lost: dict[str, float] = {}
    for played in replay.steps(inputs):
        step = played.step
        if replay.numerics_of(step.operation) is wide or step.moves_exactly:
            continue
        best = replay.call(step, played.values, wide)
        pairs = zip(best, played.results, strict=True)
        found = [snr_db(one, other) for one, other in pairs if isinstance(one, Tensor)]
        lost[step.operation.name] = min(found, default=math.inf)
    return lost
