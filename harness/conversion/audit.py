"""Does a package have the precision that its recipe says, operation by operation?

A package that is meant to be mixed and is all FP16 inside runs, and can be accurate enough to be
released; only reading it tells. What is read are the declared element types of the values that its
operations make and read. An operation differs from its recipe when

- a value that it makes has another precision than the recipe gives the operation;
- it should run in FP32, and reads a value or a constant that is narrower;
- it rounds to FP16 what is only read as FP32 again, unless an FP16 operation stood between and
  conversion took it out; or it widens a weight that was stored in FP16;
- its weights are stored in another way than the recipe says, or something else is compressed.

Casts follow from the precision of the operations around them, so a recipe says nothing about them.

The verdict is ``pass``, ``fail`` or ``not_evaluated``. A package without module paths (one that
this project didn't make) is not evaluated under a rule that needs them, nor is any package under a
recipe with a rule that matches nothing in it.

Element types are the program's own. Module paths, and which operations conversion took out, are
what the package's metadata says: an audit finds mistakes, not forgeries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.conversion.precision_map import (
    StoredWeight,
    every_node,
    floating_inputs,
    floating_outputs,
    has_precision,
    is_round_trip,
    only_feeds_operations,
    precision_map,
    stored_weights,
    widens_constant,
)
from harness.conversion.recipes import (
    DescribedOperation,
    Precision,
    PrecisionRecipe,
    RuleCount,
    Weights,
    count_rules,
)
from harness.conversion.sidecar import Sidecar, read_sidecar
from harness.conversion.survey import base_name, base_value
from harness.mil import DataType, Model
from harness.mil.graph import Node
from harness.mil.model import opened
from harness.mil.package import Package
from harness.mil.program import Operation

Verdict = Literal["pass", "fail", "not_evaluated"]
_ROUND_TRIP = ("no rounding to fp16 here", "fp16 that is only widened to fp32 again")


@dataclass(frozen=True)
class AuditDifference:
    """An operation that is not as its recipe says.

    Attributes:
        operation: its name in the package.
        type: its MIL type.
        module: path of its PyTorch module; None where it isn't known.
        expected: what the recipe says.
        found: what the package says.
    """

    operation: str
    type: str
    module: str | None
    expected: str
    found: str

    def __str__(self) -> str:
        where = f" in {self.module}" if self.module else ""
        return f"{self.type} {self.operation}{where}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Audit:
    """A package compared with a recipe.

    Attributes:
        package: the ``.mlpackage`` folder.
        recipe: name of the recipe.
        verdict: ``pass`` only if every operation was compared and none differs.
        reason: one sentence for the verdict.
        compared: number of operations that were compared, of those that a recipe decides about;
            ``precision_map`` counts all, casts among them.
        compressed: number of those whose weights are stored as anything but floats.
        differences: what differs.
        unevaluated: names of operations of which the recipe's word isn't known.
        rules: what each rule matched in the package.
        precision_map: number of operations by type and element type of their first output.
    """

    package: Path
    recipe: str
    verdict: Verdict
    reason: str
    compared: int
    differences: tuple[AuditDifference, ...]
    unevaluated: tuple[str, ...]
    rules: tuple[RuleCount, ...]
    precision_map: Mapping[str, Mapping[str, int]]
    compressed: int = 0


def audit_package(package: str | Path | Package | Model, recipe: PrecisionRecipe) -> Audit:
    """Compare the precision of every operation of ``package`` with what ``recipe`` says.

    Raises:
        PackageError: ``package`` is no package, or a broken one.
    """
    package = opened(package)
    sidecar = read_sidecar(package)
    modules = sidecar.modules if sidecar else {}
    described: list[DescribedOperation] = []
    differences: list[AuditDifference] = []
    unevaluated: list[str] = []
    unexplained: list[str] = []
    compressed = 0
    for node in every_node(package):
        operation = node.operation
        module = modules.get(operation.outputs[0].name) if operation.outputs else None
        expected: Precision | None = None
        weights: Weights | None = None
        stored: tuple[StoredWeight, ...] = ()
        if has_precision(node):
            stored = stored_weights(node, package.constants.array)
            name = base_name(operation.name, [variable.name for variable in operation.outputs])
            has_weights = any(weight.compressible for weight in stored)
            described.append(DescribedOperation(operation.type, name, module, has_weights))
            expected = recipe.decide(described[-1])
            weights = recipe.decide_weights(described[-1])
            if expected is None or weights is None:
                unevaluated.append(operation.name)
            compressed += any(weight.storage != "float" for weight in stored)
        found = [*_disagreements(node, expected), *_stored_otherwise(stored, weights)]
        if is_round_trip(node):
            explained = _is_explained(operation, recipe, sidecar)
            if explained is None:
                unexplained.append(operation.name)
            elif not explained:
                found.append(_ROUND_TRIP)
        differences += [
            AuditDifference(operation.name, operation.type, module, *pair) for pair in found
        ]
    rules = count_rules(recipe, described)
    compared = len(described) - len(unevaluated)
    verdict, reason = _verdict(compared, differences, unevaluated, unexplained, rules)
    if verdict == "pass" and compressed:
        reason += f", {compressed} of them with compressed weights"
    return Audit(
        package=package.path,
        recipe=recipe.name,
        verdict=verdict,
        reason=reason,
        compared=compared,
        differences=tuple(differences),
        unevaluated=tuple(unevaluated + unexplained),
        rules=rules,
        precision_map=precision_map(package),
        compressed=compressed,
    )


def _disagreements(node: Node, expected: Precision | None) -> Iterator[tuple[str, str]]:
    """Yield what was expected and what was found, wherever an operation is not as it should be."""
    type_ = node.operation.type
    if type_.startswith("constexpr_") and not only_feeds_operations(node):
        yield "weights of an operation", f"something else compressed for {type_}"
    if widens_constant(node):
        yield "a constant stored in fp32", "one stored in fp16 and widened"
    if expected is None:
        return
    for dtype in floating_outputs(node):
        if str(dtype) != expected:
            yield expected, str(dtype)
    if expected == "fp32":
        for parameter, dtype in floating_inputs(node):
            if dtype.bits < DataType.FLOAT32.bits:
                yield f"fp32 for its input {parameter}", str(dtype)


def _stored_otherwise(
    stored: Sequence[StoredWeight], weights: Weights | None
) -> Iterator[tuple[str, str]]:
    """Yield the weights of an operation that are not stored as the recipe says, if it is known."""
    for weight in stored:
        wanted = weights if weight.compressible else "float"
        if wanted is not None and weight.storage != wanted:
            yield f"{wanted} weights as its input {weight.parameter}", f"{weight.storage} ones"


def _is_explained(cast: Operation, recipe: PrecisionRecipe, sidecar: Sidecar | None) -> bool | None:
    """Return whether the recipe wants the rounding of ``cast``; None if it can't be told.

    It does if it gives FP16 to an operation that read the same value and that conversion took out.
    """
    if recipe.is_uniform and recipe.default == "fp32":
        return False
    if sidecar is None:
        return None
    sources = {base_value(name) for name in cast.input_names}
    return any(
        sources & set(vanished.reads) and recipe.decide(vanished.operation) == "fp16"
        for vanished in sidecar.vanished
    )


def _verdict(
    compared: int,
    differences: Sequence[AuditDifference],
    unevaluated: Sequence[str],
    unexplained: Sequence[str],
    rules: Sequence[RuleCount],
) -> tuple[Verdict, str]:
    if differences:
        return "fail", f"{len(differences)} differences from the recipe, first {differences[0]}"
    if unevaluated:
        return "not_evaluated", (
            f"rules by module may concern {len(unevaluated)} operations "
            "whose PyTorch modules the package doesn't record"
        )
    if unexplained:
        return "not_evaluated", (
            f"{len(unexplained)} casts round to fp16 and back, which an operation that conversion "
            "took out may explain, but the package doesn't record such operations"
        )
    idle = [pattern for count in rules for pattern in count.idle_patterns]
    if idle:
        return "not_evaluated", (
            f"the recipe was not made for this program: nothing in it matches {', '.join(idle)}"
        )
    if compared == 0:
        return "not_evaluated", "the package has no operation with a precision"
    return (
        "pass",
        f"all {compared} operations that a recipe decides about (they make floats; casts, states "
        "and lists are not counted) have the precision that it says",
    )
