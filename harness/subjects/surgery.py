"""HTDemucs without its STFT: the network that is converted, with the STFT left outside.

`FullHybridHTDemucs` computes what ``demucs.htdemucs.HTDemucs.forward`` computes between its STFT
and its inverse STFT, in the same order of operations, on the same weights. On the published
architectures, with S sources:

===========  ====  =====================  =======
spectrogram  in    [1, 4, 2048, 336]      float32
audio        in    [1, 2, 343980]         float32
freq         out   [1, S, 4, 2048, 336]   float32
time         out   [1, S, 2, 343980]      float32
===========  ====  =====================  =======

The sizes come from the model, so a narrower or shorter model has its own. The original's stems are
``inverse_stft(freq) + time``. Names in the state dict equal the original's.

Module paths matter here, because a converter labels its operations with them. A traced call of
``self.encoder[0](x)`` is labelled "0", the same as ``self.decoder[0](x)``. So every list of stages
is a module that is called, and every step between the stages is a module of its own.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from demucs.htdemucs import HTDemucs
from demucs.transformer import create_2d_sin_embedding
from torch import Tensor, nn

from harness.errors import ParityError
from harness.subjects.structure import Sizes, inner_interface, require_supported

NORMALISATION_EPS = 1e-5
"""Added to the standard deviation, outside the root, as HTDemucs does."""


class FullHybridHTDemucs(nn.Module):
    """Both branches of HTDemucs from the spectrogram and the audio to ``(freq, time)``.

    Make one with `extract_inner_model`. It shares modules and weights with the model that it is
    made of: changing one changes the other.

    Attributes:
        interface: what it takes and returns, and its taps. (No property: a trace would compile it.)
    """

    def __init__(self, model: HTDemucs) -> None:
        super().__init__()
        sizes = Sizes(model)
        spectrogram = (1, 2 * model.audio_channels, sizes.bins, sizes.frames)
        audio = (1, model.audio_channels, sizes.samples)

        # In the original's order, so that the state dicts have the same order, too.
        self.encoder = _Stages(model.encoder)
        self.decoder = _Stages(model.decoder)
        self.tencoder = _Stages(model.tencoder)
        self.tdecoder = _Stages(model.tdecoder)
        self.freq_emb = _FrequencyEmbedding(model) if model.freq_emb is not None else None
        has_bottom = bool(model.bottom_channels)
        self.channel_upsampler = model.channel_upsampler if has_bottom else None
        self.channel_downsampler = model.channel_downsampler if has_bottom else None
        self.channel_upsampler_t = model.channel_upsampler_t if has_bottom else None
        self.channel_downsampler_t = model.channel_downsampler_t if has_bottom else None
        self.crosstransformer = _CrossTransformer(model, sizes)

        self.interface = inner_interface(model.sources, spectrogram, audio, self)
        self.norm_freq = _Normalise(axes=(1, 2, 3))
        self.norm_time = _Normalise(axes=(1, 2))
        self.denorm_freq = _Denormalise(self.interface.outputs["freq"][1:])
        self.denorm_time = _Denormalise(self.interface.outputs["time"][1:])

    def forward(self, spectrogram: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(freq, time)`` for one segment; shapes as in the module's docstring.

        Raises:
            ParityError: an input has another shape than `interface` says.
        """
        self._check_shapes(spectrogram, audio)
        x, mean, std = self.norm_freq(spectrogram)
        xt, mean_t, std_t = self.norm_time(audio)

        x, xt, skips, skips_t, lengths, lengths_t = self._encode(x, xt)
        x, xt = self._transform(x, xt)

        first_time_decoder = len(self.decoder) - len(self.tdecoder)
        for index in range(len(self.decoder)):
            x, before_upsampling = self.decoder(index, x, skips.pop(), lengths.pop())
            if index >= first_time_decoder:
                time_index = index - first_time_decoder
                if cast(Any, self.tdecoder[time_index]).empty:  # the branches part here
                    xt, skip_t = before_upsampling[:, :, 0], None
                else:
                    skip_t = skips_t.pop()
                xt, _ = self.tdecoder(time_index, xt, skip_t, lengths_t.pop())

        return self.denorm_freq(x, mean, std), self.denorm_time(xt, mean_t, std_t)

    def _encode(
        self, x: Tensor, xt: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor], list[int], list[int]]:
        skips: list[Tensor] = []
        skips_t: list[Tensor] = []
        lengths: list[int] = []
        lengths_t: list[int] = []
        for index in range(len(self.encoder)):
            lengths.append(x.shape[-1])
            inject = None
            if index < len(self.tencoder):
                lengths_t.append(xt.shape[-1])
                xt = self.tencoder(index, xt)
                if cast(Any, self.tencoder[index]).empty:  # the branches merge here
                    inject = xt
                else:
                    skips_t.append(xt)
            x = self.encoder(index, x, inject)
            if index == 0 and self.freq_emb is not None:
                x = self.freq_emb(x)
            skips.append(x)
        return x, xt, skips, skips_t, lengths, lengths_t

    def _transform(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        if self.channel_upsampler is not None and self.channel_upsampler_t is not None:
            bins, frames = x.shape[2:]
            x = self.channel_upsampler(x.flatten(2))
            x = x.reshape(*x.shape[:2], bins, frames)
            xt = self.channel_upsampler_t(xt)
        x, xt = self.crosstransformer(x, xt)
        if self.channel_downsampler is not None and self.channel_downsampler_t is not None:
            bins, frames = x.shape[2:]
            x = self.channel_downsampler(x.flatten(2))
            x = x.reshape(*x.shape[:2], bins, frames)
            xt = self.channel_downsampler_t(xt)
        return x, xt

    def _check_shapes(self, spectrogram: Tensor, audio: Tensor) -> None:
        if cast(
            Any, torch.jit
        ).is_tracing():  # shapes are tensors then, and a comparison would be traced
            return
        shapes = self.interface.inputs
        for (name, expected), tensor in zip(shapes.items(), (spectrogram, audio), strict=True):
            if tuple(tensor.shape) != expected:
                raise ParityError(
                    f"{name} has shape {list(tensor.shape)}, expected {list(expected)}: "
                    "pass one whole segment (pad a shorter one with zeros)"
                )


def extract_inner_model(model: nn.Module) -> FullHybridHTDemucs:
    """Return the network between the STFT and the inverse STFT of ``model``, in eval mode.

    Nothing is copied: the result shares the weights of ``model``.

    Raises:
        ParityError: ``model`` is no HTDemucs, or one whose forward this module doesn't follow; the
            message names the property.
    """
    require_supported(model)
    return FullHybridHTDemucs(cast(HTDemucs, model)).eval()


class _Stages(nn.ModuleList):
    """A list of modules that is called with the index of the one to run, to appear in traces."""

    def forward(self, index: int, *arguments: Any) -> Any:
        return self[index](*arguments)


class _Normalise(nn.Module):
    """Shift and scale to mean 0 and unbiased standard deviation 1 over everything but the batch."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self._axes = axes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised ``x``, the mean, and the standard deviation."""
        mean = x.mean(dim=self._axes, keepdim=True)
        std = x.std(dim=self._axes, keepdim=True)
        return (x - mean) / (NORMALISATION_EPS + std), mean, std


class _Denormalise(nn.Module):
    """Split the channels into stems, and undo `_Normalise`."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = shape

    def forward(self, x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        return x.view(-1, *self._shape) * std[:, None] + mean[:, None]


class _FrequencyEmbedding(nn.Module):
    """Add to each frequency its learnt vector, [1, channels, bins, frames] to the same shape."""

    def __init__(self, model: HTDemucs) -> None:
        super().__init__()
        self.embedding: nn.Embedding = model.freq_emb.embedding
        self._boost: float = model.freq_emb.scale
        self._weight: float = model.freq_emb_scale

    def forward(self, x: Tensor) -> Tensor:
        # The original looks every bin up in order, which is the table itself, and expands it to the
        # shape of x, which a converter would store: 33 MB of copies in the published architecture.
        vectors = self.embedding.weight * self._boost
        return x + self._weight * vectors.t()[None, :, :, None]


class _CrossTransformer(nn.Module):
    """Demucs' CrossTransformerEncoder, with its positions computed once instead of at every call.

    Spectrogram [1, C, bins, frames] and audio [1, C, samples] to the same shapes.
    """

    positions: Tensor
    positions_t: Tensor

    def __init__(self, model: HTDemucs, sizes: Sizes) -> None:
        super().__init__()
        original = model.crosstransformer
        self.norm_in = original.norm_in
        self.norm_in_t = original.norm_in_t
        self.layers = _Stages(original.layers)
        self.layers_t = _Stages(original.layers_t)
        self._self_attention_parity: int = original.classic_parity
        self._position_weight: float = original.weight_pos_embed

        reference = next(original.parameters())
        channels = model.bottom_channels or sizes.bottom_channels
        positions = create_2d_sin_embedding(
            channels, sizes.bottom_bins, sizes.frames, reference.device, original.max_period
        )
        positions_t = original._get_pos_embedding(
            sizes.bottom_samples, 1, channels, reference.device
        )
        # Not in the state dict: the original has no such tensors.
        self.register_buffer("positions", _tokens(positions).contiguous(), persistent=False)
        self.register_buffer(
            "positions_t", positions_t.permute(1, 0, 2).contiguous(), persistent=False
        )

    def forward(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        channels, bins, frames = x.shape[1:]
        x = self.norm_in(_tokens(x)) + self._position_weight * self.positions
        xt = self.norm_in_t(xt.permute(0, 2, 1)) + self._position_weight * self.positions_t
        for index in range(len(self.layers)):
            if index % 2 == self._self_attention_parity:
                x, xt = self.layers(index, x), self.layers_t(index, xt)
            else:
                x, xt = self.layers(index, x, xt), self.layers_t(index, xt, x)
        x = x.reshape(-1, frames, bins, channels).permute(0, 3, 2, 1)
        return x, xt.permute(0, 2, 1)


def _tokens(x: Tensor) -> Tensor:
    """Return [B, C, bins, frames] as [B, frames * bins, C]: all bins of a frame, then the next."""
    batch, channels, bins, frames = x.shape
    return x.permute(0, 3, 2, 1).reshape(batch, frames * bins, channels)
