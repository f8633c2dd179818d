"""Packages of a small HTDemucs in the layouts in which other converters ship and plan theirs.

Each is the network between its transforms (`extract_inner_model`) in a torch module that takes and
returns what theirs do, converted by coremltools as anybody would. Nothing of the adapters is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import coremltools as ct
import numpy as np
import torch
import torch.nn.functional as F
from demucs.htdemucs import HTDemucs
from torch import Tensor, nn

from harness.subjects import Subject, extract_inner_model, load_subject
from suites.selftest.subjects.variants import live_model, saved

N_FFT: Final = 512
ARGUMENTS: Final[dict[str, Any]] = {
    "sources": ["drums", "bass", "other", "vocals"],
    "channels": 8,
    "depth": 2,
    "dconv_depth": 1,
    "dconv_mode": 3,
    "bottom_channels": 0,
    "t_layers": 2,
    "t_heads": 2,
    "nfft": N_FFT,
    "samplerate": 8000,
    "segment": Fraction(1, 2),
}
HOP: Final = N_FFT // 4


def subject_of(folder: Path, **changes: Any) -> Subject:
    """Return a small network with seeded weights, in a checkpoint of its own."""
    arguments = ARGUMENTS | changes
    path = saved(folder / "own.th", arguments, live_model(arguments).state_dict())
    return load_subject(f"htdemucs@{path}")


class Wrapped(nn.Module):
    """The network between its transforms."""

    def __init__(self, model: HTDemucs) -> None:
        super().__init__()
        self.inner = extract_inner_model(model)
        self.stems, self.channels = len(model.sources), model.audio_channels

    def parts(self, spectrum: Tensor) -> Tensor:
        """Return the contract's channels [1, 2C, ...] of [1, C, 2, ...]."""
        return spectrum.flatten(1, 2)

    def complex_stems(self, freq: Tensor) -> Tensor:
        """Return [S, C, 2, bins, frames] of the contract's: Core ML has no more than five axes."""
        return freq[0].unflatten(1, (self.channels, 2))


class Named(Wrapped):
    """Only names are others."""

    def forward(self, spectrogram: Tensor, raw_audio: Tensor) -> Any:
        freq, time = self.inner(spectrogram, raw_audio)
        return freq + 0, time + 0


class Masks(Wrapped):
    """Real and imaginary part apart, Nyquist bin kept; masks of magnitudes, the branch alone."""

    def forward(self, spectrogram_real: Tensor, spectrogram_imag: Tensor, audio: Tensor) -> Any:
        mixture = torch.stack([spectrogram_real, spectrogram_imag], dim=2)[..., :-1, :]
        freq, _ = self.inner(self.parts(mixture), audio)
        loud = mixture.pow(2).sum(2).sqrt().clamp(min=1e-9)
        masks = self.complex_stems(freq).pow(2).sum(2).sqrt() / loud
        return F.pad(masks, (0, 0, 0, 1))[None]


class ComplexMasks(Wrapped):
    """A complex mask, all real parts before all imaginary ones."""

    def forward(self, x: Tensor, audio: Tensor) -> Any:
        mixture = x.unflatten(1, (2, self.channels)).transpose(1, 2)
        freq, time = self.inner(self.parts(mixture), audio)
        made, (a, b) = self.complex_stems(freq), mixture.unbind(2)
        energy = (a * a + b * b).clamp(min=1e-20)
        c, d = made.unbind(2)
        mask = torch.stack([(c * a + d * b) / energy, (d * a - c * b) / energy], dim=1)
        return mask.flatten(1, 2)[None], time + 0


class ImaginaryFirst(Wrapped):
    """A mono network: one spectrogram of two channels, the imaginary part first."""

    def forward(self, x: Tensor, y: Tensor) -> Any:
        freq, time = self.inner(x.flip(1)[..., :-1, :], y)
        return F.pad(freq.flip(2), (0, 0, 0, 1)), time + 0


class WithEdges(Wrapped):
    """Nyquist bin and edges kept on both sides; all real parts, then all imaginary ones."""

    def forward(self, spectrum: Tensor, audio: Tensor) -> Any:
        inside = spectrum[:, :, :-1, 2:-2]
        freq, time = self.inner(inside.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2), audio)
        swapped = self.complex_stems(freq).transpose(1, 2).flatten(1, 2)
        return F.pad(swapped, (2, 2, 0, 1))[None], time + 0


