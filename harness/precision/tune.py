"""The cheapest set of FP32 operations that reaches a target, on every given input.

Sensitivities predict the error of any set (`harness.precision.parts`), a minimum cut finds the
cheapest set within the target (`harness.precision.trade`), and a virtual run measures it. Where
measurement and prediction differ the prediction is corrected by their ratio, and it goes round
again, until the cheapest set that was *measured* to hold gets no cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from harness.conversion.recipes import Precision
from harness.precision.costs import CostKind, fp32_share, operation_costs, trade_costs
from harness.precision.measures import (
    Measure,
    OutputMeasure,
    Outputs,
    StemMeasure,
    ToleranceMeasure,
    audible,
    stem_measures,
)
from harness.precision.parts import Parts, measure_parts
from harness.precision.roundings import Roundings, floating_reads, moves
from harness.precision.trade import cheapest
from harness.precision.virtual import Choice, VirtualPrecision, operation_name

KIND: Final = "tuning"
VERSION: Final = 1
Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Inputs: TypeAlias = Mapping[str, torch.Tensor]
Report: TypeAlias = Callable[[str], None]
_ROUNDING = 1e-9  # shares are sums
_CLOSE_DB = 0.15
"""A measured set this close above the target is not worth another round."""


@dataclass(frozen=True)
class Goal:
    """What a set of precisions must reach.

    Attributes:
        min_snr_db: of every stem (or of every output, where the program has no stems).
        rtol, atol: what every element of both branches must be within; both or neither.
        margin_db: kept above ``min_snr_db`` on the given inputs, for those that were not given.
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
        return min(self.measured_db.values())


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    Attributes:
        goal: what was asked for.
        best: the cheapest trial that holds; None if none does.
        trials: all, in the order in which they were made.
        limit: why the goal can't be reached, one sentence; empty if it can.
    """

    goal: Goal
    best: Trial | None
    trials: tuple[Trial, ...]
    limit: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain JSON data, with its kind, version and the Pareto curve."""
        return {
            "kind": KIND,
            "version": VERSION,
            "goal": asdict(self.goal),
            "reached": self.best is not None,
            "limit": self.limit,
            "best": None if self.best is None else asdict(self.best),
            "pareto": [
                {"fp32_share": trial.fp32_share, "worst_db": trial.worst_db}
                for trial in self.pareto()
            ],
            "trials": [asdict(trial) for trial in self.trials],
        }

    def pareto(self) -> tuple[Trial, ...]:
        """Return the trials that no other beats in both SNR and FP32 share, cheapest first."""
        curve: list[Trial] = []
        for trial in sorted(self.trials, key=lambda t: (t.fp32_share, -t.worst_db)):
            if not curve or trial.worst_db > curve[-1].worst_db:
                curve.append(trial)
        return tuple(curve)


