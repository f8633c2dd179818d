"""What a device would make of a program if some of its properties were otherwise.

A whole run for each of a dozen variants costs minutes each, nearly all of it for products that most
variants don't change. So the program is executed once, as the device is assumed to be. Beside it
each variant goes along as a difference: where it computes an operation otherwise, what that makes
of the very values of the run is added, and what the values behind it make of that is told by the
operation without rounding, at both values. So derivatives are not needed, and a difference may be
large; the roundings of the run are taken to be the variant's, too.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from harness.devices import Device
from harness.mil import Model
from harness.mil.numerics.device import depends_on, device_numerics
from harness.mil.plan import Step
from harness.mil.schedule import build_schedule
from harness.precision.sensitivity.on_units import WIDE, computes_half

Tensor: TypeAlias = torch.Tensor
Outputs: TypeAlias = dict[str, Tensor]
Advance: TypeAlias = Callable[[int, int], None]


@torch.no_grad()
def vary(
    model: Model,
    inputs: Mapping[str, Tensor],
    unit: Device,
    others: Sequence[Device],
    advance: Advance = lambda done, total: None,
) -> tuple[Outputs, list[Outputs]]:
    """Return the outputs on a device, and what they would be on each of ``others``.

    Args:
        model: a program.
        inputs: float32, on the device to work on.
        unit: how the device computes.
        others: the same profile, with settings otherwise.
        advance: called as ``advance(done, total)`` with operations.

    Raises:
        ExecutionError: an operation failed.
    """
    run = _Run(model, next(iter(inputs.values())).device, unit, others)
    return run.outputs(inputs, advance)


class _Run:
    """One run, and a difference for each variant."""

    def __init__(
        self, model: Model, place: torch.device, unit: Device, others: Sequence[Device]
    ) -> None:
        self._model, self._unit, self._others = model, unit, others
        self._executable = model.executable(WIDE, place)
        self._numerics = device_numerics(unit)
        self._other_numerics = [device_numerics(other) for other in others]

    def outputs(
        self, inputs: Mapping[str, Tensor], advance: Advance
    ) -> tuple[Outputs, list[Outputs]]:
        plan = self._model.plan
        slots = {feature.name: plan.slots[feature.name] for feature in self._model.outputs}
        given = {plan.inputs[name]: tensor for name, tensor in inputs.items()}
        values: dict[int, Any] = {**self._executable.constants, **given}
        varied: list[dict[int, Any]] = [{} for _ in self._others]
        schedule = build_schedule(plan, frozenset(slots.values()), reuse=False)
        for done, scheduled in enumerate(schedule.steps):
            advance(done, len(schedule.steps))
            self._step(scheduled.step, values, varied)
            for slot in scheduled.free:
                for held in (values, *varied):
                    held.pop(slot, None)
        return (
            {name: values[slot] for name, slot in slots.items()},
            [{name: own.get(slot, values[slot]) for name, slot in slots.items()} for own in varied],
        )

    def _step(self, step: Step, values: dict[int, Any], varied: Sequence[dict[int, Any]]) -> None:
        call = self._executable.call
        made = call(step, values, self._numerics)
        changes: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        wide: tuple[Any, ...] | None = None
        found: list[dict[int, Any]] = []
        for own, other, numerics in zip(varied, self._others, self._other_numerics, strict=True):
            touched = any(slot in own for slot in step.reads)
            key = self._key(step, other)
            results: tuple[Any, ...] = made
            if touched:
                layers: Any = ChainMap(own, values)
                if computes_half(step):
                    wide = call(step, values) if wide is None else wide
                    moved = call(step, layers)
                    results = tuple(map(_plus, made, moved, wide))
                else:
                    results = call(step, layers)
            if key is not None:
                if key not in changes:
                    changes[key] = call(step, values, numerics)
                results = tuple(map(_plus, results, changes[key], made))
            same = results is made
            found.append({} if same else dict(zip(step.outputs, results, strict=True)))
        values.update(zip(step.outputs, made, strict=True))
        for own, results_of in zip(varied, found, strict=True):
            own.update(results_of)

    def _key(self, step: Step, other: Device) -> tuple[Any, ...] | None:
        """Return how a variant computes a step, if that is otherwise than the device does."""
        if not computes_half(step):
            return None
        names = depends_on(step.operation.type)
        usual = tuple(self._unit.settings.get(name) for name in names)
        own = tuple(other.settings.get(name) for name in names)
        return None if own == usual else own


def _plus(result: Any, other: Any, usual: Any) -> Any:
    """Return ``result`` with the difference of ``other`` from ``usual``.

    There is none of what is no number, or is infinite as usual: that becomes ``other``.
    """
    if not isinstance(result, Tensor) or not result.is_floating_point():
        return other
    return torch.where(usual.isfinite(), result + (other - usual), other)
