"""What the lab is about: a subject on golden cases, or any package on inputs of one's own.

A `Source` gives an FP32 program, the inputs that it is looked at on, and how its outputs become
stems, if they do. Commands ask for one by the word that the user typed (`source_of`) and know no
difference: a package needs no PyTorch model, no goldens and no converter.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch

from harness import mil
from harness.conversion import PrecisionRecipe, audit_package, check_contract
from harness.errors import ParityError
from harness.mil import Model
from harness.mil.saving import save_package
from harness.precision.sensitivity import SignalMeasure, Stems, measures_of
from harness.precision.sweep import content_key, folder_hash
from harness.precision.tuning import Confirmation, Trial, Tuner
from harness.precision.virtual import VirtualPrecision
from harness.subjects import describe_subject
from harness.workbench import lab
from harness.workbench.given import (
    Note,
    array_hash,
    as_tensors,
    case_names,
    given_cases,
    silent,
)
from harness.workbench.matching import check_counterpart

PACKAGE_SUFFIXES: Final = (".mlpackage", ".mlmodelc")
_ANY_SUBJECT: Final = "htdemucs_6s"
"""A mixture is the same whatever stems it is counted in."""

Inputs = dict[str, dict[str, torch.Tensor]]
"""By case and name, in carrier types."""


class Source(ABC):
    """An FP32 program and what it is looked at on.

    Attributes:
        name: the word that the user typed.
        cases: names of the inputs.
    """

    name: str
    cases: tuple[str, ...]

    @abstractmethod
    def program(self) -> AbstractContextManager[Model]:
        """Yield the program: of a subject its FP32 conversion, a package as it is.

        Raises:
            ParityError: it can't be converted, or is no package.
        """

    @contextmanager
    def lab(self) -> Iterator[VirtualPrecision]:
        """Yield the lab of the program.

        Raises:
            PackageError: the program is not all FP32, or has blocks.
            ParityError: as `program`.
        """
        with self.program() as model:
            yield VirtualPrecision(model)

    @abstractmethod
    def inputs(self, device: str = "cpu") -> Inputs:
        """Return the inputs of each case; nothing is converted or executed for them.

        Raises:
            ParityError: there is no such case or file, or it doesn't fit the program.
        """

    @abstractmethod
    def check_cases(self) -> None:
        """Check that the cases can be had, before anything that takes time.

        Raises:
            ParityError: as `inputs`.
        """

    @property
    @abstractmethod
    def stems(self) -> Stems | None:
        """How the outputs become stems; None if they don't."""

    def measures(self, opened: VirtualPrecision) -> tuple[SignalMeasure, ...]:
        """Return what an error is measured by: stems where there are some, and each output."""
        outputs = [output.name for output in opened.base.outputs if output.dtype.is_floating]
        return measures_of(self.stems, outputs)

    @abstractmethod
    def check(self, candidate: Model) -> None:
        """Check that a package takes and returns what the program does.

        Raises:
            ContractError: it doesn't.
        """

    @abstractmethod
    def takes(self, recipe: PrecisionRecipe) -> bool:
        """Return whether a precision recipe is meant for the program."""

    @abstractmethod
    def confirm(
        self, recipe: PrecisionRecipe, tuner: Tuner, best: Trial, out: Path | None = None
    ) -> Confirmation:
        """Make the package of a tuned recipe, and hold it to the promise of its trial.

        Args:
            recipe: of ``best``.
            tuner: that found it.
            best: the trial.
            out: where to keep the package; None for nowhere.
        """

    @property
    @abstractmethod
    def confirmed_by(self) -> str:
        """What `confirm` makes, in words."""

    @abstractmethod
    def stored(self, folder: Path) -> Source:
        """Return the same with its FP32 package in ``folder``, for other processes."""

    @abstractmethod
    def content(self) -> dict[str, str]:
        """Return a hash for each case of program and inputs; of a `stored` source."""

    @property
    @abstractmethod
    def options(self) -> tuple[str, ...]:
        """The words behind ``parity diagnose X.mlpackage`` that mean this source."""


