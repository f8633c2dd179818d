"""Bugs in the converted program: what a converter or one of its passes gets wrong."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.faults.judges.program import Converted
from harness.faults.registry import CLASSIC, CONVERSIONS, MEASURED, fault
from harness.mil import Model
from harness.mil.editing import (
    computing,
    constant,
    edited,
    key,
    known_value,
    skipped,
    with_inputs,
    with_swapped,
    with_type,
)

_program = partial(fault, on="program", caught_by="conversion")
_SELF = "crosstransformer.layers.0.self_attn"
_CROSS = "crosstransformer.layers_t.1.cross_attn"


def _moved(converted: Converted, type: str, module: str, parameter: str, by: Any) -> Model:
    """Return the program with a list of integers in one operation moved by ``by``."""
    operation = converted.first(type, module)
    value = known_value(converted.model, operation, parameter)
    assert isinstance(value, np.ndarray)
    changed = constant((value + np.asarray(by)).astype(np.int32))
    return edited(converted.model, with_inputs(operation, **{parameter: changed}))


@_program("program.gelu-tanh", source=MEASURED, sample=True)
def _gelu_tanh(converted: Converted) -> Model:
    """One GELU in its tanh approximation."""
    gelu = converted.first("gelu", "encoder.0")
    mode = constant("TANH_APPROXIMATION")
    return edited(converted.model, with_inputs(gelu, mode=mode))


@_program("program.gelu-tanh-everywhere", source=CONVERSIONS)
def _gelu_tanh_everywhere(converted: Converted) -> Model:
    """Every GELU in its tanh approximation."""
    mode = constant("TANH_APPROXIMATION")
    return edited(
        converted.model, *(with_inputs(gelu, mode=mode) for gelu in converted.all("gelu"))
    )


@_program("program.gelu-sigmoid", source=CLASSIC)
def _gelu_sigmoid(converted: Converted) -> Model:
    """One GELU as x times sigmoid(1.702 x)."""
    gelu = converted.first("gelu", "crosstransformer.layers.4")
    mode = constant("SIGMOID_APPROXIMATION")
    return edited(converted.model, with_inputs(gelu, mode=mode))


@_program("program.conv-dilation", source=CLASSIC)
def _conv_dilation(converted: Converted) -> Model:
    """A dilation of 2 is lost, and the padding with it."""
    conv = converted.first("conv", "encoder.1.dconv.layers.1.0")
    ones = constant([1])
    return edited(converted.model, with_inputs(conv, dilations=ones, pad=constant([1, 1])))


@_program("program.conv-pad-uneven", source=CLASSIC)
def _conv_pad_uneven(converted: Converted) -> Model:
    """The padding of a convolution stands on one side: the result comes one sample late."""
    return _moved(converted, "conv", "tencoder.2.dconv.layers.0.0", "pad", [1, -1])


@_program("program.transposed-crop", source=CONVERSIONS, sample=True)
def _transposed_crop(converted: Converted) -> Model:
    """The result of the last transposed convolution is cropped one sample late."""
    cut = converted.all("slice_by_index", "tdecoder.3")[-1]
    begin = known_value(converted.model, cut, "begin")
    end = known_value(converted.model, cut, "end")
    last = np.array([0, 0, 1])
    moved = with_inputs(
        cut,
        begin=constant((begin + last).astype(np.int32)),
        end=constant((end + last).astype(np.int32)),
        end_mask=constant([True, True, False]),
    )
    return edited(converted.model, moved)


@_program("program.slice-begin", source=CLASSIC)
def _slice_begin(converted: Converted) -> Model:
    """A slice of a fused projection starts one too late: the key is the value."""
    return _moved(
        converted, "slice_by_index", "crosstransformer.layers.1.cross_attn", "begin", [1, 0, 0, 0]
    )


@_program("program.reshape-for-transpose", source=CLASSIC)
def _reshape_for_transpose(converted: Converted) -> Model:
    """A transpose is replaced by a reshape to the same shape."""
    transpose = converted.all("transpose", "crosstransformer")[0]
    shape = [int(size or 0) for size in transpose.outputs[0].type.shape or ()]  # type: ignore[union-attr]
    changed = with_inputs(with_type(transpose, "reshape"), perm=None, shape=constant(shape))
    return edited(converted.model, changed)


@_program("program.stems-interleaved", source=CONVERSIONS)
def _stems_interleaved(converted: Converted) -> Model:
    """Channels are split into (channel, stem) in the place of (stem, channel)."""
    reshape = key(converted.first("reshape", "denorm_freq"))

    def interleaved(x: Tensor, shape: tuple[int, ...]) -> Tensor:
        batch, stems, channels, *rest = shape
        return x.reshape(batch, channels, stems, *rest).transpose(1, 2).clone()

    return computing(converted.model, {reshape: interleaved})


@_program("program.query-key", source=CLASSIC)
def _query_key(converted: Converted) -> Model:
    """Query and key of one self-attention are exchanged."""
    attention = converted.first("scaled_dot_product_attention", _SELF)
    return edited(converted.model, with_swapped(attention, "query", "key"))


@_program("program.value-is-key", source=CLASSIC)
def _value_is_key(converted: Converted) -> Model:
    """One cross-attention mixes keys in the place of values."""
    attention = converted.first("scaled_dot_product_attention", _CROSS)
    return edited(converted.model, with_inputs(attention, value=str(attention.inputs["key"][0])))


@_program("program.softmax-axis", source=CLASSIC)
def _softmax_axis(converted: Converted) -> Model:
    """The softmax of one attention runs over the queries instead of the keys."""
    attention = key(converted.first("scaled_dot_product_attention", _SELF))

    def wrong(query: Tensor, key: Tensor, value: Tensor, attn_mask: object = None) -> Tensor:
        scores = query @ key.mT / query.shape[-1] ** 0.5
        return torch.softmax(scores, dim=-2) @ value

    return computing(converted.model, {attention: wrong})


@_program("program.attention-unscaled", source=CLASSIC)
def _attention_unscaled(converted: Converted) -> Model:
    """The scores of one attention are not divided by the root of the head's width."""
    attention = key(converted.first("scaled_dot_product_attention", _CROSS))

    def wrong(query: Tensor, key: Tensor, value: Tensor, attn_mask: object = None) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, scale=1.0)

    return computing(converted.model, {attention: wrong})


