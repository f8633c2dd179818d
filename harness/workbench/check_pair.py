"""A package judged against another one in FP32: ``parity check --reference``.

No PyTorch, no goldens and no converter: the reference says what is right, and the files of inputs
say on what. The gates are those of `harness.workbench.check`, where they are about no subject: the
contract, the program, what Core ML takes, outputs, inner values, and what the declared precision
allows. That is known from the reference itself, run with the roundings that the package declares
for each operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness import mil
from harness.conversion import PrecisionRecipe, audit_package, load_recipe
from harness.layers import (
    audit_check,
    beside_prediction_db,
    branch_checks,
    compressed_check,
    contract_check,
    integer_checks,
    lint_check,
    precision_checks,
    program_check,
    repeat_check,
    worst_value_check,
)
from harness.lint import lint_package
from harness.mil import DataType, Model
from harness.precision.virtual import VirtualPrecision
from harness.profiles import PACKAGE_ENGINE, engine_states
from harness.verdicts import Check, Gate, Outcome, Profile, bound, compare, gate, not_evaluated
from harness.verdicts.collector import Collector, noted_digest
from harness.verdicts.rows.labelled import labels_of
from harness.verdicts.rows.operations import OperationProfile, TapSeries
from harness.workbench.check import Advance, in_words
from harness.workbench.file_checks import printable
from harness.workbench.given import Arrays, Note, given_cases, silent
from harness.workbench.inner_values import InnerValue, as_types_of, inner_values
from harness.workbench.matching import Alignment, CompressedWeight, check_counterpart
from harness.workbench.papers import broken_contract, describe_package
from harness.workbench.sources import PackageSource

DECLARED: Final = PrecisionRecipe("declared", "fp16", gating=True)
"""Of a package whose recipe nobody names: it is held to every gate, and to what it declares."""
_FP32: Final = "expected_precision_fp32"


@dataclass(frozen=True)
class PairInquiry:
    """What is asked of a package and its reference.

    Attributes:
        package: the ``.mlpackage`` or ``.mlmodelc`` to judge.
        reference: the same network in FP32, with the inputs.
        recipe: the precision that the package should have; None takes what it declares.
        bounds: by the name of a gate, what must hold in its place.
        numerics: how the executor computes.
        note: is told of inputs that a conversion changed.
    """

    package: Path
    reference: PackageSource
    recipe: PrecisionRecipe | None = None
    bounds: Mapping[str, Gate] = field(default_factory=dict)
    numerics: str = "storage"
    note: Note = silent

    @property
    def provenance(self) -> dict[str, Any]:
        """What a run records of it, so that it can be gone on with."""
        return {"reference": self.reference.name, "inputs": list(self.reference.given)}


def check_pair(inquiry: PairInquiry, advance: Advance) -> Collector:
    """Judge a package by its reference; the collector gives the run.

    Raises:
        PackageError: one can't be read, or the reference is not all in FP32.
        ContractError: the inputs don't fit.
    """
    examination = _Examination(inquiry, advance)
    with noted_digest(examination.collector, inquiry.package):
        if examination.papers():
            examination.values()
    return examination.collector


class _Examination:
    """One package on its way beside its reference."""

    def __init__(self, inquiry: PairInquiry, advance: Advance) -> None:
        self._inquiry, self._advance = inquiry, advance
        self._model = mil.load(inquiry.package)
        self._reference = mil.load(inquiry.reference.path)
        self._inputs = given_cases(inquiry.reference.given, self._reference)
        self._alignment, self._unknown = self._aligned()
        self._recipe = self._claimed()
        self._labels = {"subject": printable(inquiry.reference.path), "recipe": self._recipe.name}
        profile = Profile(
            name="check",
            layers=("conversion",),
            engines=(PACKAGE_ENGINE,),
            subjects=(self._labels["subject"],),
            recipes=(self._recipe.name,),
            cases={self._labels["subject"]: tuple(self._inputs)},
        )
        self.collector = Collector(profile, engine_states())
        self._expected: Model | None = None

    def _aligned(self) -> tuple[Alignment | None, str]:
        """Return the two side by side, or why they can't be compared operation by operation."""
        for model in (self._reference, self._model):
            if model.states:
                return None, f"{model.package.path} has states, whose precision nobody can predict"
            inner = next((operation for operation in model.operations if operation.blocks), None)
            if inner is not None:
                return None, f"{inner} has blocks, whose precision nobody can predict"
        return Alignment(VirtualPrecision(self._reference), self._model), ""

    def _claimed(self) -> PrecisionRecipe:
        recipe = self._inquiry.recipe
        if recipe is not None:
            return replace(recipe, gating=True, gates=recipe.gates if recipe.gating else ())
        wide = self._alignment is not None and self._alignment.is_fp32 and not self._rounds()
        return load_recipe("fp32") if wide else DECLARED

    def _rounds(self) -> bool:
        """Whether the package takes or returns narrower numbers than the reference."""
        pairs = zip(*(_border(model) for model in (self._reference, self._model)), strict=False)
        return any(one.bits > other.bits for one, other in pairs)

    def papers(self) -> bool:
        """Judge what the package declares and holds; False if it can't be executed as it is."""
        self._step("the program", 0)
        error = broken_contract(partial(check_counterpart, self._reference, self._model))
        self._add([contract_check(error, self._labels), *self._audit()])
        self._add([lint_check(lint_package(self._model), self._labels)])
        if error is not None:
            return False
        self._add([self._program()])
        if self._alignment is not None and self._alignment.compressed:
            self._add([self._weights(self._alignment.compressed)])
        return True

    def _audit(self) -> Iterator[Check]:
        """Judge the precision of the operations, where somebody says what it should be."""
        recipe = self._inquiry.recipe
        if recipe is not None:
            audit = audit_package(self._model, recipe)
            yield audit_check(audit, self._labels)
            self.collector.keep(describe_package(self._labels["subject"], audit, recipe))

    def _program(self) -> Check:
        """Judge the operations beside the reference's, and note what is expected of the values."""
        alignment = self._alignment
        if alignment is None:
            check = program_check(None, self._labels)
            return replace(check, outcome=not_evaluated(self._unknown))
        self._expected = alignment.expected()
        found = alignment.program(self._expected)
        if found.differences:
            self.collector.keep(in_words(found))
        return program_check(found, self._labels)

    def _weights(self, weights: Sequence[CompressedWeight]) -> Check:
        """Judge the weights that are stored compressed; others are part of the program."""
        known = [weight for weight in weights if weight.is_known]
        return compressed_check(
            [str(weight) for weight in known if not weight.is_right],
            [f"{w} ({w.packed.storage})" for w in weights if not w.is_known],
            self._labels,
        )

    def values(self) -> None:
        """Judge what the package makes of every input."""
        inquiry = self._inquiry
        mine = given_cases(inquiry.reference.given, self._model, note=inquiry.note)
        labels = {**self._labels, "engine": PACKAGE_ENGINE, "numerics": inquiry.numerics}
        for done, (case, given) in enumerate(self._inputs.items(), 1):
            self._step(case, done)
            where = {**labels, "case": case}
            expected = _numbers(_predict(self._reference, given, "storage"))
            self._outputs(expected, given, mine[case], where)
            self._inner(given, mine[case], where)
            self.collector.executed(PACKAGE_ENGINE)

    def _outputs(self, expected: Arrays, given: Arrays, mine: Arrays, labels: Any) -> None:
        numerics = self._inquiry.numerics
        raw = _predict(self._model, mine, numerics)
        actual = _numbers(raw)
        promised = None
        if self._expected is not None and not self._recipe.is_fp32:
            made = _predict(self._expected, as_types_of(mine, given), numerics)
            promised = _numbers(as_types_of(made, raw))
        floats = [name for name, value in expected.items() if value.dtype.kind == "f"]
        whole = [name for name in expected if name not in floats]
        pair, bounds = (expected, actual), self._inquiry.bounds.get("conversion")
        self._add(branch_checks(*pair, self._recipe, labels, outputs=floats, bounds=bounds))
        self._add(integer_checks(*pair, labels, outputs=whole))
        checks = precision_checks(*pair, promised, self._recipe, (), labels, outputs=floats)
        self._add(checks if self._unknown == "" else map(self._untold, checks))
        again = _numbers(_predict(self._model, mine, numerics))
        self._add([repeat_check(actual, again, labels)])

    def _untold(self, check: Check) -> Check:
        """Say why it isn't known what the precision allows."""
        if check.gate is not None and check.gate.name == "expected_precision":
            return replace(check, outcome=not_evaluated(self._unknown))
        return check

    def _inner(self, given: Arrays, mine: Arrays, labels: Mapping[str, str]) -> None:
        """Judge the values that both programs have, in program order, without keeping them."""
        if self._alignment is None or self._expected is None:
            return
        points: list[OperationProfile] = []
        worst: tuple[float, Outcome] | None = None
        sides = (self._alignment, self._expected, given, mine)
        for value in inner_values(*sides, self._inquiry.numerics):
            outcome = self._judged(value)
            rank = -np.inf if outcome.headroom_db is None else outcome.headroom_db
            if worst is None or rank < worst[0]:
                worst = rank, outcome
            points.append(value.profile(len(points)))
        self._add([worst_value_check(worst[1] if worst else None, self._recipe, labels)])
        reference, operations = "the same values of the reference", tuple(points)
        series = TapSeries(**labels_of(labels), reference=reference, operations=operations)
        self.collector.keep(series)

    def _judged(self, value: InnerValue) -> Outcome:
        if self._recipe.is_fp32:
            found = compare(value.expected, value.actual, gate(_FP32))
            return replace(found, reason=f"{value.operation!r}: {found.reason}")
        gap = beside_prediction_db(value.expected, value.actual, value.promised)
        what = f"SNR of {value.operation!r} beside its prediction"
        return bound(gap, gate("expected_precision"), what=what)

    def _add(self, checks: Iterable[Check]) -> None:
        self.collector.checks.extend(checks)

    def _step(self, what: str, done: int) -> None:
        self._advance(what, done, 1 + len(self._inputs))


def _border(model: Model) -> list[DataType]:
    """Return the types of inputs and outputs, by name in order."""
    named = {feature.name: feature for feature in (*model.inputs, *model.outputs)}
    return [feature.dtype for _, feature in sorted(named.items()) if feature.shape is not None]


def _predict(model: Model, given: Arrays, numerics: str) -> dict[str, Any]:
    state = model.new_state() if model.states else None
    return model.predict(given, state=state, numerics=numerics)


def _numbers(made: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return outputs by value: numbers in float32, integers in int64, labels as their letters."""
    found = {}
    for name, value in made.items():
        if isinstance(value, dict):  # of a classifier: what it gives each class
            value = np.array([value[key] for key in sorted(value, key=str)], np.float32)
        elif isinstance(value, str):
            value = np.array([ord(letter) for letter in value], np.int64)
        array = np.asarray(value)
        found[name] = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
    return found