@dataclass
class Tuner:
    """Measures and predicts sets of precisions of one model on a few inputs.

    Attributes:
        lab: the model.
        cases: inputs by name, all on one device.
        goal: what must be reached.
        stems: names of the stems; empty for a program that has none.
        probes: for each measure.
        seed: of the probes.
        report: gets a line for each step of the work.
    """

    lab: VirtualPrecision
    cases: Mapping[str, Inputs]
    goal: Goal
    stems: Sequence[str] = ()
    probes: int = 3
    seed: int = 0
    report: Report = field(default=lambda line: None)

    def __post_init__(self) -> None:
        self._references = {case: self.lab.base.run(inputs) for case, inputs in self.cases.items()}
        self._ratios: dict[str, Measure] = {}
        self._tolerances: dict[str, ToleranceMeasure] = {}
        narrow = self.lab.model(self.lab.fp32_for(()))
        for case, expected in self._references.items():
            for measure in audible(self._snr_measures(expected), expected):
                if self.goal.every_second and isinstance(measure, StemMeasure):
                    actual = narrow.run(self.cases[case])
                    measure = replace(measure, stretch=measure.worst_stretch(expected, actual)[1])
                self._ratios[f"{case}/{measure.name}"] = measure
            if self.goal.rtol is not None and self.goal.atol is not None:
                for output in expected:
                    tolerance = ToleranceMeasure(output, self.goal.rtol, self.goal.atol)
                    self._tolerances[f"{case}/{tolerance.name}"] = tolerance
        self.costs = operation_costs(self.lab.base.plan, self.goal.cost)
        self._errors: dict[tuple[str, ...], tuple[dict[str, float], dict[str, float]]] = {}

    def _snr_measures(self, expected: Outputs) -> Sequence[Measure]:
        if self.stems:
            return stem_measures(self.stems)
        return tuple(OutputMeasure(output) for output in expected)

    def parts(self) -> Parts:
        """Return the parts of the error, measures named ``CASE/MEASURE``."""
        device = next(iter(next(iter(self.cases.values())).values())).device
        roundings = Roundings(self.lab, device)
        found = []
        for case, inputs in self.cases.items():
            self.report(f"sensitivities on {case}")
            named = {**self._ratios, **self._tolerances}
            mine = {key: m for key, m in named.items() if key.startswith(f"{case}/")}
            generator = torch.Generator().manual_seed(self.seed)
            parts = measure_parts(
                self.lab,
                roundings,
                inputs,
                list(mine.values()),
                probes=self.probes,
                generator=generator,
            )
            found.append(replace(parts, measures=tuple(mine)))
        return found[0].joined(found[1:])

    def choice(self, fp32: Sequence[str]) -> dict[str, Precision]:
        """Return the precision of every operation, those that move values included."""
        return complete(self.lab, frozenset(fp32))

    def trial(self, fp32: Sequence[str], predicted: Mapping[str, float] | None = None) -> Trial:
        """Measure the operations in ``fp32`` in FP32 and all others in FP16, by virtual runs."""
        choice = complete(self.lab, frozenset(fp32))
        errors, worst = self._measured(choice)
        ratios = {key: _db(errors[key]) for key in self._ratios}
        target = self.goal.min_snr_db + self.goal.margin_db
        holds = min(ratios.values(), default=math.inf) > target
        holds = holds and all(value <= 1 for value in worst.values())
        share = fp32_share(self.costs, choice)
        names = tuple(name for name, precision in choice.items() if precision == "fp32")
        return Trial(names, share, dict(predicted or {}), ratios, worst, holds)

    def _measured(self, choice: Choice) -> tuple[dict[str, float], dict[str, float]]:
        key = tuple(name for name, precision in choice.items() if precision == "fp32")
        if key not in self._errors:
            model = self.lab.model(choice)
            errors: dict[str, float] = {}
            worst: dict[str, float] = {}
            for case, inputs in self.cases.items():
                expected, actual = self._references[case], model.run(inputs)
                for name, measure in {**self._ratios, **self._tolerances}.items():
                    if name.startswith(f"{case}/"):
                        errors[name] = self._error(measure, expected, actual)
                        if isinstance(measure, ToleranceMeasure):
                            worst[name] = measure.worst(expected, actual)
            self._errors[key] = errors, worst
        return self._errors[key]

    def _error(self, measure: Measure, expected: Outputs, actual: Outputs) -> float:
        if self.goal.every_second and isinstance(measure, StemMeasure):
            return measure.worst_stretch(expected, actual)[0]
        return measure.of(expected, actual)

    def tune(self, parts: Parts | None = None, *, rounds: int = 8) -> Tuning:
        """Find the cheapest set that reaches the goal.

        Args:
            parts: of the error, from an earlier call of `parts` with the same goal.
            rounds: of predicting and measuring, at most.
        """
        return _Search(self, parts or self.parts(), rounds).run()


