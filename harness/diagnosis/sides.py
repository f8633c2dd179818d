"""The sides of a three-way comparison: the reference, and a target that is computed or recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import torch

from harness.conversion.sidecar import read_sidecar
from harness.conversion.survey import base_value
from harness.diagnosis.replay import Played, Replay, snr_db
from harness.errors import ContractError
from harness.mil import Model
from harness.mil.plan import Plan, Step
from harness.mil.types import TensorType
from harness.precision.virtual import floating_reads, is_floating

Tensor: TypeAlias = torch.Tensor
Results: TypeAlias = Sequence[Any]


def _names(reference: Plan, candidate: Plan, places: Mapping[str, str]) -> dict[int, str]:
    """Return the names by which the reference knows the values of a candidate's plan, by slot."""
    found = {slot: name for name, slot in candidate.inputs.items() if name in reference.inputs}
    returned = {candidate.slots[name] for name in candidate.outputs}
    for step in candidate.steps:
        if step.operation.type == "cast" and returned.isdisjoint(step.outputs):
            read, made = step.reads[0], step.outputs[0]
            # One that changes no more than how exactly its value is stored.
            if is_floating(candidate.types[read]) == is_floating(candidate.types[made]):
                if read in found:
                    found[made] = found[read]
                continue
        for slot, variable in zip(step.outputs, step.operation.outputs, strict=True):
            name = places.get(variable.name) or base_value(variable.name)
            there = reference.slots.get(name)
            if there is not None and _alike(reference, there, candidate, slot):
                found[slot] = name
    return found


def _alike(one: Plan, there: int, other: Plan, here: int) -> bool:
    held, declared = one.types[there], other.types[here]
    return (
        isinstance(held, TensorType)
        and isinstance(declared, TensorType)
        and held.shape == declared.shape
        and held.dtype.is_floating == declared.dtype.is_floating
    )


