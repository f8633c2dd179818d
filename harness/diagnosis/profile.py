"""A package beside its reference, operation by operation: how far apart, and how near FP16's ends.

Both programs run at the same time, step by step, and of each operation only statistics are kept:
the metrics of `harness.verdicts.rows.operations`, each computed by the function here that has its
name. The reference is the model in FP32; values are matched by name,
as in `harness.diagnosis.three_way`. A model in FP32 is its own reference, computed in float64.

Levels and maxima are of every element. Units in the last place and subnormals are of a sample of at
most `SAMPLE` elements, evenly spread, so that two runs count the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import torch

from harness.diagnosis.replay import Played, Replay, level_db, norm
from harness.diagnosis.sides import Reference
from harness.metrics import ulp_statistics
from harness.mil import DataType, Model
from harness.mil.numerics.rounding import FP16_SMALLEST_NORMAL
from harness.mil.plan import Step
from harness.precision.virtual import is_floating, moves, operation_name
from harness.verdicts.rows.operations import OperationProfile

Tensor: TypeAlias = torch.Tensor

SAMPLE: Final = 1 << 12


@dataclass(frozen=True)
class Seen:
    """One operation beside its reference, as the functions that compute metrics see it.

    Attributes:
        wanted: its result in the reference; None where the reference has no such value.
        actual: its result in the candidate.
        alone: its result on the reference's inputs, in the reference's type; None where that was
            not asked for, or an input has no counterpart.
        half: whether its declared type is FP16.
    """

    wanted: Tensor | None
    actual: Tensor
    alone: Tensor | None
    half: bool

    @cached_property
    def size(self) -> float:
        """The norm of the reference."""
        return 0.0 if self.wanted is None else norm(self.wanted)

    @cached_property
    def rest(self) -> Tensor | None:
        """The error, in the reference's type."""
        return None if self.wanted is None else self.actual.to(self.wanted.dtype) - self.wanted

    @property
    def best(self) -> Tensor:
        """What is known best of its result: the reference's, else its own."""
        return self.actual if self.wanted is None else self.wanted


Compute = Callable[[Seen], float | None]
COMPUTED: Final[dict[str, Compute]] = {}
"""What computes each metric that is measured, by the metric's name."""


def computes(function: Compute) -> Compute:
    """Have a function compute the metric of its name; None where the metric can't be had."""
    COMPUTED[function.__name__] = function
    return function


@computes
def snr_db(seen: Seen) -> float | None:
    """Return the SNR of its result, in dB, with all that came before it."""
    return None if seen.rest is None else _ratio_db(seen.size, seen.rest)


@computes
def local_db(seen: Seen) -> float | None:
    """Return the SNR of its result on the reference's inputs, in dB."""
    if seen.alone is None or seen.wanted is None:
        return None
    return _ratio_db(seen.size, seen.alone - seen.wanted)


@computes
def max_abs_error(seen: Seen) -> float | None:
    """Return the largest error of any element."""
    return None if seen.rest is None else _peak(seen.rest)


@computes
def peak(seen: Seen) -> float:
    """Return the largest magnitude: the reference's, which no range limits."""
    return _peak(seen.best)


@computes
def ulp_p99(seen: Seen) -> float | None:
    """Return the units in the last place of its type that 99 % of a sample keep within."""
    if seen.wanted is None:
        return None
    pair = _sample(seen.wanted).numpy(), _sample(seen.actual).numpy()
    return ulp_statistics(*pair, dtype="float16" if seen.half else "float32").p99


@computes
def subnormal_share(seen: Seen) -> float:
    """Return the share of a sample that FP16 holds as subnormals or makes zero."""
    sizes = _sample(seen.best).abs()
    return float(((sizes < FP16_SMALLEST_NORMAL) & (sizes > 0)).double().mean())


def profile_operations(
    reference: Model,
    candidate: Model,
    inputs: Mapping[str, Tensor],
    *,
    reference_numerics: str = "storage",
    numerics: str = "storage",
    local: bool = True,
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

    Raises:
        PackageError: a program has blocks or states.
    """
    replay = Replay(candidate, numerics)

    def judged(step: Step) -> bool:
        return not moves(step) and is_floating(candidate.plan.types[step.outputs[0]])

    def uses(step: Step) -> tuple[int, ...]:
        reads = dict.fromkeys(step.reads) if local else ()
        return (*reads, step.outputs[0]) if judged(step) else ()

    beside = Reference(reference, replay, inputs, uses, reference_numerics)
    steps = (played for played in replay.steps(inputs) if judged(played.step))
    return tuple(_profile(replay, beside, played, local) for played in steps)


def _profile(replay: Replay, reference: Reference, played: Played, local: bool) -> OperationProfile:
    step, operation = played.step, played.step.operation
    inputs = reference.given(step, played.values)[0] if local else None
    wanted = reference.use(step.outputs[0])
    alone = None
    if wanted is not None and inputs is not None:
        alone = replay.call(step, inputs)[0].to(wanted.dtype)
    half = operation.dtype is DataType.FLOAT16
    seen = Seen(wanted, played.results[0], alone, half)
    return OperationProfile(
        index=operation.location.index,
        operation=operation_name(operation),
        type=operation.type,
        module=reference.module(step),
        precision="fp16" if half else "fp32",
        metrics={metric: compute(seen) for metric, compute in COMPUTED.items()},
    )


def _ratio_db(size: float, rest: Tensor) -> float | None:
    """Return the SNR of an error ``rest``; ``None`` beside silence, if it isn't exact."""
    level = level_db(size, norm(rest))
    return level if size or level == math.inf else None


def _peak(tensor: Tensor) -> float:
    if not tensor.numel():
        return 0.0
    low, high = tensor.aminmax()
    return max(float(high), -float(low))


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.reshape(-1)
    step = max(1, math.ceil(flat.numel() / SAMPLE))
    return flat[:: step | 1]  # an odd step: a power of two would look at one channel only
