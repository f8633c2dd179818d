"""Bugs of weights and of loading them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from demucs.demucs import LayerScale
from demucs.transformer import LayerScale as TransformerScale
from torch import nn

from harness.faults.judges.package import Shipment
from harness.faults.judges.program import Converted
from harness.faults.operators.layers import flip_exponent
from harness.faults.registry import CLASSIC, CONVERSIONS, MEASURED, fault
from harness.mil import Model
from harness.mil.editing import edited, find, known_value, with_constant, with_inputs
from harness.subjects import FullHybridHTDemucs, extract_inner_model, load_subject

_network = partial(fault, on="network", caught_by="surgery")
_program = partial(fault, on="program", caught_by="conversion")
_HEADS = 8


def _parameter(network: nn.Module, name: str) -> torch.Tensor:
    return network.get_parameter(name).data


@_network("weights.layer-scale-missing", source=CONVERSIONS, sample=True)
def _layer_scale_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """Every LayerScale is lost: residual branches come with a factor of one."""
    for module in network.modules():
        if isinstance(module, LayerScale | TransformerScale):
            module.scale.data.fill_(1.0)
    return network


@_network("weights.layer-scale-of-one-block", source=CONVERSIONS)
def _layer_scale_of_one_block(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """One LayerScale of one transformer layer is lost."""
    _parameter(network, "crosstransformer.layers.2.gamma_2.scale").fill_(1.0)
    return network


@_network("weights.other-checkpoint", source=CONVERSIONS)
def _other_checkpoint(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The weights are those of another checkpoint of the same architecture."""
    return extract_inner_model(load_subject("mini@seeded").model)


