"""The cheapest set of FP32 operations that reaches a target, on every given input.

Sensitivities predict the error of any set (`parts`), virtual runs measure it, and
a search (`search`) goes between the two. `Tuner.confirm` holds the winner against
a package that was really converted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch

from harness.conversion.recipes import Precision
from harness.errors import ParityError
from harness.mil import Model
from harness.precision.sensitivity.estimates import snr_of
from harness.precision.sensitivity.measures import (
    Measure,
    OutputMeasure,
    Outputs,
    StemMeasure,
    ToleranceMeasure,
    audible,
    stem_measures,
)
from harness.precision.sensitivity.roundings import Roundings, floating_reads, moves
from harness.precision.tuning.costs import fp32_share, operation_costs
from harness.precision.tuning.goals import AGREEMENT_DB, Confirmation, Goal, Trial, Tuning
from harness.precision.tuning.parts import Parts, measure_parts
from harness.precision.tuning.search import Search
from harness.precision.virtual.model import VirtualPrecision, operation_name

Inputs: TypeAlias = Mapping[str, torch.Tensor]
Report: TypeAlias = Callable[[str], None]


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
        at_once: probes in one walk; more takes memory, fewer take time.
    """

    lab: VirtualPrecision
    cases: Mapping[str, Inputs]
    goal: Goal
    stems: Sequence[str] = ()
    probes: int = 3
    seed: int = 0
    report: Report = field(default=lambda line: None)
    at_once: int = 6

    def __post_init__(self) -> None:
        self._references = {case: self.lab.base.run(inputs) for case, inputs in self.cases.items()}
        self.ratios: dict[str, Measure] = {}
        self.tolerances: dict[str, ToleranceMeasure] = {}
        narrow = self.lab.model(self.lab.fp32_for(()))
        for case, expected in self._references.items():
            for measure in audible(self._snr_measures(expected), expected):
                if self.goal.every_second and isinstance(measure, StemMeasure):
                    actual = narrow.run(self.cases[case])
                    measure = replace(measure, stretch=measure.worst_stretch(expected, actual)[1])
                self.ratios[f"{case}/{measure.name}"] = measure
            if self.goal.rtol is not None and self.goal.atol is not None:
                for output in expected:
                    tolerance = ToleranceMeasure(output, self.goal.rtol, self.goal.atol)
                    self.tolerances[f"{case}/{tolerance.name}"] = tolerance
        if not self.ratios and not self.tolerances:
            raise ParityError(
                f"nothing can be measured: the outputs on {', '.join(self.cases)} are silent"
            )
        self.costs = operation_costs(self.lab.base.plan, self.goal.cost)
        self._known: dict[tuple[str, ...], dict[str, float]] = {}

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
            named = {**self.ratios, **self.tolerances}
            mine = {key: m for key, m in named.items() if key.startswith(f"{case}/")}
            if not mine:  # silent: there is nothing that an error could be small beside
                continue
            generator = torch.Generator().manual_seed(self.seed)
            parts = measure_parts(
                self.lab,
                roundings,
                inputs,
                list(mine.values()),
                probes=self.probes,
                generator=generator,
                at_once=self.at_once,
            )
            found.append(replace(parts, measures=tuple(mine)))
        return found[0].joined(found[1:])

    def choice(self, fp32: Sequence[str]) -> dict[str, Precision]:
        """Return the precision of every operation, those that move values included."""
        return complete(self.lab, frozenset(fp32))

    def trial(self, fp32: Sequence[str], predicted: Mapping[str, float] | None = None) -> Trial:
        """Measure the operations in ``fp32`` in FP32 and all others in FP16, by virtual runs."""
        choice = complete(self.lab, frozenset(fp32))
        found = self.measured(fp32)
        names = tuple(name for name, precision in choice.items() if precision == "fp32")
        return Trial(
            fp32=names,
            fp32_share=fp32_share(self.costs, choice),
            predicted_db=dict(predicted or {}),
            measured_db=self._levels(found),
            worst_tolerance=self._worst(found),
            holds=self._holds(found),
        )

    def measured(self, fp32: Sequence[str]) -> Mapping[str, float]:
        """Return what `measure` makes of the run behind `trial`; each set is run once."""
        choice = complete(self.lab, frozenset(fp32))
        key = tuple(name for name, precision in choice.items() if precision == "fp32")
        if key not in self._known:
            self._known[key] = self.measure(self.lab.model(choice))
        return self._known[key]

    def reaches(self, fp32: Sequence[str]) -> bool:
        """Whether the trial of ``fp32`` holds; the first case where it doesn't is the last run."""
        model = self.lab.model(complete(self.lab, frozenset(fp32)))
        return all(self._holds(self._measure_case(case, model)) for case in self.cases)

    def measured_on(self, case: str, fp32: Sequence[str]) -> Mapping[str, float]:
        """Return the same of one case alone."""
        return self._measure_case(case, self.lab.model(complete(self.lab, frozenset(fp32))))

    def measure(self, model: Model) -> dict[str, float]:
        """Hold a model against the lab's in FP32 on every case.

        Returns:
            The error by ``CASE/MEASURE``; of a tolerance the square of the greatest error by its
            allowance, so that it grows as the others do.
        """
        found: dict[str, float] = {}
        for case in self.cases:
            found.update(self._measure_case(case, model))
        return found

    def _measure_case(self, case: str, model: Model) -> dict[str, float]:
        expected, actual = self._references[case], model.run(self.cases[case])
        return {
            name: self._error(measure, expected, actual)
            for name, measure in {**self.ratios, **self.tolerances}.items()
            if name.startswith(f"{case}/")
        }

    def confirm(self, best: Trial, package: Model, audit: str) -> Confirmation:
        """Hold a trial against the package that was converted by its recipe.

        Args:
            best: the trial.
            package: opened from disk.
            audit: verdict on its precision.
        """
        found = self.measure(package)
        levels = self._levels(found)
        gaps = [
            0.0 if levels[name] == promised else abs(levels[name] - promised)
            for name, promised in best.measured_db.items()
        ]
        furthest = max(gaps, default=0.0)
        holds = audit == "pass" and furthest <= AGREEMENT_DB and self._holds(found)
        return Confirmation(audit, levels, self._worst(found), furthest, holds)

    def _levels(self, found: Mapping[str, float]) -> dict[str, float]:
        return {name: snr_of(found[name]) for name in self.ratios if name in found}

    def _worst(self, found: Mapping[str, float]) -> dict[str, float]:
        return {name: math.sqrt(found[name]) for name in self.tolerances if name in found}

    def _holds(self, found: Mapping[str, float]) -> bool:
        target = self.goal.min_snr_db + self.goal.margin_db
        loudest = min(self._levels(found).values(), default=math.inf)
        allowed = self.goal.tolerance_share
        return loudest > target and all(v <= allowed for v in self._worst(found).values())

    def _error(self, measure: Measure, expected: Outputs, actual: Outputs) -> float:
        if isinstance(measure, ToleranceMeasure):
            return measure.worst(expected, actual) ** 2
        if self.goal.every_second and isinstance(measure, StemMeasure):
            return measure.worst_stretch(expected, actual)[0]
        return measure.of(expected, actual)

    def tune(self, parts: Parts | None = None, *, rounds: int = 8) -> Tuning:
        """Find the cheapest set that reaches the goal.

        Args:
            parts: of the error, from an earlier call of `parts` with the same goal.
            rounds: of predicting and measuring, at most.
        """
        return Search(self, parts or self.parts(), rounds).run()


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
