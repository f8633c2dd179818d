"""Predictions: what engines, and virtual runs of a recipe, make of a golden's inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path

import numpy as np

from harness.conversion import PrecisionRecipe, Sidecar, TapLocation, read_sidecar
from harness.engines import Session, find_engine, open_engine
from harness.subjects import Network
from harness.subjects.calls import call_of, in_turn
from harness.workbench.goldens import Goldens
from harness.workbench.packages import Packages, as_recipe
from harness.workbench.separator import Separator, separate_file, stems_from

Run = Callable[..., Mapping[str, np.ndarray]]
"""Called as ``run(inputs, taps=names)``, as a `Model` or a session predicts."""


@dataclass(frozen=True)
class Prediction:
    """What an engine made of one segment.

    Attributes:
        network: of the candidate.
        outputs: by name, float32: the network's, or what a package in an adapter shows of them.
        taps: intermediate values by tap name, in PyTorch's layout, where they were asked for.
        precisions: the declared precision of the value behind each tap, where it is known.
    """

    network: Network
    outputs: Mapping[str, np.ndarray]
    taps: Mapping[str, np.ndarray] = field(default_factory=dict)
    precisions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def stems(self) -> np.ndarray:
        """What the outputs stand for, [S, C, n] float32.

        Raises:
            ParityError: they stand for no stems.
        """
        return stems_from(self.network, self.outputs)

    @property
    def has_stems(self) -> bool:
        """Whether the outputs stand for stems."""
        whole = {*self.network.interface.outputs} <= {*self.outputs}
        return bool(self.network.sources) and (whole or "stems" in self.outputs)

    @property
    def results(self) -> tuple[str, ...]:
        """Names of what comes out at the end: the outputs, and stems where there are some."""
        return tuple(dict.fromkeys((*self.outputs, *(("stems",) if self.has_stems else ()))))

    def judged(self, taps: Sequence[str]) -> tuple[str, ...]:
        """Return those taps that have to be there: all, or those that are if none was named."""
        passes = self.network.passes_over_taps
        return tuple(tap for tap in taps if tap in self.taps or not passes)

    @cached_property
    def tensors(self) -> Mapping[str, np.ndarray]:
        """All of it by the names that goldens have."""
        taps = {f"tap.{name}": value for name, value in self.taps.items()}
        stems = {"stems": self.stems} if self.has_stems else {}
        return {**self.outputs, **taps, **stems}


def predict_segment(
    network: Network,
    run: Run,
    inputs: Mapping[str, np.ndarray],
    located: Mapping[str, TapLocation],
    outputs: Iterable[str] | None = None,
) -> Prediction:
    """Let a program work on one segment, and return its taps in PyTorch's layout.

    Args:
        network: of the program.
        run: what executes it.
        inputs: by name, of one call or of several; taps are of the first.
        located: where each tap that is wanted is in the program.
        outputs: what it shows; the network's outputs by default.
    """
    wanted = tuple(dict.fromkeys(location.output for location in located.values()))
    names = outputs or network.interface.outputs

    def call(given: Mapping[str, np.ndarray], number: int) -> Mapping[str, np.ndarray]:
        made = run(given, taps=wanted if number == 1 else ())
        return {name: made[name] for name in (*names, *(wanted if number == 1 else ()))}

    values = in_turn(network.interface, inputs, call)
    shown = {n: value for n, value in values.items() if call_of(n)[1] in names}
    made = {name: values[location.output] for name, location in located.items()}
    precisions = {name: f"fp{8 * value.dtype.itemsize}" for name, value in made.items()}
    taps = {name: located[name].in_torch_layout(value) for name, value in made.items()}
    return Prediction(network, shown, taps, precisions)


def taps_in(sidecar: Sidecar | None, taps: Iterable[str]) -> Mapping[str, TapLocation]:
    """Return where a package has taps, as far as it says so."""
    found = sidecar.taps.found if sidecar else {}
    return {name: found[name] for name in taps if name in found}


class Predictions:
    """Executes candidates by engines, each on the inputs of a golden.

    Args:
        goldens: where the inputs come from.
        numerics: how engines compute, where they can be asked.
    """

    def __init__(self, goldens: Goldens, numerics: str) -> None:
        self._goldens, self.numerics = goldens, numerics
        # As many as a subject has recipes: cases take them in turn.
        self.session = lru_cache(maxsize=5)(self._session)
        self._sidecar = lru_cache(maxsize=16)(read_sidecar)
        self.of = lru_cache(maxsize=2)(self._of)  # a second opinion is beside it
        self.extracted = lru_cache(maxsize=1)(self._extracted)
        self.file_stems = lru_cache(maxsize=1)(self._file_stems)

    def labels(self, engine: str) -> dict[str, str]:
        """Return what checks of an engine's predictions are labelled with."""
        asked = {"numerics": self.numerics} if find_engine(engine).numerics else {}
        return {"engine": engine} | asked

    def taps(self, subject: str, case: str, engine: str) -> tuple[str, ...]:
        """Return the taps that a case holds and an engine shows."""
        return self._goldens.taps(subject, case) if find_engine(engine).gives_taps else ()

    def _session(self, package: Path, engine: str) -> Session:
        return open_engine(engine, package, numerics=self.numerics)

    def _of(self, subject: str, case: str, package: Path, engine: str) -> Prediction:
        """Execute a package on a golden's inputs, with taps where both have them."""
        located = taps_in(self._sidecar(package), self.taps(subject, case, engine))
        network, inputs = self._goldens.network(subject), self._goldens.inputs(subject, case)
        return predict_segment(network, self.session(package, engine).predict, inputs, located)

    def _extracted(self, subject: str, case: str, engine: str) -> Prediction:
        """Execute a subject on what the original had in this process."""
        loaded = self._goldens.subject(subject)
        session = open_engine(engine, loaded, numerics=self.numerics)
        located = {tap: TapLocation(tap) for tap in self.taps(subject, case, engine)}
        inputs = self._goldens.inputs_here(subject, case)
        return predict_segment(loaded.network, session.predict, inputs, located)

    def separator(self, subject: str, package: Path, engine: str) -> Separator:
        """Return what separates audio through a package of a single-model subject."""
        return Separator([self.session(package, engine)], self._goldens.network(subject))

    def _file_stems(self, subject: str, audio: Path, package: Path, engine: str) -> np.ndarray:
        """Separate an audio file with a package, as ``parity separate`` does; stems [S, C, n]."""
        return separate_file(audio, self.separator(subject, package, engine))