@_network("weights.older-step", source=CLASSIC)
def _older_step(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The weights are those of a slightly older training step: each is off by about 0.01 %."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data *= 1 + 1e-4 * noise
    return network


@_network("weights.branches-exchanged", source=CLASSIC)
def _branches_exchanged(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The upsamplers of the two branches, equal in shape, are exchanged."""
    upsampler, upsampler_t = network.channel_upsampler, network.channel_upsampler_t
    network.channel_upsampler, network.channel_upsampler_t = upsampler_t, upsampler
    return network


@_network("weights.layers-exchanged", source=CLASSIC)
def _layers_exchanged(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """Two cross-attention layers, equal in shape, are exchanged: 'layers.10' sorted as text."""
    layers = network.crosstransformer.layers
    layers[1], layers[3] = layers[3], layers[1]
    return network


@_network("weights.query-key-order", source=CLASSIC)
def _query_key_order(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """A fused projection holds key, query, value in the place of query, key, value."""
    for leaf in ("weight", "bias"):
        fused = _parameter(network, f"crosstransformer.layers.0.self_attn.in_proj_{leaf}")
        query, key, value = fused.chunk(3)
        fused.copy_(torch.cat([key, query, value]))
    return network


@_network("weights.norm-gain-and-bias", source=CLASSIC)
def _norm_gain_and_bias(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """Gain and bias of one normalisation are exchanged."""
    norm = network.get_submodule("crosstransformer.layers.0.norm1")
    norm.weight, norm.bias = norm.bias, norm.weight
    return network


@_network("weights.kernel-mirrored", source=CLASSIC)
def _kernel_mirrored(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The kernel of one convolution is mirrored: convolution where correlation is meant."""
    weight = _parameter(network, "tencoder.0.conv.weight")
    weight.copy_(weight.flip(-1))
    return network


@_program("weights.heads-permuted", source=MEASURED, sample=True)
def _heads_permuted(converted: Converted) -> Model:
    """Two heads' rows of one query projection are exchanged."""
    linear = converted.first("linear", "crosstransformer.layers.1.cross_attn")

    def exchange(weight: np.ndarray) -> np.ndarray:
        rows = np.arange(len(weight)).reshape(_HEADS, -1)
        rows[[0, 1]] = rows[[1, 0]]
        exchanged: np.ndarray = weight[rows.reshape(-1)]
        return exchanged

    return edited(converted.model, with_constant(converted.model, linear, "weight", exchange))


@_program("weights.heads-interleaved", source=CONVERSIONS)
def _heads_interleaved(converted: Converted) -> Model:
    """The output projection expects the heads' channels interleaved."""
    linear = converted.all("linear", "crosstransformer.layers.0.self_attn")[-1]

    def interleave(weight: np.ndarray) -> np.ndarray:
        return weight.reshape(len(weight), _HEADS, -1).swapaxes(1, 2).reshape(weight.shape)

    return edited(converted.model, with_constant(converted.model, linear, "weight", interleave))


@_program("weights.transposed", source=CONVERSIONS)
def _transposed(converted: Converted) -> Model:
    """A square matrix is stored transposed."""
    linear = converted.all("linear", "crosstransformer.layers_t.2.self_attn")[-1]
    return edited(converted.model, with_constant(converted.model, linear, "weight", np.transpose))


@_program("weights.bias-dropped", source=MEASURED, sample=True)
def _bias_dropped(converted: Converted) -> Model:
    """The bias of one convolution is dropped."""
    conv = converted.first("conv", "encoder.2.dconv.layers.1.0")
    return edited(converted.model, with_inputs(conv, bias=None))


@_program("weights.exponent-bit", source=MEASURED, sample=True)
def _exponent_bit(converted: Converted) -> Model:
    """One exponent bit of one weight is flipped: it is halved or doubled."""
    conv = converted.first("conv", "decoder.1.rewrite")

    def flip(weight: np.ndarray) -> np.ndarray:
        place = int(np.argsort(np.abs(weight).reshape(-1))[weight.size // 2])
        return flip_exponent(place)(weight)

    return edited(converted.model, with_constant(converted.model, conv, "weight", flip))


@_program("weights.bfloat16", source=CLASSIC)
def _bfloat16(converted: Converted) -> Model:
    """The weights of one layer went through bfloat16 on their way."""
    linear = converted.first("linear", "crosstransformer.layers.2.linear1")

    def narrow(weight: np.ndarray) -> np.ndarray:
        bits = weight.astype(np.float32).view(np.uint32)
        narrowed: np.ndarray = (bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
        widened: np.ndarray = narrowed.view(np.float32)
        return widened

    return edited(converted.model, with_constant(converted.model, linear, "weight", narrow))


@_program("weights.eight-bits", source=CLASSIC)
def _eight_bits(converted: Converted) -> Model:
    """The weights of one convolution were quantised to 8 bits and widened again."""
    conv = converted.first("conv", "encoder.1.rewrite")

    def quantise(weight: np.ndarray) -> np.ndarray:
        step = np.abs(weight).max() / 127
        coarse: np.ndarray = np.rint(weight / step) * step
        return coarse.astype(np.float32)

    return edited(converted.model, with_constant(converted.model, conv, "weight", quantise))


@_program("weights.input-channels-exchanged", source=CONVERSIONS)
def _input_channels_exchanged(converted: Converted) -> Model:
    """The first convolution over audio takes its input channels in the order right, left."""
    conv = converted.first("conv", "tencoder.0.conv")
    changed = with_constant(converted.model, conv, "weight", lambda weight: weight[:, ::-1])
    return edited(converted.model, changed)


@_program("weights.transposed-kernel-mirrored", source=CLASSIC)
def _transposed_kernel_mirrored(converted: Converted) -> Model:
    """The kernel of one transposed convolution is mirrored."""
    conv = converted.first("conv_transpose", "tdecoder.2.conv_tr")
    changed = with_constant(converted.model, conv, "weight", lambda weight: np.flip(weight, -1))
    return edited(converted.model, changed)


@_program("weights.bias-of-other-branch", source=CLASSIC)
def _bias_of_other_branch(converted: Converted) -> Model:
    """A convolution of one branch has the bias of its counterpart in the other."""
    conv = converted.first("conv", "encoder.2.conv")
    other = converted.first("conv", "tencoder.2.conv")
    bias = known_value(converted.model, other, "bias")
    changed = with_constant(converted.model, conv, "bias", lambda _: np.asarray(bias))
    return edited(converted.model, changed)


@_program("weights.norm-gain-rolled", source=CLASSIC)
def _norm_gain_rolled(converted: Converted) -> Model:
    """The gain of one group normalisation is off by one channel."""
    product = converted.first("mul", "encoder.2.dconv.layers.0.1")
    changed = with_constant(converted.model, product, "y", lambda gain: np.roll(gain, 1, 1))
    return edited(converted.model, changed)


@_program("weights.layer-scale-squared", source=CLASSIC)
def _layer_scale_squared(converted: Converted) -> Model:
    """One LayerScale was folded into its constant twice."""
    product = converted.first("mul", "crosstransformer.layers_t.3.gamma_2")
    changed = with_constant(converted.model, product, "x", np.square)
    return edited(converted.model, changed)


@fault("weights.stale-package", on="package", caught_by="conversion", source=CONVERSIONS)
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
