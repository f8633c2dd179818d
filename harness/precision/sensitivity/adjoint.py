"""Gradients of several functions of a program's outputs with respect to every value in it.

A recording is one run, operation by operation, that can be walked back any number of times. It
keeps what is alive at a few places, and the last stretch whole; the rest is computed again on the
way back. A visitor sees each operation once, with its inputs, its outputs, and the gradients of all
probes; then those are freed. So the memory in use is that of the places, of the last stretch and of
one more between two places, and of the gradients that are alive.

A probe is a covector on the outputs: v in v . f(x). Its gradient at a value y is J_y^T v, where J_y
is the derivative of the outputs with respect to y. Roundings aren't differentiated: run this on a
program in FP32. Everything is on the device of the inputs, in the carrier types of ``storage``.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from harness.mil import Model, get_numerics
from harness.mil.executor import Executable
from harness.mil.numerics import Numerics
from harness.mil.ops.registry import Effect
from harness.mil.plan import Step
from harness.mil.schedule import ScheduledStep, build_schedule
from harness.precision.sensitivity.pullbacks import Gradients, pull

Tensor: TypeAlias = torch.Tensor
Probes: TypeAlias = Mapping[str, Tensor]
"""For each output [probes, *shape of the output]; those of a missing output are zero."""
Added: TypeAlias = Callable[
    [Step, Mapping[int, Any], Mapping[int, Tensor]],
    Sequence[tuple[Mapping[int, Tensor], Sequence[float]]],
]
"""From a step, the values that it reads and its results: errors by slot, and their weights."""

STRETCH_BYTES = 1 << 30
"""How much one stretch between two kept places may hold."""


@dataclass(frozen=True, eq=False)
class Visit:
    """One operation on the way back.

    Attributes:
        step: as planned.
        outputs: its outputs, by slot.
        at_inputs: gradients at what it reads, of this operation's own part alone: where a value is
            read by several operations, its whole gradient is the sum over them.
        at_outputs: whole gradients at what it makes.
        values: what every slot holds that this operation reads.
    """

    step: Step
    outputs: Mapping[int, Tensor]
    at_inputs: Gradients
    at_outputs: Gradients
    values: Mapping[int, Any]


class Recording:
    """One run of a program, to walk back through.

    Args:
        model: in FP32.
        inputs: a float32 tensor for each of the model's inputs, on one device.
        numerics: carries values in float32 and rounds none of this model's.
        stretch_bytes: memory for values between two places; more is faster by very little.

    Attributes:
        executable: what was run.
        inputs: by slot.
        outputs: by name.
        slots: of the outputs, by name.

    Raises:
        ExecutionError: an operation failed.
    """

    def __init__(
        self,
        model: Model,
        inputs: Mapping[str, Tensor],
        *,
        numerics: str | Numerics = "storage",
        stretch_bytes: int = STRETCH_BYTES,
    ) -> None:
        device = next(iter(inputs.values())).device
        self.executable = model.executable(get_numerics(numerics), device)
        self.slots = {feature.name: model.plan.slots[feature.name] for feature in model.outputs}
        schedule = build_schedule(model.plan, frozenset(self.slots.values()), reuse=False)
        self.inputs = {model.plan.inputs[name]: tensor for name, tensor in inputs.items()}
        self._stretches = _stretches(
            self.executable, schedule.steps, self.inputs, schedule.kept, stretch_bytes
        )
        held = self._stretches[-1].after
        self.outputs = {name: held[slot] for name, slot in self.slots.items()}

    def _steps(self) -> Iterator[tuple[ScheduledStep, Mapping[int, Any]]]:
        """Yield what was executed, in order, with the values by slot of and around it."""
        for stretch in self._stretches:
            tape = self._tape(stretch)
            for scheduled in stretch.steps:
                yield scheduled, tape.values

    def walk_back(self, probes: Probes, visit: Callable[[Visit], None]) -> None:
        """Show each operation that the outputs depend on to ``visit``, in reverse order."""
        gradients = {slot: probes[name] for name, slot in self.slots.items() if name in probes}
        for stretch in reversed(self._stretches):
            tape = self._tape(stretch)
            for scheduled in reversed(stretch.steps):
                _back(tape, scheduled.step, gradients, visit, keep=stretch.tape is not None)

    @torch.no_grad()
    def superpose(self, added: Added, count: int) -> list[dict[str, Tensor]]:
        """Return what weighted sums of errors do to the outputs, by ``count`` runs side by side.

        With e_k the error of operation k and J_k the derivative of the outputs with respect to its
        result, a sum is ``sum(w_k J_k e_k)``: the program is run once more with ``w_k e_k`` added
        to each result, and the outputs are subtracted. That holds to first order, so weights
        should leave the sum small beside the outputs.

        Args:
            added: gives the errors of a step, by slot, each with its weight in each run.
            count: of runs.

        Raises:
            ExecutionError: an operation failed.
        """
        call = self.executable.call
        runs: list[dict[int, Any]] = [
            {**self.executable.constants, **self.inputs} for _ in range(count)
        ]
        for scheduled, values in self._steps():
            step = scheduled.step
            parts = added(step, values, {slot: values[slot] for slot in step.outputs})
            # The memory of a view is an operand's.
            add = torch.add if step.definition.effect.shares_memory else torch.Tensor.add_
            for number, own in enumerate(runs):
                own.update(zip(step.outputs, call(step, own), strict=True))
                for errors, weights in parts:
                    for slot, error in errors.items():
                        own[slot] = add(own[slot], error, alpha=weights[number])
                for slot in scheduled.free:
                    del own[slot]
        return [
            {name: own[slot] - self.outputs[name] for name, slot in self.slots.items()}
            for own in runs
        ]

    def _tape(self, stretch: _Stretch) -> _Tape:
        if stretch.tape is not None:
            return stretch.tape
        tape = _Tape(self.executable, stretch.before)
        for scheduled in stretch.steps:
            tape.play(scheduled.step)
        return tape


def joined(probes: Sequence[Probes]) -> dict[str, Tensor]:
    """Return several batches of probes as one, with zeros for the outputs that one leaves out."""
    like = {name: tensor[:1] for batch in probes for name, tensor in batch.items()}
    counts = [len(next(iter(batch.values()))) for batch in probes]
    return {
        name: torch.cat(
            [
                batch[name] if name in batch else torch.zeros_like(one).repeat_interleave(count, 0)
                for batch, count in zip(probes, counts, strict=True)
            ]
        )
        for name, one in like.items()
    }


@dataclass(frozen=True, eq=False)
class _Played:
    """What a step read and made, joined by its own derivative alone."""

    leaves: Mapping[int, Tensor]
    results: tuple[Any, ...]


class _Tape:
    """Values by slot, and each step's own graph, from the first time that it is executed."""

    def __init__(self, executable: Executable, given: Mapping[int, Any]) -> None:
        self.executable = executable
        self.values = {**executable.constants, **given}
        self._played: dict[Step, _Played] = {}

    def play(self, step: Step) -> None:
        leaves = {
            slot: self.values[slot].detach().requires_grad_()
            for slot in dict.fromkeys(step.reads)
            if slot not in self.executable.constants and self.values[slot].is_floating_point()
        }
        with torch.enable_grad():
            results = self.executable.call(step, ChainMap(leaves, self.values))
        self._played[step] = _Played(leaves, results)
        self.values.update(
            (slot, result.detach()) for slot, result in zip(step.outputs, results, strict=True)
        )

    def read(self, step: Step, *, keep: bool) -> tuple[_Played, dict[int, Tensor]]:
        """Return a step and its outputs; they are held here no longer unless ``keep``."""
        outputs = {slot: self.values[slot] for slot in step.outputs}
        played = self._played[step]
        if not keep:
            del self._played[step]
            for slot in outputs:
                del self.values[slot]
        return played, outputs


