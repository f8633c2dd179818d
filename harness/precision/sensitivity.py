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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from harness.precision.measures import Measure, audible
from harness.precision.roundings import Roundings, floating_reads, unrounded_inputs
from harness.precision.shares import ShareEstimator, directions_of
from harness.precision.virtual import Choice, VirtualPrecision, operation_name

KIND: Final = "sensitivity"
VERSION: Final = 1
Array = npt.NDArray[np.float64]
Inputs: TypeAlias = Mapping[str, torch.Tensor]
Advance: TypeAlias = Callable[[int, int], None]


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
        return sorted(self.operations, key=lambda share: -share.mean.get(measure, 0.0))

    def totals(self, measure: str, key: Callable[[Share], str]) -> dict[str, float]:
        """Return the sum of mean shares by ``key``, greatest first."""
        sums: dict[str, float] = {}
        for share in self.operations:
            sums[key(share)] = sums.get(key(share), 0.0) + share.mean.get(measure, 0.0)
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
    probes: int = 8,
    seed: int = 0,
    at_once: int = 6,
    advance: Advance | None = None,
) -> Sensitivity:
    """Return each operation's share of the output error.

    Args:
        lab: the model.
        cases: inputs by name, all on one device.
        measures: of the error; those of which a case is silent are left out for it.
        choice: whose operations in FP16 have shares; None looks at every operation alone.
        subject: name for the document.
        precision: name of ``choice`` for the document.
        probes: for each measure and case.
        seed: of the probes.
        at_once: probes that are carried together: more takes memory.
        advance: called as ``advance(done, total)`` with walks.
    """
    device = next(iter(next(iter(cases.values())).values())).device
    roundings = Roundings(lab, device)
    counted = _counted_inputs(lab, choice)
    narrow = lab.model(choice) if choice is not None else None
    estimates: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
    predicted: dict[str, float] = {}
    measured: dict[str, float] = {}
    together = max(1, at_once // (probes - directions_of(probes)))
    done, walks = 0, len(cases) * math.ceil(len(measures) / together)
    generator = torch.Generator().manual_seed(seed)
    for case, given in cases.items():
        estimator = ShareEstimator(lab.base, roundings, counted, given)
        expected = estimator.outputs
        chosen = audible(measures, expected)
        actual = None if narrow is None else narrow.run(given)
        for first in range(0, len(chosen), together):
            some = chosen[first : first + together]
            shares = estimator.estimate(some, probes, generator)
            for column, measure in enumerate(some):
                predicted[f"{case}/{measure.name}"] = snr_of(float(shares.values[:, column].sum()))
                if actual is not None:
                    measured[f"{case}/{measure.name}"] = snr_of(measure.of(expected, actual))
                for row, name in enumerate(shares.names):
                    found = float(shares.values[row, column]), float(shares.deviations[row, column])
                    estimates.setdefault(name, {})[case, measure.name] = found
            done += 1
            if advance is not None:
                advance(done, walks)
    return Sensitivity(
        subject,
        precision,
        tuple(cases),
        tuple(measure.name for measure in measures),
        probes,
        tuple(share_of(lab, name, estimates[name], predicted) for name in _order(lab, estimates)),
        predicted,
        measured,
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


def _order(lab: VirtualPrecision, names: Mapping[str, object]) -> list[str]:
    return [s.operation.name for s in lab.base.plan.steps if s.operation.name in names]


def share_of(
    lab: VirtualPrecision,
    name: str,
    estimates: Mapping[tuple[str, str], tuple[float, float]],
    looked_at: Iterable[str],
) -> Share:
    """Return the share of an operation over what was looked at, ``CASE/MEASURE``."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for key in looked_at:
        case, _, measure = key.partition("/")
        # An operation that a measure doesn't depend on was not on the way back from it.
        rows.setdefault(measure, []).append(estimates.get((case, measure), (0.0, 0.0)))
    deviations = {}
    for measure, found in rows.items():
        total = sum(value for value, _ in found)
        error = math.sqrt(sum((value * relative) ** 2 for value, relative in found))
        deviations[measure] = 10 / math.log(10) * error / total if total else 0.0
    described = lab.described(name)
    return Share(
        described.name,
        described.type,
        described.module,
        {m: sum(value for value, _ in found) / len(found) for m, found in rows.items()},
        {m: max(value for value, _ in found) for m, found in rows.items()},
        deviations,
    )


def snr_of(ratio: float) -> float:
    """Return a noise-to-signal ratio as SNR in dB."""
    return math.inf if ratio == 0 else -10 * math.log10(ratio)
