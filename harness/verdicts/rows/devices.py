"""What a run keeps of devices: what would become of a package on them, and of what they made of it.

None of it gates, but for a capture: there the device itself has answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.errors import RunError
from harness.verdicts.rows.labelled import Labelled

LEAST_DB: Final = 0.1
"""What the worst stem must gain without errors of a kind for these to count."""


@dataclass(frozen=True)
class DeviceLevel:
    """SNR against PyTorch of one stem, or of one output where there are no stems.

    Attributes:
        name: of the stem or output.
        assumed_db: as the profile assumes; of the placement ``worst`` the floor over all splits.
        low_db, high_db: the band over what is unknown.
        captured_db: of what the device made of it; None where nobody has recorded that.
    """

    name: str
    assumed_db: float
    low_db: float
    high_db: float
    captured_db: float | None = None


@dataclass(frozen=True)
class Supposition:
    """The SNR of the worst stem if one thing were otherwise."""

    what: str
    worst_db: float


@dataclass(frozen=True)
class Claim:
    """One line of a profile: what it is, how it is known, and who says so.

    Attributes:
        about: a property, or a table.
        value: what is known, or the variants.
        basis: ``measured``, ``inferred`` or ``unknown``.
        confidence: ``high``, ``medium`` or ``low``.
        source: who published it, or why it is open.
    """

    about: str
    value: str
    basis: str
    confidence: str
    source: str


@dataclass(frozen=True)
class DevicePrediction(Labelled):
    """What a device would make of a package on one signal; ``numerics`` is its name.

    Attributes:
        placement: empty where one unit runs everything; else ``ane``, ``gpu``, ``cpu``, or
            ``worst`` of all splits.
        levels: by stem or output.
        variants: what the unknowns come to, one at a time.
        better: what the worst stem would have without errors of one kind: tables, accumulation,
            biases, range.
        claims: what the prediction rests on.
        note: what else is to be said, such as the operation that a capture contradicts.
    """

    placement: str
    levels: tuple[DeviceLevel, ...]
    variants: tuple[Supposition, ...]
    better: tuple[Supposition, ...]
    claims: tuple[Claim, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if not self.levels:
            raise RunError(f"a prediction of {self.numerics} has no level")

    @property
    def worst(self) -> DeviceLevel:
        """The stem or output with the lowest SNR."""
        return min(self.levels, key=lambda level: level.assumed_db)

    @property
    def dominant(self) -> str:
        """The kind of errors that cost most; empty where nothing was asked."""
        best = max(self.better, key=lambda one: one.worst_db, default=None)
        if best is None:
            return ""
        gains = best.worst_db > self.worst.assumed_db + LEAST_DB
        return best.what if gains else "rounding to FP16"

    def count(self, basis: str) -> int:
        """Return how many claims are known in this way."""
        return sum(claim.basis == basis for claim in self.claims)
