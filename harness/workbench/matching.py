"""Two packages of one network side by side: which value of one is which of the other.

In: a reference in FP32 and a candidate at any precision, from any converter. Out: whether they take
and return the same, the places of values that they share, and the reference at the precision that
the candidate declares, operation by operation. Names that conversion to FP16 changed don't matter:
places come from the structure of the programs, and names are asked where that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.conversion.packed import PackedWeight, equal_packed, packed_weights
from harness.conversion.recipes import WEIGHTS
from harness.conversion.survey import base_value
from harness.errors import ContractError
from harness.mil import DataType, Model
from harness.mil.editing import constant, edited, key, known_value, with_inputs
from harness.mil.features import Feature
from harness.mil.program import Operation
from harness.mil.types import TensorType
from harness.precision.virtual import Choice, VirtualPrecision, operation_name
from harness.structure import ProgramComparison, compare_programs, without_precision
from harness.structure.neutral import neutral_type

Places = Mapping[str, str]
"""For values of a candidate, what the reference calls them."""


def check_counterpart(reference: Model, candidate: Model) -> None:
    """Check that two packages have the same inputs and outputs: names, shapes, kinds of numbers.

    Floating-point inputs and outputs may be of different widths.

    Raises:
        ContractError: they differ; the message has both sides.
    """
    for kind in ("inputs", "outputs", "states"):
        wanted, found = ({f.name: f for f in getattr(m, kind)} for m in (reference, candidate))
        if {n: _form(f) for n, f in wanted.items()} != {n: _form(f) for n, f in found.items()}:
            raise ContractError(
                f"{candidate.package.path} has the {kind} {_listed(found.values())}; the "
                f"reference {reference.package.path} has {_listed(wanted.values())}"
            )


def _form(feature: Feature) -> str:
    return str(neutral_type(feature.type))


def _listed(features: Iterable[Feature]) -> str:
    return ", ".join(sorted(map(str, features))) or "none"


@dataclass(frozen=True)
class Alignment:
    """A candidate beside its reference in FP32.

    Attributes:
        lab: of the reference.
        candidate: the other.
        places: of the candidate's values in the reference.
        choice: the precision that the candidate declares for each operation of the reference.
        compressed: the candidate's weights that are stored as anything but floats.
    """

    lab: VirtualPrecision
    candidate: Model
    places: Places = field(init=False)
    choice: Choice = field(init=False)
    compressed: tuple[CompressedWeight, ...] = field(init=False)

    def __post_init__(self) -> None:
        places = value_places(self.lab.base, self.candidate)
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "choice", _declared(self.lab, self.candidate, places))
        found = tuple(_compressed(self.lab.base, self.candidate, places))
        object.__setattr__(self, "compressed", found)

    @property
    def is_fp32(self) -> bool:
        """Whether the candidate declares no other precision."""
        return not self.compressed and "fp16" not in self.choice.values()

    def expected(self) -> Model:
        """Return the reference at the precision that the candidate declares.

        Where that stores a weight compressed, it has what that stands for.
        """
        base = self.lab.base
        changed: dict[str, Operation] = {}
        for weight in self.compressed:
            name, stands_for = (
                key(weight.operation),
                constant(weight.packed.array, DataType.FLOAT32),
            )
            operation = changed.get(name, weight.operation)
            changed[name] = with_inputs(operation, **{weight.parameter: stands_for})
        if not changed:
            return self.lab.model(self.choice)
        return VirtualPrecision(edited(base, *changed.values())).model(self.choice)

    def program(self, expected: Model) -> ProgramComparison:
        """Compare the candidate with what is expected of it, operation by operation."""
        return compare_programs(without_precision(expected), without_precision(self.candidate))


@dataclass(frozen=True, eq=False)
class CompressedWeight:
    """A weight that a candidate stores compressed.

    Attributes:
        operation: of the reference, that reads it.
        parameter: as which input.
        expected: what the reference has there, float32.
        packed: what the candidate has.
        reader: the candidate's operation.
    """

    operation: Operation
    parameter: str
    expected: npt.NDArray[np.floating]
    packed: PackedWeight
    reader: Operation

    @property
    def is_known(self) -> bool:
        """Whether it is known what a right one must be."""
        return self.packed.storage in WEIGHTS

    @property
    def is_right(self) -> bool:
        """Whether it is what coremltools makes of the expected one."""
        same = self.expected.shape == self.packed.array.shape
        return same and bool(equal_packed(self.expected.ravel(), self.packed, self.reader).all())

    def __str__(self) -> str:
        return f"{self.parameter} of {self.reader.type} {self.reader.name!r}"


def _compressed(reference: Model, candidate: Model, places: Places) -> Iterator[CompressedWeight]:
    """Yield the compressed weights of which the reference has the numbers."""
    packed = packed_weights(candidate.package, candidate.plan.function)
    makers = _makers(reference)
    for operation in candidate.operations if packed else ():
        its = makers.get(places.get(operation.outputs[0].name, "")) if operation.outputs else None
        for parameter, bindings in operation.inputs.items():
            held = packed.get(bindings[0]) if isinstance(bindings[0], str) else None
            if its is None or held is None or len(bindings) > 1:
                continue
            value = known_value(reference, its, parameter)
            if not isinstance(value, str):
                yield CompressedWeight(its, parameter, value, held, operation)


def value_places(reference: Model, candidate: Model) -> dict[str, str]:
    """Return for each value of a candidate that has a counterpart what the reference calls it."""
    same = compare_programs(without_precision(reference), without_precision(candidate)).names
    here, there = _makers(candidate), _makers(reference)
    found: dict[str, str] = {}
    for expected, actual in same.items():
        one, other = there.get(expected), here.get(actual)
        if one is not None and other is not None and len(one.outputs) == len(other.outputs):
            pairs = zip(other.outputs, one.outputs, strict=True)
            found.update((mine.name, its.name) for mine, its in pairs)
    taken = set(found.values())
    for name, operation in here.items():
        its = base_value(name)
        if operation.type != "cast" and name not in found and its in there and its not in taken:
            found[name] = its
    return found


def _makers(model: Model) -> dict[str, Operation]:
    return {v.name: operation for operation in model.operations for v in operation.outputs}


def _declared(lab: VirtualPrecision, candidate: Model, places: Places) -> Choice:
    """Return the precision of each operation's counterpart; of one without, the most common."""
    made: dict[str, str] = {}
    for operation in candidate.operations:
        for variable in operation.outputs:
            type_ = variable.type
            if variable.name in places and isinstance(type_, TensorType):
                made[places[variable.name]] = str(type_.dtype)
    found = {
        operation_name(operation): made.get(operation.outputs[0].name)
        for operation in lab.base.operations
        if operation.outputs
    }
    known = [precision for precision in found.values() if precision in ("fp16", "fp32")]
    usual = max(sorted(set(known)), key=known.count) if known else "fp32"
    return {
        o.name: "fp16" if (found.get(o.name) or usual) == "fp16" else "fp32" for o in lab.operations
    }