@dataclass(frozen=True)
class SubjectSource(Source):
    """A single PyTorch model on golden cases of one segment, or on songs.

    Attributes:
        name: of the subject.
        cases: as `harness.workbench.lab.lab_inputs` takes them.
        golden_root: the folder with ``recipes.toml``.
        package: its FP32 package; None converts one.
    """

    name: str
    cases: tuple[str, ...]
    golden_root: Path
    package: Path | None = None

    @contextmanager
    def program(self) -> Iterator[Model]:
        """Yield the FP32 conversion."""
        with self.lab() as opened:
            yield opened.base

    @contextmanager
    def lab(self) -> Iterator[VirtualPrecision]:
        """Yield the lab of the FP32 conversion."""
        with lab.open_lab(self.name, self.package) as opened:
            yield opened

    def inputs(self, device: str = "cpu") -> Inputs:
        """Return the network's inputs on each case."""
        return lab.lab_inputs(self.name, self.cases, self.golden_root, device)

    def check_cases(self) -> None:
        """Look the cases up."""
        lab.find_cases(self.cases, self.golden_root)

    @property
    def stems(self) -> Stems | None:
        """How the outputs become stems."""
        return lab.lab_stems(self.name)

    def check(self, candidate: Model) -> None:
        """Check the model contract."""
        check_contract(candidate, describe_subject(self.name).interface)

    def takes(self, recipe: PrecisionRecipe) -> bool:
        """Return whether the recipe is for the architecture."""
        return recipe.is_for(self.name)

    def confirm(
        self, recipe: PrecisionRecipe, tuner: Tuner, best: Trial, out: Path | None = None
    ) -> Confirmation:
        """Convert the subject by the recipe."""
        return lab.confirm(self.name, recipe, tuner, best, out)

    @property
    def confirmed_by(self) -> str:
        """A conversion."""
        return "converted"

    def stored(self, folder: Path) -> Source:
        """Convert in FP32, if that isn't there."""
        package = self.package or lab.fp32_package(self.name, folder)
        return SubjectSource(self.name, self.cases, self.golden_root, package)

    def content(self) -> dict[str, str]:
        """Return a hash of package and signal for each case."""
        assert self.package is not None  # it is stored
        return lab.case_keys(self.package, self.cases, self.golden_root)

    @property
    def options(self) -> tuple[str, ...]:
        """``--subject`` and ``--case``."""
        cases = (word for case in self.cases for word in ("--case", case))
        return ("--subject", self.name, *cases)


@dataclass(frozen=True)
class PackageSource(Source):
    """A package on inputs from files; it may be anybody's.

    Attributes:
        path: the ``.mlpackage`` or ``.mlmodelc``.
        given: files, folders or ``random:SEED``, each of them a case; if there are none, signals
            are what it is looked at on.
        signals: golden cases, for a package that takes what HTDemucs takes.
        note: is told of inputs that a conversion changed.
    """

    path: Path
    given: tuple[str, ...] = ()
    signals: SubjectSource | None = None
    note: Note = field(default=silent, compare=False)

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
        yield mil.load(self.path)

    def inputs(self, device: str = "cpu") -> Inputs:
        """Return what was given, in the types that the package declares."""
        model = mil.load(self.path)
        if self.signals is None:
            arrays = given_cases(self.given, model, note=self.note)
            found = {case: as_tensors(given, model) for case, given in arrays.items()}
            return {c: {n: t.to(device) for n, t in row.items()} for c, row in found.items()}
        interface = describe_subject(self.signals.name).interface
        if {feature.name: feature.shape for feature in model.inputs} != dict(interface.inputs):
            takes = ", ".join(map(str, model.inputs)) or "nothing"
            raise ParityError(
                f"{self.path} takes {takes}, which no golden case gives: say on what to run it, "
                "with --inputs in.safetensors (or --inputs random:7)"
            )
        return self.signals.inputs(device)

    def check_cases(self) -> None:
        """Read the inputs."""
        self.inputs()

    @property
    def stems(self) -> Stems | None:
        """Nobody says what its outputs stand for."""
        return None

    def check(self, candidate: Model) -> None:
        """Check that inputs and outputs have the same names and shapes."""
        check_counterpart(mil.load(self.path), candidate)

    def takes(self, recipe: PrecisionRecipe) -> bool:
        """Return whether the recipe is for any program, or was tuned for this one."""
        named = {Path(name).name for name in recipe.subjects}
        return not named or self.path.name in named

    def confirm(
        self, recipe: PrecisionRecipe, tuner: Tuner, best: Trial, out: Path | None = None
    ) -> Confirmation:
        """Write the program with the recipe's roundings as a package, and read it again."""
        with tempfile.TemporaryDirectory(prefix="parity-lab-") as folder:
            path = out or Path(folder) / "tuned.mlpackage"
            made = tuner.lab.recipe_model(recipe)
            save_package(path, made.plan.function, made.package.constants.array, made.metadata)
            return tuner.confirm(best, mil.load(path), audit_package(path, recipe).verdict)

    @property
    def confirmed_by(self) -> str:
        """A package of the harness: there is no model that a converter could start from."""
        return "written without a converter, from the package itself"

    def stored(self, folder: Path) -> Source:
        """Return the same: it lies on the disk."""
        return PackageSource(self.path, self.given, self.signals)

    def content(self) -> dict[str, str]:
        """Return a hash of package and inputs for each case."""
        package = folder_hash(self.path)
        if self.signals is not None:
            return lab.case_keys(self.path, self.signals.cases, self.signals.golden_root)
        arrays = given_cases(self.given, mil.load(self.path))
        return {case: content_key(package, array_hash(row)) for case, row in arrays.items()}

    @property
    def options(self) -> tuple[str, ...]:
        """``--reference`` and ``--inputs``."""
        given = (word for source in self.given for word in ("--inputs", source))
        cases = self.signals.cases if self.signals else ()
        return ("--reference", self.name, *given, *(w for c in cases for w in ("--case", c)))