class VirtualRuns:
    """Executes recipes without their packages: on the FP32 one, with their roundings.

    Args:
        goldens: where inputs come from.
        packages: where the FP32 packages come from.
        numerics: how the executor computes.
    """

    def __init__(self, goldens: Goldens, packages: Packages, numerics: str) -> None:
        self._goldens, self._packages, self._numerics = goldens, packages, numerics
        self._sidecar = lru_cache(maxsize=2)(read_sidecar)
        self.of = lru_cache(maxsize=1)(self._of)

    def on(
        self,
        subject: str,
        recipe: str | PrecisionRecipe,
        inputs: Mapping[str, np.ndarray],
        taps: Sequence[str],
    ) -> Prediction:
        """Execute a recipe on any inputs."""
        rules = as_recipe(recipe)
        lab = self._packages.lab(subject, rules.rewrites)
        model = lab.recipe_model(rules)
        run = partial(model.predict, numerics=self._numerics)
        located = taps_in(self._sidecar(lab.base), taps)
        return predict_segment(self._goldens.network(subject), run, inputs, located)

    def _of(self, subject: str, case: str, recipe: str | PrecisionRecipe) -> Prediction:
        """Execute a recipe on a golden's inputs."""
        inputs, taps = self._goldens.inputs(subject, case), self._goldens.taps(subject, case)
        return self.on(subject, recipe, inputs, taps)
