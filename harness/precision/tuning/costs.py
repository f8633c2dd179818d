"""What an operation in FP32 costs over FP16: memory traffic or arithmetic.

``bytes``: an FP32 operation moves two bytes more for each element that it reads or writes, weights
included; a cast reads and writes each element once more. ``flops``: it does its multiplications and
additions in FP32, where a device has FP16 units alone; a cast does one for each element. Either is
given as a share of what the whole program in FP32 costs, so 1.0 is everything in FP32. And
`weight_bytes` is how much room a recipe's package takes for its weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, get_args

import numpy as np

from harness.conversion.compression import channel_axis, is_compressible, stored_bytes
from harness.errors import require_known
from harness.mil import DataType
from harness.mil.plan import Plan, Step
from harness.mil.types import TensorType
from harness.precision.tuning.parts import Parts
from harness.precision.tuning.trade import Costs
from harness.precision.virtual import is_floating, shape_of
from harness.precision.virtual.model import (
    Choice,
    Compression,
    VirtualPrecision,
    operation_name,
)

CostKind = Literal["bytes", "flops"]
COST_KINDS: Final[tuple[CostKind, ...]] = get_args(CostKind)
_CAST_BYTES: Final = 6
_WIDER_BYTES: Final = 2


def operation_costs(plan: Plan, kind: CostKind) -> dict[str, float]:
    """Return the share of each operation in the cost of running everything in FP32.

    Raises:
        UnknownNameError: no such kind of cost.
    """
    require_known("cost", COST_KINDS, kind)
    cost = _bytes if kind == "bytes" else _flops
    costs = {operation_name(step.operation): cost(plan, step) for step in plan.steps}
    total = sum(costs.values()) or 1.0
    return {name: value / total for name, value in costs.items()}


def fp32_share(costs: Mapping[str, float], choice: Choice) -> float:
    """Return the share of the cost that ``choice`` runs in FP32."""
    return sum(costs.get(name, 0.0) for name, precision in choice.items() if precision == "fp32")


def weight_bytes(lab: VirtualPrecision, choice: Choice, weights: Compression) -> int:
    """Return what the floating constants of a recipe's package take, scales and tables included."""
    function = lab.base.plan.function
    constants = function.block.constants
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


def trade_costs(plan: Plan, parts: Parts, kind: CostKind) -> Costs:
    """Return what a minimum cut weighs: operations, and casts at the borders."""
    shares = operation_costs(plan, kind)
    cost = _bytes if kind == "bytes" else _flops
    total = sum(cost(plan, step) for step in plan.steps) or 1.0
    made = {
        operation_name(step.operation): sum(_elements(plan, slot) for slot in step.outputs)
        for step in plan.steps
    }
    inputs = max((_elements(plan, slot) for slot in plan.inputs.values()), default=0)
    each = _CAST_BYTES if kind == "bytes" else 1
    casts = [
        each * (inputs if maker < 0 else made[parts.operations[maker]]) / total
        for maker, _ in parts.edges
    ]
    return Costs(np.array([shares[name] for name in parts.operations]), np.array(casts))


def _bytes(plan: Plan, step: Step) -> float:
    slots = {*step.reads, *step.outputs}
    floating = [slot for slot in slots if is_floating(plan.types[slot])]
    return float(_WIDER_BYTES * sum(_elements(plan, slot) for slot in floating))


def _flops(plan: Plan, step: Step) -> float:
    made = float(sum(_elements(plan, slot) for slot in step.outputs))
    kind = step.operation.type
    slots = {a.name: a.payload for a in step.arguments if a.slots}
    if kind in ("conv", "linear"):
        weight = shape_of(plan, slots["weight"])
        return 2 * made * float(np.prod([size or 1 for size in weight[1:]]))
    if kind == "conv_transpose":
        weight = shape_of(plan, slots["weight"])
        return 2 * _elements(plan, slots["x"]) * float(np.prod([s or 1 for s in weight[1:]]))
    if kind == "scaled_dot_product_attention":
        keys = shape_of(plan, slots["key"])
        return 4 * made * float(keys[-2] or 1)
    return 0.0 if step.definition.effect.name == "VIEW" else made


def _elements(plan: Plan, slot: int) -> int:
    type_ = plan.types[slot]
    return type_.count if isinstance(type_, TensorType) and type_.is_static else 1
