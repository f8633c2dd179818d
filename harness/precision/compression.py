"""What a recipe costs that compresses weights: shares of the output error, and the size of weights.

The error that compressing makes in an operation's result, e = op(x, compressed) - op(x, stored), is
known: it is no rounding whose sign hangs on chance, and its elements hang together, because one
weight is used many times. Its share is estimated by the mean of (g . e)^2 over random probes, whose
logarithm is as uncertain as that of a chi square with as many degrees of freedom as there are
probes.

Shares of compression stand beside those of FP16, as rows of their own: ``error`` tells them apart.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from scipy.special import polygamma

from harness.conversion.compression import channel_axis, is_compressible, stored_bytes
from harness.conversion.recipes import PrecisionRecipe
from harness.mil import DataType, get_numerics
from harness.mil.plan import Argument, Source, Step
from harness.mil.types import TensorType
from harness.precision.adjoint import Recording, Visit, joined
from harness.precision.measures import Measure, audible, random_probes
from harness.precision.sensitivity import (
    Advance,
    Array,
    Inputs,
    Sensitivity,
    measure_sensitivity,
    share_of,
    snr_of,
)
from harness.precision.virtual import Choice, Compression, VirtualPrecision, operation_name

Tensor = torch.Tensor
_FIRST_KEY = 1 << 40  # beyond every slot of a plan: constants as they are stored have their own


def measure_recipe(
    lab: VirtualPrecision,
    cases: Mapping[str, Inputs],
    measures: Sequence[Measure],
    recipe: PrecisionRecipe,
    *,
    subject: str = "",
    probes: int = 8,
    seed: int = 0,
    at_once: int = 6,
    advance: Advance | None = None,
) -> Sensitivity:
    """Return what each operation adds to the error of a recipe: by FP16, and by its weights.

    Args:
        lab: the model.
        cases: inputs by name, all on one device.
        measures: of the error; those of which a case is silent are left out for it.
        recipe: whose operations in FP16, and whose compressed weights, have shares.
        subject: name for the document.
        probes: for each measure and case.
        seed: of the probes.
        at_once: probes that are carried together: more takes memory.
        advance: called as ``advance(done, total)`` with walks.
    """
    choice, weights = lab.by_recipe(recipe), lab.weights_by_recipe(recipe)
    parts = 2 if weights else 1

    def first(done: int, total: int) -> None:
        if advance is not None:
            advance(done, parts * total)

    def second(done: int, total: int) -> None:
        if advance is not None:
            advance(total + done, 2 * total)

    found = measure_sensitivity(
        lab,
        cases,
        measures,
        choice=choice,
        subject=subject,
        precision=recipe.name,
        probes=probes,
        seed=seed,
        at_once=at_once,
        advance=first,
    )
    if not weights:
        return found
    packed = measure_compression(
        lab,
        cases,
        measures,
        choice,
        weights,
        probes=probes,
        seed=seed,
        at_once=at_once,
        advance=second,
    )
    ratios = (found.predicted_db, packed.predicted_db)
    return replace(
        found,
        operations=(*found.operations, *packed.operations),
        measured_db=packed.measured_db,
        predicted_db={
            key: snr_of(sum(10 ** (-part[key] / 10) for part in ratios)) for key in ratios[0]
        },
    )


def measure_compression(
    lab: VirtualPrecision,
    cases: Mapping[str, Inputs],
    measures: Sequence[Measure],
    choice: Choice,
    weights: Compression,
    *,
    probes: int = 8,
    seed: int = 0,
    at_once: int = 6,
    advance: Advance | None = None,
) -> Sensitivity:
    """Return what the compression of each operation's weights adds to the output error.

    ``measured_db`` is that of a virtual run of ``choice`` and ``weights`` together.

    Args:
        lab: the model.
        cases: inputs by name, all on one device.
        measures: of the error; those of which a case is silent are left out for it.
        choice: the precision that the weights are stored in.
        weights: what is compressed, and how.
        probes: for each measure and case.
        seed: of the probes.
        at_once: probes that are carried together: more takes memory.
        advance: called as ``advance(done, total)`` with walks.
    """
    device = next(iter(next(iter(cases.values())).values())).device
    errors = WeightErrors(lab, choice, weights, device)
    packed = lab.model(choice, weights)
    deviation = math.sqrt(float(polygamma(1, probes / 2)))
    estimates: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
    predicted: dict[str, float] = {}
    measured: dict[str, float] = {}
    together = max(1, at_once // probes)
    done, walks = 0, len(cases) * math.ceil(len(measures) / together)
    generator = torch.Generator().manual_seed(seed)  # cases have signs of their own
    for case, given in cases.items():
        expected, actual = lab.base.run(given), packed.run(given)
        chosen = audible(measures, expected)
        for start in range(0, len(chosen), together):
            some = chosen[start : start + together]
            found = _squares(lab, errors, given, some, probes, generator)
            for column, measure in enumerate(some):
                key = f"{case}/{measure.name}"
                predicted[key] = snr_of(sum(float(row[column]) for row in found.values()))
                measured[key] = snr_of(measure.of(expected, actual))
                for name, row in found.items():
                    estimate = float(row[column]), deviation
                    estimates.setdefault(name, {})[case, measure.name] = estimate
            done += 1
            if advance is not None:
                advance(done, walks)
    order = [s.operation for s in lab.base.plan.steps if s.operation.name in estimates]
    return Sensitivity(
        "",
        "weights",
        tuple(cases),
        tuple(measure.name for measure in measures),
        probes,
        tuple(
            replace(
                share_of(lab, operation.name, estimates[operation.name], predicted),
                error=weights[operation_name(operation)],
            )
            for operation in order
        ),
        predicted,
        measured,
    )


def _squares(
    lab: VirtualPrecision,
    errors: WeightErrors,
    given: Inputs,
    measures: Sequence[Measure],
    probes: int,
    generator: torch.Generator,
) -> dict[str, Array]:
    """Return for each operation the mean of (g . e)^2, by measure."""
    found: dict[str, Array] = {}

    def visit(visit: Visit) -> None:
        along = [
            visit.at_outputs[slot].flatten(1) @ error.flatten()
            for slot, error in errors.of(visit.step, visit.values).items()
            if slot in visit.at_outputs
        ]
        if along:
            squares = torch.stack(along).sum(0).double().square()
            found[visit.step.operation.name] = squares.view(-1, probes).mean(1).cpu().numpy()

    recording = Recording(lab.base, given)
    random = [random_probes(m, recording.outputs, generator, probes) for m in measures]
    recording.walk_back(joined(random), visit)
    return found


class WeightErrors:
    """What compressing the weights of an FP32 model's operations does to their results.

    Args:
        lab: the model.
        choice: the precision that the weights are stored in.
        weights: what is compressed, and how.
        device: where tensors are.
    """

    def __init__(
        self, lab: VirtualPrecision, choice: Choice, weights: Compression, device: torch.device
    ) -> None:
        self._executable = lab.base.executable(get_numerics("storage"), device)
        self._constants: dict[int, Tensor] = {}
        self._steps: dict[str, tuple[Step, Step]] = {}
        sides = []
        for model in (lab.model(choice), lab.model(choice, weights)):
            steps = {s.operation.name: s for s in model.plan.steps if s.operation.type != "cast"}
            sides.append((steps, model.executable(get_numerics("storage"), device).constants))
        for step in lab.base.plan.steps:
            if operation_name(step.operation) in weights:
                name = step.operation.name
                stored, packed = (
                    self._with_constants(step, steps[name], constants) for steps, constants in sides
                )
                self._steps[name] = stored, packed

    def of(self, step: Step, values: Mapping[int, Any]) -> dict[int, Tensor]:
        """Return e of a step on the FP32 ``values`` that it reads, by slot, if it has weights."""
        sides = self._steps.get(step.operation.name)
        if sides is None:
            return {}
        layers: Any = ChainMap(self._constants, values)  # type: ignore[arg-type]
        stored, packed = (self._executable.call(side, layers) for side in sides)
        return {slot: b - a for slot, a, b in zip(step.outputs, stored, packed, strict=True)}

    def _with_constants(self, step: Step, twin: Step, constants: Mapping[int, Tensor]) -> Step:
        """Return ``step`` with the constants that its twin in another model reads."""
        arguments = []
        for own, other in zip(step.arguments, twin.arguments, strict=True):
            if own.source is Source.SLOT and own.payload in self._executable.constants:
                key = _FIRST_KEY + len(self._constants)
                self._constants[key] = constants[other.payload]
                arguments.append(Argument(own.name, own.source, key, own.kind))
            else:
                arguments.append(own)
        return replace(step, arguments=tuple(arguments))


def weight_bytes(lab: VirtualPrecision, choice: Choice, weights: Compression) -> int:
    """Return what the floating constants of a recipe's package take, scales and tables included."""
    function = lab.base.plan.function
    constants = function.constants
    sizes: dict[tuple[str, TensorType, str], float] = {}
    for operation in function.block.operations:
        name = operation_name(operation)
        narrow = name in lab.movable and choice[name] == "fp16"
        dtype = DataType.FLOAT16 if narrow else DataType.FLOAT32
        for parameter, bindings in operation.inputs.items():
            for binding in bindings:
                constant = constants.get(binding) if isinstance(binding, str) else binding
                held = None if constant is None else constant.type
                if not isinstance(held, TensorType) or held.dtype is not DataType.FLOAT32:
                    continue
                type_ = TensorType(dtype, held.shape)
                stored = weights.get(name, "float") if is_compressible(type_) else "float"
                axis = channel_axis(operation) if stored == "int8" else 0
                key = binding if isinstance(binding, str) else f"{name}.{parameter}"
                sizes[key, type_, stored] = stored_bytes(type_, stored, axis)
    return math.ceil(sum(sizes.values()))
