"""Statistics of every intermediate of a run, taken while the run passes by.

Nothing is kept but numbers, so looking at every value of a large program needs no more memory than
running it. `inspect` runs a model and looks on; a `Watch` looks on in anybody's run::

    found = inspect(model, inputs)
    found.first_not_finite            # the first NaN or Inf, and the operation that made it
    found.first_lost                  # the first integer that wrapped, or was rounded
    max(found.values, key=lambda value: value.peak)

Magnitudes are those that an operation computed, before they are stored in its declared type
(``native`` computes in FP16, and what it shows is rounded already). So a value in FP16 that
overflowed still says how far, and so does an integer that wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from harness.mil.assignment import OperationNumerics, assignment
from harness.mil.bound import address
from harness.mil.model import Model
from harness.mil.numerics import Format, Numerics, get_numerics
from harness.mil.program import Operation
from harness.mil.schedule import build_schedule
from harness.mil.statistics import ElementStatistics, ValueStatistics, count_lost, measure
from harness.mil.taps import Taps
from harness.mil.types import DataType, TensorType


@dataclass(frozen=True)
class Inspection:
    """What a run, or several, looked like inside.

    Attributes:
        numerics: how it was computed.
        values: those in floating point, and those integers of which some were lost, in the order
            in which they were first made.
        peak_bytes: most memory that values made by operations held at once, as this numerics
            carries them; what shares memory counts once.
        peak_at: the operation after which that was so.
        constants_bytes: memory of the constants, which are there all the time.
        first_bad: name of the value that was the first to have a NaN or Inf; "" if none had. In a
            loop that is not the first of `values`: what is made first may fail in a later round.
    """

    numerics: str
    values: tuple[ValueStatistics, ...]
    peak_bytes: int
    peak_at: str
    constants_bytes: int
    first_bad: str = ""

    @property
    def first_not_finite(self) -> ValueStatistics | None:
        """The first value with a NaN or Inf: its operation made it of finite inputs."""
        return next((value for value in self.values if value.name == self.first_bad), None)

    @property
    def first_lost(self) -> ValueStatistics | None:
        """The first value with an integer that was stored as another number."""
        return next((value for value in self.values if value.lost), None)

    def to_dict(self) -> dict[str, Any]:
        """All fields, and what follows from them, as plain Python values."""
        first, lost = self.first_not_finite, self.first_lost
        values = [
            asdict(value)
            | {
                "dtype": str(value.dtype),
                "rms": value.rms,
                "not_finite": value.not_finite,
                "subnormal_share": value.subnormal_share,
            }
            for value in self.values
        ]
        return {
            "numerics": self.numerics,
            "first_not_finite": None if first is None else first.name,
            "first_lost": None if lost is None else lost.name,
            "peak_bytes": self.peak_bytes,
            "peak_at": self.peak_at,
            "constants_bytes": self.constants_bytes,
            "values": values,
        }


class Watch:
    """Looks on in runs of one model, which take its two methods::

        watch = Watch(model, "storage")
        model.predict(inputs, observe=watch.observe, operation_numerics=watch.numerics_of)
        watch.result()

    Args:
        model: what is run.
        numerics: that of the runs.
        operation_numerics: as in `Model.run`.
        taps: what the runs keep, as in `Model.run`: kept values stay in memory.
    """

    def __init__(
        self,
        model: Model,
        numerics: str | Numerics = "storage",
        operation_numerics: OperationNumerics | None = None,
        taps: Taps | str = (),
    ) -> None:
        self._default = get_numerics(numerics)
        self._assign = assignment(self._default, operation_numerics)
        self._watched: dict[Numerics, Numerics] = {}
        self._seen: dict[int, ElementStatistics] = {}
        self._values: dict[str, ValueStatistics] = {}
        self._first_bad = ""
        self._memory = _Memory(model, taps)
        executable = model.executable(self._default, torch.device("cpu"))
        tensors = {address(t): t.untyped_storage().nbytes() for t in executable.constants.values()}
        self._constants_bytes = sum(tensors.values())

    def numerics_of(self, operation: Operation) -> Numerics:
        """Return the operation's numerics, in which numbers are seen before they are stored."""
        self._seen.clear()
        numerics = self._assign(operation)
        if numerics not in self._watched:
            formats = {
                dtype: form
                if dtype is DataType.BOOL
                else _Watched(**vars(form), dtype=dtype, look=self._look)
                for dtype, form in numerics.formats.items()
            }
            self._watched[numerics] = replace(numerics, formats=formats)
        return self._watched[numerics]

    def _look(self, measured: ElementStatistics, stored: torch.Tensor) -> None:
        self._seen[id(stored)] = measured  # it lives until it is observed, or forgotten

    def observe(self, operation: Operation, results: Sequence[torch.Tensor]) -> None:
        """Take the statistics of what an operation made."""
        for variable, tensor in zip(operation.outputs, results, strict=True):
            declared = variable.type
            if not isinstance(declared, TensorType) or declared.dtype is DataType.BOOL:
                continue
            measured = self._seen.pop(id(tensor), None) or measure(tensor)
            found = ValueStatistics.of(measured, variable.name, operation, declared.dtype)
            if found.not_finite and not self._first_bad:
                self._first_bad = variable.name
            known = self._values.get(variable.name)
            self._values[variable.name] = found if known is None else known.joined(found)
        self._memory.made(operation, results)

    def result(self) -> Inspection:
        """Return what was seen so far."""
        return Inspection(
            self._default.name,
            tuple(v for v in self._values.values() if v.dtype.is_floating or v.lost),
            self._memory.peak_bytes,
            self._memory.peak_at,
            self._constants_bytes,
            self._first_bad,
        )


