"""What the shapes of an HTDemucs' tensors tell of its constructor's arguments.

In: names and tensors (or anything with a shape) of a state dict. Out: arguments of
``demucs.htdemucs.HTDemucs``. Shapes tell the channels and their growth, the depth, the kernels and
contexts, the number of stems and of audio channels, the blocks that are there, the bottleneck and
the transformer's layers. The STFT shows in the frequency embedding, which has a row for each bin
behind the first stage. They don't tell the segment, the sample rate, the stems' names and the
number of attention heads, nor what has no tensor of its own (strides, activations, epsilons).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from harness.errors import CheckpointError
from harness.subjects.foreign import WAY_OUT
from harness.subjects.values import shown

SHAPED: Final = frozenset(
    (
        "audio_channels", "cac", "channels", "channels_time", "growth", "depth", "kernel_size",
        "rewrite", "context", "context_enc", "norm_starts", "dconv_mode", "dconv_depth",
        "dconv_comp", "bottom_channels", "t_layers", "t_hidden_scale", "t_cross_first",
        "t_norm_out", "t_layer_scale",
    )
)  # fmt: skip
"""Arguments that shapes decide, of every HTDemucs."""


class _Shapes:
    """Looks up sizes, and says which tensor is wrong where there is none to look up."""

    def __init__(self, path: Path, state: Mapping[str, Tensor]) -> None:
        self._path = path
        self._shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}

    def size(self, name: str, axis: int) -> int:
        """Return the size of an axis that every HTDemucs' tensor of this name has."""
        shape = self._shapes.get(name)
        if shape is None:
            near = [f" and has {shown(other)}" for other in self._shapes if other.endswith(name)]
            raise CheckpointError(
                f"checkpoint {self._path} lacks tensor {name!r}{''.join(near[:1])}: its tensors "
                f"are not those of an HTDemucs; {WAY_OUT}"
            )
        if not -len(shape) <= axis < len(shape) or shape[axis] < 1:
            raise CheckpointError(
                f"tensor {name!r} of checkpoint {self._path} has shape {list(shape)}, which is "
                "none of an HTDemucs"
            )
        return int(shape[axis])

    def __contains__(self, beginning: str) -> bool:
        return any(name.startswith(beginning) for name in self._shapes)

    def count(self, path: str) -> int:
        """Return how many modules ``path.0``, ``path.1``, ... there are."""
        count = 0
        while f"{path}.{count}." in self:
            count += 1
        return count