class Transforms(Wrapped):
    """STFT and inverse as convolutions in the graph."""

    def __init__(self, model: HTDemucs) -> None:
        super().__init__(model)
        window = torch.hann_window(N_FFT).double()
        n = torch.arange(N_FFT).double()
        angle = 2 * torch.pi * torch.arange(N_FFT // 2).double()[:, None] * n / N_FFT
        basis = torch.stack([angle.cos(), -angle.sin()]) * window / N_FFT**0.5
        self.register_buffer("forth", basis.flatten(0, 1)[:, None].float())
        twice = torch.full((N_FFT // 2, 1), 2.0).double()
        twice[0] = 1
        self.register_buffer("back", (basis * twice).flatten(0, 1)[:, None].float())
        squares = window.pow(2).view(4, HOP).sum(0)
        self.register_buffer("squares", squares.float())

    def spectrum(self, audio: Tensor) -> Tensor:
        """Return [1, C, 2, bins, frames] of [1, C, n]."""
        frames = -(-audio.shape[-1] // HOP)
        left = HOP // 2 * 3
        padded = F.pad(audio, (left, left + frames * HOP - audio.shape[-1]), mode="reflect")
        made = F.conv1d(padded.reshape(self.channels, 1, -1), self.forth, stride=HOP)
        return made.unflatten(1, (2, N_FFT // 2))[None]

    def waveform(self, freq: Tensor, length: int) -> Tensor:
        """Return [S, C, n] of the contract's freq."""
        made = freq[0].unflatten(1, (self.channels, 2)).flatten(0, 1).flatten(1, 2)
        added = F.conv_transpose1d(made, self.back, stride=HOP)[:, 0]
        blocks = added.unflatten(-1, (-1, HOP)) / self.squares
        left = HOP // 2 * 3
        wave = blocks.flatten(1, 2)[:, left : left + length]
        return wave.unflatten(0, (self.stems, self.channels))


class Waveforms(Transforms):
    """Waveform to waveforms."""

    def forward(self, mix: Tensor) -> Any:
        freq, time = self.inner(self.parts(self.spectrum(mix)), mix)
        return self.waveform(freq, mix.shape[-1])[None] + time


class Summed(Transforms):
    """The sum of both branches, the inverse STFT inside."""

    def forward(self, spectrogram: Tensor, audio: Tensor) -> Any:
        freq, time = self.inner(spectrogram, audio)
        return self.waveform(freq, audio.shape[-1])[None] + time


class Folded(Wrapped):
    """Stems in the channels."""

    def forward(self, spectrogram: Tensor, audio: Tensor) -> Any:
        freq, time = self.inner(spectrogram, audio)
        return freq.flatten(1, 2), time.flatten(1, 2)


class _Given(nn.Module):
    """Stands where the network normalises: somebody did so before."""

    statistics: tuple[Tensor, Tensor]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x, *self.statistics


class Statistics(Wrapped):
    """Normalised by the caller, who gives mean and deviation, too."""

    def __init__(self, model: HTDemucs) -> None:
        super().__init__(model)
        self.inner.norm_freq, self.inner.norm_time = _Given(), _Given()

    def forward(
        self, spectrogram: Tensor, audio: Tensor, mean: Tensor, std: Tensor, mean_t: Tensor,
        std_t: Tensor,
    ) -> Any:  # fmt: skip
        self.inner.norm_freq.statistics = mean, std
        self.inner.norm_time.statistics = mean_t, std_t
        freq, time = self.inner(spectrogram, audio)
        return freq + 0, time + 0


class Normalised(Wrapped):
    """Normalised by the caller, who undoes it himself."""

    def __init__(self, model: HTDemucs) -> None:
        super().__init__(model)
        self.inner.norm_freq, self.inner.norm_time = _Given(), _Given()
        self.inner.norm_freq.statistics = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        self.inner.norm_time.statistics = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)

    def forward(self, spectrogram: Tensor, audio: Tensor) -> Any:
        freq, time = self.inner(spectrogram, audio)
        return freq + 0, time + 0


class TimeAlone(Wrapped):
    """The time branch, samples before channels, without a batch."""

    def forward(self, spectrogram: Tensor, audio: Tensor) -> Any:
        _, time = self.inner(spectrogram[None], audio.T[None])
        return time[0].transpose(1, 2)


class Outputs(Wrapped):
    """Complex numbers as a last axis, frames before bins, and an output for each stem."""

    def forward(self, spectrogram: Tensor, audio: Tensor) -> Any:
        mixture = spectrogram.permute(0, 1, 4, 3, 2)
        freq, time = self.inner(self.parts(mixture), audio)
        made = self.complex_stems(freq).permute(0, 1, 4, 3, 2)
        return (*(stem[None] for stem in made.unbind(0)), *time.unbind(1))


@dataclass(frozen=True)
class Stranger:
    """A layout of somebody else's.

    Attributes:
        module: the network in it.
        inputs: makes its inputs' shapes of those of the contract's spectrogram and audio.
        outputs: names of its outputs.
        shows: what an adapter can show of it.
        half: whether it takes and returns FP16.
        changes: arguments of its network.
        fp16: whether it computes in FP16.
    """

    module: type[Wrapped]
    inputs: Callable[[Sequence[int], Sequence[int]], dict[str, Sequence[int]]]
    outputs: tuple[str, ...]
    shows: tuple[str, ...] = ("freq", "time")
    half: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    fp16: bool = False


def _same(spectrogram: Sequence[int], audio: Sequence[int]) -> dict[str, Sequence[int]]:
    return {"spectrogram": spectrogram, "audio": audio}


STEMS: Final = ("drums", "bass", "other", "vocals")
STRANGERS: Final[dict[str, Stranger]] = {
    "other names, FP16 inside": Stranger(
        Named, lambda s, a: {"spectrogram": s, "raw_audio": a}, ("add_66", "add_67"), fp16=True
    ),
    "parts apart, masks": Stranger(
        Masks,
        lambda s, a: {
            "spectrogram_real": (1, 2, s[2] + 1, s[3]),
            "spectrogram_imag": (1, 2, s[2] + 1, s[3]),
            "audio": a,
        },
        ("masks",),
        ("freq magnitude",),
    ),
    "complex masks": Stranger(ComplexMasks, lambda s, a: {"x": s, "audio": a}, ("mask", "time")),
    "imaginary part first": Stranger(
        ImaginaryFirst,
        lambda s, a: {"x": (1, 2, s[2] + 1, s[3]), "y": a},
        ("out_0", "out_1"),
        changes={"audio_channels": 1},
    ),
    "Nyquist bin and edges": Stranger(
        WithEdges,
        lambda s, a: {"spectrum": (1, 4, s[2] + 1, s[3] + 4), "audio": a},
        ("spectra", "waves"),
    ),
    "waveform to waveforms": Stranger(Waveforms, lambda s, a: {"mix": a}, ("stems",), ("stems",)),
    "FP16 in and out": Stranger(Named, _same, ("freq_out", "time_out"), half=True),
    "stems in the channels": Stranger(Folded, _same, ("spec_out", "wav_out")),
    "normalised outside": Stranger(Normalised, _same, ("x", "xt")),
    "mean and deviation as inputs": Stranger(
        Statistics,
        lambda s, a: {
            "spectrogram": s,
            "audio": a,
            "mean": (1, 1, 1, 1),
            "std": (1, 1, 1, 1),
            "mean_t": (1, 1, 1),
            "std_t": (1, 1, 1),
        },
        ("x", "xt"),
    ),
    "sum of the branches": Stranger(Summed, _same, ("sources",), ("stems",)),
    "the time branch alone": Stranger(
        TimeAlone, lambda s, a: {"spectrogram": s[1:], "audio": a[:0:-1]}, ("waves",), ("time",)
    ),
    "an output for each stem": Stranger(
        Outputs,
        lambda s, a: {"spectrogram": (1, 2, s[3], s[2], 2), "audio": a},
        (*(f"{stem}_spec" for stem in STEMS), *(f"{stem}_wave" for stem in STEMS)),
    ),
}


def convert(stranger: Stranger, subject: Subject, out: Path) -> Path:
    """Convert a network in a stranger's layout, as anybody would."""
    network = subject.network
    shapes = stranger.inputs(
        network.interface.inputs["spectrogram"], network.interface.inputs["audio"]
    )
    module = stranger.module(subject.model).eval()
    example = tuple(torch.rand(*shape) + 0.1 for shape in shapes.values())
    kind = np.float16 if stranger.half else np.float32
    precision = ct.precision.FLOAT16 if stranger.fp16 else ct.precision.FLOAT32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # With gradients, PyTorch takes no fast path that coremltools doesn't know.
        traced = torch.jit.trace(module.requires_grad_(True), example, check_trace=False)
        made = ct.convert(
            traced,
            inputs=[ct.TensorType(n, shape=tuple(s), dtype=kind) for n, s in shapes.items()],
            outputs=[ct.TensorType(name, dtype=kind) for name in stranger.outputs],
            compute_precision=precision,
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        )
        made.save(str(out))
    return out
