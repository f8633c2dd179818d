"""The units of a machine, which operations each can run, and splits of a program over them.

A machine has three units, ``ane``, ``gpu`` and ``cpu``, each with a profile. What a unit can run is
published in part (`harness.devices.place`); what nothing is published of may run there, since a
floor over all splits must not miss one. Operations that only move values, and those in FP32, give
the same wherever they run, so a split says nothing of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from harness.devices import Device, device, place
from harness.devices.placement import UNITS as RULED
from harness.mil import Model
from harness.mil.assignment import OperationNumerics
from harness.mil.numerics.device import device_numerics
from harness.mil.ops.registry import ParameterKind
from harness.mil.plan import Plan, Step
from harness.mil.types import TensorType
from harness.precision.sensitivity.on_units import computes_half

Split: TypeAlias = Mapping[str, str]
"""The unit of each operation that computes in FP16, by its name in the program."""

UNITS: Final = ("ane", "gpu", "cpu")
"""In the order in which Core ML would rather have an operation run."""
_TENSORS: Final = (ParameterKind.TENSOR, ParameterKind.TENSORS)


@dataclass(frozen=True)
class Machine:
    """Three units that share the work.

    Attributes:
        units: how each of `UNITS` computes.
    """

    units: Mapping[str, Device]

    def able(self, model: Model) -> dict[str, tuple[str, ...]]:
        """Return which units may run each operation of a program that computes in FP16."""
        plan = model.plan
        return {s.operation.name: self._able(plan, s) for s in plan.steps if computes_half(s)}

    def _able(self, plan: Plan, step: Step) -> tuple[str, ...]:
        slots = [slot for a in step.arguments if a.kind in _TENSORS for slot in a.slots]
        types = [
            type_
            for type_ in (*(plan.types[slot] for slot in slots), *step.types)
            if isinstance(type_, TensorType)
        ]
        found = place(
            step.operation.type,
            [str(type_.dtype) for type_ in types],
            # A size that is not known breaks no rule.
            [tuple(1 if n is None else n for n in type_.shape or ()) for type_ in types],
        )
        rules = {name: _rules_of(unit) for name, unit in self.units.items()}
        # The CPU takes whatever is left.
        return tuple(n for n in UNITS if n == "cpu" or found.on(rules[n]).possible is not False)

    def all_on(self, model: Model, unit: str) -> Split:
        """Return the split in which ``unit`` runs all that it can, and others what is left."""
        order = (unit, *UNITS)
        able = self.able(model).items()
        return {name: next(u for u in order if u in units) for name, units in able}

    def numerics(self, split: Split) -> OperationNumerics:
        """Return the numerics of every operation of a split, for `Model.run`."""
        made = {name: device_numerics(unit) for name, unit in self.units.items()}
        return lambda operation: made.get(split.get(operation.name, ""))


def machine_of(unit: Device) -> Machine:
    """Return the machine that a device is in: beside it stand the others of its generation."""
    generation = ("ane-m5", "gpu-m5") if "m5" in unit.profile.name else ("ane-m1", "gpu")
    others = dict(zip(UNITS, map(device, (*generation, "cpu-bnns")), strict=True))
    return Machine(MappingProxyType({**others, unit.profile.unit: unit}))


def _rules_of(unit: Device) -> str:
    """Return the unit of `harness.devices.place`: what is not known counts as the oldest."""
    profile = unit.profile
    if profile.unit != "ane":
        return profile.unit
    return profile.name if profile.name in RULED else "ane-m1"
