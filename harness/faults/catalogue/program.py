"""Bugs in the converted program: what a converter or one of its passes gets wrong."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from harness.faults.catalogue.edits import computed, left_out, mutated, rebound
from harness.faults.judges.program import Converted
from harness.faults.operators import MutationSite
from harness.faults.operators.arithmetic import exchanged
from harness.faults.operators.layers import query_and_key
from harness.faults.operators.layout import not_transposed, replicated
from harness.faults.registry import CLASSIC, CONVERSIONS, MEASURED, fault
from harness.mil.editing import constant, key, known_value, with_inputs, with_type
from harness.mil.program import Operation

_program = partial(fault, judge="program", caught_by="conversion")
_arithmetic = partial(fault, judge="arithmetic", caught_by="conversion")
_TRANSFORMER = "crosstransformer.layers"
_SELF = f"{_TRANSFORMER}.0.self_attn"
_CROSS = f"{_TRANSFORMER}_t.1.cross_attn"
_ATTENTION = "scaled_dot_product_attention"
_TANH = constant("TANH_APPROXIMATION")


def _moved(site: MutationSite, **by: list[int]) -> Operation:
    """Return the operation with lists of integers that it reads moved by so much."""
    operation = site.operation
    for parameter, step in by.items():
        moved = known_value(site.model, operation, parameter) + np.asarray(step)
        operation = with_inputs(operation, **{parameter: moved.astype(np.int32)})
    return operation


_program("program.gelu-tanh", source=MEASURED, sample=True)(
    rebound("gelu", "encoder.0", mode=_TANH),
    "One GELU in its tanh approximation.",
)
_program("program.gelu-tanh-everywhere", source=CONVERSIONS)(
    lambda converted: converted.edited(
        *(with_inputs(gelu, mode=_TANH) for gelu in converted.all("gelu"))
    ),
    "Every GELU in its tanh approximation.",
)
_program("program.gelu-sigmoid", source=CLASSIC)(
    rebound("gelu", f"{_TRANSFORMER}.4", mode=constant("SIGMOID_APPROXIMATION")),
    "One GELU as x times sigmoid(1.702 x).",
)
_program("program.conv-dilation", source=CLASSIC)(
    rebound("conv", "encoder.1.dconv.layers.1.0", dilations=[1], pad=[1, 1]),
    "A dilation of 2 is lost, and the padding with it.",
)


_program("program.conv-pad-uneven", source=CLASSIC)(
    mutated(lambda site: [_moved(site, pad=[1, -1])], "conv", "tencoder.2.dconv.layers.0.0"),
    "The padding of a convolution stands on one side: the result comes one sample late.",
)


@_program("program.transposed-crop", source=CONVERSIONS, sample=True)
def _transposed_crop(converted: Converted) -> Converted:
    """The result of the last transposed convolution is cropped one sample late."""
    cut = converted.site("slice_by_index", "tdecoder.3", at=-1)
    later = _moved(cut, begin=[0, 0, 1], end=[0, 0, 1])
    return converted.edited(with_inputs(later, end_mask=[True, True, False]))


_program("program.slice-begin", source=CLASSIC)(
    mutated(
        lambda site: [_moved(site, begin=[1, 0, 0, 0])],
        "slice_by_index",
        f"{_TRANSFORMER}.1.cross_attn",
    ),
    "A slice of a fused projection starts one too late: the key is the value.",
)


_program("program.reshape-for-transpose", source=CLASSIC)(
    mutated(not_transposed, "transpose", "crosstransformer"),
    "A transpose is replaced by a reshape to the same shape.",
)


@_arithmetic("program.stems-interleaved", source=CONVERSIONS)
@computed("reshape", "denorm_freq")
def _stems_interleaved(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Channels are split into (channel, stem) instead of (stem, channel)."""
    batch, stems, channels, *rest = shape
    return x.reshape(batch, channels, stems, *rest).transpose(1, 2).clone()


_program("program.query-key", source=CLASSIC)(
    mutated(query_and_key, _ATTENTION, _SELF),
    "Query and key of one self-attention are exchanged.",
)
_program("program.value-is-key", source=CLASSIC)(
    mutated(lambda site: [with_inputs(site.operation, value=site.read("key"))], _ATTENTION, _CROSS),
    "One cross-attention mixes keys instead of values.",
)


