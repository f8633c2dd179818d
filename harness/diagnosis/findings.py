"""What a three-way comparison found: values, and the words for its verdict (`three_way`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from harness.diagnosis.causes import Cause

Conclusion: TypeAlias = Literal[
    "as good as it has to be", "fp16 is not enough", "worse than fp16 has to be",
    "another computation", "not evaluated",
]  # fmt: skip

TARGET_DB: Final = 60.0


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
        """Whether it is wrong by itself, and what reads it is wrong, too.

        A mean that is nearly zero may lose all its digits where it is subtracted from large values.
        """
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
