"""How much room a recipe's package takes for its weights."""

from __future__ import annotations

import math

from harness.conversion.compression import channel_axis, is_compressible, stored_bytes
from harness.mil import DataType
from harness.mil.types import TensorType
from harness.precision.virtual.model import Choice, Compression, VirtualPrecision, operation_name


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