class _Search:
    """Rounds of predicting, measuring and correcting."""

    def __init__(self, tuner: Tuner, parts: Parts, rounds: int) -> None:
        self._tuner, self._parts, self._rounds = tuner, parts, rounds
        self._costs = trade_costs(tuner.lab.base.plan, parts, tuner.goal.cost)
        goal = tuner.goal
        bound = 10 ** (-(goal.min_snr_db + goal.margin_db) / 10)
        self._bounds = np.array([bound if m in tuner._ratios else 1.0 for m in parts.measures])
        self._correction = np.ones(len(parts.measures))
        self._trials: list[Trial] = []

    def run(self) -> Tuning:
        goal = self._tuner.goal
        floor = self._measure(np.zeros(len(self._parts.operations), bool))
        if floor.holds:
            return Tuning(goal, floor, tuple(self._trials))
        for _ in range(self._rounds):
            corrected = self._parts.scaled(self._correction)
            wide = cheapest(corrected, self._costs, self._bounds)
            known = len(self._trials)
            trial = self._measure(wide)
            self._tuner.report(
                f"{len(trial.fp32)} operations in FP32, {100 * trial.fp32_share:.2f} % of the "
                f"{goal.cost}: worst {trial.worst_db:.2f} dB"
                + (
                    f", {max(trial.worst_tolerance.values()):.2f} of the tolerance"
                    if trial.worst_tolerance
                    else ""
                )
                + (", holds" if trial.holds else "")
            )
            if len(self._trials) == known or self._is_close(trial):
                break
        return self._result()

    def _measure(self, wide: Mask) -> Trial:
        """Measure a set, and correct the prediction by what was measured."""
        tuner, parts = self._tuner, self._parts
        names = [name for name, chosen in zip(parts.operations, wide, strict=True) if chosen]
        error = parts.error(wide)
        predicted = {
            measure: _db(value * factor)
            for measure, value, factor in zip(parts.measures, error, self._correction, strict=True)
            if measure in tuner._ratios
        }
        trial = tuner.trial(names, predicted)
        measured, worst = tuner._measured(tuner.choice(names))
        found = np.array([measured[measure] for measure in parts.measures])
        ratio = np.where(error > 0, found / np.maximum(error, 1e-300), 1.0)
        # A set's roundings may happen to agree or to cancel; half of it is forgotten each round.
        known = bool(self._trials)
        self._correction = np.sqrt(self._correction * ratio) if known else ratio
        for index, measure in enumerate(parts.measures):
            if measure in worst and worst[measure] > 0:
                # How far the worst element stands above the mean square.
                self._bounds[index] = 0.95**2 * found[index] / worst[measure] ** 2
        if all(trial.fp32 != other.fp32 for other in self._trials):
            self._trials.append(trial)
        return trial

    def _is_close(self, trial: Trial) -> bool:
        goal = self._tuner.goal
        spare = trial.worst_db - goal.min_snr_db - goal.margin_db
        limits = [spare < _CLOSE_DB]
        limits += [value > 0.95 for value in trial.worst_tolerance.values()]
        return trial.holds and any(limits)

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
            closest = max(self._trials, key=lambda trial: trial.worst_db)
            where = min(closest.measured_db, key=lambda name: closest.measured_db[name])
            limit = (
                f"no set that was tried reaches the goal; {where} limits it: "
                f"{closest.worst_db:.2f} dB with {100 * closest.fp32_share:.1f} % of the "
                f"{goal.cost} in FP32"
            )
        return Tuning(goal, None, tuple(self._trials), limit)


def complete(lab: VirtualPrecision, fp32: frozenset[str]) -> dict[str, Precision]:
    """Return a choice with ``fp32`` in FP32, and what moves values as its neighbours want it.

    A movement runs in FP32 where it carries a value made in FP32 to a reader in FP32.
    """
    plan = lab.base.plan
    wide_made: set[int] = set(plan.inputs.values())
    carried: dict[str, bool] = {}
    for step in plan.steps:
        name = operation_name(step.operation)
        reads = floating_reads(plan, step)
        wide = bool(reads) and all(s in wide_made for s in reads) if moves(step) else name in fp32
        carried[name] = wide
        if wide:
            wide_made.update(step.outputs)
    wanted: set[int] = {plan.slots[name] for name in plan.outputs}
    choice: dict[str, Precision] = {}
    for step in reversed(plan.steps):
        name = operation_name(step.operation)
        wide = carried[name] and (not moves(step) or any(s in wanted for s in step.outputs))
        if wide:
            wanted.update(step.reads)
        choice[name] = "fp32" if wide else "fp16"
    return {o.name: choice[o.name] for o in lab.operations}


def _db(ratio: float) -> float:
    """Return a noise-to-signal ratio as SNR in dB."""
    return math.inf if ratio == 0 else -10 * math.log10(ratio)