@_arithmetic("program.softmax-axis", source=CLASSIC)
@computed(_ATTENTION, _SELF)
def _softmax_axis(query: Tensor, key: Tensor, value: Tensor, attn_mask: object = None) -> Tensor:
    """The softmax of one attention runs over the queries instead of the keys."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    return torch.softmax(scores, dim=-2) @ value


@_arithmetic("program.attention-unscaled", source=CLASSIC)
@computed(_ATTENTION, _CROSS)
def _unscaled(query: Tensor, key: Tensor, value: Tensor, attn_mask: object = None) -> Tensor:
    """The scores of one attention are not divided by the root of the head's width."""
    return functional.scaled_dot_product_attention(query, key, value, scale=1.0)


_program("program.layer-norm-epsilon", source=CLASSIC)(
    rebound("layer_norm", f"{_TRANSFORMER}.0.norm1", epsilon=1e-3),
    "One layer normalisation has an epsilon of 1e-3 instead of 1e-5.",
)
_program("program.layer-norm-without-gain", source=CLASSIC)(
    rebound("layer_norm", f"{_TRANSFORMER}_t.3.norm1", gamma=None),
    "One layer normalisation lost its gain in a fusion.",
)
_program("program.subtraction-swapped", source=CLASSIC)(
    mutated(exchanged, "sub", "encoder.0.dconv.layers.0.4"),
    "The mean minus the value, where the value minus the mean is meant.",
)
_program("program.root-skipped", source=CLASSIC)(
    left_out("sqrt", "decoder.0.dconv.layers.1.1"),
    "A square root is optimised away: the variance divides instead of the deviation.",
)


@_program("program.gate-halves", source=CLASSIC)
def _gate_halves(converted: Converted) -> Converted:
    """A gated linear unit gates with its first half instead of the second."""
    sigmoid = converted.site("sigmoid", "tencoder.1")
    gate = key(sigmoid.operation)
    product = next(o for o in converted.all("mul", "tencoder.1") if gate in o.input_names)
    (first,) = [name for name in product.input_names if name != gate]
    (side,) = [side for side in ("x", "y") if product.inputs[side] == (first,)]
    return converted.edited(
        with_inputs(sigmoid.operation, x=first),
        with_inputs(product, **{side: sigmoid.read("x")}),
    )


_program("program.residual-skipped", source=CLASSIC)(
    left_out("add", f"{_TRANSFORMER}.3"),
    "The sum of a residual block is optimised away: its branch is lost.",
)
_program("program.skip-connection-skipped", source=CLASSIC)(
    left_out("add", "tdecoder.2"),
    "The sum with a skip connection is optimised away.",
)
_program("program.frequency-embedding-skipped", source=CONVERSIONS)(
    left_out("add", "freq_emb"),
    "The sum with the frequency embedding is optimised away.",
)
_program("program.positions-skipped", source=CLASSIC)(
    left_out("add", "crosstransformer"),
    "The sum with the positional embedding is optimised away.",
)
_program("program.layer-scale-skipped", source=CONVERSIONS)(
    left_out("mul", f"{_TRANSFORMER}.2.gamma_1", "y"),
    "The product with one LayerScale is optimised away.",
)
_program("program.mean-not-restored", source=CLASSIC, case="dc")(
    rebound("add", "denorm_time", y=0.0),
    "The mean is not added to the time branch again.",
)
_program("program.pad-mode", source=CLASSIC)(
    mutated(replicated, "pad", "tencoder.1"),
    "The one sample that fills up a stride repeats its neighbour instead of being zero.",
)


@_program("program.hard-sigmoid", source=CLASSIC)
def _hard_sigmoid(converted: Converted) -> Converted:
    """One sigmoid is the piecewise linear one of mobile kernels."""
    hard = with_type(converted.first("sigmoid", "encoder.2"), "sigmoid_hard")
    return converted.edited(with_inputs(hard, alpha=1 / 6, beta=0.5))
