"""Headroom audit: how near each operation comes to the limits of FP16, over several signals.

In: a model and inputs. Out: for each operation its largest magnitude beside 65,504, the share of
its values that FP16 holds as subnormals, how many terms it adds up, and in words what is at risk::

    range         it exceeds 65,504, or a signal twice as loud would
    subnormal     its values are so small that FP16's fixed step of 2^-24 alone costs the target
    accumulation  its sum is so long, or so large, that an accumulator in FP16 loses it
    integer       it stores integers as other numbers: they wrap in a narrow type, or are rounded

A model in FP32 is audited as if all of it ran in FP16: that is the question before a conversion. Of
one with FP16 in it, only the operations in FP16 are at risk, and those that lose integers. Loud and
quiet signals, and silence, say more than ordinary ones: what is found is the worst over all cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch

from harness.conversion.sidecar import read_sidecar
from harness.diagnosis.contraction import FULL_ACCUMULATOR, accumulated_terms
from harness.diagnosis.findings import TARGET_DB
from harness.diagnosis.replay import local_snr_db
from harness.errors import PackageError
from harness.mil import DataType, Model, Numerics, ValueStatistics, get_numerics, inspect
from harness.mil.assignment import OperationNumerics
from harness.mil.numerics.rounding import FP16_MAX
from harness.mil.plan import Step
from harness.precision.virtual import moves, operation_name

RiskKind: TypeAlias = Literal["range", "subnormal", "accumulation", "integer"]
MARGIN_DB: Final = 6.02
"""A signal twice as loud."""
_SUBNORMAL_NOISE: Final = 2.0**-24 / math.sqrt(12)  # of rounding to a grid of 2^-24


@dataclass(frozen=True)
class Risk:
    """What may go wrong in one operation, and the case in which it showed."""

    kind: RiskKind
    reason: str
    case: str


@dataclass(frozen=True)
class OperationHeadroom:
    """One operation beside the limits of FP16; the worst of all cases.

    Attributes:
        operation: its name, as recipes spell it.
        type: of the operation.
        module: PyTorch module path, where the package records it.
        dtype: declared element type.
        peak: largest magnitude, before rounding.
        peak_case: where that was.
        subnormal_share: of its elements in FP16.
        subnormal_case: where that was.
        terms: of its longest sum.
        accumulated_db: what its accumulation alone leaves, where it was run in another numerics
            than ``storage``.
        risks: empty if there is none.
    """

    operation: str
    type: str
    module: str
    dtype: str
    peak: float
    peak_case: str
    subnormal_share: float
    subnormal_case: str
    terms: int
    accumulated_db: float | None
    risks: tuple[Risk, ...]

    @property
    def headroom_db(self) -> float:
        """From the largest magnitude up to 65,504, or its integer type's end; ``inf`` of zeros."""
        declared = DataType(self.dtype)
        limit = FP16_MAX if declared.is_floating else float(np.iinfo(declared.numpy).max)
        return 20 * math.log10(limit / self.peak) if self.peak > 0 else math.inf


