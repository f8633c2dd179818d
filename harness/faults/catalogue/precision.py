"""Bugs of precision: declared wrongly, computed wrongly, or too narrow for an epsilon or a sum."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.faults.catalogue.edits import ProgramEdit, computed, mutated, rebound
from harness.faults.judges.feature import LogFeature
from harness.faults.judges.program import Shipment
from harness.faults.operators import Edit, MutationSite
from harness.faults.registry import (
    CLASSIC,
    CONVERSIONS,
    MIXED_PACKAGE,
    QUIET_MODELS,
    fault,
    fields,
)
from harness.mil import DataType
from harness.mil.editing import constant, edited, key, new_operation, with_dtype, with_inputs
from harness.mil.numerics import round_to_float16
from harness.mil.numerics.accumulation import half_product, half_sum
from harness.mil.ops.registry import definition

_program = partial(fault, judge="program", caught_by="conversion")
_arithmetic = partial(fault, judge="arithmetic", caught_by="conversion")
_package = partial(fault, judge="package", caught_by="conversion")
_feature = partial(fault, judge="feature", caught_by="conversion", source=QUIET_MODELS)


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


def _narrow(type: str, module: str) -> ProgramEdit:
    """Round the result of one operation to FP16, undeclared."""

    @computed(type, module)
    def rounded(**inputs: Any) -> Tensor:
        return round_to_float16(definition(type).function(**inputs), False)

    return rounded


_arithmetic("precision.undeclared-fp16-convolution", source=CLASSIC, sample=True)(
    _narrow("conv", "tencoder.0.conv"),
    "One convolution runs in FP16 although the package declares FP32.",
)
_arithmetic("precision.undeclared-fp16-attention", source=CLASSIC)(
    _narrow("scaled_dot_product_attention", "crosstransformer.layers.2.self_attn"),
    "One attention runs in FP16 although the package declares FP32.",
)


@_arithmetic("precision.undeclared-bfloat16", source=CLASSIC)
@computed("linear", "crosstransformer.layers.1.linear1")
def _undeclared_bfloat16(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, out: object = None
) -> Tensor:
    """One matrix product runs in bfloat16 although the package declares FP32."""
    narrowed = None if bias is None else bias.bfloat16()
    product: Tensor = definition("linear").function(x.bfloat16(), weight.bfloat16(), narrowed)
    return product.float()


fault(
    "precision.undeclared-fp16-in-mixed",
    judge="mixed",
    caught_by="conversion",
    source=CLASSIC,
    case="noise",
    sample=True,
)(
    _narrow("conv", "decoder.3.rewrite"),
    "In a mixed package one convolution that is declared FP32 runs in FP16.",
)


@_arithmetic("precision.fp16-accumulation", source=CONVERSIONS, sample=True)
@computed("reduce_mean", "tencoder.0.dconv.layers.0.1", at=-1)
def _fp16_accumulation(x: Tensor, axes: object = None, keep_dims: bool = False) -> Tensor:
    """The mean of a long signal is accumulated in FP16: beyond a point the sum stops growing."""
    return half_sum(x).reshape([1] * x.ndim) / x.numel()


@_arithmetic("precision.fp16-product-accumulation", source=CLASSIC)
@computed("linear", "crosstransformer.layers.0.linear2")
def _product_accumulation(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, out: object = None
) -> Tensor:
    """One matrix product accumulates in FP16 although the package declares FP32."""
    product = half_product(x, weight.mT.expand(x.shape[0], -1, -1))
    return product if bias is None else product + bias


def _overflowing(x: Tensor, axes: object = None, keep_dims: bool = False) -> Tensor:
    """A mean of which the sum is stored in FP16."""
    return round_to_float16(x.sum().reshape([1] * x.ndim), False) / x.numel()


_arithmetic("precision.sum-overflows", source=CONVERSIONS, case="hot")(
    computed("reduce_mean", "norm_freq", at=-1)(_overflowing),
    "A sum of squares exceeds 65,504 in FP16: the deviation is infinite and the branch zero.",
)
_arithmetic("precision.mean-overflows", source=CONVERSIONS, case="dc")(
    computed("reduce_mean", "norm_time")(_overflowing),
    "A sum exceeds 65,504 in FP16: the mean is infinite and everything NaN.",
)


def _round_trip(site: MutationSite) -> Edit:
    """Cast what an operation reads as ``x`` to FP16 and back."""
    narrow, wide = f"{key(site.operation)}_narrow", f"{key(site.operation)}_wide"
    casts = (
        (narrow, DataType.FLOAT16, site.read("x")),
        (wide, DataType.FLOAT32, narrow),
    )
    return [
        *(
            with_inputs(
                new_operation("cast", to, site.shape_of("x"), dtype, x=read),
                dtype=constant(str(dtype)),
            )
            for to, dtype, read in casts
        ),
        with_inputs(site.operation, x=wide),
    ]


_program("precision.squares-overflow", source=CONVERSIONS, case="hot")(
    mutated(_round_trip, "reduce_mean", "norm_freq", at=-1),
    "The squares of the spectrogram are stored in FP16 in front of their mean: some are Inf.",
)
_program("precision.stray-rounding", source=CLASSIC)(
    mutated(_round_trip, "gelu", "crosstransformer.layers.0"),
    "One value is cast to FP16 and back, which a pass for casts left behind.",
)


@_arithmetic("precision.nan-in-one-sample", source=CONVERSIONS, sample=True)
@computed("add", "denorm_time")
def _nan_in_one_sample(x: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """One sample of one stem is NaN."""
    result = x + y
    result[0, 2, 1, 171_990] = torch.nan
    return result


_program("precision.epsilon-becomes-zero", source=QUIET_MODELS, case="silence", sample=True)(
    rebound("add", "norm_freq", y=float(np.float16(1e-8))),
    "An epsilon is written as 1e-8, which is zero in FP16: silence divides by zero.",
)
_program("precision.epsilon-becomes-subnormal", source=QUIET_MODELS, case="quiet")(
    rebound("add", "norm_freq", y=float(np.float16(1e-5))),
    "The epsilon of the input normalisation is an FP16 subnormal: 1.0014e-5, not 1e-5.",
)
_program("precision.epsilon-flushed", source=QUIET_MODELS, case="quiet")(
    rebound("add", "norm_freq", y=0.0),
    "The epsilon of the input normalisation is an FP16 subnormal that is flushed to zero.",
)


@_arithmetic("precision.sigmoid-table", source=CLASSIC)
@computed("sigmoid", "decoder.3")
def _sigmoid_table(x: Tensor, out: Tensor | None = None) -> Tensor:
    """One sigmoid is read from a table of 33 knots, as published for the Neural Engine."""
    values = torch.sigmoid(torch.linspace(-8, 8, 33))  # two knots for each unit of x
    place = ((x.clamp(-8, 8) + 8) * 2).clamp(max=31.999)
    low = place.long()
    return values[low] + (place - low) * (values[low + 1] - values[low])


_feature("precision.log-of-magnitude", sample=True)(
    fields(magnitude="abs", doubled=True),
    "2 log(|x| + eps) is computed for log(|x|^2 + eps): equal on loud audio, not on quiet.",
)
_feature("precision.log-epsilon-zero")(
    fields(epsilon=float(np.float16(1e-8))),
    "The epsilon of a logarithm is 1e-8, which is zero in FP16: silence is minus infinity.",
)
_feature("precision.log-epsilon-subnormal")(
    fields(epsilon=float(np.float16(LogFeature.epsilon))),
    "The epsilon of a logarithm is an FP16 subnormal: 1.19e-7 for 1e-7.",
)
