"""A package with its program edited, judged by the conversion layer and end to end.

What a package says of itself is judged as ``parity check`` judges it before executing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

from harness.conversion import audit_package, load_recipe, module_paths, read_sidecar
from harness.errors import PackageError, ParityError
from harness.faults.judging import FaultJudgement, judgement, refused
from harness.faults.operators import MutationSite
from harness.faults.registry import Fault
from harness.layers import branch_checks, precision_checks, stem_checks
from harness.mil import Model, load
from harness.mil.editing import edited, find, key
from harness.mil.program import Operation
from harness.verdicts import Check
from harness.workbench import Workbench, paper_checks, predict_segment, taps_in

RECIPE = "fp32"
"""The recipe that must pass, and with the sharpest gates."""


@dataclass(frozen=True)
class Converted:
    """An opened package, and where its operations come from.

    An edit returns another package; this one stays as it is.

    Attributes:
        model: the package.
        modules: PyTorch module path of each value of its program.
    """

    model: Model
    modules: Mapping[str, str]

    def all(self, type: str, module: str = "*") -> tuple[Operation, ...]:
        """Return the operations of a type in the PyTorch modules that fit a pattern."""
        return find(self.model, type=type, modules=self.modules, module=module)

    def first(self, type: str, module: str = "*") -> Operation:
        """Return the first of them in program order."""
        return self.all(type, module)[0]

    def site(self, type: str, module: str, at: int = 0) -> MutationSite:
        """Return one of them as a place for a mutation operator."""
        return MutationSite(self.model, self.all(type, module)[at])

    def edited(self, *operations: Operation, before: Sequence[Operation] = ()) -> Converted:
        """Put other operations in the place of those of their names, ``before`` the first of them.

        Raises:
            ParityError: as `harness.mil.editing.edited`.
        """
        inserted = {key(operations[0]): before} if before else None
        return replace(self, model=edited(self.model, *operations, before=inserted))


class ProgramJudge:
    """Injections get a `Converted` package and return another."""

    def __init__(self, bench: Workbench, subject: str, recipe: str = RECIPE) -> None:
        self._bench, self._subject, self._recipe = bench, subject, recipe

    def __call__(self, fault: Fault) -> Iterator[FaultJudgement]:
        """Judge what a package computes and says."""
        changed: Converted = fault.inject(self._converted)
        try:
            yield from map(judgement, self._checks(fault.case, changed.model))
        except ParityError as error:
            yield refused("conversion", "execution", error)

    @cached_property
    def _converted(self) -> Converted:
        model = load(self._bench.packages.path(self._subject, self._recipe))
        return Converted(model, module_paths(model))

    def _checks(self, case: str, model: Model) -> Iterator[Check]:
        goldens, recipe = self._bench.goldens, load_recipe(self._recipe)
        subject = goldens.subject(self._subject)
        golden = goldens.fetch(self._subject, case).require()
        taps, inputs = goldens.taps(self._subject, case), goldens.inputs(self._subject, case)
        run = partial(model.predict, numerics=self._bench.predictions.numerics)
        made = predict_segment(subject.network, run, inputs, taps_in(read_sidecar(model), taps))
        pair, outputs = (golden, made.tensors), tuple(made.outputs)
        predicted = None
        if not recipe.is_fp32:
            predicted = self._bench.virtual.of(self._subject, case, self._recipe).tensors
        yield from precision_checks(*pair, predicted, recipe, taps, {}, outputs=outputs)
        if recipe.must_pass("conversion"):
            yield from branch_checks(*pair, recipe, {}, outputs=outputs)
        yield from paper_checks(model, subject, audit_package(model, recipe), {})
        yield from stem_checks(golden["stems"], made.stems, subject.sources, {})


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
