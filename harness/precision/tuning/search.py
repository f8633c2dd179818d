"""The search for the cheapest set of FP32 operations: rounds of predicting, measuring, correcting.

A minimum cut finds the cheapest set that is predicted to reach the goal
(`trade`), and a virtual run measures it. Where the run is worse than predicted,
and too bad, whoever is to blame is looked for (`blame`), and its prediction is
replaced by what it was measured to do. What nobody in particular is to blame for corrects the
prediction of the measure as a whole. Roundings of neighbours may agree or cancel, so what is
measured still jumps by a few dB from set to set. So in the end sets that came close, and are
cheaper than any that holds, are *grown*: their operations stay in FP32, and the cut chooses what
joins them for the measures that still fail. And the cheapest set that holds is *trimmed*: the cut
chooses what may leave it, for what it has to spare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from harness.precision.sensitivity import snr_of
from harness.precision.tuning.blame import region_to_blame
from harness.precision.tuning.costs import trade_costs
from harness.precision.tuning.goals import Trial, Tuning
from harness.precision.tuning.parts import Parts
from harness.precision.tuning.trade import cheapest
from harness.precision.tuning.tuner import Tuner

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_ROUNDING = 1e-9  # shares are sums
_CLOSE_DB = 0.15
"""A measured set this close above the target is not worth another round."""
_STEP = 0.8
"""A step of growth aims at this part of the error that is allowed, so that few are enough."""
_STEPS = 4
_STARTS = 3
_TRIMS = 6
_NEAR_DB = 2.0
"""A set that misses the goal by less is worth growing."""
_UNEXPECTED = 10**0.1
"""An error this far above its prediction (1 dB) has to be explained, where it is too large."""
_RUNS = 5
"""Runs of one case that explanations may take for each round, all together."""


def tune(tuner: Tuner, parts: Parts | None = None, *, rounds: int = 8) -> Tuning:
    """Find the cheapest set that reaches the goal.

    Args:
        tuner: knows the model, the inputs and the goal.
        parts: of the error, from an earlier call of `Tuner.parts` with the same goal.
        rounds: of predicting and measuring, at most.
    """
    return _Search(tuner, parts or tuner.parts(), rounds).run()


class _Search:
    """Rounds of predicting, measuring and correcting.

    Args:
        tuner: measures.
        parts: of the error, that predict.
        rounds: of the cut, at most.
    """

    def __init__(self, tuner: Tuner, parts: Parts, rounds: int) -> None:
        self._tuner, self._rounds = tuner, rounds
        self._parts, self._unknown = parts.without_unknown()
        self._costs = trade_costs(tuner.lab.base.plan, parts, tuner.goal.cost)
        goal = tuner.goal
        bound = 10 ** (-(goal.min_snr_db + goal.margin_db) / 10)
        allowed = goal.tolerance_share**2
        self._bounds = np.array([bound if m in tuner.ratios else allowed for m in parts.measures])
        self._runs = _RUNS * rounds
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
        starts = sorted(self._near(), key=lambda index: self._trials[index].fp32_share)
        for start in starts[:_STARTS]:
            self._grow(self._sets[start], _STEPS)
        if not any(trial.holds for trial in self._trials):
            closest = max(range(len(self._trials)), key=lambda k: self._spare_db(self._trials[k]))
            self._grow(self._sets[closest], self._rounds)
        self._trim()
        return self._result()

    def _near(self) -> list[int]:
        """Return the trials that hardly miss the goal and are cheaper than any that reaches it."""
        limit = min((t.fp32_share for t in self._trials if t.holds), default=math.inf)
        return [
            index
            for index, trial in enumerate(self._trials)
            if self._spare_db(trial) > -_NEAR_DB and trial.fp32_share < limit and not trial.holds
        ]

    def _trim(self) -> None:
        """Take operations out of the cheapest set that holds, as long as what is left holds."""
        step = 0
        for _ in range(_TRIMS):
            holding = [index for index, trial in enumerate(self._trials) if trial.holds]
            best = min(holding, key=lambda index: self._trials[index].fp32_share, default=None)
            if best is None or self._is_close(self._trials[best]):
                return
            wide = self._sets[best] | self._unknown
            self._expect(wide)
            corrected = self._parts.scaled(self._correction)
            bounds = self._bounds * _STEP**step
            left = cheapest(corrected, self._costs, bounds, self._unknown, allowed=wide)
            if np.array_equal(left, wide):
                return
            if not self._measure(left).holds:
                step += 1

    def _expect(self, wide: Mask) -> None:
        """Have each measure of a set predicted as it was measured."""
        found, error = self._found(wide), self._parts.error(wide)
        self._correction = np.where(error > 0, found / np.maximum(error, 1e-300), 1.0)

    def _grow(self, start: Mask, steps: int) -> None:
        """Add operations to a set until it holds."""
        wide = start | self._unknown
        self._expect(wide)
        for step in range(1, steps + 1):
            corrected = self._parts.scaled(self._correction)
            joined = cheapest(corrected, self._costs, self._bounds * _STEP**step, wide)
            if np.array_equal(joined, wide):
                continue
            wide = joined
            if self._measure(wide).holds:
                return

    def _measure(self, wide: Mask) -> Trial:
        """Measure a set, and correct the prediction by what was measured."""
        tuner, names = self._tuner, self._names(wide)
        corrected = self._parts.scaled(self._correction).error(wide)
        predicted = {
            measure: snr_of(value)
            for measure, value in zip(self._parts.measures, corrected, strict=True)
            if measure in tuner.ratios
        }
        trial = tuner.trial(names, predicted)
        found = self._found(wide)
        if self._trials:
            self._explain(wide, found)
        error = self._parts.error(wide)
        ratio = np.where(error > 0, found / np.maximum(error, 1e-300), 1.0)
        # A set's roundings may happen to agree or to cancel; half of it is forgotten each round.
        known = bool(self._trials)
        self._correction = np.sqrt(self._correction * ratio) if known else ratio
        if all(trial.fp32 != other.fp32 for other in self._trials):
            self._trials.append(trial)
            self._sets.append(wide)
            tuner.report(trial.describe(tuner.goal))
        return trial

    def _explain(self, wide: Mask, found: Array) -> None:
        """Correct operations that make a set worse than predicted and too bad to hold."""
        blamed = np.zeros(len(found), bool)
        while self._runs > 0:
            predicted = self._parts.scaled(self._correction)
            expected = predicted.error(wide)
            surprise = np.divide(found, expected, out=np.ones(len(found)), where=expected > 0)
            suspicious = (surprise > _UNEXPECTED) & (found > self._bounds) & ~blamed
            if not suspicious.any():
                return
            worst = int(np.where(suspicious, surprise, 0.0).argmax())
            case = self._tuner.case_of[self._parts.measures[worst]]

            def alone(narrow: Mask, case: str = case) -> Array:
                self._runs -= 1
                return self._ordered(self._tuner.measured_on(case, self._names(~narrow)))

            region = region_to_blame(predicted, ~wide, worst, float(found[worst]), alone)
            if region is None:
                blamed[worst] = True  # everything in general
                continue
            self._parts = self._parts.corrected(region.operations, region.ratios)
            names = self._names(region.operations)
            who = f"{names[0]} has" if len(names) == 1 else f"{len(names)} from {names[0]} have"
            more_db = 10 * math.log10(region.ratios[worst])
            measure = self._parts.measures[worst]
            self._tuner.report(f"{measure}: {who} {more_db:.1f} dB more error than predicted")

    def _names(self, operations: Mask) -> list[str]:
        return [n for n, chosen in zip(self._parts.operations, operations, strict=True) if chosen]

    def _found(self, wide: Mask) -> Array:
        return self._ordered(self._tuner.measured(self._names(wide)))

    def _ordered(self, found: Mapping[str, float]) -> Array:
        return np.array([found.get(measure, math.nan) for measure in self._parts.measures])

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
