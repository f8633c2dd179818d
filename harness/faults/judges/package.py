"""What a package says of itself, judged as ``parity check`` judges it before executing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from harness.conversion import audit_package, read_sidecar
from harness.errors import PackageError
from harness.faults.judges.program import RECIPE
from harness.faults.judging import Finding, found
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


class PackageStand:
    """Injections get a `Shipment` of the FP32 package and return another."""

    def __init__(self, bench: Workbench, subject: str) -> None:
        self._bench, self._subject = bench, subject

    def control(self, fault: Fault) -> Iterator[Finding]:
        """Judge the sound package."""
        return self._judge(self._shipment())

    def trial(self, fault: Fault) -> Iterator[Finding]:
        """Judge what is shipped."""
        return self._judge(fault.inject(self._shipment()))

    def _shipment(self) -> Shipment:
        return Shipment(self._open(RECIPE), self._open)

    def _open(self, recipe: str) -> Model:
        return load(self._bench.packages.path(self._subject, recipe))

    def _judge(self, shipment: Shipment) -> Iterator[Finding]:
        sidecar = read_sidecar(shipment.model)
        assert sidecar is not None  # no injection takes the papers away
        subject = self._bench.goldens.subject(self._subject)
        audit = audit_package(shipment.model, sidecar.recipe)
        return map(found, paper_checks(shipment.model, subject, audit, {}))