@dataclass(frozen=True)
class HeadroomAudit:
    """The headroom of every operation of a model.

    Attributes:
        numerics: in which it was run.
        as_fp16: whether operations in FP32 were judged as if they ran in FP16.
        cases: names of the signals.
        operations: those that compute floating-point values or lose integers, in program order.
    """

    numerics: str
    as_fp16: bool
    cases: tuple[str, ...]
    operations: tuple[OperationHeadroom, ...]

    @property
    def at_risk(self) -> tuple[OperationHeadroom, ...]:
        """The operations with a risk, in program order: the first is the one to look at first."""
        return tuple(operation for operation in self.operations if operation.risks)

    @property
    def counted(self) -> str:
        """How many operations are at risk, of how many, and which those are."""
        return (
            f"{len(self.at_risk)} of {len(self.operations)} operations that compute floats, "
            "cast or lose integers (what only moves values is not counted)"
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, and what follows from them, as plain Python values."""
        rows = [asdict(o) | {"headroom_db": o.headroom_db} for o in self.operations]
        at_risk = [operation.operation for operation in self.at_risk]
        return {**asdict(self), "at_risk": at_risk, "operations": rows}


def audit_headroom(
    model: Model,
    inputs: Mapping[str, Mapping[str, torch.Tensor]],
    *,
    numerics: str | Numerics = "storage",
    operation_numerics: OperationNumerics | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> HeadroomAudit:
    """Run ``model`` on each case and say how near each operation comes to the limits of FP16.

    Args:
        model: at the precision that it declares.
        inputs: the model's float32 inputs by case.
        numerics, operation_numerics: as in `Model.run`; where they make an operation accumulate
            in FP16, what that loses is measured, too (not in numerics that carry values otherwise
            than ``storage``: its result on the same inputs is what is compared with).
        advance: called as ``advance(done, total)``.

    Raises:
        PackageError: an operation has blocks, whose operations would be left out.
        As `Model.run`.
    """
    blocks = next((operation for operation in model.operations if operation.blocks), None)
    if blocks is not None:
        raise PackageError(
            f"{blocks} has blocks, and headroom is told of operations that run exactly once; "
            "parity predict --stats sees every one"
        )
    as_fp16 = not any(o.dtype is DataType.FLOAT16 for o in model.operations)
    seen: dict[str, dict[str, ValueStatistics]] = {}
    lost: dict[str, dict[str, float]] = {}
    chosen, wide = get_numerics(numerics), get_numerics("storage")
    accumulates = operation_numerics is not None or chosen is not wide
    for done, (case, tensors) in enumerate(inputs.items()):
        advance(done, len(inputs))
        carried = {
            feature.name: chosen.store(tensors[feature.name], feature.dtype, writable=False)
            for feature in model.inputs
            if feature.name in tensors
        }
        found = inspect(model, carried, numerics=chosen, operation_numerics=operation_numerics)
        for value in found.values:
            cases = seen.setdefault(value.operation, {})
            cases[case] = cases[case].joined(value) if case in cases else value
        if accumulates and chosen.carries_as(wide):
            for name, level in local_snr_db(model, tensors, chosen, operation_numerics).items():
                lost.setdefault(name, {})[case] = level
    advance(len(inputs), len(inputs))
    sidecar = read_sidecar(model)
    modules = sidecar.modules if sidecar else {}
    operations = [
        _judged(model, step, seen[name], lost.get(name, {}), modules, as_fp16)
        for step in model.plan.steps
        if (name := step.operation.name) in seen
        and (not moves(step) or step.operation.type == "cast")  # which rounds what it moves
    ]
    return HeadroomAudit(chosen.name, as_fp16, tuple(inputs), tuple(operations))


def _judged(
    model: Model,
    step: Step,
    cases: Mapping[str, ValueStatistics],
    lost: Mapping[str, float],
    modules: Mapping[str, str],
    as_fp16: bool,
) -> OperationHeadroom:
    operation = step.operation
    loudest = max(cases, key=lambda case: cases[case].peak)
    smallest = max(cases, key=lambda case: cases[case].subnormal_share)
    terms = accumulated_terms(model.plan, step)
    found: list[Risk] = []
    if operation.dtype is DataType.FLOAT16 or (as_fp16 and cases[loudest].dtype.is_floating):
        found += _range(cases, loudest)
        found += _subnormal(cases)
        found += _accumulation(operation.type, terms, cases[loudest], loudest, lost)
    found += _integer(cases)
    return OperationHeadroom(
        operation=operation_name(operation),
        type=operation.type,
        module=modules.get(operation.outputs[0].name, ""),
        dtype=str(operation.dtype),
        peak=cases[loudest].peak,
        peak_case=loudest,
        subnormal_share=cases[smallest].subnormal_share,
        subnormal_case=smallest,
        terms=terms,
        accumulated_db=min(lost.values()) if lost else None,
        risks=tuple(found),
    )


def _range(cases: Mapping[str, ValueStatistics], case: str) -> Iterator[Risk]:
    value = cases[case]
    if value.overflows:
        reason = f"reaches {value.peak:.4g}: {value.overflows:,} elements are infinite in FP16"
        yield Risk("range", reason, case)
    elif value.peak > 0 and 20 * math.log10(FP16_MAX / value.peak) < MARGIN_DB:
        reason = f"reaches {value.peak:.4g}: a signal twice as loud is beyond FP16's 65,504"
        yield Risk("range", reason, case)


def _integer(cases: Mapping[str, ValueStatistics]) -> Iterator[Risk]:
    case = max(cases, key=lambda case: cases[case].lost)
    value = cases[case]
    if value.lost:
        reason = (
            f"stores {value.lost:,} of {value.count:,} integers as other numbers: they reach from "
            f"{value.minimum:.9g} to {value.maximum:.9g}, its type is {value.dtype}"
        )
        yield Risk("integer", reason, case)


def _subnormal(cases: Mapping[str, ValueStatistics]) -> Iterator[Risk]:
    sounding = [case for case in cases if cases[case].rms > 0]
    for case in sorted(sounding, key=lambda case: cases[case].rms)[:1]:
        value = cases[case]
        level = 20 * math.log10(value.rms / _SUBNORMAL_NOISE)
        if level < TARGET_DB and value.subnormal:
            reason = (
                f"has an RMS of {value.rms:.3g}, {100 * value.subnormal_share:.3g} % of it "
                f"subnormal: FP16's step of 2^-24 leaves about {level:.0f} dB"
            )
            yield Risk("subnormal", reason, case)


def _accumulation(
    kind: str, terms: int, loudest: ValueStatistics, case: str, lost: Mapping[str, float]
) -> Iterator[Risk]:
    """Yield what speaks most clearly, if anything does."""
    worst = min(lost, key=lambda name: lost[name], default="")
    total = loudest.peak * terms
    if lost and terms > 1 and lost[worst] < TARGET_DB:
        reason = f"adds up {terms:,} terms in FP16: that alone leaves {lost[worst]:.1f} dB"
        yield Risk("accumulation", reason, worst)
    elif kind == "reduce_mean" and total > FP16_MAX >= loudest.peak:
        reason = (
            f"its sum of {terms:,} terms reaches {total:.3g} before it is divided: infinite where "
            "the device accumulates in FP16"
        )
        yield Risk("accumulation", reason, case)
    elif terms >= FULL_ACCUMULATOR:
        reason = (
            f"adds up {terms:,} terms: an accumulator in FP16 can stop growing after "
            f"{FULL_ACCUMULATOR:,} equal ones"
        )
        yield Risk("accumulation", reason, case)
