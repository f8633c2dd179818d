"""Three-way verdict: is a target worse than FP16 has to be, and where does that begin?

Three runs are held side by side, operation by operation: the *reference*, which is the model in
FP32; the *expected* run, which is the candidate with every result rounded once (``storage``), or as
a device is known to compute; and
the *target*, which is the candidate in other numerics, or what was recorded of it elsewhere (a
capture: values by the names that they have in the candidate).

Three errors are told apart for each operation. The *accumulated* error is that of its result in a
run. The *local* error is what it adds itself: the expected result on the reference's inputs. The
*deviation* is the target's result beside the expected one on the same inputs: the reference's, or
those that were recorded. An operation whose accumulated error is large while the other two are not
has inherited it.

Values are matched by name, whatever their precision. What has no counterpart in the reference is
listed as unmatched, never taken for right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import torch

from harness.diagnosis.contraction import accumulated_terms
from harness.diagnosis.findings import (
    TARGET_DB,
    Conclusion,
    Evidence,
    OperationError,
    ThreeWay,
    cause_of,
    suspicious_db,
    words_of,
)
from harness.diagnosis.replay import Played, Replay, norm, snr_db
from harness.diagnosis.sides import Captured, Computed, Reference
from harness.errors import ContractError, ParityError
from harness.mil import Model, Numerics
from harness.mil.assignment import OperationNumerics
from harness.mil.plan import Step
from harness.precision.virtual import floating_reads, is_floating, moves, operation_name

Tensor: TypeAlias = torch.Tensor

MARGIN_DB: Final = 3.0
"""By how much a target may miss what is expected of it."""
_OF_MOVES: Final = ("computation", "range")
"""Why an operation that only moves values can be wrong by itself."""
_FAR_DB: Final = 40.0  # under all before: more than any rounding of unknown values takes
_FP32_NOISE: Final = 2.0**-22
"""Of the inputs' level: the reference itself is no closer to the truth than this."""


