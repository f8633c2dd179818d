"""A package beside its reference, operation by operation: how far apart, and how near FP16's ends.

Both programs run at the same time, step by step, and of each operation only statistics are kept:
its accumulated error, the error that it adds itself, its largest magnitude, and how many units in
the last place its elements are off. The reference is the model in FP32; values are matched by name,
as in `harness.diagnosis.three_way`. A model in FP32 is its own reference, computed in float64.

Levels and maxima are of every element. Units in the last place and subnormals are of a sample of at
most `SAMPLE` elements, evenly spread, so that two runs count the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch

from harness.diagnosis.replay import Played, Replay, level_db, norm
from harness.diagnosis.sides import Reference
from harness.metrics import ulp_statistics
from harness.mil import DataType, Model
from harness.mil.plan import Step
from harness.precision.virtual import is_floating, moves, operation_name

Tensor: TypeAlias = torch.Tensor

SAMPLE: Final = 1 << 12
_SMALLEST_NORMAL: Final = 2.0**-14  # of FP16


@dataclass(frozen=True)
class OperationProfile:
    """What one operation of a package was like beside its reference.

    Attributes:
        index: its place in the program.
        operation: its name, as recipes spell it.
        type, module, precision: of the operation; ``precision`` is ``fp16`` or ``fp32``.
        snr_db: accumulated error of its result; ``None`` where the reference has no such value, or
            is silent.
        local_db: the error that it adds itself: its result on the reference's inputs; ``None``
            where it was not measured, an input has no counterpart, or the reference is silent.
        max_abs_error: of any element; ``None`` where the reference has no such value.
        peak: largest magnitude of its result in the reference, where no range limits it.
        ulp_p50, ulp_p99: units in the last place of its declared type that half, or 99 %, of the
            elements do not exceed.
        subnormal_share: of its elements, those that FP16 holds as subnormals or makes zero.
    """

    index: int
    operation: str
    type: str
    module: str
    precision: str
    snr_db: float | None
    local_db: float | None
    max_abs_error: float | None
    peak: float
    ulp_p50: int | None
    ulp_p99: int | None
    subnormal_share: float


def profile_operations(
    reference: Model,
    candidate: Model,
    inputs: Mapping[str, Tensor],
    *,
    reference_numerics: str = "storage",
    numerics: str = "storage",
    local: bool = True,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[OperationProfile, ...]:
    """Return the profile of every floating-point operation of ``candidate`` that computes.

    Operations that only move values are left out: their error is that of what they move.

    Args:
        reference: the model in FP32.
        candidate: the same model at any precision.
        inputs: float32, by name.
        reference_numerics: how the reference is computed.
        numerics: how the candidate is computed.
        local: whether ``local_db`` is measured, which takes a third run.
        advance: called as ``advance(done, total)``.

    Raises:
        PackageError: a program has blocks or states.
    """
    profiler = _Profiler(reference, candidate, inputs, reference_numerics, numerics, local)
    total = len(candidate.operations)
    found: list[OperationProfile] = []
    for done, played in enumerate(profiler.replay.steps(inputs)):
        advance(done, total)
        found += profiler.profiles(played)
    advance(total, total)
    return tuple(found)


class _Profiler:
    """Goes through the candidate's plan with the reference beside it."""

    def __init__(
        self,
        reference: Model,
        candidate: Model,
        inputs: Mapping[str, Tensor],
        reference_numerics: str,
        numerics: str,
        local: bool,
    ) -> None:
        self._local = local
        self.replay = Replay(candidate, numerics)
        self._reference = Reference(reference, self.replay, inputs, self._uses, reference_numerics)

    def _uses(self, step: Step) -> tuple[int, ...]:
        if not self._judged(step):
            return ()
        return (*(dict.fromkeys(step.reads) if self._local else ()), step.outputs[0])

    def _judged(self, step: Step) -> bool:
        return not moves(step) and is_floating(self.replay.model.plan.types[step.outputs[0]])

    def profiles(self, played: Played) -> Iterator[OperationProfile]:
        """Yield the profile of a step, if it has one."""
        step = played.step
        if not self._judged(step):
            return
        inputs = self._reference.given(step, played.values)[0] if self._local else None
        wanted, actual = self._reference.use(step.outputs[0]), played.results[0]
        level = local = error = None
        if wanted is not None:
            rest = actual.to(wanted.dtype) - wanted
            level, error = _known_db(wanted, rest), _peak(rest)
            if inputs is not None:
                made = self.replay.call(step, inputs)[0]
                local = _known_db(wanted, made.to(wanted.dtype) - wanted)
        operation = step.operation
        half = operation.dtype is DataType.FLOAT16
        sample = _sample(actual if wanted is None else wanted)
        ulp = None if wanted is None else ulp_statistics(
            sample.numpy(), _sample(actual).numpy(), dtype="float16" if half else "float32"
        )  # fmt: skip
        sizes = sample.abs()
        yield OperationProfile(
            index=operation.location.index,
            operation=operation_name(operation),
            type=operation.type,
            module=self._reference.module(step),
            precision="fp16" if half else "fp32",
            snr_db=level,
            local_db=local,
            max_abs_error=error,
            peak=_peak(actual if wanted is None else wanted),
            ulp_p50=None if ulp is None else ulp.p50,
            ulp_p99=None if ulp is None else ulp.p99,
            subnormal_share=float(((sizes < _SMALLEST_NORMAL) & (sizes > 0)).double().mean()),
        )


def _known_db(reference: Tensor, rest: Tensor) -> float | None:
    """Return the SNR of an error ``rest``; ``None`` beside silence, if it isn't exact."""
    level = level_db(norm(reference), norm(rest))
    return level if reference.any() or level == math.inf else None


def _peak(tensor: Tensor) -> float:
    if not tensor.numel():
        return 0.0
    low, high = tensor.aminmax()
    return max(float(high), -float(low))


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(-1)
    step = max(1, math.ceil(flat.numel() / SAMPLE))
    return flat[:: step | 1]  # an odd step: a power of two would look at one channel only
