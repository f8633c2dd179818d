"""Bugs of cutting the network out of its STFT and writing its forward again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from harness.faults.registry import CLASSIC, CONVERSIONS, MEASURED, fault
from harness.subjects import FullHybridHTDemucs

_network = partial(fault, on="network", caught_by="surgery")
_EPS = 1e-5


class _Normalise(nn.Module):
    """The input normalisation, with its statistics to be got wrong."""

    def __init__(self, axes: tuple[int, ...], divisor: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._axes, self._divisor = axes, divisor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean(dim=self._axes, keepdim=True)
        var = x.var(dim=self._axes, keepdim=True)
        return (x - mean) / self._divisor(var, x), mean, var.sqrt()


def _renormalise(
    network: FullHybridHTDemucs, branch: str, divisor: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Let a branch's input be divided by ``divisor(variance, x)``."""
    axes = {"freq": (1, 2, 3), "time": (1, 2)}[branch]
    setattr(network, f"norm_{branch}", _Normalise(axes, divisor))


def _after(module: nn.Module, change: Callable[..., Any]) -> None:
    """Let ``change(inputs, output)`` replace what a module returns."""
    module.register_forward_hook(lambda _, inputs, output: change(inputs, output))


@_network("surgery.eps-inside-root", source=CONVERSIONS, case="noise")
def _eps_inside_root(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The epsilon of the input normalisation stands inside the root: sqrt(var + 1e-5)."""
    for branch in ("freq", "time"):
        _renormalise(network, branch, lambda var, x: (var + _EPS).sqrt())
    return network


@_network("surgery.eps-missing", source=CONVERSIONS, case="silence")
def _eps_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The epsilon of the input normalisation is missing: silence becomes NaN."""
    _renormalise(network, "freq", lambda var, x: var.sqrt())
    return network


@_network("surgery.eps-of-another-size", source=CLASSIC, case="noise")
def _eps_of_another_size(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The epsilon of the input normalisation is 1e-8 instead of 1e-5."""
    _renormalise(network, "time", lambda var, x: var.sqrt() + 1e-8)
    return network


@_network("surgery.variance-for-deviation", source=CLASSIC)
def _variance_for_deviation(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The input is divided by its variance, not by its standard deviation."""
    _renormalise(network, "time", lambda var, x: var + _EPS)
    return network


@_network("surgery.normalised-per-channel", source=CLASSIC)
def _normalised_per_channel(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """Each channel is divided by its own deviation, not by that of all together."""
    _renormalise(network, "time", lambda var, x: x.std(dim=2, keepdim=True) + _EPS)
    return network


@_network("surgery.group-norm-unbiased", source=CONVERSIONS, sample=True)
def _group_norm_unbiased(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """A group normalisation divides by the unbiased standard deviation, not by the biased one."""
    norm = network.get_submodule("encoder.3.dconv.layers.0.1")
    bias = norm.get_parameter("bias")[:, None]

    def unbiased(inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        count = inputs[0][0].numel()
        scaled: Tensor = bias + (output - bias) * ((count - 1) / count) ** 0.5
        return scaled

    _after(norm, unbiased)
    return network


@_network("surgery.layer-norm-eps", source=CONVERSIONS)
def _layer_norm_eps(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """One layer normalisation has the epsilon 1e-3 of another framework."""
    norm: Any = network.get_submodule("crosstransformer.layers.3.norm2")
    norm.eps = 1e-3
    return network


@_network("surgery.mean-not-restored", source=CLASSIC, case="dc")
def _mean_not_restored(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The mean that was taken from the audio is not added to the stems again."""
    restore = network.denorm_time
    _after(restore, lambda inputs, output: output - inputs[1][:, None])
    return network


@_network("surgery.deviation-of-other-branch", source=CLASSIC)
def _deviation_of_other_branch(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The time branch is scaled back by the deviation of the spectrogram."""
    seen: dict[str, Tensor] = {}
    _after(network.norm_freq, lambda inputs, output: seen.update(std=output[2]))
    _after(
        network.denorm_time,
        lambda inputs, output: (output - inputs[1][:, None]) * (seen["std"].item() / inputs[2]),
    )
    return network


@_network("surgery.time-branch-missing", source=CONVERSIONS)
def _time_branch_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The time branch is left out: its output is zero."""
    _after(network.denorm_time, lambda inputs, output: torch.zeros_like(output))
    return network


@_network("surgery.branches-swapped-in-attention", source=CONVERSIONS)
def _branches_swapped(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """Cross-attention of the spectrogram attends to the spectrogram: the branches are confused."""
    layer = network.crosstransformer.layers[1]
    layer.register_forward_pre_hook(lambda _, inputs: (inputs[0], inputs[0]))
    return network


@_network("surgery.attends-to-the-updated", source=CLASSIC)
def _attends_to_the_updated(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The second cross-attention of a pair attends to what the first one has already changed."""
    layers, layers_t = network.crosstransformer.layers, network.crosstransformer.layers_t
    seen: dict[str, Tensor] = {}
    _after(layers[1], lambda inputs, output: seen.update(x=output))
    layers_t[1].register_forward_pre_hook(lambda _, inputs: (inputs[0], seen["x"]))
    return network


@_network("surgery.frequency-embedding-missing", source=CONVERSIONS, sample=True)
def _frequency_embedding_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The frequency embedding is not added."""
    assert network.freq_emb is not None
    _after(network.freq_emb, lambda inputs, output: inputs[0])
    return network


@_network("surgery.frequency-embedding-unscaled", source=CLASSIC)
def _frequency_embedding_unscaled(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The frequency embedding lacks the factor of ten that Demucs stores it without."""
    assert network.freq_emb is not None
    _after(network.freq_emb, lambda inputs, output: inputs[0] + (output - inputs[0]) / 10)
    return network


@_network("surgery.frequency-embedding-reversed", source=CLASSIC)
def _frequency_embedding_reversed(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The frequency embedding runs from high to low."""
    assert network.freq_emb is not None
    _after(network.freq_emb, lambda inputs, output: inputs[0] + (output - inputs[0]).flip(2))
    return network


@_network("surgery.positions-shifted", source=CONVERSIONS, sample=True)
def _positions_shifted(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The positional embedding of the time branch starts at one instead of zero."""
    positions = network.crosstransformer.positions_t
    network.crosstransformer.positions_t = positions.roll(-1, dims=1)
    return network


@_network("surgery.positions-transposed", source=CONVERSIONS)
def _positions_transposed(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The two-dimensional positional embedding is laid out bin by bin, not frame by frame."""
    positions = network.crosstransformer.positions
    frames = network.interface.inputs["spectrogram"][-1]
    by_frame = positions.reshape(1, frames, -1, positions.shape[-1])
    network.crosstransformer.positions = by_frame.transpose(1, 2).reshape(positions.shape)
    return network


@_network("surgery.positions-missing", source=CLASSIC)
def _positions_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The positional embedding of the spectrogram is not added."""
    network.crosstransformer.positions = torch.zeros_like(network.crosstransformer.positions)
    return network


@_network("surgery.skip-missing", source=CLASSIC)
def _skip_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """One skip connection from encoder to decoder is missing."""
    network.decoder[2].register_forward_pre_hook(
        lambda _, inputs: (inputs[0], torch.zeros_like(inputs[1]), *inputs[2:])
    )
    return network


@_network("surgery.layer-missing", source=CLASSIC)
def _layer_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """One transformer layer is left out."""
    _after(network.crosstransformer.layers[4], lambda inputs, output: inputs[0])
    return network


@_network("surgery.attention-missing", source=MEASURED)
def _attention_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """Every attention gives zero: with untrained weights that passes 1e-5/1e-7."""
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            _after(module, lambda inputs, output: (torch.zeros_like(output[0]), output[1]))
    return network


@_network("surgery.norm-out-missing", source=CLASSIC)
def _norm_out_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The group normalisation at the end of one transformer layer is forgotten."""
    network.crosstransformer.layers_t[2].norm_out = nn.Identity()
    return network


@_network("surgery.residual-branch-missing", source=CLASSIC)
def _residual_branch_missing(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The residual convolutions of one encoder are left out."""
    network.get_submodule("tencoder.2").dconv = nn.Identity()
    return network


@_network("surgery.gelu-tanh", source=CONVERSIONS)
def _gelu_tanh(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """One GELU is the tanh approximation."""
    gelu: Any = network.get_submodule("decoder.2.dconv.layers.0.2")
    gelu.approximate = "tanh"
    return network


@_network("surgery.transposed-crop", source=CONVERSIONS)
def _transposed_crop(network: FullHybridHTDemucs) -> FullHybridHTDemucs:
    """The result of a transposed convolution is cropped one position too early."""
    _after(
        network.get_submodule("tdecoder.3.conv_tr"), lambda inputs, output: output.roll(1, dims=-1)
    )
    return network