def three_way(
    reference: Model,
    candidate: Model,
    inputs: Mapping[str, Tensor],
    *,
    numerics: str | Numerics = "storage",
    operation_numerics: OperationNumerics | None = None,
    capture: Mapping[str, Tensor] | None = None,
    expected: str | Numerics = "storage",
    places: Mapping[str, str] = MappingProxyType({}),
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> ThreeWay:
    """Hold reference, expected run and target side by side.

    Args:
        reference: the model in FP32.
        candidate: the same model at any precision.
        inputs: float32, by name.
        numerics, operation_numerics: the target's, as in `Model.run`.
        capture: the target as recorded values by name, in place of numerics.
        expected: how the candidate is expected to compute: a device's, if the capture is of one.
        places: what the reference calls values of the candidate; others are matched by name.
        advance: called as ``advance(done, total)``.

    Raises:
        ContractError: the candidate has other inputs or outputs than the reference, or the capture
            holds nothing that the candidate knows, or other shapes.
        PackageError: a program has blocks or states.
        ParityError: both a capture and numerics are given.
    """
    _check_interfaces(reference, candidate)
    target: Computed | Captured
    if capture is not None:
        if operation_numerics is not None or numerics != "storage":
            raise ParityError("a target is a capture or numerics, not both")
        target = Captured(Replay(candidate, expected), inputs, capture)
    else:
        target = Computed(Replay(candidate, numerics, operation_numerics), inputs)
    comparison = _Comparison(reference, Replay(candidate, expected), inputs, target, places)
    total = len(candidate.operations)
    for done, played in enumerate(comparison.expected.steps(inputs)):
        advance(done, total)
        comparison.look_at(played)
    advance(total, total)
    return comparison.result()


def _check_interfaces(reference: Model, candidate: Model) -> None:
    for kind in ("inputs", "outputs"):
        wanted, found = (
            {f.name: f.shape for f in getattr(m, kind)} for m in (reference, candidate)
        )
        if wanted != found:
            raise ContractError(
                f"{candidate.package.path} has the {kind} {_shapes(found)}; the reference has "
                f"{_shapes(wanted)}"
            )


def _shapes(shapes: Mapping[str, tuple[int | None, ...] | None]) -> str:
    return ", ".join(f"{name} {list(shape or ())}" for name, shape in sorted(shapes.items()))


class _Comparison:
    """Goes through the candidate's plan with the reference and the target beside it."""

    def __init__(
        self,
        reference: Model,
        expected: Replay,
        inputs: Mapping[str, Tensor],
        target: Computed | Captured,
        places: Mapping[str, str],
    ) -> None:
        candidate = expected.model
        self.expected = expected
        self._plan, self._target = candidate.plan, target
        self._reference = Reference(
            reference,
            self.expected,
            inputs,
            lambda step: (*dict.fromkeys(step.reads), *step.outputs),
            places=places,
        )
        self._exact = Replay(candidate, "float64")
        self._reached: dict[int, float] = {}
        self._outputs: dict[str, tuple[float, float]] = {}
        self._operations: list[OperationError] = []
        self._unmatched: list[str] = []
        # Wrong values on their way to what reads them: the operation to blame, and the value.
        self._wrong: dict[int, tuple[int, Tensor]] = {}
        self._last_read = {slot: step for step in candidate.plan.steps for slot in step.reads}
        self._readers: dict[int, float] = {}

    def look_at(self, played: Played) -> None:
        step = played.step
        made = self._target.made(step)
        given = self._reference.given(step, played.values)
        reached: dict[int, float] = {}
        references: dict[int, Tensor] = {}
        for index, slot in enumerate(step.outputs):
            name, actual = step.operation.outputs[index].name, made[index]
            wanted = self._reference.use(slot)
            if not is_floating(self._plan.types[slot]):
                continue
            if wanted is None or actual is None:
                self._unmatched.append(name)
                continue
            expected_db = snr_db(wanted, played.results[index])
            reached[slot] = snr_db(wanted, actual)
            references[slot] = wanted
            if name in self._plan.outputs:
                self._outputs[name] = (expected_db, reached[slot])
            if index == 0 and (not moves(step) or self._loses(step, reached[slot])):
                found = self._judge(step, wanted, given, actual)
                if moves(step) and found.cause not in _OF_MOVES:
                    continue
                self._operations.append(
                    replace(found, expected_db=expected_db, target_db=reached[slot])
                )
                if found.cause is not None:
                    mine = self.expected.stored(actual, slot)
                    self._follow(len(self._operations) - 1, slot, mine, wanted)
        self._reached.update(reached)
        self._note_readers(step, given[0], references)

    def _loses(self, step: Step, reached: float) -> bool:
        """Return whether a step that only moves values has less at its end than it read."""
        return reached < self._worst_of(floating_reads(self._plan, step))

    def _worst_of(self, slots: Iterable[int]) -> float:
        return min((self._reached.get(slot, math.inf) for slot in slots), default=math.inf)

    def _follow(self, index: int, slot: int, value: Tensor, wanted: Tensor) -> None:
        """Remember a wrong value, until those that read it have shown whether they notice."""
        if slot in self._last_read:
            self._wrong[slot] = (index, value)
        if any(self._plan.slots[name] == slot for name in self._plan.outputs):
            self._notice(index, snr_db(wanted, value))

    def _notice(self, index: int, level: float) -> None:
        self._readers[index] = min(self._readers.get(index, math.inf), level)

    def _note_readers(
        self, step: Step, given: Mapping[int, Tensor] | None, references: Mapping[int, Tensor]
    ) -> None:
        """See what a step makes of the reference's inputs but for one that is wrong."""
        for slot in dict.fromkeys(step.reads):
            if slot not in self._wrong:
                continue
            index, value = self._wrong[slot]
            if self._last_read[slot] is step:
                del self._wrong[slot]
            if given is None:  # nothing is known of it, so nothing is excused
                self._notice(index, -math.inf)
                continue
            made = self.expected.call(step, {**given, slot: value})
            for place, result in zip(step.outputs, made, strict=True):
                if place in references and moves(step):
                    self._follow(index, place, result, references[place])
                elif place in references:
                    self._notice(index, snr_db(references[place], result))

    def _judge(
        self,
        step: Step,
        wanted: Tensor,
        given: tuple[dict[int, Tensor] | None, dict[int, Any]],
        actual: Tensor,
    ) -> OperationError:
        stored, plain = given
        operation = step.operation
        dtype = str(operation.dtype)
        expected = None if stored is None else self.expected.call(step, stored)
        local = None if expected is None else snr_db(wanted, expected[0])
        deviation = self._target.deviation(step, stored, expected)
        reads = [slot for slot in floating_reads(self._plan, step) if slot in plain]
        inputs = self._worst_of(reads)
        reached = snr_db(wanted, actual)
        level, loudest = _rms(wanted), max((_rms(plain[slot]) for slot in reads), default=0.0)
        constants = (self._plan.types[slot] for slot in step.reads if slot in self._plan.constants)
        rounds = dtype != "fp32" and any(is_floating(type_) for type_ in constants)
        suspicious = local is not None and local < suspicious_db(dtype, rounds)
        seen = Evidence(
            type=operation.type,
            dtype=dtype,
            rounds_constants=rounds,
            terms=accumulated_terms(self._plan, step),
            level=level,
            gain=level / loudest if level > 0 and loudest > 0 else 1.0,
            finite=bool(actual.isfinite().all())
            and (expected is None or bool(expected[0].isfinite().all())),
            inputs_finite=inputs > -math.inf,
            local_db=local,
            exact_db=self._exact_db(step, wanted, plain, loudest) if suspicious else None,
            deviation_db=deviation,
        )
        cause = cause_of(seen)
        if stored is None and reached + _FAR_DB < min(self._reached.values(), default=math.inf):
            cause = cause or "computation"  # in values that the reference lacks
        return OperationError(
            operation=operation_name(operation),
            value=operation.outputs[0].name,
            type=operation.type,
            module=self._reference.module(step),
            dtype=dtype,
            terms=seen.terms,
            expected_db=math.inf,
            target_db=math.inf,
            inputs_db=inputs,
            local_db=local,
            deviation_db=deviation,
            readers_db=math.inf,
            cause=cause,
            words=words_of(cause, seen),
        )

    def _exact_db(
        self, step: Step, wanted: Tensor, plain: Mapping[int, Any], loudest: float
    ) -> float | None:
        """Return the SNR of a step in float64 on the reference's inputs, where that says anything.

        ``loudest`` is the level of those inputs.
        """
        wide = {slot: self._exact.stored(value, slot) for slot, value in plain.items()}
        made = self._exact.call(step, wide)[0]
        return None if _rms(made - wanted) <= _FP32_NOISE * loudest else snr_db(wanted, made)

    def result(self) -> ThreeWay:
        return ThreeWay(
            self._target.name,
            self._conclusion(),
            self._outputs,
            tuple(
                replace(operation, readers_db=self._readers.get(index, math.inf))
                for index, operation in enumerate(self._operations)
            ),
            tuple(self._unmatched),
        )

    def _conclusion(self) -> Conclusion:
        if set(self._outputs) != set(self._plan.outputs):
            return "not evaluated"
        if any(operation.cause == "computation" for operation in self._operations):
            return "another computation"
        if any(target < expected - MARGIN_DB for expected, target in self._outputs.values()):
            return "worse than fp16 has to be"
        if any(expected < TARGET_DB for expected, _ in self._outputs.values()):
            return "fp16 is not enough"
        return "as good as it has to be"


def _rms(tensor: Tensor) -> float:
    return norm(tensor.float()) / math.sqrt(max(1, tensor.numel()))
