"""Bugs of cutting the network out of its STFT and writing its forward again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from harness.faults.registry import CLASSIC, CONVERSIONS, MEASURED, fault
from harness.subjects import FullHybridHTDemucs

_network = partial(fault, judge="network", caught_by="surgery")
_EPS = 1e-5
_Injection: TypeAlias = Callable[[Any], Any]


class _OtherStatistics(nn.Module):
    """The input normalisation, with its statistics to be got wrong."""

    def __init__(self, axes: tuple[int, ...], divisor: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._axes, self._divisor = axes, divisor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean(dim=self._axes, keepdim=True)
        var = x.var(dim=self._axes, keepdim=True)
        return (x - mean) / self._divisor(var, x), mean, var.sqrt()


def _divided(branch: str, divisor: Callable[[Tensor, Tensor], Tensor]) -> _Injection:
    """Divide a branch's input by ``divisor(variance, x)``."""
    axes = {"freq": (1, 2, 3), "time": (1, 2)}[branch]
    return lambda network: setattr(network, f"norm_{branch}", _OtherStatistics(axes, divisor))


def _after(module: str, change: Callable[..., Any]) -> _Injection:
    """Let ``change(inputs, output)`` replace what a module returns, if it returns anything."""

    return lambda network: network.get_submodule(module).register_forward_hook(
        lambda _, inputs, output: change(inputs, output)
    )


def _before(module: str, change: Callable[..., Any]) -> _Injection:
    """Let ``change(*inputs)`` replace what a module gets."""

    return lambda network: network.get_submodule(module).register_forward_pre_hook(
        lambda _, inputs: change(*inputs)
    )


def _set(module: str, name: str, change: Callable[[Any], Any]) -> _Injection:
    """Give an attribute of a module the value ``change(value)``."""

    def inject(network: nn.Module) -> None:
        found = network.get_submodule(module)
        setattr(found, name, change(getattr(found, name)))

    return inject


@_network("surgery.eps-inside-root", source=CONVERSIONS, case="noise")
def _eps_inside_root(network: FullHybridHTDemucs) -> None:
    """The epsilon of the input normalisation stands inside the root: sqrt(var + 1e-5)."""
    for branch in ("freq", "time"):
        _divided(branch, lambda var, x: (var + _EPS).sqrt())(network)


_network("surgery.eps-missing", source=CONVERSIONS, case="silence")(
    _divided("freq", lambda var, x: var.sqrt()),
    "The epsilon of the input normalisation is missing: silence becomes NaN.",
)
_network("surgery.eps-of-another-size", source=CLASSIC, case="noise")(
    _divided("time", lambda var, x: var.sqrt() + 1e-8),
    "The epsilon of the input normalisation is 1e-8 instead of 1e-5.",
)
_network("surgery.variance-for-deviation", source=CLASSIC)(
    _divided("time", lambda var, x: var + _EPS),
    "The input is divided by its variance, not by its standard deviation.",
)
_network("surgery.normalised-per-channel", source=CLASSIC)(
    _divided("time", lambda var, x: x.std(dim=2, keepdim=True) + _EPS),
    "Each channel is divided by its own deviation, not by that of all together.",
)


