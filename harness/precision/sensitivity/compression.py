"""What a recipe costs that compresses weights: shares of the output error, and the size of weights.

The error that compressing makes in an operation's result, e = op(x, compressed) - op(x, stored), is
known: it is no rounding whose sign hangs on chance, and its elements hang together, because one
weight is used many times. Its share is estimated as that of a rounding is.

Shares of compression stand beside those of FP16, as rows of their own: ``error`` tells them apart.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from harness.conversion.compression import channel_axis, is_compressible, stored_bytes
from harness.conversion.recipes import PrecisionRecipe
from harness.mil import DataType, get_numerics
from harness.mil.plan import Argument, Source, Step
from harness.mil.types import TensorType
from harness.precision.sensitivity.estimates import Inputs, Probing, estimate_cases, snr_of
from harness.precision.sensitivity.measures import Measure
from harness.precision.sensitivity.sensitivity import Sensitivity, measure_sensitivity, shares_of
from harness.precision.sensitivity.superposition import Errors
from harness.precision.virtual.model import Choice, Compression, VirtualPrecision, operation_name

Tensor = torch.Tensor
_FIRST_KEY = 1 << 40  # beyond every slot of a plan: constants as they are stored have their own


def measure_recipe(
    lab: VirtualPrecision,
    cases: Mapping[str, Inputs],
    measures: Sequence[Measure],
    recipe: PrecisionRecipe,
    *,
    subject: str = "",
    probing: Probing | None = None,
) -> Sensitivity:
    """Return what each operation adds to the error of a recipe: by FP16, and by its weights.

    Args:
        lab: the model.
        cases: inputs by name, all on one device.
        measures: of the error; those of which a case is silent are left out for it.
        recipe: whose operations in FP16, and whose compressed weights, have shares.
        subject: name for the document.
        probing: how shares are estimated.
    """
    choice, weights = lab.by_recipe(recipe), lab.weights_by_recipe(recipe)
    how = probing or Probing()
    parts = 2 if weights else 1
    found = measure_sensitivity(
        lab,
        cases,
        measures,
        choice=choice,
        subject=subject,
        precision=recipe.name,
        probing=_part(how, 0, parts),
    )
    if not weights:
        return found
    packed = measure_compression(
        lab, cases, measures, choice, weights, probing=_part(how, 1, parts)
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


def _part(probing: Probing, index: int, parts: int) -> Probing:
    """Return ``probing`` for one of several parts, all of the same length."""
    whole = probing.advance
    if whole is None:
        return probing
    return replace(probing, advance=lambda done, total: whole(index * total + done, parts * total))


def measure_compression(
    lab: VirtualPrecision,
    cases: Mapping[str, Inputs],
    measures: Sequence[Measure],
    choice: Choice,
    weights: Compression,
    *,
    probing: Probing | None = None,
) -> Sensitivity:
    """Return what the compression of each operation's weights adds to the output error.

    ``measured_db`` is that of a virtual run of ``choice`` and ``weights`` together.

    Args:
        lab: the model.
        cases: inputs by name, all on one device.
        measures: of the error; those of which a case is silent are left out for it.
        choice: the precision that the weights are stored in.
        weights: what is compressed, and how.
        probing: how shares are estimated.
    """
    device = next(iter(next(iter(cases.values())).values())).device
    errors = WeightErrors(lab, choice, weights, device)
    how = probing or Probing()
    packed = lab.model(choice, weights)
    found = estimate_cases(lab.base, errors.of, cases, measures, how, changed=packed)
    return Sensitivity(
        "",
        "weights",
        tuple(cases),
        tuple(measure.name for measure in measures),
        how.probes,
        shares_of(lab, found, weights),
        found.predicted_db,
        found.measured_db,
    )


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

    def of(self, step: Step, values: Mapping[int, Any], results: Errors) -> Errors:
        """Return e of a step on the FP32 ``values`` that it reads, by slot, if it has weights.

        ``results`` are the step's in FP32: that makes this an `ErrorOf`.
        """
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
