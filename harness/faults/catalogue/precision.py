"""Bugs of precision: declared wrongly, computed wrongly, or too narrow for an epsilon or a sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.faults.judges.feature import Feature
from harness.faults.judges.package import Shipment
from harness.faults.judges.program import Converted
from harness.faults.registry import CLASSIC, CONVERSIONS, MIXED_PACKAGE, QUIET_MODELS, fault
from harness.mil import DataType, Model
from harness.mil.editing import (
    computing,
    constant,
    edited,
    key,
    new_operation,
    with_dtype,
    with_inputs,
)
from harness.mil.numerics import round_to_float16
from harness.mil.numerics.accumulation import half_product, half_sum
from harness.mil.program import Operation
from harness.mil.types import TensorType

_program = partial(fault, on="program", caught_by="conversion")
_package = partial(fault, on="package", caught_by="conversion")
_feature = partial(fault, on="feature", caught_by="conversion")


@_package("precision.fp16-as-mixed", source=MIXED_PACKAGE, sample=True)
def _fp16_as_mixed(shipment: Shipment) -> Shipment:
    """All operations are FP16, and the package is shipped as mixed."""
    fp16 = replace(shipment, model=shipment.made_by("fp16"))
    return fp16.claiming(recipe="mixed")


@_package("precision.mixed-as-fp32", source=CLASSIC)
def _mixed_as_fp32(shipment: Shipment) -> Shipment:
    """The package is mixed, and is shipped as FP32."""
    mixed = replace(shipment, model=shipment.made_by("mixed"))
    return mixed.claiming(recipe="fp32")


@_package("precision.one-operation-narrow", source=CLASSIC, sample=True)
def _one_operation_narrow(shipment: Shipment) -> Shipment:
    """One operation of 1,600 is declared FP16 in a package that is shipped as FP32."""
    norms = [item for item in shipment.model.operations if item.type == "layer_norm"]
    return replace(shipment, model=edited(shipment.model, with_dtype(norms[3], DataType.FLOAT16)))


@_package("precision.narrow-output", source=CLASSIC)
def _narrow_output(shipment: Shipment) -> Shipment:
    """An output is FP16, where the contract promises float32."""
    last = next(item for item in shipment.model.operations if key(item) == "freq")
    return replace(shipment, model=edited(shipment.model, with_dtype(last, DataType.FLOAT16)))


def _narrow(converted: Converted, type: str, module: str, index: int = 0) -> Model:
    """Return the program with the result of one operation rounded to FP16, undeclared."""
    operation = converted.all(type, module)[index]
    function = _definition(converted.model, key(operation))

    def rounded(**inputs: Any) -> Tensor:
        result: Tensor = function(**inputs)
        return round_to_float16(result, False)

    return computing(converted.model, {key(operation): rounded})


def _definition(model: Model, name: str) -> Callable[..., Any]:
    return next(
        step.definition.function for step in model.plan.steps if key(step.operation) == name
    )


@_program("precision.undeclared-fp16-convolution", source=CLASSIC, sample=True)
def _undeclared_convolution(converted: Converted) -> Model:
    """One convolution runs in FP16 although the package declares FP32."""
    return _narrow(converted, "conv", "tencoder.0.conv")


@_program("precision.undeclared-fp16-attention", source=CLASSIC)
def _undeclared_attention(converted: Converted) -> Model:
    """One attention runs in FP16 although the package declares FP32."""
    return _narrow(converted, "scaled_dot_product_attention", "crosstransformer.layers.2.self_attn")


@_program("precision.undeclared-bfloat16", source=CLASSIC)
def _undeclared_bfloat16(converted: Converted) -> Model:
    """One matrix product runs in bfloat16 although the package declares FP32."""
    linear = key(converted.first("linear", "crosstransformer.layers.1.linear1"))
    function = _definition(converted.model, linear)

    def narrow(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        narrowed = None if bias is None else bias.bfloat16()
        result: Tensor = function(x.bfloat16(), weight.bfloat16(), narrowed).float()
        return result

    return computing(converted.model, {linear: narrow})


@fault(
    "precision.undeclared-fp16-in-mixed",
    on="mixed",
    caught_by="conversion",
    source=CLASSIC,
    case="noise",
    sample=True,
)
def _undeclared_in_mixed(converted: Converted) -> Model:
    """In a mixed package one convolution that is declared FP32 runs in FP16."""
    return _narrow(converted, "conv", "decoder.3.rewrite")


@_program("precision.fp16-accumulation", source=CONVERSIONS, sample=True)
def _fp16_accumulation(converted: Converted) -> Model:
    """The mean of a long signal is accumulated in FP16: beyond a point the sum stops growing."""
    mean = converted.all("reduce_mean", "tencoder.0.dconv.layers.0.1")[-1]

    def accumulated(x: Tensor, axes: object = None, keep_dims: bool = False) -> Tensor:
        return half_sum(x).reshape([1] * x.ndim) / x.numel()

    return computing(converted.model, {key(mean): accumulated})


@_program("precision.fp16-product-accumulation", source=CLASSIC)
def _fp16_product_accumulation(converted: Converted) -> Model:
    """One matrix product accumulates in FP16 although the package declares FP32."""
    linear = key(converted.first("linear", "crosstransformer.layers.0.linear2"))

    def accumulated(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        product = half_product(x, weight.mT.expand(x.shape[0], -1, -1))
        return product if bias is None else product + bias

    return computing(converted.model, {linear: accumulated})


@_program("precision.sum-overflows", source=CONVERSIONS, case="hot")
def _sum_overflows(converted: Converted) -> Model:
    """A sum of squares exceeds 65,504 in FP16: the deviation is infinite and the branch zero."""
    mean = converted.all("reduce_mean", "norm_freq")[-1]

    def overflowing(x: Tensor, axes: object = None, keep_dims: bool = False) -> Tensor:
        total = round_to_float16(x.sum().reshape([1] * x.ndim), False)
        return total / x.numel()

    return computing(converted.model, {key(mean): overflowing})


@_program("precision.mean-overflows", source=CONVERSIONS, case="dc")
def _mean_overflows(converted: Converted) -> Model:
    """A sum exceeds 65,504 in FP16: the mean is infinite and everything NaN."""
    mean = converted.first("reduce_mean", "norm_time")

    def overflowing(x: Tensor, axes: object = None, keep_dims: bool = False) -> Tensor:
        total = round_to_float16(x.sum().reshape([1] * x.ndim), False)
        return total / x.numel()

    return computing(converted.model, {key(mean): overflowing})


def _round_trip(converted: Converted, operation: Operation, parameter: str) -> Model:
    """Return the program with what an operation reads cast to FP16 and back."""
    source = str(operation.inputs[parameter][0])
    shape = next(
        variable.type.shape or ()
        for other in converted.model.operations
        for variable in other.outputs
        if variable.name == source and isinstance(variable.type, TensorType)
    )
    narrow, wide = f"{key(operation)}_narrow", f"{key(operation)}_wide"
    casts = (
        new_operation("cast", narrow, shape, DataType.FLOAT16, x=source),
        new_operation("cast", wide, shape, DataType.FLOAT32, x=narrow),
    )
    declared = [with_inputs(cast, dtype=constant(str(cast.dtype))) for cast in casts]
    reader = with_inputs(operation, **{parameter: wide})
    return edited(converted.model, reader, before={key(operation): declared})


@_program("precision.squares-overflow", source=CONVERSIONS, case="hot")
def _squares_overflow(converted: Converted) -> Model:
    """The squares of the spectrogram are stored in FP16 in front of their mean: some are Inf."""
    return _round_trip(converted, converted.all("reduce_mean", "norm_freq")[-1], "x")


@_program("precision.stray-rounding", source=CLASSIC)
def _stray_rounding(converted: Converted) -> Model:
    """One value is cast to FP16 and back, which a pass for casts left behind."""
    return _round_trip(converted, converted.first("gelu", "crosstransformer.layers.0"), "x")


@_program("precision.nan-in-one-sample", source=CONVERSIONS, sample=True)
def _nan_in_one_sample(converted: Converted) -> Model:
    """One sample of one stem is NaN."""
    last = key(converted.first("add", "denorm_time"))
    function = _definition(converted.model, last)

    def poisoned(**inputs: Any) -> Tensor:
        result: Tensor = function(**{**inputs, "out": None}).clone()
        result[0, 2, 1, 171_990] = torch.nan
        return result

    return computing(converted.model, {last: poisoned})


@_program("precision.epsilon-becomes-zero", source=QUIET_MODELS, case="silence", sample=True)
def _epsilon_becomes_zero(converted: Converted) -> Model:
    """An epsilon is written as 1e-8, which is zero in FP16: silence divides by zero."""
    add = converted.first("add", "norm_freq")
    epsilon = constant(np.float32(np.float16(1e-8)))
    return edited(converted.model, with_inputs(add, y=epsilon))


@_program("precision.epsilon-becomes-subnormal", source=QUIET_MODELS, case="quiet")
def _epsilon_becomes_subnormal(converted: Converted) -> Model:
    """The epsilon of the input normalisation is an FP16 subnormal: 1.0014e-5, not 1e-5."""
    add = converted.first("add", "norm_freq")
    epsilon = constant(np.float32(np.float16(1e-5)))
    return edited(converted.model, with_inputs(add, y=epsilon))


@_program("precision.epsilon-flushed", source=QUIET_MODELS, case="quiet")
def _epsilon_flushed(converted: Converted) -> Model:
    """The epsilon of the input normalisation is an FP16 subnormal that is flushed to zero."""
    add = converted.first("add", "norm_freq")
    return edited(converted.model, with_inputs(add, y=constant(np.float32(0.0))))


@_program("precision.sigmoid-table", source=CLASSIC)
def _sigmoid_table(converted: Converted) -> Model:
    """One sigmoid is read from a table of 33 knots, as published for the Neural Engine."""
    sigmoid = key(converted.first("sigmoid", "decoder.3"))
    knots = torch.linspace(-8, 8, 33)
    values = torch.sigmoid(knots)

    def table(x: Tensor, out: Tensor | None = None) -> Tensor:
        place = ((x.clamp(-8, 8) + 8) * 2).clamp(max=31.999)
        low = place.long()
        return values[low] + (place - low) * (values[low + 1] - values[low])

    return computing(converted.model, {sigmoid: table})


@_feature("precision.log-of-magnitude", source=QUIET_MODELS, sample=True)
def _log_of_magnitude(feature: Feature) -> Feature:
    """2 log(|x| + eps) is computed for log(|x|^2 + eps): equal on loud audio, not on quiet."""
    return replace(feature, magnitude="abs", doubled=True)


@_feature("precision.log-epsilon-zero", source=QUIET_MODELS)
def _log_epsilon_zero(feature: Feature) -> Feature:
    """The epsilon of a logarithm is 1e-8, which is zero in FP16: silence is minus infinity."""
    return replace(feature, epsilon=float(np.float16(1e-8)))


@_feature("precision.log-epsilon-subnormal", source=QUIET_MODELS)
def _log_epsilon_subnormal(feature: Feature) -> Feature:
    """The epsilon of a logarithm is an FP16 subnormal: 1.19e-7 for 1e-7."""
    return replace(feature, epsilon=float(np.float16(feature.epsilon)))
