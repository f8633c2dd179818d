"""HTDemucs as a `harness.subjects.protocol.Network`: the STFT outside, both branches inside.

Inputs are ``spectrogram`` and ``audio``, outputs ``freq`` and ``time``, with the shapes that
`harness.audio.contract` tells; the stems are ``inverse_stft(freq) + time``. What is cut out is told
in `harness.subjects.surgery`, what shows inside in `harness.subjects.taps`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.htdemucs import HTDemucs
from torch import Tensor, nn

from harness.audio.contract import PUBLISHED, Geometry
from harness.audio.stft import spectrogram_from_waveform, waveform_from_spectrogram
from harness.subjects.names import Architecture, parse_subject_name
from harness.subjects.protocol import Constants, Interface, Network, Place, Shape, state_constants
from harness.subjects.structure import inner_interface, require_supported
from harness.subjects.surgery import FullHybridHTDemucs, extract_inner_model
from harness.subjects.taps import run_original
from harness.subjects.weights import empty_model

BRANCHES: Final = ("freq", "time")
"""The outputs."""
_EMBEDDING: Final[Place] = ("freq_emb.embedding", "weight")


@dataclass(frozen=True)
class HTDemucsNetwork(Network):
    """What an HTDemucs subject is, without its weights: one model, or a bag of several.

    Attributes:
        name: ``NAME[@WEIGHTS][?OPTIONS]``.
        members: one architecture for each model, with all of its arguments.
        bag_weights: for each model, the weight of each of its stems in the result.
        sources: names of the stems, in the order of the outputs.
        geometry: the sizes of the inputs, and the sound that they stand for.
    """

    name: str
    members: tuple[Architecture, ...]
    bag_weights: tuple[tuple[float, ...], ...]
    sources: tuple[str, ...]
    geometry: Geometry
    signal_shape: Shape = field(init=False)
    trained: bool = field(init=False)
    small: bool = field(init=False)

    derived = ("spectrogram",)
    has_surgery = True
    stages = (
        ("norm.freq", "norm", "freq"),
        ("norm.time", "norm", "time"),
        ("encoder", "encoder", "freq"),
        ("freq_emb", "encoder", "freq"),
        ("tencoder", "encoder", "time"),
        ("channel_upsampler", "transformer", "freq"),
        ("channel_upsampler_t", "transformer", "time"),
        ("crosstransformer", "transformer", "freq"),
        ("crosstransformer.norm_in_t", "transformer", "time"),
        ("crosstransformer.layers_t", "transformer", "time"),
        ("channel_downsampler", "transformer", "freq"),
        ("channel_downsampler_t", "transformer", "time"),
        ("decoder", "decoder", "freq"),
        ("tdecoder", "decoder", "time"),
    )

    def __post_init__(self) -> None:
        parsed = parse_subject_name(self.name)
        vars(self).update(
            signal_shape=self.geometry.audio_shape,
            trained=parsed.seed is None,
            small=parsed.architecture == "mini",  # the published sizes take seconds
        )

    def empty_model(self) -> HTDemucs:
        """Return the first model on the "meta" device, in eval mode."""
        return empty_model(self.members[0]).eval()

    @cached_property
    def interface(self) -> Interface:
        """What the extracted network takes and returns."""
        model = self.empty_model()
        require_supported(model)
        shapes = self.geometry.spectrogram_shape, self.geometry.audio_shape
        return inner_interface(self.sources, *shapes, model)

    def inputs_of(self, signal: Tensor) -> dict[str, Tensor]:
        """Return a segment [1, C, n] and its STFT."""
        return {"spectrogram": spectrogram_from_waveform(signal, self.geometry), "audio": signal}

    def observe(
        self, models: Sequence[nn.Module], inputs: Mapping[str, Tensor], *, taps: bool
    ) -> dict[str, Tensor]:
        """Run the original on its ``audio``; returns its own STFT, branches, taps, and stems.

        The values of a bag's model I are called ``model.I.NAME``, and the stems are averaged as
        Demucs does.

        Raises:
            ParityError: ``audio`` is not exactly one segment.
        """
        tensors: dict[str, Tensor] = {}
        weights = torch.tensor(self.bag_weights)[:, :, None, None]
        stems = torch.zeros(())
        for index, (model, weight) in enumerate(zip(models, weights, strict=True)):
            made = run_original(model, inputs["audio"], taps=None if taps else ())
            branches = {"freq": made.freq, "time": made.time}
            inner = {f"tap.{n}": value for n, value in made.taps.items() if n not in branches}
            prefix = f"model.{index}." if len(models) > 1 else ""
            # The models of a bag share their STFT.
            tensors["spectrogram"] = made.spectrogram
            tensors |= {prefix + name: value for name, value in (branches | inner).items()}
            stems = stems + made.stems[0] * weight
        return tensors | {"stems": stems / weights.sum(dim=0)}

    def separate(self, models: Sequence[nn.Module], signal: Tensor) -> Tensor:
        """Return the stems that the originals' own forward makes, averaged as Demucs does."""
        weights = torch.tensor(self.bag_weights, dtype=signal.dtype)[:, :, None, None]
        total = torch.zeros(())
        for model, weight in zip(models, weights, strict=True):
            total = total + model(signal)[0] * weight
        return total / weights.sum(dim=0)

    def separate_file(self, models: Sequence[nn.Module], mixture: Tensor) -> Tensor:
        """Return what Demucs' own command makes of a file, but for its random shifts."""
        weights = [list(row) for row in self.bag_weights]
        model: Any = BagOfModels(list(models), weights) if len(models) > 1 else models[0]
        return demucs_command(model, mixture)

    def extract(self, model: nn.Module) -> FullHybridHTDemucs:
        """Return the network between the STFT and the inverse STFT."""
        return extract_inner_model(model)

    def constants(self, model: nn.Module) -> Constants:
        """Return the tensors of the checkpoint, the embedding's scaled table, and positions."""
        return htdemucs_constants(cast(HTDemucs, model))

    def factors(self, model: nn.Module) -> Mapping[str, Sequence[float]]:
        """Return what the frequency embedding's table is multiplied by."""
        embedding = cast(HTDemucs, model).freq_emb
        if embedding is None:
            return {}
        return {".".join(_EMBEDDING): (embedding.scale, cast(HTDemucs, model).freq_emb_scale)}

    def stems_of(self, outputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Return ``inverse_stft(freq) + time``."""
        return stems_of(outputs)

    def stem_of(self, outputs: Mapping[str, Tensor], index: int) -> Tensor:
        """Return ``inverse_stft(freq) + time`` of one stem."""
        return stem_waveform(outputs, index)


def demucs_command(model: Any, mixture: Tensor) -> Tensor:
    """Return the stems [S, C, n] that Demucs' command makes of a file [C, n] without random shifts.

    That is ``demucs.api.Separator.separate_tensor``: the mixture is brought to mean 0 and deviation
    1, cut into segments that overlap by a quarter, each padded on both sides with what is beside it
    (zeros beyond the file), and put together under triangles.

    Args:
        model: a network of Demucs, a bag, or what has the attributes of one that ``apply_model``
            reads.
        mixture: the file at the model's rate.
    """
    mono = mixture.mean(0)
    mean, deviation = mono.mean(), mono.std() + 1e-8
    made: Tensor = apply_model(model, ((mixture - mean) / deviation)[None], shifts=0)[0]
    return made * deviation + mean


def stems_of(outputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the stems [S, C, n] of ``freq`` [1, S, 2C, bins, frames] and ``time`` [1, S, C, n]."""
    time, freq = torch.from_numpy(outputs["time"]), torch.from_numpy(outputs["freq"])
    channels, length = time.shape[-2:]
    # The sample rate plays no part in a transform.
    geometry = Geometry(PUBLISHED.sample_rate, channels, 2 * freq.shape[-2], length)
    result: np.ndarray = waveform_from_spectrogram(freq, length, geometry).add_(time)[0].numpy()
    return result


def stem_waveform(outputs: Mapping[str, Tensor], index: int) -> Tensor:
    """Return a stem [C, n] in float64 of ``freq`` [1, S, 2C, bins, frames], ``time`` [1, S, C, n].

    It is linear in the outputs, so of an error it is the error of the stem.
    """
    freq, time = outputs["freq"][:, index : index + 1].double(), outputs["time"][0, index].double()
    channels, length = time.shape
    geometry = Geometry(PUBLISHED.sample_rate, channels, 2 * freq.shape[-2], length)
    return waveform_from_spectrogram(freq, length, geometry)[0, 0] + time


def htdemucs_constants(model: HTDemucs) -> Constants:
    """Return what the constants of a converted HTDemucs must be.

    Two modules add what is no checkpoint's tensor as it stands: the frequency embedding its scaled
    table, and the transformer its positions, which are computed.

    Raises:
        ParityError: ``model`` is one that can't be converted.
    """
    expected: dict[Place, Sequence[tuple[str, npt.NDArray[np.floating]]]] = {}
    for place, tensors in state_constants(model).items():
        if place == _EMBEDDING:
            name, _ = tensors[0]
            table = model.freq_emb_scale * model.freq_emb.weight.detach().t()
            expected["freq_emb", "bias"] = [(name, table.contiguous().numpy())]
        else:
            expected[place] = tensors
    transformer = extract_inner_model(model).crosstransformer
    weight = model.crosstransformer.weight_pos_embed
    expected["crosstransformer", "bias"] = [
        (f"crosstransformer.{name}", (weight * getattr(transformer, name)).numpy())
        for name in ("positions", "positions_t")
    ]
    return expected
