"""What tuning is asked for, what it tried, and what it found: values, and their document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from harness.precision.tuning.costs import CostKind

KIND: Final = "tuning"
VERSION: Final = 2
AGREEMENT_DB: Final = 1.0
"""How far a converted package may be from its virtual run."""


@dataclass(frozen=True)
class Goal:
    """What a set of precisions must reach.

    Attributes:
        min_snr_db: of every stem (or of every output, where the program has no stems).
        rtol, atol: what every element of both branches must be within; both or neither.
        margin_db: kept above ``min_snr_db``, and below the tolerance, on the given inputs, for
            those that were not given.
        max_fp32_share: of the cost; 1.0 for no limit.
        cost: what FP32 costs.
        every_second: whether each channel's every second must reach ``min_snr_db``, and not only
            each stem as a whole: what the gate of the layer end_to_end asks for.
    """

    min_snr_db: float
    rtol: float | None = None
    atol: float | None = None
    margin_db: float = 1.0
    max_fp32_share: float = 1.0
    cost: CostKind = "flops"
    every_second: bool = False

    @property
    def tolerance_share(self) -> float:
        """How much of the tolerance an element may use up, so that the margin remains."""
        return float(10 ** (-self.margin_db / 20))


@dataclass(frozen=True)
class Trial:
    """A set of precisions, predicted and measured.

    Attributes:
        fp32: names of the operations in FP32.
        fp32_share: their share of the cost.
        predicted_db: SNR by measure (``case/stem:NAME``) as predicted.
        measured_db: the same as a virtual run gives it.
        worst_tolerance: by case and output, the greatest error by its allowance; empty if the goal
            has no tolerance. Above 1 the tolerance doesn't hold.
        holds: whether the goal is reached on every input, margin included.
    """

    fp32: tuple[str, ...]
    fp32_share: float
    predicted_db: Mapping[str, float]
    measured_db: Mapping[str, float]
    worst_tolerance: Mapping[str, float]
    holds: bool

    @property
    def worst_db(self) -> float:
        """The lowest measured SNR."""
        return min(self.measured_db.values(), default=math.inf)

    def describe(self, goal: Goal) -> str:
        """Return the trial in a line."""
        words = (
            f"{len(self.fp32)} operations in FP32, {100 * self.fp32_share:.2f} % of the "
            f"{goal.cost}: worst {self.worst_db:.2f} dB"
        )
        if self.worst_tolerance:
            words += f", {max(self.worst_tolerance.values()):.2f} of the tolerance"
        return f"{words}, holds" if self.holds else words


@dataclass(frozen=True)
class Confirmation:
    """The best trial beside a package that was really converted by its recipe.

    Attributes:
        audit: verdict on the package's precision, operation by operation.
        measured_db: SNR by measure, as in `Trial`.
        worst_tolerance: likewise.
        furthest_db: the greatest distance of any measure from the virtual run.
        holds: whether the package reaches the goal, and agrees within `AGREEMENT_DB`.
    """

    audit: str
    measured_db: Mapping[str, float]
    worst_tolerance: Mapping[str, float]
    furthest_db: float
    holds: bool


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    Attributes:
        goal: what was asked for.
        best: the cheapest trial that holds; None if none does.
        trials: all, in the order in which they were made.
        limit: why the goal can't be reached, one sentence; empty if it can.
        confirmation: of the best trial by a package; None if nothing was converted.
    """

    goal: Goal
    best: Trial | None
    trials: tuple[Trial, ...]
    limit: str = ""
    confirmation: Confirmation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain JSON data, with its kind, version and the Pareto curve."""
        pareto = [{"fp32_share": t.fp32_share, "worst_db": t.worst_db} for t in self.pareto()]
        told = {"kind": KIND, "version": VERSION, "reached": self.best is not None}
        return {**told, **asdict(self), "pareto": pareto}

    def pareto(self) -> tuple[Trial, ...]:
        """Return the trials that no other beats in both SNR and FP32 share, cheapest first."""
        curve: list[Trial] = []
        for trial in sorted(self.trials, key=lambda t: (t.fp32_share, -t.worst_db)):
            if not curve or trial.worst_db > curve[-1].worst_db:
                curve.append(trial)
        return tuple(curve)
