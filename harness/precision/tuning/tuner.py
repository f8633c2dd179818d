"""Sets of precisions of one model, measured by virtual runs on a few inputs.

`parts` predicts the error of any set, `trial` measures one; the search (`search.tune`) goes between
the two, and `Tuner.confirm` holds the winner against a package that was really converted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch

from harness.conversion.recipes import Precision
from harness.errors import ParityError
from harness.mil import Model
from harness.precision.sensitivity import (
    Measure,
    ShareEstimator,
    SignalMeasure,
    Site,
    Stems,
    ToleranceMeasure,
    audible,
    output_measures,
    part_sites,
    snr_of,
    stem_measures,
)
from harness.precision.tuning.costs import fp32_share, operation_costs
from harness.precision.tuning.goals import AGREEMENT_DB, Confirmation, Goal, Trial
from harness.precision.tuning.parts import Array, Parts, parts_of
from harness.precision.virtual import VirtualPrecision, carries, floating_reads, operation_name

Inputs: TypeAlias = Mapping[str, torch.Tensor]
Report: TypeAlias = Callable[[str], None]


@dataclass
class Tuner:
    """Measures and predicts sets of precisions of one model on a few inputs.

    Attributes:
        lab: the model.
        cases: inputs by name, all on one device.
        goal: what must be reached.
        stems: how the outputs become stems; None for a program that has none.
        probes: for each measure.
        seed: of the probes.
        report: gets a line for each step of the work.
        at_once: probes in one walk; more takes memory, fewer take time.
    """

    lab: VirtualPrecision
    cases: Mapping[str, Inputs]
    goal: Goal
    stems: Stems | None = None
    probes: int = 3
    seed: int = 0
    report: Report = field(default=lambda line: None)
    at_once: int = 6

    def __post_init__(self) -> None:
        self._references = {case: self.lab.base.run(inputs) for case, inputs in self.cases.items()}
        self.ratios: dict[str, SignalMeasure] = {}
        self.tolerances: dict[str, ToleranceMeasure] = {}
        self._of: dict[str, dict[str, Measure]] = {}
        self.case_of: dict[str, str] = {}
        for case in self.cases:
            ratios = {f"{case}/{measure.name}": measure for measure in self._ratios(case)}
            tolerances = {f"{case}/{measure.name}": measure for measure in self._tolerances(case)}
            self.ratios |= ratios
            self.tolerances |= tolerances
            self._of[case] = {**ratios, **tolerances}
            self.case_of |= dict.fromkeys(self._of[case], case)
        if not any(self._of.values()):
            raise ParityError(
                f"nothing can be measured: the outputs on {', '.join(self.cases)} are silent"
            )
        self.costs = operation_costs(self.lab.base.plan, self.goal.cost)
        self._known: dict[tuple[str, ...], dict[str, float]] = {}

    def _ratios(self, case: str) -> Sequence[SignalMeasure]:
        """Return the audible measures of a case, where asked for of the second FP16 hurts most."""
        expected = self._references[case]
        all_ = stem_measures(self.stems) if self.stems else output_measures(expected)
        found = audible(all_, expected)
        if not self.goal.every_second or not any(m.sample_rate for m in found):
            return found
        actual = self.lab.model(self.lab.fp32_for(())).run(self.cases[case])
        return [
            replace(m, stretch=m.worst_stretch(expected, actual)[1]) if m.sample_rate else m
            for m in found
        ]

    def _tolerances(self, case: str) -> Sequence[ToleranceMeasure]:
        rtol, atol = self.goal.rtol, self.goal.atol
        if rtol is None or atol is None:
            return ()
        expected = self._references[case]
        floats = [name for name, value in expected.items() if value.is_floating_point()]
        return [ToleranceMeasure(output, rtol, atol) for output in floats]

    def parts(self) -> Parts:
        """Return the parts of the error, measures named ``CASE/MEASURE``."""
        names = [name for measures in self._of.values() for name in measures]
        shares: dict[Site, Array] = {}
        for case, measures in self._of.items():
            self.report(f"sensitivities on {case}")
            if not measures:  # silent: there is nothing that an error could be small beside
                continue
            inputs = self.cases[case]
            sites = part_sites(self.lab, next(iter(inputs.values())).device)
            found = ShareEstimator(self.lab.base, sites, inputs).expected(
                list(measures.values()),
                self.probes,
                torch.Generator().manual_seed(self.seed),
                self.at_once,
            )
            columns = [names.index(name) for name in measures]
            for site, share in found.items():
                # Where an output is silent, what leads to it alone has no share in this case.
                shares.setdefault(site, np.zeros(len(names)))[columns] = share
        return parts_of(self.lab.base.plan, shares, names)

    def trial(self, fp32: Sequence[str], predicted: Mapping[str, float] | None = None) -> Trial:
        """Measure the operations in ``fp32`` in FP32 and all others in FP16, by virtual runs."""
        choice = complete(self.lab, frozenset(fp32))
        found = self.measured(fp32)
        return Trial(
            fp32=_wide(choice),
            fp32_share=fp32_share(self.costs, choice),
            predicted_db=dict(predicted or {}),
            measured_db=self._levels(found),
            worst_tolerance=self._worst(found),
            holds=self._holds(found),
        )

    def measured(self, fp32: Sequence[str]) -> Mapping[str, float]:
        """Return what `measure` makes of the run behind `trial`; each set is run once."""
        choice = complete(self.lab, frozenset(fp32))
        key = _wide(choice)
        if key not in self._known:
            self._known[key] = self.measure(self.lab.model(choice))
        return self._known[key]

    def measured_on(self, case: str, fp32: Sequence[str]) -> Mapping[str, float]:
        """Return the same as `measured` of one case alone."""
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
        every_second = self.goal.every_second
        found = {}
        for name, measure in self._of[case].items():
            if isinstance(measure, ToleranceMeasure):
                found[name] = measure.worst(expected, actual) ** 2
            elif isinstance(measure, SignalMeasure) and every_second and measure.sample_rate:
                found[name] = measure.worst_stretch(expected, actual)[0]
            else:
                found[name] = measure.of(expected, actual)
        return found

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
        lowest = min(self._levels(found).values(), default=math.inf)
        allowed = self.goal.tolerance_share
        return lowest > target and all(v <= allowed for v in self._worst(found).values())


def _wide(choice: Mapping[str, Precision]) -> tuple[str, ...]:
    return tuple(name for name, precision in choice.items() if precision == "fp32")


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
        wide = all(s in wide_made for s in reads) if carries(plan, step) else name in fp32
        carried[name] = wide
        if wide:
            wide_made.update(step.outputs)
    wanted: set[int] = {plan.slots[name] for name in plan.outputs}
    choice: dict[str, Precision] = {}
    for step in reversed(plan.steps):
        name = operation_name(step.operation)
        wide = carried[name] and (not carries(plan, step) or any(s in wanted for s in step.outputs))
        if wide:
            wanted.update(step.reads)
        choice[name] = "fp32" if wide else "fp16"
    return {o.name: choice[o.name] for o in lab.operations}