@dataclass(frozen=True, eq=False)
class _Stretch:
    steps: tuple[ScheduledStep, ...]
    before: Mapping[int, Tensor]
    after: Mapping[int, Tensor]
    tape: _Tape | None  # of the last one; those before it are played again


def _stretches(
    executable: Executable,
    steps: Sequence[ScheduledStep],
    given: Mapping[int, Tensor],
    kept: frozenset[int],
    limit_bytes: int,
) -> list[_Stretch]:
    """Run forward, cut into stretches, and keep what is alive between them, and the last whole."""
    stretches: list[_Stretch] = []
    tape = _Tape(executable, given)
    before, chunk, size = dict(given), [], 0
    dead: set[int] = set()
    for index, scheduled in enumerate(steps):
        tape.play(scheduled.step)
        chunk.append(scheduled)
        if scheduled.step.definition.effect is not Effect.VIEW:
            size += sum(tape.values[slot].nbytes for slot in scheduled.step.outputs)
        dead.update(slot for slot in scheduled.free if slot not in kept)
        last = index == len(steps) - 1
        if size >= limit_bytes or last:
            gone = dead.union(executable.constants)
            after = {slot: value for slot, value in tape.values.items() if slot not in gone}
            stretches.append(_Stretch(tuple(chunk), before, after, tape if last else None))
            tape, before, chunk, size = _Tape(executable, after), after, [], 0
            dead.clear()
    return stretches


def _back(
    tape: _Tape,
    step: Step,
    gradients: dict[int, Tensor],
    visit: Callable[[Visit], None],
    *,
    keep: bool,
) -> None:
    """Carry the gradients of a step's outputs to its inputs, show them, and free them."""
    played, outputs = tape.read(step, keep=keep)
    at_outputs = {slot: gradients.pop(slot) for slot in step.outputs if slot in gradients}
    if not at_outputs:
        return
    at_inputs = pull(step, played.leaves, played.results, at_outputs, tape.values, keep=keep)
    with torch.no_grad():
        visit(Visit(step, outputs, at_inputs, at_outputs, tape.values))
    for slot, parts in at_inputs.items():
        gradients[slot] = gradients[slot] + parts if slot in gradients else parts
