"""Which operation a device computed otherwise than predicted, told by the outputs alone.

Between what a device made of a signal and what was predicted lies an error r on the outputs. For
each operation and each other way to compute it, its error behind the network is b to first order;
what is left of r beside it is |r|^2 - 2 r . b + |b|^2. One walk back from r tells r . b of all of
them, and random probes |b|^2. Those that leave least are executed, one at a time, and the best of
them is named, with how much of r it explains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import torch

from harness.devices import Device
from harness.mil import Model
from harness.mil.numerics import Numerics
from harness.mil.numerics.device import depends_on, device_numerics
from harness.mil.plan import Step
from harness.mil.program import Operation
from harness.precision.placement.floor import PROBES
from harness.precision.sensitivity import ShareEstimator, SignalMeasure, audible
from harness.precision.sensitivity.on_units import WIDE, computes_half, difference, stored
from harness.precision.sensitivity.sites import Errors, Site

Tensor: TypeAlias = torch.Tensor
Outputs: TypeAlias = Mapping[str, Tensor]

EXECUTED: Final = 5
"""How many suspects are executed."""


@dataclass(frozen=True)
class Culprit:
    """The operation that explains most of what a device made otherwise.

    Attributes:
        operation: its name in the program.
        type: MIL operation type.
        way: how it seems to be computed, a key of the ways that were asked for.
        explained: which part of the energy of the difference goes with it; 1 is all.
    """

    operation: str
    type: str
    way: str
    explained: float


def find_culprit(
    model: Model,
    inputs: Mapping[str, Tensor],
    unit: Device,
    ways: Mapping[str, Device],
    predicted: Outputs,
    captured: Outputs,
    measures: Sequence[SignalMeasure],
) -> Culprit | None:
    """Return the operation that a device most likely computes in another way; None if none is.

    Args:
        model: what the device executed.
        inputs: float32.
        unit: how it was predicted to compute.
        ways: how it may compute one operation instead, by name.
        predicted: outputs, as executed with ``unit``.
        captured: what the device made.
        measures: by which the two are compared.
    """
    place = next(iter(inputs.values())).device
    estimator = ShareEstimator(model, _Ways(model, unit, ways, place), inputs, numerics=WIDE)
    heard = audible(measures, estimator.outputs)
    generator, at_once = torch.Generator().manual_seed(0), PROBES * len(heard)
    shares = estimator.expected(heard, PROBES, generator, at_once=at_once)
    gap = {n: captured[n].double() - predicted[n].double() for n in predicted}
    products = estimator.products({m: [m.field(estimator.outputs, gap)] for m in heard})
    gains = {
        site: sum(
            2 * float(products[measure].get(site, [0.0])[0]) - float(share)
            for measure, share in zip(heard, row, strict=True)
        )
        for site, row in shares.items()
    }
    # What overflows in one way alone has no share: it is executed first.
    known = {site: math.inf if math.isnan(gain) else gain for site, gain in gains.items()}
    suspects = sorted(known, key=lambda site: -known[site])[:EXECUTED]
    usual, whole = device_numerics(unit), _energy(heard, predicted, captured)
    found = []
    for site in suspects:
        way = {site.operation: device_numerics(ways[site.error])}
        made = model.run(inputs, numerics=usual, operation_numerics=partial(_one, way))
        left = _energy(heard, made, captured)
        found.append(Culprit(site.operation, site.type, site.error, 1 - left / whole))
    return max(found, key=lambda culprit: culprit.explained, default=None)


def _one(ways: Mapping[str, Numerics], operation: Operation) -> Numerics | None:
    return ways.get(operation.name)


class _Ways:
    """The sites of a program: each other way to compute an operation, less the usual one."""

    def __init__(
        self, model: Model, unit: Device, ways: Mapping[str, Device], device: torch.device
    ) -> None:
        self._plan, self._unit, self._ways = model.plan, unit, ways
        self._executable = model.executable(WIDE, device)
        self._usual = device_numerics(unit)
        self._numerics = {name: device_numerics(way) for name, way in ways.items()}

    def __call__(
        self, step: Step, values: Mapping[int, Any], results: Errors
    ) -> Mapping[Site, Errors]:
        if not computes_half(step):
            return {}
        read = {slot: stored(self._plan, slot, values[slot]) for slot in set(step.reads)}
        usual = self._executable.call(step, read, self._usual)
        names = depends_on(step.operation.type)
        found: dict[Site, Errors] = {}
        seen = {self._key(self._unit, names)}
        for way, unit in self._ways.items():
            if self._key(unit, names) in seen:
                continue
            seen.add(self._key(unit, names))
            made = self._executable.call(step, read, self._numerics[way])
            both = zip(step.outputs, made, usual, strict=True)
            errors = {slot: difference(own, other) for slot, own, other in both}
            if any(error.any() for error in errors.values()):
                found[Site(step.operation.name, step.operation.type, way)] = errors
        return found

    def _key(self, unit: Device, names: Sequence[str]) -> tuple[Any, ...]:
        tables = unit.profile.name if "activations" in names else ""
        return tables, *(unit.settings.get(name) for name in names)


def _energy(measures: Sequence[SignalMeasure], one: Outputs, other: Outputs) -> float:
    """Return the energy of a difference, each output's by that of its signal."""
    return sum(measure.of(other, one) for measure in measures)
