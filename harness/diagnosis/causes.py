"""Why one operation is wrong: from numbers about it to a cause, its words, and what to try."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Cause: TypeAlias = Literal[
    "range", "computation", "accumulation", "execution", "subnormal", "cancellation", "rounding"
]

FLOOR_DB: Final = {"fp16": 60.0, "fp32": 100.0}
"""What one operation reaches by itself if it is computed and rounded once in that precision: one
rounding costs 73.65 dB in FP16 and 151.9 dB in FP32, its rounded inputs and constants a little
more; below this, something else is the matter."""
_SAME_COMPUTATION_DB: Final = 50.0  # constants rounded to FP16 leave about 70
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


def cause_of(seen: Evidence) -> Cause | None:
    """Return why the operation is wrong by itself, or ``None`` if it is not."""
    floor = floor_db(seen.dtype)
    if seen.exact_db is not None and seen.exact_db < _SAME_COMPUTATION_DB:
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
