"""The search for the cheapest set of FP32 operations: rounds of predicting, measuring, correcting.

A minimum cut finds the cheapest set that is predicted to reach the goal
(`harness.precision.trade`), a virtual run measures it, and the prediction is corrected by the ratio
of the two. Roundings of neighbours may agree or cancel, so what is measured jumps by a few dB from
set to set. Where no set of these rounds holds, the one that came closest is *grown*: its operations
stay in FP32, and the cut chooses what joins them for the measures that still fail.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.precision.costs import trade_costs
from harness.precision.goals import Trial, Tuning, decibels
from harness.precision.parts import Parts
from harness.precision.trade import cheapest

if TYPE_CHECKING:
    from harness.precision.tune import Tuner

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_ROUNDING = 1e-9  # shares are sums
_CLOSE_DB = 0.15
"""A measured set this close above the target is not worth another round."""
_STEP = 0.8
"""A step of growth aims at this part of the error that is allowed, so that few are enough."""


class Search:
    """Rounds of predicting, measuring and correcting.

    Args:
        tuner: measures.
        parts: of the error, that predict.
        rounds: of the cut, and then of growth, at most.
    """

    def __init__(self, tuner: Tuner, parts: Parts, rounds: int) -> None:
        self._tuner, self._rounds = tuner, rounds
        self._parts, self._unknown = parts.without_unknown()
        self._costs = trade_costs(tuner.lab.base.plan, parts, tuner.goal.cost)
        goal = tuner.goal
        bound = 10 ** (-(goal.min_snr_db + goal.margin_db) / 10)
        self._bounds = np.array([bound if m in tuner.ratios else 1.0 for m in parts.measures])
        self._correction = np.ones(len(parts.measures))
        self._trials: list[Trial] = []
        self._sets: list[Mask] = []

    def run(self) -> Tuning:
        """Search, and return what was found."""
        floor = self._measure(np.zeros(len(self._parts.operations), bool))
        if floor.holds:
            return Tuning(self._tuner.goal, floor, tuple(self._trials))
        for _ in range(self._rounds):
            corrected = self._parts.scaled(self._correction)
            known = len(self._trials)
            chosen = cheapest(corrected, self._costs, self._bounds, self._unknown)
            trial = self._measure(chosen)
            if len(self._trials) == known or self._is_close(trial):
                break
        if not any(trial.holds for trial in self._trials):
            self._grow()
        return self._result()

    def _grow(self) -> None:
        """Add operations to the set that came closest until it holds."""
        best = max(range(len(self._trials)), key=lambda index: self._spare_db(self._trials[index]))
        wide = self._sets[best] | self._unknown
        self._measure(wide)  # so that the corrections are those of this set
        for step in range(1, self._rounds + 1):
            corrected = self._parts.scaled(self._correction)
            joined = cheapest(corrected, self._costs, self._bounds * _STEP**step, wide)
            if np.array_equal(joined, wide):
                continue
            wide = joined
            if self._measure(wide).holds:
                return

    def _measure(self, wide: Mask) -> Trial:
        """Measure a set, and correct the prediction by what was measured."""
        tuner, parts = self._tuner, self._parts
        names = [name for name, chosen in zip(parts.operations, wide, strict=True) if chosen]
        error = parts.error(wide)
        predicted = {
            measure: decibels(value * factor)
            for measure, value, factor in zip(parts.measures, error, self._correction, strict=True)
            if measure in tuner.ratios
        }
        trial = tuner.trial(names, predicted)
        measured = tuner.measured(names)
        found = np.array([measured.errors[measure] for measure in parts.measures])
        ratio = np.where(error > 0, found / np.maximum(error, 1e-300), 1.0)
        # A set's roundings may happen to agree or to cancel; half of it is forgotten each round.
        known = bool(self._trials)
        self._correction = np.sqrt(self._correction * ratio) if known else ratio
        for index, measure in enumerate(parts.measures):
            worst = measured.worst.get(measure, 0.0)
            if worst > 0:
                # How far the worst element stands above the mean square.
                self._bounds[index] = tuner.goal.tolerance_share**2 * found[index] / worst**2
        if all(trial.fp32 != other.fp32 for other in self._trials):
            self._trials.append(trial)
            self._sets.append(wide)
            tuner.report(trial.describe(tuner.goal))
        return trial

    def _spare_db(self, trial: Trial) -> float:
        """Return by how much the goal is reached, negative if it isn't."""
        goal = self._tuner.goal
        spare = trial.worst_db - goal.min_snr_db - goal.margin_db
        tolerances = [
            20 * math.log10(goal.tolerance_share / value)
            for value in trial.worst_tolerance.values()
            if value > 0
        ]
        return min([spare, *tolerances])

    def _is_close(self, trial: Trial) -> bool:
        return trial.holds and self._spare_db(trial) < _CLOSE_DB

    def _result(self) -> Tuning:
        goal = self._tuner.goal
        holding = [trial for trial in self._trials if trial.holds]
        best = min(holding, key=lambda trial: trial.fp32_share, default=None)
        if best is not None and best.fp32_share <= goal.max_fp32_share + _ROUNDING:
            return Tuning(goal, best, tuple(self._trials))
        if best is not None:
            limit = (
                f"the goal needs {100 * best.fp32_share:.1f} % of the {goal.cost} in FP32, "
                f"and {100 * goal.max_fp32_share:.1f} % are allowed"
            )
        else:
            closest = max(self._trials, key=self._spare_db)
            where = min(closest.measured_db, key=lambda name: closest.measured_db[name], default="")
            limit = (
                f"no set that was tried reaches the goal; the closest has "
                f"{100 * closest.fp32_share:.1f} % of the {goal.cost} in FP32, "
                f"{closest.worst_db:.2f} dB in {where}"
            )
            if closest.worst_tolerance:
                output = max(closest.worst_tolerance, key=lambda n: closest.worst_tolerance[n])
                limit += f" and {closest.worst_tolerance[output]:.2f} of what {output} allows"
        return Tuning(goal, None, tuple(self._trials), limit)