@_program("program.layer-norm-epsilon", source=CLASSIC)
def _layer_norm_epsilon(converted: Converted) -> Model:
    """One layer normalisation has an epsilon of 1e-3 in the place of 1e-5."""
    norm = converted.first("layer_norm", "crosstransformer.layers.0.norm1")
    return edited(converted.model, with_inputs(norm, epsilon=1e-3))


@_program("program.layer-norm-without-gain", source=CLASSIC)
def _layer_norm_without_gain(converted: Converted) -> Model:
    """One layer normalisation lost its gain in a fusion."""
    norm = converted.first("layer_norm", "crosstransformer.layers_t.3.norm1")
    return edited(converted.model, with_inputs(norm, gamma=None))


@_program("program.subtraction-swapped", source=CLASSIC)
def _subtraction_swapped(converted: Converted) -> Model:
    """The mean minus the value, where the value minus the mean is meant."""
    subtraction = converted.first("sub", "encoder.0.dconv.layers.0.4")
    return edited(converted.model, with_swapped(subtraction, "x", "y"))


@_program("program.root-skipped", source=CLASSIC)
def _root_skipped(converted: Converted) -> Model:
    """A square root is optimised away: the variance divides in the place of the deviation."""
    root = converted.first("sqrt", "decoder.0.dconv.layers.1.1")
    return edited(converted.model, skipped(root))


@_program("program.gate-halves", source=CLASSIC)
def _gate_halves(converted: Converted) -> Model:
    """A gated linear unit gates with its first half in the place of the second."""
    sigmoid = converted.first("sigmoid", "tencoder.1")
    product = next(
        operation
        for operation in converted.all("mul", "tencoder.1")
        if key(sigmoid) in operation.input_names
    )
    second = str(sigmoid.inputs["x"][0])
    (side,) = [side for side in ("x", "y") if operation_input(product, side) != key(sigmoid)]
    first = operation_input(product, side)
    changed = with_inputs(sigmoid, x=first), with_inputs(product, **{side: second})
    return edited(converted.model, *changed)


def operation_input(operation: Any, parameter: str) -> str:
    """Return the name of the value that an input is bound to."""
    return str(operation.inputs[parameter][0])


@_program("program.residual-skipped", source=CLASSIC)
def _residual_skipped(converted: Converted) -> Model:
    """The sum of a residual block is optimised away: its branch is lost."""
    total = converted.first("add", "crosstransformer.layers.3")
    return edited(converted.model, skipped(total, "x"))


@_program("program.skip-connection-skipped", source=CLASSIC)
def _skip_connection_skipped(converted: Converted) -> Model:
    """The sum with a skip connection is optimised away."""
    total = converted.first("add", "tdecoder.2")
    return edited(converted.model, skipped(total, "x"))


@_program("program.frequency-embedding-skipped", source=CONVERSIONS)
def _frequency_embedding_skipped(converted: Converted) -> Model:
    """The sum with the frequency embedding is optimised away."""
    total = converted.first("add", "freq_emb")
    return edited(converted.model, skipped(total, "x"))


@_program("program.positions-skipped", source=CLASSIC)
def _positions_skipped(converted: Converted) -> Model:
    """The sum with the positional embedding is optimised away."""
    total = converted.first("add", "crosstransformer")
    return edited(converted.model, skipped(total, "x"))


@_program("program.layer-scale-skipped", source=CONVERSIONS)
def _layer_scale_skipped(converted: Converted) -> Model:
    """The product with one LayerScale is optimised away."""
    product = converted.first("mul", "crosstransformer.layers.2.gamma_1")
    return edited(converted.model, skipped(product, "y"))


@_program("program.mean-not-restored", source=CLASSIC, case="dc")
def _mean_not_restored(converted: Converted) -> Model:
    """The mean is not added to the time branch again."""
    total = converted.first("add", "denorm_time")
    return edited(converted.model, with_inputs(total, y=constant(np.float32(0.0))))


@_program("program.pad-mode", source=CLASSIC)
def _pad_mode(converted: Converted) -> Model:
    """The one sample that fills up a stride repeats its neighbour instead of being zero."""
    pad = converted.first("pad", "tencoder.1")
    return edited(converted.model, with_inputs(pad, mode=constant("replicate")))


@_program("program.hard-sigmoid", source=CLASSIC)
def _hard_sigmoid(converted: Converted) -> Model:
    """One sigmoid is the piecewise linear one of mobile kernels."""
    sigmoid = converted.first("sigmoid", "encoder.2")
    hard = with_inputs(with_type(sigmoid, "sigmoid_hard"), alpha=1 / 6, beta=0.5)
    return edited(converted.model, hard)