def arguments_from_shapes(
    path: Path, state: Mapping[str, Tensor], base: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments that the shapes of ``state`` tell.

    Args:
        path: the checkpoint, for messages.
        state: the tensors by name.
        base: all arguments, as they would be otherwise; several may give the same shapes, and
            these are preferred then.

    Raises:
        CheckpointError: a tensor that every HTDemucs has is missing or has no such shape.
    """
    shapes = _Shapes(path, state)
    if "encoder.0.layers.0." in shapes and not base["multi_freqs"]:
        raise CheckpointError(
            f"checkpoint {path} splits its frequency bands, and its tensors don't say where; say "
            "it: add multi_freqs=0.25,0.5 (or what it was trained with) to the subject's options"
        )
    stage = "encoder.0.layers.0" if "encoder.0.layers.0." in shapes else "encoder.0"
    found = _sizes(shapes, stage, base)
    found |= _blocks(shapes, stage, found, base)
    found |= _transformer(shapes, base)
    found["freq_emb"] = (base["freq_emb"] or 0.2) if "freq_emb." in shapes else 0
    if "freq_emb." in shapes:
        found["nfft"] = 2 * base["stride"] * shapes.size("freq_emb.embedding.weight", 0)
    return found


def stems_in_shapes(path: Path, state: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> int:
    """Return the number of stems that come out of the last stage of the time branch."""
    last = _Shapes(path, state).count("tdecoder") - 1
    outputs = _Shapes(path, state).size(f"tdecoder.{last}.conv_tr.weight", 1)
    return outputs // int(arguments["audio_channels"])


def _sizes(shapes: _Shapes, stage: str, base: Mapping[str, Any]) -> dict[str, Any]:
    audio = shapes.size("tencoder.0.conv.weight", 1)
    channels = shapes.size(f"{stage}.conv.weight", 0)
    time = shapes.size("tencoder.0.conv.weight", 0)
    growth = base["growth"]
    if "tencoder.1.conv." in shapes:
        ratio = shapes.size("tencoder.1.conv.weight", 0) / time
        if int(growth * time) != shapes.size("tencoder.1.conv.weight", 0):
            growth = int(ratio) if ratio == int(ratio) else ratio
    return {
        "audio_channels": audio,
        "cac": shapes.size(f"{stage}.conv.weight", 1) == 2 * audio,
        "channels": channels,
        "channels_time": None if time == channels else time,
        "growth": growth,
        "depth": shapes.count("encoder"),
        "kernel_size": shapes.size("tencoder.0.conv.weight", -1),
    }


def _blocks(
    shapes: _Shapes, stage: str, sizes: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    depth = sizes["depth"]
    found: dict[str, Any] = {"rewrite": f"{stage}.rewrite." in shapes}
    if found["rewrite"]:
        found["context_enc"] = shapes.size(f"{stage}.rewrite.weight", -1) // 2
    last = f"tdecoder.{shapes.count('tdecoder') - 1}.rewrite.weight"
    if found["rewrite"]:
        found["context"] = shapes.size(last, -1) // 2
    normed = [index for index in range(depth) if f"encoder.{index}.norm1." in shapes]
    found["norm_starts"] = normed[0] if normed else max(depth, base["norm_starts"])
    encoders, decoders = "tencoder.0.dconv." in shapes, f"decoder.{depth - 1}.dconv." in shapes
    decoders = decoders or f"decoder.{depth - 1}.layers.0.dconv." in shapes
    found["dconv_mode"] = encoders + 2 * decoders
    if found["dconv_mode"]:
        branch = "tencoder.0" if encoders else f"tdecoder.{shapes.count('tdecoder') - 1}"
        found |= _residual(shapes, f"{branch}.dconv.layers", base)
    bottom = "channel_upsampler."
    found["bottom_channels"] = shapes.size(f"{bottom}weight", 0) if bottom in shapes else 0
    return found


def _residual(shapes: _Shapes, layers: str, base: Mapping[str, Any]) -> dict[str, Any]:
    hidden, channels = (shapes.size(f"{layers}.0.0.weight", axis) for axis in (0, 1))
    depth, compression = shapes.count(layers), base["dconv_comp"]
    if int(channels / compression) != hidden:
        ratio = channels / hidden
        compression = int(ratio) if ratio == int(ratio) else ratio
    dilates = base["dconv_depth"] >= 0
    return {"dconv_depth": depth if dilates else -depth, "dconv_comp": compression}


def _transformer(shapes: _Shapes, base: Mapping[str, Any]) -> dict[str, Any]:
    path = "crosstransformer"
    layers = shapes.count(f"{path}.layers")
    found: dict[str, Any] = {"t_layers": layers}
    if not layers:
        return found
    first = f"{path}.layers.0"
    width = shapes.size(f"{first}.linear1.weight", 1)
    scale = shapes.size(f"{first}.linear1.weight", 0) / width
    found["t_hidden_scale"] = scale
    found["t_cross_first"] = f"{first}.cross_attn." in shapes
    found["t_layer_scale"] = f"{first}.gamma_1." in shapes
    found["t_norm_out"] = f"{first}.norm_out." in shapes
    if found["t_norm_out"]:
        found["t_norm_first"] = True
    if f"{path}.norm_in." not in shapes:
        found |= {"t_norm_in": False, "t_norm_in_group": False}
    elif not (base["t_norm_in"] or base["t_norm_in_group"]):
        found["t_norm_in"] = True
    if f"{path}.position_embeddings." in shapes:
        found["t_emb"] = "scaled"
    return found
