"""What each unit adds to one operation: its result less the same computed wide, on values alike.

A device profile says how a unit computes. A program in FP16 is run without rounding (`WIDE`), which
is where gradients are taken. Around each operation what it reads is rounded, as it will be stored,
and the operation is computed by every unit that can run it. The error that all share, of rounded
constants, is in the wide run already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import torch

from harness.devices import Device
from harness.mil import Model
from harness.mil.numerics import Numerics, round_to_float16
from harness.mil.numerics.device import device_numerics
from harness.mil.numerics.formats import INTEGERS, Format
from harness.mil.plan import Plan, Step
from harness.mil.types import DataType, TensorType, element_type
from harness.precision.sensitivity.sites import Errors, Site
from harness.precision.virtual import moves

Tensor: TypeAlias = torch.Tensor

WIDE: Final = Numerics(
    "wide",
    {
        **INTEGERS,
        DataType.FLOAT16: Format(torch.float32),
        DataType.FLOAT32: Format(torch.float32),
    },
)
"""As ``storage`` without its roundings; constants are as the program has them."""

_COSTLY: Final = frozenset(
    {"conv", "conv_transpose", "linear", "matmul", "scaled_dot_product_attention"}
)
"""What takes so long that its errors are kept for the next time."""


class UnitErrors:
    """The sites of a program on units: an error for each operation and unit that runs it.

    Args:
        model: a program with operations in FP16.
        units: how each computes, by name.
        able: names of the units that may run each operation.
        device: where tensors are.
    """

    def __init__(
        self,
        model: Model,
        units: Mapping[str, Device],
        able: Mapping[str, Sequence[str]],
        device: torch.device,
    ) -> None:
        self._plan, self._able = model.plan, able
        self._executable = model.executable(WIDE, device)
        self._numerics = {name: device_numerics(unit) for name, unit in units.items()}
        self._kept: dict[Step, Mapping[Site, Errors]] = {}

    def __call__(
        self, step: Step, values: Mapping[int, Any], results: Errors
    ) -> Mapping[Site, Errors]:
        """Return the errors of a step by unit, which stands in the site as its reason."""
        if not computes_half(step) or step.operation.name not in self._able:
            return {}
        if step in self._kept:
            return self._kept[step]
        read = {slot: stored(self._plan, slot, values[slot]) for slot in set(step.reads)}
        wide = self._executable.call(step, read)
        found: dict[Site, Errors] = {}
        made: list[tuple[tuple[Tensor, ...], Errors]] = []
        for unit in self._able[step.operation.name]:
            result = self._executable.call(step, read, self._numerics[unit])
            errors = next((e for r, e in made if all(map(torch.equal, r, result))), None)
            if errors is None:
                errors = {
                    slot: difference(own, exact)
                    for slot, own, exact in zip(step.outputs, result, wide, strict=True)
                    if own.is_floating_point()
                }
                made.append((result, errors))
            found[Site(step.operation.name, step.operation.type, unit)] = errors
        if step.operation.type in _COSTLY:
            self._kept[step] = found
        return found


def computes_half(step: Step) -> bool:
    """Whether a step computes values in FP16: those that a unit's rules are about."""
    first = step.types[0] if step.types else None
    half = isinstance(first, TensorType) and first.dtype is DataType.FLOAT16
    return half and not moves(step)


def difference(one: Tensor, other: Tensor) -> Tensor:
    """Return ``one`` less ``other``; two infinities that are the same differ by nothing."""
    return torch.where(one == other, 0.0, one - other)


def stored(plan: Plan, slot: int, value: Any) -> Any:
    """Return the value of a slot as it is stored: rounded, if it is declared as FP16."""
    half = element_type(plan.types[slot]) is DataType.FLOAT16
    return round_to_float16(value, False) if half else value
