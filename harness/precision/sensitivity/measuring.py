"""What each operation costs: its share of the output error, and a document of all of them.

A share is a noise-to-signal ratio: the energy of the error that the operation alone leaves in a
stem or output, by the energy of that. Shares of independent errors add up, so the sum over a recipe
predicts the package's error, and a virtual run of the recipe says how well.

Only operations in FP16, and compressed weights, have a share; an operation that has both has two,
which ``error`` tells apart. What a movement passes on was rounded before it, and an input counts
where nothing before it was in FP16. Without a recipe each operation is looked at by itself in a
program that is FP32 everywhere else; then every input counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import torch

from harness.precision.sensitivity.estimates import Estimate
from harness.precision.sensitivity.measures import Outputs, SignalMeasure, audible
from harness.precision.sensitivity.shares import ShareEstimator, directions_of
from harness.precision.sensitivity.sites import Site, recipe_sites
from harness.precision.virtual import Choice, Compression, VirtualPrecision

KIND: Final = "sensitivity"
VERSION: Final = 1
Inputs: TypeAlias = Mapping[str, torch.Tensor]
Advance: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Probing:
    """How shares are estimated.

    Attributes:
        probes: for each measure and case.
        seed: of the probes; cases have signs of their own.
        at_once: probes that are carried together: more takes memory.
        advance: called as ``advance(done, total)`` with walks.
    """

    probes: int = 8
    seed: int = 0
    at_once: int = 6
    advance: Advance = lambda done, total: None


@dataclass(frozen=True)
class Share:
    """What one operation adds to each measure, over all cases.

    Attributes:
        operation: its name in recipes.
        type: MIL operation type.
        module: PyTorch module path; None where it isn't known.
        error: what it adds: that of ``fp16``, or that of its weights stored as ``int8``, ...
        mean: noise-to-signal ratio by measure, mean over the cases.
        worst: the greatest over the cases.
        deviation_db: standard deviation of the mean's estimate.
    """

    operation: str
    type: str
    module: str | None
    error: str
    mean: Mapping[str, float]
    worst: Mapping[str, float]
    deviation_db: Mapping[str, float]


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        return (
            f"<Sensitivity of {self.subject} in {self.precision}: {len(self.operations)} "
            f"operations, {len(self.measures)} measures, cases {', '.join(self.cases)}>"
        )

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
            **asdict(self),
            "types": {m: self.totals(m, lambda s: s.type) for m in self.measures},
            "modules": {m: self.totals(m, lambda s: s.module or "") for m in self.measures},
        }


def measure_sensitivity(
    lab: VirtualPrecision,
    cases: Mapping[str, Inputs],
    measures: Sequence[SignalMeasure],
    *,
    choice: Choice | None = None,
    weights: Compression = MappingProxyType({}),
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
        weights: what is compressed, and has shares of its own.
        subject: name for the document.
        precision: name of the recipe for the document.
        probing: how shares are estimated.
    """
    how = probing or Probing()
    device = next(iter(next(iter(cases.values())).values())).device
    sites = recipe_sites(lab, device, choice, weights)
    changed = None if choice is None else lab.model(choice, weights)
    generator = torch.Generator().manual_seed(how.seed)
    together = max(1, how.at_once // (how.probes - directions_of(how.probes)))
    walks = math.ceil(len(_probed(measures)) / together)  # fewer where a case is silent
    columns: dict[tuple[str, str], dict[Site, Estimate]] = {}  # by case and measure
    measured: dict[str, float] = {}
    for index, (case, given) in enumerate(cases.items()):
        estimator = ShareEstimator(lab.base, sites, given)
        expected = estimator.outputs
        chosen = audible(measures, expected)
        rows: dict[str, dict[Site, Estimate]] = {}
        probed = _probed(chosen)
        for first in range(0, len(probed), together):
            some = probed[first : first + together]
            rows |= estimator.estimate(some, how.probes, generator)
            done = first // together + 1 if first + together < len(probed) else walks
            how.advance(index * walks + done, len(cases) * walks)
        for measure in chosen:
            found = rows.get(measure.name) or _added(measure, rows, expected)
            columns[case, measure.name] = found
        if changed is not None:
            actual = changed.run(given)
            measured |= {f"{case}/{m.name}": snr_of(m.of(expected, actual)) for m in chosen}
    return Sensitivity(
        subject,
        precision,
        tuple(cases),
        tuple(measure.name for measure in measures),
        how.probes,
        _shares_of(lab, columns),
        {
            f"{case}/{measure}": snr_of(sum(e.value for e in column.values()))
            for (case, measure), column in columns.items()
        },
        measured,
    )


def _probed(measures: Sequence[SignalMeasure]) -> list[SignalMeasure]:
    """Return the measures that need probes: a sum of others that are measured needs none."""
    names = {measure.name for measure in measures}
    return [m for m in measures if not m.parts or any(p.name not in names for p in m.parts)]


def _added(
    measure: SignalMeasure, rows: Mapping[str, Mapping[Site, Estimate]], expected: Outputs
) -> dict[Site, Estimate]:
    """Return shares of a measure whose error is the sum of its parts', each times its weight."""
    weights = {part.name: part.weight(expected) for part in measure.parts}
    total = sum(weights.values())
    found = {}
    for site in dict.fromkeys(site for name in weights for site in rows[name]):
        some = [
            (weight / total, rows[name][site])
            for name, weight in weights.items()
            if site in rows[name]
        ]
        found[site] = _summed([Estimate(w * e.value, e.deviation, e.bias) for w, e in some])
    return found


def _summed(row: Sequence[Estimate]) -> Estimate:
    """Return a sum of shares: what deviates on its own grows less than what is off alike."""
    value = sum(e.value for e in row)
    if not value:
        return Estimate(0.0, 0.0, 0.0)
    apart = math.hypot(*(e.value * e.deviation for e in row))
    return Estimate(value, apart / value, sum(e.value * e.bias for e in row) / value)


def _shares_of(
    lab: VirtualPrecision, columns: Mapping[tuple[str, str], Mapping[Site, Estimate]]
) -> tuple[Share, ...]:
    """Return the shares of all sites that have any, in program order; those of weights last."""
    order = {step.operation.name: index for index, step in enumerate(lab.base.plan.steps)}
    sites = dict.fromkeys(site for column in columns.values() for site in column)
    ranked = sorted(sites, key=lambda site: (site.error != "fp16", order[site.operation]))
    return tuple(_share_of(lab, site, columns) for site in ranked)


def _share_of(
    lab: VirtualPrecision, site: Site, columns: Mapping[tuple[str, str], Mapping[Site, Estimate]]
) -> Share:
    rows: dict[str, list[Estimate]] = {}
    for (_, measure), column in columns.items():
        # An operation that a measure doesn't depend on was not on the way back from it.
        estimate = column.get(site, Estimate(0.0, 0.0, 0.0))
        rows.setdefault(measure, []).append(estimate)
    sums = {measure: _summed(row) for measure, row in rows.items()}
    described = lab.described(site.operation)
    return Share(
        described.name,
        described.type,
        described.module,
        site.error,
        {m: e.value / len(rows[m]) for m, e in sums.items()},
        {m: max(e.value for e in row) for m, row in rows.items()},
        # A mean of cases is off by as much, relatively, as their sum.
        {m: 10 / math.log(10) * math.hypot(e.deviation, e.bias) for m, e in sums.items()},
    )


def snr_of(ratio: float) -> float:
    """Return a noise-to-signal ratio as SNR in dB."""
    return math.inf if ratio == 0 else -10 * math.log10(ratio)


def _known(share: float) -> float:
    """Return 0 for a share that isn't known: behind the root of an exact zero no gradient is."""
    return share if math.isfinite(share) else 0.0
