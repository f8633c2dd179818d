"""What each operation costs: its share of the output error, and a document of all of them.

A share is a noise-to-signal ratio: the energy of the error that the operation alone leaves in a
stem or branch, by the energy of that. Shares of independent errors add up, so the sum over a recipe
predicts the package's error, and a virtual run of the recipe says how well.

Only operations in FP16 have a share. What a movement passes on was rounded before it, and an input
counts where nothing before it was in FP16. ``alone`` looks at each operation by itself in a program
that is FP32 everywhere else; then every input counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.mil.plan import Step
from harness.precision.sensitivity.estimates import (
    Estimate,
    Estimates,
    Inputs,
    Probing,
    estimate_cases,
)
from harness.precision.sensitivity.measures import Measure
from harness.precision.sensitivity.roundings import Roundings, floating_reads, unrounded_inputs
from harness.precision.sensitivity.superposition import Errors
from harness.precision.virtual.model import Choice, VirtualPrecision, operation_name

KIND: Final = "sensitivity"
VERSION: Final = 1


@dataclass(frozen=True)
class Share:
    """What one operation adds to each measure, over all cases.

    Attributes:
        operation: its name in recipes.
        type: MIL operation type.
        module: PyTorch module path; None where it isn't known.
        mean: noise-to-signal ratio by measure, mean over the cases.
        worst: the greatest over the cases.
        deviation_db: standard deviation of the mean's estimate.
        error: what it adds: that of ``fp16``, or that of its weights stored as ``int8``, ...
    """

    operation: str
    type: str
    module: str | None
    mean: Mapping[str, float]
    worst: Mapping[str, float]
    deviation_db: Mapping[str, float]
    error: str = "fp16"


@dataclass(frozen=True)
class Sensitivity:
    """Shares of all operations that have one.

    Attributes:
        subject: what the package was made of, or its name.
        precision: the recipe whose operations in FP16 are looked at, or ``alone``.
        cases: inputs.
        measures: what the error is measured by.
        probes: for each measure and case.
        operations: with shares, in program order.
        predicted_db: SNR by measure and case that the sum of the shares gives.
        measured_db: the same by a virtual run of the recipe; empty for ``alone``.
    """

    subject: str
    precision: str
    cases: tuple[str, ...]
    measures: tuple[str, ...]
    probes: int
    operations: tuple[Share, ...]
    predicted_db: Mapping[str, float] = field(default_factory=dict)
    measured_db: Mapping[str, float] = field(default_factory=dict)

    def ranked(self, measure: str) -> list[Share]:
        """Return the operations by their mean share of ``measure``, greatest first."""
        return sorted(self.operations, key=lambda share: -_known(share.mean.get(measure, 0.0)))

    def totals(self, measure: str, key: Callable[[Share], str]) -> dict[str, float]:
        """Return the sum of mean shares by ``key``, greatest first; unknown ones are left out."""
        sums: dict[str, float] = {}
        for share in self.operations:
            sums[key(share)] = sums.get(key(share), 0.0) + _known(share.mean.get(measure, 0.0))
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain JSON data, with its kind and version."""
        return {
            "kind": KIND,
            "version": VERSION,
            "subject": self.subject,
            "precision": self.precision,
            "cases": list(self.cases),
            "measures": list(self.measures),
            "probes": self.probes,
            "predicted_db": dict(self.predicted_db),
            "measured_db": dict(self.measured_db),
            "operations": [
                {
                    "operation": share.operation,
                    "type": share.type,
                    "module": share.module,
                    "error": share.error,
                    "mean": dict(share.mean),
                    "worst": dict(share.worst),
                    "deviation_db": dict(share.deviation_db),
                }
                for share in self.operations
            ],
            "types": {m: self.totals(m, lambda s: s.type) for m in self.measures},
            "modules": {m: self.totals(m, lambda s: s.module or "") for m in self.measures},
        }


def measure_sensitivity(
    lab: VirtualPrecision,
    cases: Mapping[str, Inputs],
    measures: Sequence[Measure],
    *,
    choice: Choice | None = None,
    subject: str = "",
    precision: str = "alone",
    probing: Probing | None = None,
) -> Sensitivity:
    """Return each operation's share of the output error.

    Args:
        lab: the model.
        cases: inputs by name, all on one device.
        measures: of the error; those of which a case is silent are left out for it.
        choice: whose operations in FP16 have shares; None looks at every operation alone.
        subject: name for the document.
        precision: name of ``choice`` for the document.
        probing: how shares are estimated.
    """
    device = next(iter(next(iter(cases.values())).values())).device
    roundings, counted = Roundings(lab, device), _counted_inputs(lab, choice)

    def error_of(step: Step, values: Mapping[int, Any], results: Errors) -> Errors:
        inputs = counted.get(step.operation.name)
        return {} if inputs is None else roundings.error(step, values, results, inputs)

    how = probing or Probing()
    narrow = None if choice is None else lab.model(choice)
    found = estimate_cases(lab.base, error_of, cases, measures, how, changed=narrow)
    return Sensitivity(
        subject,
        precision,
        tuple(cases),
        tuple(measure.name for measure in measures),
        how.probes,
        shares_of(lab, found),
        found.predicted_db,
        found.measured_db,
    )


def _counted_inputs(lab: VirtualPrecision, choice: Choice | None) -> dict[str, tuple[int, ...]]:
    """Return the inputs whose rounding counts, for the operations that have a share."""
    plan = lab.base.plan
    if choice is None:
        return {s.operation.name: floating_reads(plan, s) for s in plan.steps}
    narrow = {name for name in lab.movable if choice[name] == "fp16"}
    fresh = unrounded_inputs(plan, choice)
    return {
        step.operation.name: fresh[step.operation.name]
        for step in plan.steps
        if operation_name(step.operation) in narrow
    }


def shares_of(
    lab: VirtualPrecision, found: Estimates, errors: Mapping[str, str] | None = None
) -> tuple[Share, ...]:
    """Return the shares of all operations that have any, in program order.

    Args:
        lab: the model.
        found: estimates of them.
        errors: what each operation adds, by its name in recipes; None is FP16 everywhere.
    """
    names = [s.operation.name for s in lab.base.plan.steps if s.operation.name in found.shares]
    return tuple(_share_of(lab, name, found, errors) for name in names)


def _share_of(
    lab: VirtualPrecision, name: str, found: Estimates, errors: Mapping[str, str] | None
) -> Share:
    rows: dict[str, list[Estimate]] = {}
    for key in found.predicted_db:
        # An operation that a measure doesn't depend on was not on the way back from it.
        estimate = found.shares[name].get(key, Estimate(0.0, 0.0, 0.0))
        rows.setdefault(key.partition("/")[2], []).append(estimate)
    described = lab.described(name)
    return Share(
        described.name,
        described.type,
        described.module,
        {m: sum(e.value for e in row) / len(row) for m, row in rows.items()},
        {m: max(e.value for e in row) for m, row in rows.items()},
        {m: _deviation_db(row) for m, row in rows.items()},
        "fp16" if errors is None else errors[described.name],
    )


def _known(share: float) -> float:
    """Return 0 for a share that isn't known: behind the root of an exact zero no gradient is."""
    return share if math.isfinite(share) else 0.0


def _deviation_db(row: Sequence[Estimate]) -> float:
    """Return the standard deviation of the estimated mean over cases."""
    total = sum(e.value for e in row)
    if not total:
        return 0.0
    apart = math.sqrt(sum((e.value * e.deviation) ** 2 for e in row))
    alike = sum(e.value * e.bias for e in row)
    return 10 / math.log(10) * math.hypot(apart, alike) / total
