"""Bugs of weights and of loading them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from demucs.demucs import LayerScale
from demucs.transformer import LayerScale as TransformerScale
from torch import nn

from harness.faults.catalogue.edits import constant_changed, rebound
from harness.faults.judges.program import Converted, Shipment
from harness.faults.operators.layers import flip_exponent
from harness.faults.registry import CLASSIC, CONVERSIONS, MEASURED, fault
from harness.mil.editing import edited, find, known_value, with_constant
from harness.subjects import FullHybridHTDemucs, extract_inner_model, load_subject

_network = partial(fault, judge="network", caught_by="surgery")
_program = partial(fault, judge="program", caught_by="conversion")
_HEADS = 8
_TRANSFORMER = "crosstransformer.layers"


def _changed(
    name: str, change: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[nn.Module], torch.Tensor]:
    """Give a parameter of the network other numbers."""

    def inject(network: nn.Module) -> torch.Tensor:
        parameter = network.get_parameter(name).data
        return parameter.copy_(change(parameter))

    return inject


@_network("weights.layer-scale-missing", source=CONVERSIONS, sample=True)
def _layer_scale_missing(network: FullHybridHTDemucs) -> None:
    """Every LayerScale is lost: residual branches come with a factor of one."""
    for module in network.modules():
        if isinstance(module, LayerScale | TransformerScale):
            module.scale.data.fill_(1.0)


_network("weights.layer-scale-of-one-block", source=CONVERSIONS)(
    _changed("crosstransformer.layers.2.gamma_2.scale", torch.ones_like),
    "One LayerScale of one transformer layer is lost.",
)


@_network("weights.other-checkpoint", source=CONVERSIONS)
def _other_checkpoint(network: FullHybridHTDemucs) -> None:
    """The weights are those of another checkpoint of the same architecture."""
    other = extract_inner_model(load_subject("mini@seeded").model)
    network.load_state_dict(other.state_dict())


@_network("weights.older-step", source=CLASSIC)
def _older_step(network: FullHybridHTDemucs) -> None:
    """The weights are those of a slightly older training step: each is off by about 0.01 %."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data *= 1 + 1e-4 * noise


@_network("weights.branches-exchanged", source=CLASSIC)
def _branches_exchanged(network: FullHybridHTDemucs) -> None:
    """The upsamplers of the two branches, equal in shape, are exchanged."""
    upsampler, upsampler_t = network.channel_upsampler, network.channel_upsampler_t
    network.channel_upsampler, network.channel_upsampler_t = upsampler_t, upsampler


@_network("weights.layers-exchanged", source=CLASSIC)
def _layers_exchanged(network: FullHybridHTDemucs) -> None:
    """Two cross-attention layers, equal in shape, are exchanged: 'layers.10' sorted as text."""
    layers = network.crosstransformer.layers
    layers[1], layers[3] = layers[3], layers[1]


@_network("weights.query-key-order", source=CLASSIC)
def _query_key_order(network: FullHybridHTDemucs) -> None:
    """A fused projection holds key, query, value instead of query, key, value."""

    def exchanged(fused: torch.Tensor) -> torch.Tensor:
        query, key, value = fused.chunk(3)
        return torch.cat([key, query, value])

    for leaf in ("weight", "bias"):
        _changed(f"crosstransformer.layers.0.self_attn.in_proj_{leaf}", exchanged)(network)


@_network("weights.norm-gain-and-bias", source=CLASSIC)
def _norm_gain_and_bias(network: FullHybridHTDemucs) -> None:
    """Gain and bias of one normalisation are exchanged."""
    norm = network.get_submodule("crosstransformer.layers.0.norm1")
    norm.weight, norm.bias = norm.bias, norm.weight


_network("weights.kernel-mirrored", source=CLASSIC)(
    _changed("tencoder.0.conv.weight", lambda weight: weight.flip(-1)),
    "The kernel of one convolution is mirrored: convolution where correlation is meant.",
)


@_program("weights.heads-permuted", source=MEASURED, sample=True)
@constant_changed("linear", f"{_TRANSFORMER}.1.cross_attn", "weight")
def _heads_permuted(weight: np.ndarray) -> np.ndarray:
    """Two heads' rows of one query projection are exchanged."""
    rows = np.arange(len(weight)).reshape(_HEADS, -1)
    rows[[0, 1]] = rows[[1, 0]]
    exchanged: np.ndarray = weight[rows.reshape(-1)]
    return exchanged