@_network("surgery.group-norm-unbiased", source=CONVERSIONS, sample=True)
def _group_norm_unbiased(network: FullHybridHTDemucs) -> None:
    """A group normalisation divides by the unbiased standard deviation, not by the biased one."""
    norm = "encoder.3.dconv.layers.0.1"
    bias = network.get_parameter(f"{norm}.bias")[:, None]

    def unbiased(inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        count = inputs[0][0].numel()
        scaled: Tensor = bias + (output - bias) * ((count - 1) / count) ** 0.5
        return scaled

    _after(norm, unbiased)(network)


_network("surgery.layer-norm-eps", source=CONVERSIONS)(
    _set("crosstransformer.layers.3.norm2", "eps", lambda eps: 1e-3),
    "One layer normalisation has the epsilon 1e-3 of another framework.",
)
_network("surgery.mean-not-restored", source=CLASSIC, case="dc")(
    _after("denorm_time", lambda inputs, output: output - inputs[1][:, None]),
    "The mean that was taken from the audio is not added to the stems again.",
)


@_network("surgery.deviation-of-other-branch", source=CLASSIC)
def _deviation_of_other_branch(network: FullHybridHTDemucs) -> None:
    """The time branch is scaled back by the deviation of the spectrogram."""
    seen: dict[str, Tensor] = {}

    def scaled(inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return (output - inputs[1][:, None]) * (seen["std"].item() / inputs[2])

    _after("norm_freq", lambda inputs, output: seen.update(std=output[2]))(network)
    _after("denorm_time", scaled)(network)


_network("surgery.time-branch-missing", source=CONVERSIONS)(
    _after("denorm_time", lambda inputs, output: torch.zeros_like(output)),
    "The time branch is left out: its output is zero.",
)
_network("surgery.branches-swapped-in-attention", source=CONVERSIONS)(
    _before("crosstransformer.layers.1", lambda x, other: (x, x)),
    "Cross-attention of the spectrogram attends to the spectrogram: the branches are confused.",
)


@_network("surgery.attends-to-the-updated", source=CLASSIC)
def _attends_to_the_updated(network: FullHybridHTDemucs) -> None:
    """The second cross-attention of a pair attends to what the first one has already changed."""
    seen: dict[str, Tensor] = {}
    _after("crosstransformer.layers.1", lambda inputs, output: seen.update(x=output))(network)
    _before("crosstransformer.layers_t.1", lambda x, other: (x, seen["x"]))(network)


_network("surgery.frequency-embedding-missing", source=CONVERSIONS, sample=True)(
    _after("freq_emb", lambda inputs, output: inputs[0]),
    "The frequency embedding is not added.",
)
_network("surgery.frequency-embedding-unscaled", source=CLASSIC)(
    _after("freq_emb", lambda inputs, output: inputs[0] + (output - inputs[0]) / 10),
    "The frequency embedding lacks the factor of ten that Demucs stores it without.",
)
_network("surgery.frequency-embedding-reversed", source=CLASSIC)(
    _after("freq_emb", lambda inputs, output: inputs[0] + (output - inputs[0]).flip(2)),
    "The frequency embedding runs from high to low.",
)
_network("surgery.positions-shifted", source=CONVERSIONS, sample=True)(
    _set("crosstransformer", "positions_t", lambda positions: positions.roll(-1, dims=1)),
    "The positional embedding of the time branch starts at one instead of zero.",
)


@_network("surgery.positions-transposed", source=CONVERSIONS)
def _positions_transposed(network: FullHybridHTDemucs) -> None:
    """The two-dimensional positional embedding is laid out bin by bin, not frame by frame."""
    positions = network.crosstransformer.positions
    frames = network.interface.inputs["spectrogram"][-1]
    by_frame = positions.reshape(1, frames, -1, positions.shape[-1])
    network.crosstransformer.positions = by_frame.transpose(1, 2).reshape(positions.shape)


_network("surgery.positions-missing", source=CLASSIC)(
    _set("crosstransformer", "positions", torch.zeros_like),
    "The positional embedding of the spectrogram is not added.",
)
_network("surgery.skip-missing", source=CLASSIC)(
    _before("decoder.2", lambda x, skip, *others: (x, torch.zeros_like(skip), *others)),
    "One skip connection from encoder to decoder is missing.",
)
_network("surgery.layer-missing", source=CLASSIC)(
    _after("crosstransformer.layers.4", lambda inputs, output: inputs[0]),
    "One transformer layer is left out.",
)


@_network("surgery.attention-missing", source=MEASURED)
def _attention_missing(network: FullHybridHTDemucs) -> None:
    """Every attention gives zero: with untrained weights that passes 1e-5/1e-7."""
    for name, module in network.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            _after(name, lambda inputs, output: (torch.zeros_like(output[0]), *output[1:]))(network)


_network("surgery.norm-out-missing", source=CLASSIC)(
    _set("crosstransformer.layers_t.2", "norm_out", lambda norm: nn.Identity()),
    "The group normalisation at the end of one transformer layer is forgotten.",
)
_network("surgery.residual-branch-missing", source=CLASSIC)(
    _set("tencoder.2", "dconv", lambda convolutions: nn.Identity()),
    "The residual convolutions of one encoder are left out.",
)
_network("surgery.gelu-tanh", source=CONVERSIONS)(
    _set("decoder.2.dconv.layers.0.2", "approximate", lambda exact: "tanh"),
    "One GELU is the tanh approximation.",
)
_network("surgery.transposed-crop", source=CONVERSIONS)(
    _after("tdecoder.3.conv_tr", lambda inputs, output: output.roll(1, dims=-1)),
    "The result of a transposed convolution is cropped one position too early.",
)
