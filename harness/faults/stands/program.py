"""A package with its program edited, judged by the conversion layer and end to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.conversion import (
    TapLocation,
    check_contract,
    load_recipe,
    module_paths,
    tap_operations,
)
from harness.errors import ContractError, ParityError
from harness.faults.judging import Finding, digest
from harness.faults.registry import Fault
from harness.faults.stands.common import compared, refused, stem_findings
from harness.mil import Model, load
from harness.mil.editing import find
from harness.mil.program import Operation
from harness.subjects import Subject
from harness.verdicts import Verdict, bound, failed, gate
from harness.workbench import (
    Workbench,
    beside_prediction_db,
    inner_taps,
    paperwork_checks,
    stems_of,
    subject_sources,
)
from harness.workbench.bench import BRANCHES

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
            model = load(self._bench.package(self._subject, self._recipe))
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
            values = self._execute(case, model)
        except ParityError as error:
            yield refused("conversion", "execution", error)
            return
        yield from self._tensors(case, values)
        yield contract_finding(model, self._subject)
        yield from paper_findings(model, self._bench.subject(self._subject))
        golden = self._bench.golden(self._subject, case).require()
        sources = subject_sources(self._subject)
        yield from stem_findings(golden["stems"], stems_of(values), sources)

    def _execute(self, case: str, model: Model) -> dict[str, np.ndarray]:
        golden = self._bench.golden(self._subject, case).require()
        taps = self._taps(case, model)
        inputs = {"spectrogram": golden["spectrogram"], "audio": golden["audio"]}
        names = tuple(dict.fromkeys(location.output for location in taps.values()))
        values = model.predict(inputs, taps=names, numerics=self._bench.numerics)
        found = {name: values[name] for name in BRANCHES}
        for tap, location in taps.items():
            value = values[location.output]
            if location.permutation is not None:
                value = np.ascontiguousarray(np.transpose(value, location.permutation))
            found[f"tap {tap}"] = value
        return found

    def _taps(self, case: str, model: Model) -> dict[str, TapLocation]:
        if not self._bench.goldens.cases[case].taps:
            return {}
        located = tap_operations(model)
        return {name: located[name] for name in inner_taps(self._subject)}

    def _tensors(self, case: str, values: Mapping[str, np.ndarray]) -> Iterator[Finding]:
        golden = self._bench.golden(self._subject, case).require()
        if self._recipe == RECIPE:
            for name in values:
                expected = golden[name.replace(" ", ".", 1)]
                yield compared(
                    "conversion", "expected_precision_fp32", name, expected, values[name]
                )
        else:
            yield from self._beside_prediction(case, values)
        if load_recipe(self._recipe).must_pass("conversion"):
            for branch in BRANCHES:
                yield compared("conversion", "conversion", branch, golden[branch], values[branch])

    def _beside_prediction(self, case: str, values: Mapping[str, np.ndarray]) -> Iterator[Finding]:
        golden = self._bench.golden(self._subject, case).require()
        predicted = self._bench.virtual(self._subject, case, self._recipe)
        others = {**predicted.outputs, **{f"tap {t}": v for t, v in predicted.taps.items()}}
        bounds = gate("expected_precision")
        for name, actual in values.items():
            gap = beside_prediction_db(golden[name.replace(" ", ".", 1)], actual, others[name])
            outcome = bound(gap, bounds, what=f"SNR of {name} beside its prediction")
            yield Finding("conversion", bounds.name, name, outcome, digest(actual))


def contract_finding(model: Model, subject: str) -> Finding:
    """Judge the names, shapes and types that a package promises."""
    outcome, said = bound(0, gate("contract"), what="contract"), "as promised"
    try:
        check_contract(model, len(subject_sources(subject)))
    except ContractError as error:
        outcome, said = failed(str(error)), str(error)
    return Finding("conversion", "contract", "contract", outcome, digest(said))


def paper_findings(model: Model, subject: Subject) -> Iterator[Finding]:
    """Judge what a package holds and declares: its constants, and every operation's precision."""
    for check in paperwork_checks(model, subject, {}):
        said = check.outcome.reason if check.verdict is not Verdict.PASS else "sound"
        gate_name = check.gate.name if check.gate else ""
        yield Finding(check.layer, gate_name, check.labels["what"], check.outcome, digest(said))