class Reference:
    """The reference's values behind a candidate's slots: made when asked for, dropped after use.

    Args:
        model: the reference.
        replay: of the candidate.
        inputs: float32, by name.
        uses: returns the slots that will be asked for at a step of the candidate, each once.
        numerics: how the reference is computed.
        places: what the reference calls values that have another name in the candidate than their
            own without what conversion to FP16 put into it.
    """

    def __init__(
        self,
        model: Model,
        replay: Replay,
        inputs: Mapping[str, Tensor],
        uses: Callable[[Step], Iterable[int]],
        numerics: str = "storage",
        places: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._candidate, self._names = replay, _names(model.plan, replay.model.plan, places)
        self._left = Counter(
            self._names[slot]
            for step in replay.model.plan.steps
            for slot in uses(step)
            if slot in self._names
        )
        self._known = dict(inputs)
        self._steps: Iterator[Played] = Replay(model, numerics).steps(inputs)
        sidecar = read_sidecar(replay.model)
        self._modules = sidecar.modules if sidecar else {}

    def module(self, step: Step) -> str:
        """Return the PyTorch module of a step; empty where the package doesn't record it."""
        return self._modules.get(step.operation.outputs[0].name, "")

    def given(
        self, step: Step, values: Mapping[int, Any]
    ) -> tuple[dict[int, Tensor] | None, dict[int, Any]]:
        """Return what a step reads as the reference has it: stored as declared, and as it is.

        What has no counterpart is taken from the candidate's own ``values``; if a floating-point
        tensor hasn't, the first result is ``None``.
        """
        plan = self._candidate.model.plan
        stored: dict[int, Tensor] = {}
        plain: dict[int, Any] = {}
        complete = True
        for slot in dict.fromkeys(step.reads):
            if slot in plan.fixed:
                continue
            wanted = self.use(slot)
            if wanted is None:
                complete = complete and not is_floating(plan.types[slot])
                stored[slot] = plain[slot] = values[slot]
            else:
                stored[slot], plain[slot] = self._candidate.stored(wanted, slot), wanted
        return (stored if complete else None), plain

    def use(self, slot: int) -> Tensor | None:
        """Return a value, for one of the uses that were announced; None if it hasn't any."""
        if slot not in self._names:
            return None
        name = self._names[slot]
        while name not in self._known:
            played = next(self._steps)
            for variable, made in zip(played.step.operation.outputs, played.results, strict=True):
                if self._left[variable.name]:
                    self._known[variable.name] = made
        value = self._known[name]
        self._left[name] -= 1
        if not self._left[name]:
            del self._known[name]
        return value


class Computed:
    """A target that is the candidate in other numerics."""

    def __init__(self, replay: Replay, inputs: Mapping[str, Tensor]) -> None:
        self.name = f"numerics {replay.numerics.name}"
        self._replay = replay
        self._steps = replay.steps(inputs)

    def made(self, step: Step) -> list[Tensor | None]:
        """Return what the target made of the next step, ``None`` where that is unknown."""
        played = next(self._steps)
        return [made.float() for made in played.results]

    def deviation(
        self, step: Step, given: Mapping[int, Tensor] | None, expected: Results | None
    ) -> float | None:
        """Return the SNR in dB of the step in the target, beside ``expected``.

        Args:
            step: that was made last.
            given: the reference's values of what it reads, stored as declared.
            expected: what the expected run makes of those.
        """
        if given is None or expected is None:
            return None
        stored = {slot: self._replay.stored(tensor, slot) for slot, tensor in given.items()}
        return worst_db(expected, self._replay.call(step, stored))


class Captured:
    """A target that was recorded; the inputs of the model count as recorded."""

    def __init__(
        self, replay: Replay, inputs: Mapping[str, Tensor], capture: Mapping[str, Tensor]
    ) -> None:
        plan, path = replay.model.plan, replay.model.package.path
        self.name = f"a capture of {len(capture)} values"
        self._replay = replay
        known = {name: tensor for name, tensor in capture.items() if name in plan.slots}
        if not known:
            raise ContractError(
                f"the capture holds no value of {path}: its names should be those that "
                "'parity predict --taps all' writes"
            )
        for name, tensor in known.items():
            declared = plan.types[plan.slots[name]]
            if not isinstance(declared, TensorType) or not declared.accepts(tuple(tensor.shape)):
                raise ContractError(
                    f"the capture's {name!r} is {list(tensor.shape)}, but {path} declares "
                    f"{declared}"
                )
        self._values = {
            plan.slots[name]: replay.stored(tensor, plan.slots[name])
            for name, tensor in (*inputs.items(), *known.items())
        }

    def made(self, step: Step) -> list[Tensor | None]:
        """Return what the target made of the next step, ``None`` where that is unknown."""
        source, slot = step.reads[0] if step.reads else -1, step.outputs[0]
        if step.operation.type == "cast" and source in self._values:
            self._values.setdefault(slot, self._replay.stored(self._values[source], slot))
        return [self._values.get(slot) for slot in step.outputs]

    def deviation(
        self, step: Step, given: Mapping[int, Tensor] | None, expected: Results | None
    ) -> float | None:
        """Return the SNR in dB of what was recorded, beside what the step makes of what was.

        The parameters are those of `Computed.deviation`; of ``given``, only inputs that are no
        floating-point values are used.
        """
        made = [self._values.get(slot) for slot in step.outputs]
        reads = floating_reads(self._replay.model.plan, step)
        if any(m is None for m in made) or any(slot not in self._values for slot in reads):
            return None
        others = {slot: t for slot, t in (given or {}).items() if slot not in reads}
        recorded = {slot: self._values[slot] for slot in reads}
        return worst_db(self._replay.call(step, {**others, **recorded}), made)


def worst_db(expected: Results, actual: Results) -> float:
    """Return the SNR of the worst of several results."""
    return min(snr_db(one, other) for one, other in zip(expected, actual, strict=True))
