"""What a three-way comparison (`three_way`) finds: causes of operations, and a verdict on all.

From numbers about an operation to a cause, its words, and what to try.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

Cause: TypeAlias = Literal[
    "range", "computation", "accumulation", "execution", "subnormal", "cancellation", "rounding"
]

Conclusion: TypeAlias = Literal[
    "as good as it has to be", "fp16 is not enough", "worse than fp16 has to be",
    "another computation", "not evaluated",
]  # fmt: skip

TARGET_DB: Final = 60.0
"""What one operation alone must not lose: the gate of a whole conversion."""

FLOOR_DB: Final = {"fp16": 60.0, "fp32": 100.0}
"""What one operation reaches by itself if it is computed and rounded once in that precision: one
rounding costs 73.65 dB in FP16 and 151.9 dB in FP32, its rounded inputs and constants a little
more; below this, something else is the matter."""
_SAME_COMPUTATION_DB: Final = 90.0
"""What the same computation reaches in float64 at least; a tanh GELU in its stead has 65."""
_SAME_BUT_ROUNDED_DB: Final = 50.0
"""Likewise where it reads constants that are rounded to FP16, which leave about 70."""
_SUSPICIOUS_DB: Final = 70.0
"""Rounded once, with rounded inputs, an operation in FP16 that reads no constants has more."""
_CANCELLED: Final = 1 / 8  # of the input's level: 18 dB of it are gone
_SUBNORMAL_RMS: Final = 2.0**-15

NEXT_STEPS: Final[dict[Cause, str]] = {
    "range": "keep the operation in FP32, or scale what it reads: parity headroom shows how far",
    "computation": "convert the package again and look for constants that differ: parity check "
    "compares each with the subject's",
    "accumulation": "keep the operation in FP32, or split its sum",
    "execution": "replay the operation alone on the engine that made the target",
    "subnormal": "keep the operation in FP32, or scale what it reads",
    "cancellation": "keep the operation and what makes its inputs in FP32",
    "rounding": "keep the operation in FP32: parity tune finds the smallest set",
}


@dataclass(frozen=True)
class Evidence:
    """What is known of one operation.

    Attributes:
        type, dtype: of the operation.
        rounds_constants: whether it reads constants that are rounded to FP16.
        terms: of its longest sum.
        level: RMS of the reference's result.
        gain: that beside the largest RMS among its inputs.
        finite: whether the target's result is, and the expected one of the reference's inputs.
        inputs_finite: whether the target's inputs are.
        local_db: the expected result on the reference's inputs, beside the reference's.
        exact_db: the same in float64; ``None`` if it was not needed, or differs no more than FP32
            itself does.
        deviation_db: the target's result beside the expected one on the same inputs.
    """

    type: str
    dtype: str
    rounds_constants: bool
    terms: int
    level: float
    gain: float
    finite: bool
    inputs_finite: bool
    local_db: float | None
    exact_db: float | None
    deviation_db: float | None


def floor_db(dtype: str) -> float:
    """Return what an operation of this declared type reaches by itself."""
    return FLOOR_DB.get(dtype, FLOOR_DB["fp16"])


def suspicious_db(dtype: str, rounds_constants: bool) -> float:
    """Return what is so little by itself that the operation may compute something else."""
    return floor_db(dtype) if rounds_constants else max(floor_db(dtype), _SUSPICIOUS_DB)


def cause_of(seen: Evidence) -> Cause | None:
    """Return why the operation is wrong by itself, or ``None`` if it is not."""
    floor = floor_db(seen.dtype)
    same = _SAME_BUT_ROUNDED_DB if seen.rounds_constants else _SAME_COMPUTATION_DB
    if seen.exact_db is not None and seen.exact_db < same:
        return "computation"
    if not seen.finite and seen.inputs_finite:
        return "range"
    if seen.deviation_db is not None and seen.deviation_db < floor:
        return "accumulation" if seen.terms > 1 else "execution"
    if seen.local_db is None or seen.local_db >= floor:
        return None
    if seen.dtype == "fp16" and 0 < seen.level < _SUBNORMAL_RMS:
        return "subnormal"
    return "cancellation" if seen.gain < _CANCELLED else "rounding"


def words_of(cause: Cause | None, seen: Evidence) -> str:
    """Return the cause in words, with its numbers."""
    local = "-" if seen.local_db is None else f"{seen.local_db:.1f} dB"
    deviation = "-" if seen.deviation_db is None else f"{seen.deviation_db:.1f} dB"
    if cause == "range":
        return "its result is infinite or NaN, its inputs are not: it left FP16's range"
    if cause == "computation" and seen.exact_db is None:
        return "it is far off, made of values that the reference lacks; all before it is right"
    if cause == "computation":
        return (
            f"it computes something else than the reference: even in float64, on the reference's "
            f"inputs, it is at {seen.exact_db:.1f} dB; its constants or attributes differ"
        )
    if cause == "accumulation":
        return f"adding up {seen.terms:,} terms, the target is {deviation} from what is expected"
    if cause == "execution":
        return f"on the same inputs, the target is {deviation} from what is expected"
    if cause == "subnormal":
        return f"its values have an RMS of {seen.level:.3g}, among FP16's subnormals: {local}"
    if cause == "cancellation":
        return (
            f"its result is {-20 * math.log10(seen.gain):.0f} dB below its inputs, whose rounding "
            f"stays: {local} by itself"
        )
    return f"{local} by itself" if cause == "rounding" else ""


@dataclass(frozen=True)
class OperationError:
    """What one operation adds, and what it has behind it, in dB below the reference.

    Attributes:
        operation: its name, as recipes spell it.
        value: name of its first result in the candidate.
        type, module, dtype: of the operation.
        terms: of its longest sum.
        expected_db, target_db: accumulated error of the expected run and of the target.
        inputs_db: the worst of the target's inputs.
        local_db: the local error; ``None`` where an input has no counterpart.
        deviation_db: the target's deviation; ``None`` where an input is unknown.
        readers_db: of an operation with a cause, the worst that its result does to an operation
            that reads it, all else being right, or to the output that it is.
        cause: why the target is wrong here; ``None`` where it is not.
        words: the cause in words.
    """

    operation: str
    value: str
    type: str
    module: str
    dtype: str
    terms: int
    expected_db: float
    target_db: float
    inputs_db: float
    local_db: float | None
    deviation_db: float | None
    readers_db: float
    cause: Cause | None
    words: str

    @property
    def matters(self) -> bool:
        """Whether it is wrong by itself, and what reads it is wrong, too, or it isn't the same.

        A mean that is nearly zero may lose all its digits where it is subtracted from large values.
        """
        if self.cause == "computation":
            return True
        return self.cause is not None and self.readers_db < TARGET_DB


@dataclass(frozen=True)
class ThreeWay:
    """The three runs side by side.

    Attributes:
        target: what the target is, in words.
        conclusion: the verdict.
        outputs: expected and target SNR of each output.
        operations: those that compute, in program order, where the target is known.
        unmatched: values of the candidate that nothing in the reference, or in the capture, is
            like.
    """

    target: str
    conclusion: Conclusion
    outputs: Mapping[str, tuple[float, float]]
    operations: tuple[OperationError, ...]
    unmatched: tuple[str, ...]

    @property
    def culprits(self) -> tuple[OperationError, ...]:
        """The operations that are wrong by themselves: those that matter, then the others."""
        wrong = [operation for operation in self.operations if operation.cause is not None]
        return tuple(sorted(wrong, key=lambda operation: not operation.matters))

    def to_dict(self) -> dict[str, Any]:
        """All fields, and what follows from them, as plain Python values."""
        outputs = {
            name: {"expected_db": expected, "target_db": target}
            for name, (expected, target) in self.outputs.items()
        }
        culprits = [operation.operation for operation in self.culprits]
        return {**asdict(self), "outputs": outputs, "culprits": culprits}