def is_package(model: str) -> bool:
    """Return whether the word that somebody typed is a package and no subject."""
    return Path(model).suffix in PACKAGE_SUFFIXES


def source_of(
    model: str,
    *,
    golden_root: Path,
    cases: Sequence[str] | None = None,
    given: Sequence[str] | None = None,
    default: Sequence[str] = ("song",),
    package: Path | None = None,
    note: Note = silent,
) -> Source:
    """Return what a user means by a subject or a package, and by cases or files.

    Args:
        model: name of a single model, or path of a package.
        golden_root: the golden folder.
        cases: golden cases; of a package only where it takes what HTDemucs takes.
        given: files of inputs for a package, or ``random:SEED``.
        default: the cases where nothing is said.
        package: the FP32 package of a subject, if it was converted before.
        note: is told of inputs that a conversion changed.

    Raises:
        ParityError: what was given doesn't go together.
    """
    signals = SubjectSource(model, tuple(cases or default), golden_root, package)
    if not is_package(model):
        if given:
            raise ParityError(f"--inputs is for a package; the subject {model} takes --case")
        return signals
    if package is not None:
        raise ParityError(f"{model} is a package itself; --fp32-package goes with a subject")
    if not given:
        signals = SubjectSource(_ANY_SUBJECT, signals.cases, golden_root)
        return PackageSource(Path(model), signals=signals, note=note)
    if cases:
        raise ParityError("give --inputs or --case, not both")
    return PackageSource(Path(model), tuple(given), note=note)


def reference_source(
    subject: str | None,
    reference: Path | None,
    *,
    golden_root: Path,
    cases: Sequence[str] | None = None,
    given: Sequence[str] | None = None,
    note: Note = silent,
) -> Source:
    """Return what a package should compute: a subject, or another package in FP32.

    Args:
        subject: name of a single model; ``reference`` is then its FP32 package, if that is there.
        reference: path of a package.
        golden_root, cases, given, note: as in `source_of`.

    Raises:
        ParityError: neither is given, ``reference`` is no package, or what was given doesn't go
            together.
    """
    if subject is None and reference is None:
        raise ParityError(
            "say what the package should compute: --subject NAME, or the same network in FP32 with "
            "its inputs, --reference X.mlpackage --inputs in.safetensors"
        )
    if reference is not None and not is_package(str(reference)):
        raise ParityError(f"--reference {reference} is no .mlpackage or .mlmodelc")
    name = str(reference) if subject is None else subject
    package = None if subject is None else reference
    return source_of(
        name, golden_root=golden_root, cases=cases, given=given, package=package, note=note
    )
