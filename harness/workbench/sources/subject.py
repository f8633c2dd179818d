"""A PyTorch model on golden cases as what the lab is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness.conversion import PrecisionRecipe, check_contract
from harness.mil import Model
from harness.precision.sensitivity import Stems
from harness.precision.tuning import Confirmation, Trial, Tuner
from harness.precision.virtual import VirtualPrecision
from harness.store import Store
from harness.subjects import describe_subject
from harness.workbench import lab
from harness.workbench.sources.base import Inputs, Source
from harness.workbench.stored import fetched_package


@dataclass(frozen=True)
class SubjectSource(Source):
    """A single PyTorch model on golden cases of one segment, or on songs.

    Attributes:
        name: of the subject.
        cases: as `harness.workbench.lab.lab_inputs` takes them.
        golden_root: the folder with ``recipes.toml``.
        package: its FP32 package; None converts one.
        store: where the package is for machines that have no file ``package``.
        key: its key there.
    """

    name: str
    cases: tuple[str, ...]
    golden_root: Path
    package: Path | None = None
    store: Store | None = None
    key: str = ""

    @contextmanager
    def program(self) -> Iterator[Model]:
        """Yield the FP32 conversion."""
        with self.lab() as opened:
            yield opened.base

    @contextmanager
    def lab(self) -> Iterator[VirtualPrecision]:
        """Yield the lab of the FP32 conversion."""
        with lab.open_lab(self.name, self._package_here()) as opened:
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

    def check_kept(self, out: Path) -> None:
        """A conversion can always be kept."""

    def stored(self, folder: Path, store: Store | None = None) -> Source:
        """Fetch or convert in FP32, if that isn't there."""
        package = self.package or lab.fp32_package(self.name, folder.absolute(), store)
        found = replace(self, package=package, golden_root=self.golden_root.absolute())
        return found if store is None else replace(found, store=store, key=lab.fp32_key(self.name))

    def _package_here(self) -> Path | None:
        if self.package is None or self.store is None or self.package.exists():
            return self.package
        return fetched_package(self.store, self.key)

    def content(self) -> dict[str, str]:
        """Return a hash of package and signal for each case."""
        assert self.package is not None  # it is stored
        return lab.case_keys(self.package, self.cases, self.golden_root)