def inspect(
    model: Model,
    inputs: Mapping[str, torch.Tensor],
    *,
    numerics: str | Numerics = "storage",
    operation_numerics: OperationNumerics | None = None,
) -> Inspection:
    """Run ``model`` and return the statistics of the values in it, as `Inspection.values` says.

    Args:
        model: one without states.
        inputs, numerics, operation_numerics: as in `Model.run`.

    Raises:
        As `Model.run`.
    """
    watch = Watch(model, numerics, operation_numerics)
    model.run(
        inputs, numerics=numerics, operation_numerics=watch.numerics_of, observe=watch.observe
    )
    return watch.result()


@dataclass(frozen=True)
class _Watched(Format):
    """A format that shows what it is to store, and what it made of that."""

    dtype: DataType = DataType.FLOAT32
    look: Callable[[ElementStatistics, torch.Tensor], None] = lambda *_: None

    def store(self, tensor: torch.Tensor, *, writable: bool) -> torch.Tensor:
        measured = measure(tensor)  # before the memory is written over
        stored = super().store(tensor, writable=writable)
        lost = count_lost(tensor, stored, self.dtype)
        self.look(replace(measured, lost=lost), stored)
        return stored


class _Memory:
    """How much memory the values hold that are alive, by the schedule of the run."""

    def __init__(self, model: Model, taps: Taps | str) -> None:
        names = [feature.name for feature in model.outputs] + model.tap_names(taps)
        kept = {model.plan.slots[name] for name in names}
        schedule = build_schedule(model.plan, kept, reuse=True)
        self._steps = schedule.steps
        self._places = {step.step.operation: index for index, step in enumerate(self._steps)}
        self._next = 0
        self._held: dict[int, tuple[int, int]] = {}
        self.peak_bytes, self.peak_at = 0, ""

    def made(self, operation: Operation, results: Sequence[torch.Tensor]) -> None:
        place = self._places.get(operation)
        if place is None:  # inside a block, whose values are gone when it ends
            return
        if place < self._next:  # another run has begun
            self._next, self._held = 0, {}
        self._free(place)
        slots = self._steps[place].step.outputs
        for slot, tensor in zip(slots, results, strict=True):
            self._held[slot] = (address(tensor), tensor.untyped_storage().nbytes())
        held = sum(dict(self._held.values()).values())
        if held > self.peak_bytes:
            self.peak_bytes, self.peak_at = held, operation.name
        self._free(place + 1)

    def _free(self, end: int) -> None:
        """Forget what is dead after the steps before ``end``."""
        for step in self._steps[self._next : end]:
            for slot in step.free:
                self._held.pop(slot, None)
        self._next = max(self._next, end)
