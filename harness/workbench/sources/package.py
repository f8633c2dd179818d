"""Any package on inputs from files as what the lab is about."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from harness import mil
from harness.adapters import AdaptedModel, Sizes, adapter_path, read_adapter, write_adapter
from harness.conversion import PrecisionRecipe, audit_package
from harness.conversion.sidecar import PREFIX
from harness.digests import digest_of
from harness.errors import PackageError, ParityError
from harness.mil import Model
from harness.mil.program import Program
from harness.mil.saving import save_package
from harness.precision.sensitivity import Stems
from harness.precision.sweep import content_key
from harness.precision.tuning import Confirmation, Trial, Tuner
from harness.precision.virtual import VirtualPrecision
from harness.store import Store
from harness.subjects import describe_subject
from harness.workbench.given import (
    Note,
    array_hash,
    as_tensors,
    case_names,
    given_cases,
    silent,
)
from harness.workbench.matching import check_counterpart
from harness.workbench.sources.base import Inputs, Source
from harness.workbench.sources.subject import SubjectSource


@dataclass(frozen=True)
class PackageSource(Source):
    """A package on inputs from files; it may be anybody's.

    Attributes:
        path: the ``.mlpackage`` or ``.mlmodelc``.
        given: files, folders or ``random:SEED``, each of them a case; if there are none, signals
            are what it is looked at on.
        signals: golden cases, for a package that takes what their subject takes, or that an adapter
            gives it.
        note: is told of inputs that a conversion changed.
        adapter: the file that says how its inputs and outputs map to that subject's; None where
            they are the same.
    """

    path: Path
    given: tuple[str, ...] = ()
    signals: SubjectSource | None = None
    note: Note = field(default=silent, compare=False)
    adapter: Path | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """The path."""
        return str(self.path)

    @property
    def cases(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the inputs."""
        return self.signals.cases if self.signals else case_names(self.given)

    @contextmanager
    def program(self) -> Iterator[Model]:
        """Yield the package."""
        yield mil.functional(mil.load(self.path))

    @contextmanager
    def lab(self) -> Iterator[VirtualPrecision]:
        """Yield the lab of the package.

        Raises:
            PackageError: it is not all FP32, has blocks, or returns what has no error.
        """
        with self.program() as model:
            for output in model.outputs:
                if output.shape is None:
                    raise PackageError(
                        f"{self.path} returns {output}, of which the lab has no measure; "
                        "'parity check --reference' compares it, 'parity headroom' looks inside"
                    )
            yield VirtualPrecision(model)

    def inputs(self, device: str = "cpu") -> Inputs:
        """Return what was given, in the types that the package declares."""
        model = mil.functional(mil.load(self.path))
        if self.signals is None:
            arrays = given_cases(self.given, model, note=self.note)
            found = {case: as_tensors(given, model) for case, given in arrays.items()}
            return {c: {n: t.to(device) for n, t in row.items()} for c, row in found.items()}
        view = self._view
        if view is not None:
            contract = self.signals.inputs(device)
            return {case: view.carried_inputs(row) for case, row in contract.items()}
        interface = describe_subject(self.signals.name).interface
        if {feature.name: feature.shape for feature in model.inputs} != dict(interface.inputs):
            takes = ", ".join(map(str, model.inputs)) or "nothing"
            raise ParityError(
                f"{self.path} takes {takes}, which no golden case gives: say on what to run it, "
                "with --inputs in.safetensors (or --inputs random:7); for another layout of "
                "HTDemucs's inputs 'parity adapt' writes an adapter"
            )
        return self.signals.inputs(device)

    def check_cases(self) -> None:
        """Read the inputs."""
        self.inputs()

    @property
    def stems(self) -> Stems | None:
        """What an adapter makes of its outputs, if that is linear in them; else nobody says."""
        view = self._view
        if view is None or not (view.adapter.gives_stems and view.adapter.is_linear):
            return None
        assert self.signals is not None  # whose subject it is
        network, adapter, sizes = describe_subject(self.signals.name), view.adapter, view.sizes

        def waveform(outputs: Mapping[str, torch.Tensor], index: int) -> torch.Tensor:
            shown = adapter.read(outputs, {}, sizes)
            if "stems" in shown:
                return shown["stems"][index].double()
            return network.stem_of(shown, index)

        return Stems(network.sources, waveform, sizes.geometry.sample_rate)

    @property
    def _view(self) -> AdaptedModel | None:
        """The package in its adapter."""
        if self.adapter is None or self.signals is None:
            return None
        sizes = Sizes.of(describe_subject(self.signals.name))
        return AdaptedModel(mil.load(self.path), read_adapter(self.adapter), sizes)

    def check(self, candidate: Model) -> None:
        """Check that inputs and outputs have the same names and shapes."""
        check_counterpart(mil.functional(mil.load(self.path)), candidate)

    def takes(self, recipe: PrecisionRecipe) -> bool:
        """Return whether the recipe is for any program, or was tuned for this one."""
        named = {Path(name).name for name in recipe.subjects}
        return not named or self.path.name in named

    def confirm(
        self, recipe: PrecisionRecipe, tuner: Tuner, best: Trial, out: Path | None = None
    ) -> Confirmation:
        """Write the program with the recipe's roundings as a package, and read it again.

        One with flexible shapes can't be written: its virtual run is all that there is.
        """
        made = tuner.lab.recipe_model(recipe)
        if self._flexible:
            program = Program({made.function: made.plan.function})
            virtual = replace(made.package, program=program, default_function=made.function)
            return tuner.confirm(best, made, audit_package(virtual, recipe).verdict)
        with tempfile.TemporaryDirectory(prefix="parity-lab-") as folder:
            path = out or Path(folder) / "tuned.mlpackage"
            read, told = made.package.constants.array, made.metadata.items()
            own = {name: text for name, text in told if not name.startswith(PREFIX)}  # of FP32
            save_package(path, made.plan.function, read, own)
            if out is not None and self.adapter is not None:  # which is that of the new one, too
                write_adapter(adapter_path(out), read_adapter(self.adapter))
            return tuner.confirm(best, mil.load(path), audit_package(path, recipe).verdict)

    @property
    def confirmed_by(self) -> str:
        """A package of the harness: there is no model that a converter could start from."""
        if self._flexible:
            return "by a virtual run alone, as its shapes are flexible"
        return "written without a converter, from the package itself"

    def check_kept(self, out: Path) -> None:
        """Check that the package can be written with other roundings."""
        if self._flexible:
            raise ParityError(
                f"can't keep {out}: {self.path} has inputs of flexible shape, which can't be "
                "written here; leave --package out, and convert with the selector"
            )

    @property
    def _flexible(self) -> bool:
        features = mil.functional(mil.load(self.path)).inputs
        return any(None in (feature.shape or (None,)) for feature in features)

    def stored(self, folder: Path, store: Store | None = None) -> Source:
        """Return the same: it lies on the disk."""
        return replace(self, note=silent)

    def content(self) -> dict[str, str]:
        """Return a hash of package and inputs for each case."""
        package = digest_of(self.path).value
        if self.adapter is not None:
            arrays = {c: {n: t.numpy() for n, t in r.items()} for c, r in self.inputs().items()}
            return {case: content_key(package, array_hash(row)) for case, row in arrays.items()}
        if self.signals is not None:
            return self.signals.content_beside(self.path)
        given = given_cases(self.given, mil.functional(mil.load(self.path)))
        return {case: content_key(package, array_hash(row)) for case, row in given.items()}
