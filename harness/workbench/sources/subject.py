"""A PyTorch model on golden cases as what the lab is about.

It takes the subject's FP32 package and a few input signals, and no goldens: what is compared with
is the FP32 program itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from harness import mil
from harness.conversion import (
    PrecisionRecipe,
    check_contract,
    convert_to_coreml,
    trace_inner_model,
)
from harness.digests import digest_of
from harness.mil import Model
from harness.precision.sensitivity import Stems
from harness.precision.sweep import content_key
from harness.precision.tuning import Confirmation, Trial, Tuner
from harness.store import Store
from harness.subjects import describe_subject, load_subject
from harness.subjects.protocol import sound_of
from harness.workbench.packages import Packages
from harness.workbench.sources.base import Inputs, Source
from harness.workbench.sources.cases import call_in, call_inputs, find_cases
from harness.workbench.stored import fetched_package


@dataclass(frozen=True)
class SubjectSource(Source):
    """A single PyTorch model on golden cases of one segment, or on songs.

    Attributes:
        name: of the subject.
        cases: as `find_cases` takes them.
        golden_root: the folder with ``recipes.toml``.
        package: its FP32 package, as ``parity convert`` makes it; None converts one.
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
        """Yield the FP32 conversion.

        Raises:
            ContractError: the package has other inputs or outputs than the subject's.
            ParityError: the subject is a bag, or can't be converted.
        """
        package = self.package
        if package is not None:
            if self.store is not None and not package.exists():
                package = fetched_package(self.store, self.key)
            check_contract(package, describe_subject(self.name).interface)
        with tempfile.TemporaryDirectory(prefix="parity-lab-") as folder:
            yield mil.functional(mil.load(package or self._fp32_package(Path(folder))))

    def inputs(self, device: str = "cpu") -> Inputs:
        """Return the network's inputs on each case."""
        return {
            name: {
                key: torch.from_numpy(np.ascontiguousarray(array)).to(device)
                for key, array in call_inputs(self.name, case, call_in(name, case)).items()
            }
            for name, case in find_cases(self.cases, self.golden_root).items()
        }

    def check_cases(self) -> None:
        """Look the cases up."""
        find_cases(self.cases, self.golden_root)

    @property
    def stems(self) -> Stems | None:
        """How the outputs become stems; None if the network has none."""
        network = describe_subject(self.name)
        if not network.sources:
            return None
        return Stems(network.sources, network.stem_of, sound_of(network).sample_rate)

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
        loaded = load_subject(self.name)
        with tempfile.TemporaryDirectory(prefix="parity-lab-") as folder:
            made = convert_to_coreml(
                trace_inner_model(loaded.extract()),
                recipe=recipe,
                out=out or Path(folder) / "tuned.mlpackage",
                subject=loaded.name,
                fingerprint=loaded.fingerprint,
            )
            return tuner.confirm(best, mil.functional(mil.load(made.path)), made.audit.verdict)

    @property
    def confirmed_by(self) -> str:
        """A conversion."""
        return "converted"

    def check_kept(self, out: Path) -> None:
        """A conversion can always be kept."""

    def stored(self, folder: Path, store: Store | None = None) -> Source:
        """Fetch or convert in FP32, if that isn't there."""
        package = self.package or self._fp32_package(folder.absolute(), store)
        found = replace(self, package=package, golden_root=self.golden_root.absolute())
        if store is None:
            return found
        return replace(
            found, store=store, key=Packages(Path(), load_subject).key(self.name, "fp32")
        )

    def content(self) -> dict[str, str]:
        """Return a hash of package and signal for each case."""
        assert self.package is not None  # it is stored
        return self.content_beside(self.package)

    def content_beside(self, package: Path) -> dict[str, str]:
        """Return for each case a hash of any FP32 package and of the signal."""
        files, cases = digest_of(package).value, find_cases(self.cases, self.golden_root)
        return {
            name: content_key(files, f"{case.hash}{call_in(name, case)}")
            for name, case in cases.items()
        }

    def _fp32_package(self, folder: Path, store: Store | None = None) -> Path:
        """Return the FP32 package in ``folder``; fetched or converted if absent."""
        return Packages(folder, load_subject, store).path(self.name, "fp32")
