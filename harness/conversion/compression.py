"""Weights stored as small integers, through coremltools: in a conversion, and on an array.

``int8`` is coremltools' default of ``linear_quantize_weights``: symmetric, with a scale for each
output channel. ``palette8``, ``palette6`` and ``palette4`` are ``palettize_weights``: one table of
2^bits values for each tensor, by k-means.

k-means is done by the solver that coremltools carries for FP16 tensors of 10,000 elements or more:
it is exact, so a recipe gives the same package on every machine. coremltools would give the rest to
scikit-learn, with one random start and a coarse tolerance. Values in FP32 are clustered as FP16 has
them.

coremltools is imported when something is compressed, and not before: a machine without it can run
any recipe that stores floats.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from harness._coremltools import import_coremltools
from harness.conversion.recipes import Weights
from harness.conversion.survey import every_operation, register_pass, values_read
from harness.errors import NotEvaluatedError, RecipeError
from harness.mil import DataType
from harness.mil.constants import ReadArray
from harness.mil.program import Constant, Operation
from harness.mil.types import TensorType, ValueType

THRESHOLD: Final = 2048
"""Elements up to which coremltools leaves a constant as it is (its ``weight_threshold``)."""
PALETTE_BITS: Final[Mapping[Weights, int]] = {"palette8": 8, "palette6": 6, "palette4": 4}
_PASS: Final = "htdemucs_parity::compress_weights"
_PASSES: Final = "coremltools.optimize.coreml._quantization_passes"


def is_compressible(type_: ValueType) -> bool:
    """Whether coremltools compresses a constant of this type."""
    return (
        isinstance(type_, TensorType)
        and type_.dtype.is_floating
        and type_.shape is not None
        and _is_large(tuple(size or 0 for size in type_.shape))
    )


def _is_large(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and math.prod(shape) > THRESHOLD


def channel_axis(operation: Operation) -> int:
    """Return the axis along which ``int8`` has a scale for each index of an operation's weights.

    Source: ``select_input_output_channel_axis`` in ``coremltools/optimize/_utils.py``.

    Raises:
        RecipeError: that depends on how the operation reads them.
    """
    if operation.type == "matmul":
        raise RecipeError(
            f"the output channels of the weights of {operation} are not known; "
            "give it weights = 'float', or a palette, by a rule of its own"
        )
    return 1 if operation.type == "conv_transpose" else 0


def compress(array: np.ndarray, weights: Weights, axis: int) -> np.ndarray:
    """Return ``array`` as a package has it that stores it as ``weights``: the values it expands to.

    Args:
        array: float16 or float32, as it would be stored uncompressed.
        weights: how it is stored.
        axis: its output channels, for ``int8``.

    Raises:
        NotEvaluatedError: coremltools is not installed.
        RecipeError: the array has infinities, which neither a scale nor a table can hold.
    """
    if weights == "float":
        return array
    _check_finite(array, "a constant")
    passes = _passes()
    with np.errstate(divide="ignore", invalid="ignore"):  # a channel of zeros has the scale 0
        if weights == "int8":
            blocks = [int(index == axis) for index in range(array.ndim)]
            quantized = passes.linear_quantize_weights.blockwise_compress_by_dtype(
                array, "int8", "LINEAR_SYMMETRIC", blocks
            )
            return np.asarray(passes.linear_quantize_weights.decompress(quantized))
        table = functools.partial(_table, bits=PALETTE_BITS[weights])
        palettized = passes.palettize_weights.blockwise_compress(
            array, "CUSTOM", None, [0] * array.ndim, table
        )
        return np.asarray(passes.palettize_weights.decompress(palettized))


def stored_bytes(type_: TensorType, weights: Weights, axis: int) -> float:
    """Return what a constant takes that is stored as ``weights``, its scales or table included."""
    shape = tuple(size or 0 for size in type_.shape or ())
    elements, width = math.prod(shape), type_.dtype.bits / 8
    if weights == "float":
        return elements * width
    if weights == "int8":
        return elements + shape[axis] * width
    bits = PALETTE_BITS[weights]
    return elements * bits / 8 + (1 << bits) * width


def storage_of(operation: Operation, read: ReadArray) -> str:
    """Return how a ``constexpr`` operation's weights are stored: as recipes call it, or in words.

    Args:
        operation: of a package.
        read: returns the array of a constant.
    """
    inputs = {name: bound[0] for name, bound in operation.inputs.items() if len(bound) == 1}
    held = {name: value for name, value in inputs.items() if isinstance(value, Constant)}
    types = {n: value.type for n, value in held.items() if isinstance(value.type, TensorType)}
    found = None
    if types.keys() == inputs.keys():  # else an input is itself compressed
        if operation.type in ("constexpr_blockwise_shift_scale", "constexpr_affine_dequantize"):
            found = _quantized(types, lambda name: read(held[name]))
        elif operation.type == "constexpr_lut_to_dense":
            found = _palettized(types)
    return found or f"compressed for {operation.type}"


def _quantized(types: Mapping[str, TensorType], array: Callable[[str], np.ndarray]) -> str | None:
    data = types.get("data") or types.get("quantized_data")
    shift = next((name for name in ("offset", "zero_point") if name in types), None)
    scales = [size for size in types["scale"].shape or () if size != 1]
    if data is None or data.dtype is not DataType.INT8 or len(scales) > 1:
        return None
    return "int8" if shift is None or not array(shift).any() else None


def _palettized(types: Mapping[str, TensorType]) -> str | None:
    shape = types["lut"].shape or ()
    # One table, of numbers: [1, ..., 1, entries, 1] since iOS 18, [entries] before.
    entries = shape[-2] if len(shape) > 1 else shape[0]
    if entries is None or math.prod(size or 0 for size in shape) != entries:
        return None
    return f"palette{entries.bit_length() - 1}" if types["lut"].dtype.is_floating else None


def compressed_pipeline(pipeline: Any, decide: Callable[[Any], Weights]) -> Any:
    """Return coremltools' ``PassPipeline`` with the compression of weights at its end.

    Args:
        pipeline: what it is added to.
        decide: says how the weights of a coremltools ``Operation`` are stored.
    """
    register_pass(_PASS, "decide", _compress_program)
    pipeline.append_pass(_PASS)
    pipeline.set_options(_PASS, {"decide": decide})
    return pipeline


def has_weights(operation: Any) -> bool:
    """Whether a coremltools ``Operation`` reads a constant that can be compressed."""
    return any(_is_weight(value) for value in values_read(operation))


def _is_weight(value: Any) -> bool:
    if value.op is None or value.op.op_type != "const" or not isinstance(value.val, np.ndarray):
        return False
    return value.val.dtype.kind == "f" and _is_large(value.val.shape)


def _compress_program(program: Any, decide: Callable[[Any], Weights]) -> None:
    """Hand every operation's weights to coremltools' own passes, as ``decide`` says."""
    passes = _passes()
    from coremltools.optimize import coreml as optimize

    chosen = _chosen(program, decide)
    for weights in dict.fromkeys(chosen.values()):
        if weights == "int8":
            config = optimize.OpLinearQuantizerConfig(weight_threshold=THRESHOLD)
            run = passes.linear_quantize_weights
        else:
            table = functools.partial(_table, bits=PALETTE_BITS[weights])
            config = optimize.OpPalettizerConfig(
                mode="custom", lut_function=table, weight_threshold=THRESHOLD
            )
            run = passes.palettize_weights
        by_name = {name: config for name, kind in chosen.items() if kind == weights}
        run(optimize.OptimizationConfig(op_name_configs=by_name)).apply(program)


def _chosen(program: Any, decide: Callable[[Any], Weights]) -> dict[str, Weights]:
    """Return how the constants of a program are to be stored, by name; floats are left out."""
    chosen: dict[str, tuple[Weights, str]] = {}
    for function in program.functions.values():
        for operation in every_operation(function):
            weights = [value for value in values_read(operation) if _is_weight(value)]
            decision = decide(operation) if weights else "float"
            for value in weights:
                name = value.op.name
                if decision != "float":
                    _check_finite(value.val, f"constant {name!r} of operation {operation.name!r}")
                first, reader = chosen.setdefault(name, (decision, operation.name))
                if first != decision:
                    raise RecipeError(
                        f"operations {reader!r} and {operation.name!r} read the same constant "
                        f"{name!r}, and the recipe stores it as {first} for the one and as "
                        f"{decision} for the other; give both the same weights"
                    )
    return {name: kind for name, (kind, _) in chosen.items() if kind != "float"}


def _check_finite(array: np.ndarray, what: str) -> None:
    if not np.isfinite(array).all():
        raise RecipeError(
            f"{what} holds infinities or NaN, and can't be compressed; "
            "give it weights = 'float' by a rule of its own"
        )


def _table(array: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the table of ``array`` by exact k-means, [2^bits], and its indices, flat."""
    from coremltools.models.neural_network.quantization_utils import (
        _get_kmeans_lookup_table_and_weight,
    )

    table, indices = _get_kmeans_lookup_table_and_weight(
        bits, array.astype(np.float16), force_kmeans1d=True
    )
    return np.asarray(table).astype(array.dtype), np.asarray(indices).astype(np.uint8)


def _passes() -> Any:
    try:
        import_coremltools()
        return importlib.import_module(_PASSES)
    except ModuleNotFoundError as error:
        raise NotEvaluatedError(
            f"weights are compressed by coremltools, which can't be imported here ({error}): "
            "pip install coremltools, or take a recipe that stores floats"
        ) from error
