"""What surgery must know of an HTDemucs beforehand: whether it is supported, its sizes and taps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

from demucs.hdemucs import MultiWrap
from demucs.htdemucs import HTDemucs
from torch import nn

from harness.errors import ParityError
from harness.subjects.protocol import Interface, Shape

_MODULE_PATHS: Final = {
    "norm.freq": "norm_freq",
    "norm.time": "norm_time",
    "freq": "denorm_freq",
    "time": "denorm_time",
}
_BOTTOM_CONVOLUTIONS: Final = ("channel_upsampler", "channel_downsampler")


def require_supported(model: nn.Module) -> None:
    """Do nothing if `extract_inner_model` can represent ``model``.

    Raises:
        ParityError: it can't; the message names the property.
    """
    reason = _why_not(model)
    if reason is not None:
        raise ParityError(f"can't take the STFT out of this {type(model).__name__}: {reason}")


def _why_not(model: nn.Module) -> str | None:
    """Return the first property of ``model`` that the surgery can't represent."""
    if hasattr(model, "models"):
        return "it is a bag of models; extract each of its members"
    if not isinstance(model, HTDemucs):
        return "it is no demucs.htdemucs.HTDemucs"
    if type(model).forward is not HTDemucs.forward:
        return "it overrides HTDemucs.forward"
    if model.training:
        return "it is in training mode; call model.eval() first"
    if not model.cac:
        return "cac=False predicts masks, not complex spectrograms; only cac=True is supported"
    if model.crosstransformer is None:
        return "it has no cross-transformer (t_layers=0)"
    return _why_not_this_transformer(model.crosstransformer) or _why_not_these_stages(model)


def _why_not_this_transformer(transformer: Any) -> str | None:
    if transformer.emb not in ("sin", "cape"):
        return f"t_emb={transformer.emb!r}; only 'sin' and 'cape' are supported"
    if transformer.sin_random_shift:
        return (
            f"t_sin_random_shift={transformer.sin_random_shift} shifts positions at random; "
            "only 0 is reproducible"
        )
    for branch in ("layers", "layers_t"):
        for index, layer in enumerate(getattr(transformer, branch)):
            if layer.sparse:
                return f"crosstransformer.{branch}.{index} has sparse attention"
    return None


def _why_not_these_stages(model: HTDemucs) -> str | None:
    for index, stage in enumerate(model.encoder):
        if not _first_layer(stage).freq:
            return (
                f"encoder.{index} has no frequency axis left (depth={model.depth}), "
                "and the cross-transformer needs one"
            )
    return None


class _Layer(Protocol):
    """What is read of demucs' encoder layer."""

    freq: bool
    pad: int
    kernel_size: int
    stride: int
    conv: nn.Conv1d | nn.Conv2d


def _first_layer(stage: nn.Module) -> _Layer:
    if isinstance(stage, MultiWrap):
        stage = stage.layers[0]
    return cast(_Layer, stage)


class Sizes:
    """Sizes of the inputs of ``model``, and of what reaches the cross-transformer."""

    def __init__(self, model: HTDemucs) -> None:
        self.samples = int(model.segment * model.samplerate)
        self.frames = math.ceil(self.samples / model.hop_length)
        self.bins: int = model.nfft // 2

        self.bottom_bins = self.bins
        self.bottom_channels = 0
        for stage in model.encoder:
            layer = _first_layer(stage)
            self.bottom_bins = _convolved(self.bottom_bins, layer)
            self.bottom_channels = layer.conv.out_channels
        self.bottom_samples = self.samples
        for stage in model.tencoder:
            layer = _first_layer(stage)
            whole_strides = math.ceil(self.bottom_samples / layer.stride) * layer.stride
            self.bottom_samples = _convolved(whole_strides, layer)


def _convolved(length: int, layer: _Layer) -> int:
    return (length + 2 * layer.pad - layer.kernel_size) // layer.stride + 1


def inner_interface(
    sources: Sequence[str], spectrogram: Shape, audio: Shape, parts: Any
) -> Interface:
    """Return what an extracted network takes and returns.

    Args:
        sources: names of the stems.
        spectrogram, audio: shapes of the inputs.
        parts: the network, or the original: the taps are those of its blocks.
    """
    inputs = {"spectrogram": spectrogram, "audio": audio}
    outputs = {
        name: (1, len(sources), *shape[1:])
        for name, shape in zip(("freq", "time"), inputs.values(), strict=True)
    }
    taps = {name: tap_module_path(name) for name in names_of(parts)}
    return Interface(inputs, outputs, taps, tuple(sources))


def tap_module_path(name: str) -> str:
    """Return the path of the module of `FullHybridHTDemucs` whose (first) output is the tap.

    In a converted program it is the beginning of the module path of the operations that compute the
    tap; the last of them whose result is used outside produces it, possibly in another layout.
    """
    return _MODULE_PATHS.get(name, name)


def names_of(parts: Any) -> tuple[str, ...]:
    """Return the names of all taps, in order of computation."""
    names = ["norm.freq", "norm.time"]
    for index in range(len(parts.encoder)):
        if index < len(parts.tencoder):
            names.append(f"tencoder.{index}")
        names.append(f"encoder.{index}")
        if index == 0 and parts.freq_emb is not None:
            names.append("freq_emb")
    upsampler, downsampler = _BOTTOM_CONVOLUTIONS
    has_bottom = getattr(parts, upsampler, None) is not None
    if has_bottom:
        names += [upsampler, f"{upsampler}_t"]
    if not isinstance(parts.crosstransformer.norm_in, nn.Identity):
        names += ["crosstransformer.norm_in", "crosstransformer.norm_in_t"]
    for index in range(len(parts.crosstransformer.layers)):
        names += [f"crosstransformer.layers.{index}", f"crosstransformer.layers_t.{index}"]
    if has_bottom:
        names += [downsampler, f"{downsampler}_t"]
    first_time_decoder = len(parts.decoder) - len(parts.tdecoder)
    for index in range(len(parts.decoder)):
        names.append(f"decoder.{index}")
        if index >= first_time_decoder:
            names.append(f"tdecoder.{index - first_time_decoder}")
    return (*names, "freq", "time")
