"""An FP32 program, what it is looked at on, and what its outputs stand for: `Source`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from harness.conversion import PrecisionRecipe
from harness.mil import Model
from harness.precision.sensitivity import (
    Probing,
    Sensitivity,
    SignalMeasure,
    Stems,
    measure_sensitivity,
    measures_of,
)
from harness.precision.tuning import Confirmation, Trial, Tuner
from harness.precision.virtual import VirtualPrecision
from harness.store import Store

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

    def sensitivity(
        self, opened: VirtualPrecision, inputs: Inputs, recipe: PrecisionRecipe, probing: Probing
    ) -> Sensitivity:
        """Return what each operation adds to the error of a precision recipe."""
        return measure_sensitivity(
            opened,
            inputs,
            self.measures(opened),
            choice=opened.by_recipe(recipe),
            weights=opened.weights_by_recipe(recipe),
            subject=self.name,
            precision=recipe.name,
            probing=probing,
        )

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
    def check_kept(self, out: Path) -> None:
        """Check that `confirm` can keep a package, before anything that takes time.

        Raises:
            ParityError: it can't.
        """

    @abstractmethod
    def stored(self, folder: Path, store: Store | None = None) -> Source:
        """Return the same with its FP32 package in ``folder``, for other processes.

        With a store a subject's package is also fetched from it, on other machines, too.
        """

    @abstractmethod
    def content(self) -> dict[str, str]:
        """Return a hash for each case of program and inputs; of a `stored` source."""
