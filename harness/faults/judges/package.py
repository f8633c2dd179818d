"""What a package says of itself, judged as ``parity check`` judges it before executing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from harness.conversion import audit_package, read_sidecar
from harness.errors import PackageError
from harness.faults.judges.program import RECIPE
from harness.faults.judging import FaultJudgement, judgement
from harness.faults.registry import Fault
from harness.mil import Model, load
from harness.workbench import Workbench, paper_checks


@dataclass(frozen=True)
class Shipment:
    """A package on its way out.

    Attributes:
        model: the package.
        made_by: returns the sound package of another recipe.
    """

    model: Model
    made_by: Callable[[str], Model]

    def claiming(self, *, recipe: str | None = None, fingerprint: str | None = None) -> Shipment:
        """Return the same program under the papers of another recipe, or of other weights."""
        sidecar = read_sidecar(self.model)
        if sidecar is None:
            raise PackageError(f"{self.model.package.path} carries no papers to forge")
        if recipe is not None:
            other = read_sidecar(self.made_by(recipe))
            assert other is not None
            sidecar = replace(sidecar, recipe=other.recipe)
        if fingerprint is not None:
            sidecar = replace(sidecar, facts={**sidecar.facts, "fingerprint": fingerprint})
        metadata = {**self.model.package.metadata, **sidecar.to_metadata()}
        package = replace(self.model.package, metadata=metadata)
        return replace(self, model=Model(package, self.model.plan))


def judge_package(bench: Workbench, subject: str, fault: Fault) -> Iterator[FaultJudgement]:
    """Judge a package; an injection gets a `Shipment` of the FP32 one and returns another."""

    def opened(recipe: str) -> Model:
        return load(bench.packages.path(subject, recipe))

    shipment: Shipment = fault.inject(Shipment(opened(RECIPE), opened))
    sidecar = read_sidecar(shipment.model)
    assert sidecar is not None  # no injection takes the papers away
    audit = audit_package(shipment.model, sidecar.recipe)
    checks = paper_checks(shipment.model, bench.goldens.subject(subject), audit, {})
    yield from map(judgement, checks)