@_program("weights.heads-interleaved", source=CONVERSIONS)
@constant_changed("linear", f"{_TRANSFORMER}.0.self_attn", "weight", at=-1)
def _heads_interleaved(weight: np.ndarray) -> np.ndarray:
    """The output projection expects the heads' channels interleaved."""
    return weight.reshape(len(weight), _HEADS, -1).swapaxes(1, 2).reshape(weight.shape)


_program("weights.transposed", source=CONVERSIONS)(
    constant_changed("linear", f"{_TRANSFORMER}_t.2.self_attn", "weight", at=-1)(np.transpose),
    "A square matrix is stored transposed.",
)
_program("weights.bias-dropped", source=MEASURED, sample=True)(
    rebound("conv", "encoder.2.dconv.layers.1.0", bias=None),
    "The bias of one convolution is dropped.",
)


@_program("weights.exponent-bit", source=MEASURED, sample=True)
@constant_changed("conv", "decoder.1.rewrite", "weight")
def _exponent_bit(weight: np.ndarray) -> np.ndarray:
    """One exponent bit of one weight is flipped: it is halved or doubled."""
    median = int(np.argsort(np.abs(weight).reshape(-1))[weight.size // 2])
    return flip_exponent(weight, median)


@_program("weights.bfloat16", source=CLASSIC)
@constant_changed("linear", f"{_TRANSFORMER}.2.linear1", "weight")
def _bfloat16(weight: np.ndarray) -> np.ndarray:
    """The weights of one layer went through bfloat16 on their way."""
    # bfloat16 is the upper half of a float32; half of its last bit is added before the cut.
    bits = weight.astype(np.float32).view(np.uint32)
    narrowed: np.ndarray = (bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
    return narrowed.view(np.float32)


@_program("weights.eight-bits", source=CLASSIC)
@constant_changed("conv", "encoder.1.rewrite", "weight")
def _eight_bits(weight: np.ndarray) -> np.ndarray:
    """The weights of one convolution were quantised to 8 bits and widened again."""
    step = np.abs(weight).max() / 127
    coarse: np.ndarray = np.rint(weight / step) * step
    return coarse.astype(np.float32)


_program("weights.input-channels-exchanged", source=CONVERSIONS)(
    constant_changed("conv", "tencoder.0.conv", "weight")(lambda weight: weight[:, ::-1]),
    "The first convolution over audio takes its input channels in the order right, left.",
)
_program("weights.transposed-kernel-mirrored", source=CLASSIC)(
    constant_changed("conv_transpose", "tdecoder.2.conv_tr", "weight")(lambda w: np.flip(w, -1)),
    "The kernel of one transposed convolution is mirrored.",
)


@_program("weights.bias-of-other-branch", source=CLASSIC)
def _bias_of_other_branch(converted: Converted) -> Converted:
    """A convolution of one branch has the bias of its counterpart in the other."""
    bias = known_value(converted.model, converted.first("conv", "tencoder.2.conv"), "bias")
    return rebound("conv", "encoder.2.conv", bias=bias)(converted)


_program("weights.norm-gain-rolled", source=CLASSIC)(
    constant_changed("mul", "encoder.2.dconv.layers.0.1", "y")(lambda gain: np.roll(gain, 1, 1)),
    "The gain of one group normalisation is off by one channel.",
)
_program("weights.layer-scale-squared", source=CLASSIC)(
    constant_changed("mul", f"{_TRANSFORMER}_t.3.gamma_2", "x")(np.square),
    "One LayerScale was folded into its constant twice.",
)


@fault("weights.stale-package", judge="package", caught_by="conversion", source=CONVERSIONS)
def _stale_package(shipment: Shipment) -> Shipment:
    """The package was converted from an older checkpoint: its weights are off by about 0.01 %."""
    noise = np.random.default_rng(0)
    model = shipment.model

    def older(weight: np.ndarray) -> np.ndarray:
        drift = 1 + 1e-4 * noise.standard_normal(weight.shape)
        return (weight * drift).astype(np.float32)

    changed = [
        with_constant(model, operation, "weight", older) for operation in find(model, type="linear")
    ]
    stale = replace(shipment, model=edited(model, *changed))
    return stale.claiming(fingerprint="0" * 64)
