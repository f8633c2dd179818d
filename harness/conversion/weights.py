"""Are the constants of a package the tensors of a checkpoint, number by number?

A package that was converted from other weights, or with two heads exchanged in one matrix, a bias
that was dropped or one flipped bit, computes something, and may come within any gate of a ratio.
So every tensor of the model is looked up where its module's operations read it, and compared with
no tolerance: with the float32 values where the constant is FP32, with their rounding where it is
FP16, and with what a compressed one must be (`harness.conversion.packed`).

What an operation reads belongs to the PyTorch module that it was made from, and is its weight (it
multiplies) or its bias (it is added). Layout may differ, the order of the numbers may not:
conversion stores the three projections of an attention as one constant or as two, and the scale of
a GroupNorm as [1, C, 1] for [C]. Where a module's numbers are in several constants, they are taken
in program order, or in any other in which they fit: independent operations have no order. Constants
of one size never change places, so that two exchanged ones are seen. What each
place must hold is the network's word (`harness.subjects.protocol.Network.constants`).

Constants of one number (the epsilon of a norm) are not looked at: no checkpoint has them. A tensor
that changes nothing (a scale of ones, a bias of zeros) may be absent, because conversion takes such
operations out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.conversion.packed import PackedWeight, equal_packed, packed_weights
from harness.conversion.precision_map import every_node
from harness.conversion.sidecar import read_sidecar
from harness.mil import Model
from harness.mil.graph import graph_of
from harness.mil.model import opened
from harness.mil.package import Package
from harness.mil.program import Constant, Operation
from harness.mil.types import TensorType
from harness.subjects.protocol import Constants, Place, Role

Numbers: TypeAlias = npt.NDArray[np.floating]

_ROLES: Final[Mapping[tuple[str, str], Role]] = {
    ("conv", "weight"): "weight",
    ("conv", "bias"): "bias",
    ("conv_transpose", "weight"): "weight",
    ("conv_transpose", "bias"): "bias",
    ("linear", "weight"): "weight",
    ("linear", "bias"): "bias",
    ("layer_norm", "gamma"): "weight",
    ("layer_norm", "beta"): "bias",
    ("mul", "x"): "weight",
    ("mul", "y"): "weight",
    ("add", "x"): "bias",
    ("add", "y"): "bias",
}
_NEUTRAL: Final[Mapping[Role, float]] = {"weight": 1.0, "bias": 0.0}
_MOST_ORDERED: Final = 4  # constants of one place; HTDemucs has at most two
_SMALLEST: Final = np.finfo(np.float16).smallest_subnormal


@dataclass(frozen=True, eq=False)
class _Held:
    """A constant where it is read; ``packed`` is what it is if it is compressed."""

    array: Numbers
    reader: Operation
    packed: PackedWeight | None = None


@dataclass(frozen=True)
class WeightDifference:
    """A tensor of the model that is not in the package as it should be.

    Attributes:
        tensor: its name in the checkpoint; of a constant that belongs to none, the operation.
        what: what is different, in words.
    """

    tensor: str
    what: str

    def __str__(self) -> str:
        return f"{self.tensor}: {self.what}"


@dataclass(frozen=True)
class WeightComparison:
    """The constants of a package compared with the tensors of a model.

    Attributes:
        verdict: ``pass`` only if every tensor was found, and nothing else was.
        reason: one sentence for the verdict.
        compared: number of tensors of the model.
        differences: what differs, in the order of the checkpoint.
    """

    verdict: Literal["pass", "fail", "not_evaluated"]
    reason: str
    compared: int
    differences: tuple[WeightDifference, ...] = ()


def compare_weights(package: str | Path | Package | Model, expected: Constants) -> WeightComparison:
    """Compare the constants of ``package`` with the tensors of a model.

    Args:
        package: a path, or an opened package or model.
        expected: what `harness.subjects.protocol.Network.constants` says of the model.

    Raises:
        PackageError: ``package`` is no package, or a broken one.
    """
    package = opened(package)
    sidecar = read_sidecar(package)
    if sidecar is None:
        reason = "the package doesn't record the PyTorch modules that its operations were made from"
        return WeightComparison("not_evaluated", reason, 0)
    looping = next((node.operation for node in every_node(package) if node.blocks), None)
    if looping is not None:
        reason = f"{looping} runs its weights any number of times, which no layer of the model does"
        return WeightComparison("not_evaluated", reason, 0)
    found, strangers = _found(package, sidecar.modules)
    differences = [
        difference
        for place, tensors in expected.items()
        for difference in _in_any_order(place, tensors, found.pop(place, []))
    ]
    differences += [
        WeightDifference(f"{role} of {module or 'the network'}", "the model has no such tensor")
        for module, role in found
    ]
    differences += strangers
    compared = sum(len(tensors) for tensors in expected.values())
    if differences:
        reason = f"{len(differences)} tensors are not those of the model, first {differences[0]}"
        return WeightComparison("fail", reason, compared, tuple(differences))
    return WeightComparison("pass", f"all {compared} tensors are those of the model", compared)


def constants_by_place(
    package: str | Path | Package | Model,
) -> dict[Place, list[Numbers]] | None:
    """Return the constants of a package where they are read, in program order, expanded.

    None where the package doesn't record the modules that its operations were made from.

    Raises:
        PackageError: ``package`` is no package, or a broken one.
    """
    package = opened(package)
    sidecar = read_sidecar(package)
    if sidecar is None:
        return None
    found, _ = _found(package, sidecar.modules)
    return {place: [item.array for item in held] for place, held in found.items()}


def _found(
    package: Package, modules: Mapping[str, str]
) -> tuple[dict[Place, list[_Held]], list[WeightDifference]]:
    """Return the constants at each place, in program order, and those that are at none."""
    found: dict[Place, list[_Held]] = {}
    strangers: list[WeightDifference] = []
    for operation, parameter, constant in _constants(package):
        module = modules.get(operation.outputs[0].name)
        role = _ROLES.get((operation.type, parameter))
        if module is None or role is None:
            what = f"its constant {parameter} is no tensor of the model as it stands"
            strangers.append(WeightDifference(str(operation), what))
        else:
            if isinstance(constant, PackedWeight):
                held = _Held(constant.array, operation, constant)
            else:
                held = _Held(package.constants.array(constant), operation)
            found.setdefault((module, role), []).append(held)
    return found, strangers


def _constants(package: Package) -> Iterator[tuple[Operation, str, Constant | PackedWeight]]:
    """Yield every constant of floats with more dimensions than none, where it is read."""
    for function in package.program.functions.values():
        packed = packed_weights(package, function)
        for node in graph_of(function).nodes:
            if node.operation.type.startswith("constexpr_"):
                continue
            for parameter, value in node.inputs:
                if value.name in packed:
                    yield node.operation, parameter, packed[value.name]
                elif value.constant is not None and _is_tensor_of_floats(value.constant):
                    yield node.operation, parameter, value.constant


def _is_tensor_of_floats(constant: Constant) -> bool:
    found = constant.type
    return isinstance(found, TensorType) and found.dtype.is_floating and bool(found.shape)


def _in_any_order(
    place: Place, tensors: Sequence[tuple[str, Numbers]], held: Sequence[_Held]
) -> list[WeightDifference]:
    """Return the differences of a place in the order of its constants that has none, if one has."""
    found = list(_differences(place, tensors, held))
    if not found or len(held) > _MOST_ORDERED:
        return found
    for order in itertools.permutations(range(len(held))):
        arranged = [held[index] for index in order]
        if _keeps_equals(order, held) and not any(_differences(place, tensors, arranged)):
            return []
    return found


def _keeps_equals(order: Sequence[int], held: Sequence[_Held]) -> bool:
    """Whether an order leaves constants of one size one after the other as they were."""
    return all(
        one < other or held[one].array.size != held[other].array.size
        for one, other in itertools.combinations(order, 2)
    )


def _differences(
    place: Place, tensors: Sequence[tuple[str, Numbers]], held: Sequence[_Held]
) -> Iterator[WeightDifference]:
    """Yield which of a place's tensors are not what its constants say."""
    names = " and ".join(name for name, _ in tensors)
    expected = np.concatenate([tensor.ravel() for _, tensor in tensors])
    constants = [item.array for item in held]
    if not held:
        if not (expected == _NEUTRAL[place[1]]).all():
            yield WeightDifference(names, "no operation of the package reads it")
        return
    size = sum(constant.size for constant in constants)
    if size != expected.size:
        yield WeightDifference(names, f"{expected.size} numbers in the model, {size} here")
        return
    equal = np.concatenate(
        [
            _equal(part, item.array.ravel())
            if item.packed is None
            else equal_packed(part, item.packed, item.reader)
            for part, item in zip(_split(expected, constants), held, strict=True)
        ]
    )
    actual = np.concatenate([constant.ravel() for constant in constants], dtype=np.float32)
    arrays = [tensor for _, tensor in tensors]
    parts = zip(tensors, _split(equal, arrays), _split(actual, arrays), strict=True)
    for (name, tensor), same, here in parts:
        if not same.all():
            first = int(np.argmin(same))
            index = [int(i) for i in np.unravel_index(first, tensor.shape)]
            yield WeightDifference(
                name,
                f"{np.count_nonzero(~same)} of {same.size} numbers differ, the first at {index}: "
                f"{tensor.ravel()[first]:.9g} in the model, {here[first]:.9g} here",
            )


def _split(flat: npt.NDArray[Any], like: Sequence[Numbers]) -> list[npt.NDArray[Any]]:
    return np.split(flat, np.cumsum([array.size for array in like])[:-1])


def _equal(expected: Numbers, actual: Numbers) -> npt.NDArray[np.bool_]:
    """Return where ``actual`` is ``expected``, rounded to its type."""
    if actual.dtype != np.float16:
        return np.asarray(expected == actual)
    with np.errstate(over="ignore"):
        rounded = expected.astype(np.float16)
    # coremltools lets nothing vanish: what would round to zero becomes the smallest number.
    kept = (rounded == 0) & (expected != 0) & (actual == np.copysign(_SMALLEST, expected))
    return np.asarray((actual == rounded) | kept)
