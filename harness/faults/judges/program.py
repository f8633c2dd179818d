"""A package with its program edited, judged by the conversion layer and end to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from harness.conversion import audit_package, load_recipe, module_paths
from harness.errors import ParityError
from harness.faults.judges.common import refused
from harness.faults.judging import Finding, found
from harness.faults.registry import Fault
from harness.layers import branch_checks, precision_checks, stem_checks
from harness.mil import Model, load
from harness.mil.editing import find
from harness.mil.program import Operation
from harness.verdicts import Check
from harness.workbench import Workbench, paper_checks, predict_segment, taps_in

RECIPE = "fp32"
"""The recipe that must pass, and with the sharpest gates."""


@dataclass(frozen=True)
class Converted:
    """An opened package, and where its operations come from.

    Attributes:
        model: the package.
        modules: PyTorch module path of each value of its program.
    """

    model: Model
    modules: Mapping[str, str]

    def all(self, type: str, module: str = "*", name: str = "*") -> tuple[Operation, ...]:
        """Return the operations of a type in the PyTorch modules that fit a pattern."""
        return find(self.model, type=type, name=name, modules=self.modules, module=module)

    def first(self, type: str, module: str = "*") -> Operation:
        """Return the first of them in program order."""
        return self.all(type, module)[0]


class ProgramStand:
    """Injections get a `Converted` package and return a `Model`."""

    def __init__(self, bench: Workbench, subject: str, recipe: str = RECIPE) -> None:
        self._bench, self._subject, self._recipe = bench, subject, recipe
        self._converted: Converted | None = None

    def converted(self) -> Converted:
        """Return the sound package, opened once."""
        if self._converted is None:
            model = load(self._bench.packages.path(self._subject, self._recipe))
            self._converted = Converted(model, module_paths(model))
        return self._converted

    def control(self, fault: Fault) -> Iterator[Finding]:
        """Judge the sound package."""
        return self._judge(fault.case, self.converted().model)

    def trial(self, fault: Fault) -> Iterator[Finding]:
        """Judge the package with the bug."""
        return self._judge(fault.case, fault.inject(self.converted()))

    def _judge(self, case: str, model: Model) -> Iterator[Finding]:
        try:
            yield from map(found, self._checks(case, model))
        except ParityError as error:
            yield refused("conversion", "execution", error)

    def _checks(self, case: str, model: Model) -> Iterator[Check]:
        goldens, recipe = self._bench.goldens, load_recipe(self._recipe)
        subject = goldens.subject(self._subject)
        golden = goldens.fetch(self._subject, case).require()
        taps, inputs = goldens.taps(self._subject, case), goldens.inputs(self._subject, case)
        run = partial(model.predict, numerics=self._bench.predictions.numerics)
        made = predict_segment(subject.network, run, inputs, taps_in(model, taps))
        pair, outputs = (golden, made.tensors), tuple(made.outputs)
        predicted = None
        if not recipe.is_fp32:
            predicted = self._bench.virtual.of(self._subject, case, self._recipe).tensors
        yield from precision_checks(*pair, predicted, recipe, taps, {}, outputs=outputs)
        if recipe.must_pass("conversion"):
            yield from branch_checks(*pair, recipe, {}, outputs=outputs)
        yield from paper_checks(model, subject, audit_package(model, recipe), {})
        yield from stem_checks(golden["stems"], made.stems, subject.sources, {})
