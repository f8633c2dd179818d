"""What an error is measured by: a quadratic form on the outputs, and random probes of it.

A measure Q gives an error e of the outputs a number: the noise-to-signal ratio of a stem, of a
branch, or how often over a tolerance it is. ``Q(e) = |A e|^2 / normal``, with a linear A, so a
random covector v = A^T u / sqrt(normal), with u of independent signs, has E[(v . e)^2] = Q(e): a
*probe*. Adjoints of a probe give an estimate for every operation at once.

Everything is torch, on the device of the outputs. A noise-to-signal ratio N is -10 log10(N) dB SNR.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch

from harness.audio import waveform_from_spectrogram
from harness.audio.contract import SAMPLE_RATE
from harness.metrics import SILENCE_DBFS

Tensor: TypeAlias = torch.Tensor
Outputs: TypeAlias = Mapping[str, Tensor]


class Measure(Protocol):
    """A quadratic measure of the error of a program's outputs."""

    @property
    def name(self) -> str:
        """What is measured: ``stems``, ``stem:vocals``, ``branch:freq``."""

    def of(self, expected: Outputs, actual: Outputs) -> float:
        """Return the measured error of ``actual``."""

    def weight(self, expected: Outputs) -> float:
        """Return the energy that the error is divided by; 0 where that can't be done."""

    def probe(self, expected: Outputs, generator: torch.Generator) -> dict[str, Tensor]:
        """Return a random covector v with E[(v . e)^2] = ``of`` an error e."""


@dataclass(frozen=True)
class Stretch:
    """Part of a stem: one channel, from ``start`` up to ``stop`` in samples."""

    channel: int
    start: int
    stop: int


@dataclass(frozen=True)
class StemMeasure:
    """Noise-to-signal ratio of one stem: inverse STFT of ``freq`` plus ``time``.

    Attributes:
        index: of the stem in the outputs' second axis.
        stem: its name.
        stretch: the part that is measured; None for the whole.
    """

    index: int
    stem: str
    stretch: Stretch | None = None

    @property
    def name(self) -> str:
        """``stem:NAME``."""
        return f"stem:{self.stem}"

    def waveform(self, outputs: Outputs) -> Tensor:
        """Return what is measured, [channels, samples] in float64."""
        freq = outputs["freq"][:, self.index : self.index + 1].double()
        time = outputs["time"][:, self.index].double()
        stem = (waveform_from_spectrogram(freq, time.shape[-1])[:, 0] + time)[0]
        part = self.stretch
        return stem if part is None else stem[part.channel, None, part.start : part.stop]

    def weight(self, expected: Outputs) -> float:
        """Return the energy of what is measured; 0 if it is silent."""
        return _audible_energy(self.waveform(expected))

    def of(self, expected: Outputs, actual: Outputs) -> float:
        """Return error energy by signal energy."""
        reference = self.waveform(expected)
        return _ratio(reference - self.waveform(actual), _audible_energy(reference))

    def worst_stretch(self, expected: Outputs, actual: Outputs) -> tuple[float, Stretch | None]:
        """Return the greatest ratio of any channel's seconds, and where it is.

        Silent seconds don't count; if all are, the ratio is 0.
        """
        whole = StemMeasure(self.index, self.stem)
        reference = whole.waveform(expected)
        error = reference - whole.waveform(actual)
        worst: tuple[float, Stretch | None] = (0.0, None)
        length = reference.shape[-1]
        size = min(SAMPLE_RATE, length)
        for start in dict.fromkeys(min(s, length - size) for s in range(0, length, size)):
            for channel in range(len(reference)):
                span = slice(start, start + size)
                ratio = _ratio(error[channel, span], _audible_energy(reference[channel, span]))
                if ratio > worst[0]:
                    worst = ratio, Stretch(channel, start, start + size)
        return worst

    def probe(self, expected: Outputs, generator: torch.Generator) -> dict[str, Tensor]:
        """Return signs on the samples that are measured, pulled back to both outputs."""
        freq, time = expected["freq"], expected["time"]
        signs = _signs(time[:, self.index].shape, generator, time.device)
        if self.stretch is not None:
            outside = torch.ones_like(signs, dtype=torch.bool)
            outside[:, self.stretch.channel, self.stretch.start : self.stretch.stop] = False
            signs[outside] = 0
        signs /= math.sqrt(self.weight(expected))
        at_time, at_freq = torch.zeros_like(time), torch.zeros_like(freq)
        at_time[:, self.index] = signs
        at_freq[:, self.index] = _inverse_stft_adjoint(signs[:, None], freq[:, :1])[:, 0]
        return {"freq": at_freq, "time": at_time}


@dataclass(frozen=True)
class AllStemsMeasure:
    """Noise-to-signal ratio of all stems together: error energy by signal energy.

    Attributes:
        stems: their names, in the order of the outputs' second axis.
    """

    stems: tuple[str, ...]

    @property
    def name(self) -> str:
        """``stems``."""
        return "stems"

    def _each(self) -> tuple[StemMeasure, ...]:
        return stem_measures(self.stems)

    def weight(self, expected: Outputs) -> float:
        """Return the energy of all stems."""
        return sum(measure.weight(expected) for measure in self._each())

    def of(self, expected: Outputs, actual: Outputs) -> float:
        """Return error energy by signal energy."""
        error = 0.0
        for measure in self._each():
            difference = measure.waveform(expected) - measure.waveform(actual)
            error += float(difference.square().sum())
        energy = self.weight(expected)
        return error / energy if energy else math.nan

    def probe(self, expected: Outputs, generator: torch.Generator) -> dict[str, Tensor]:
        """Return signs on the samples of every stem, pulled back to both outputs."""
        freq, time = expected["freq"], expected["time"]
        signs = _signs(time.shape, generator, time.device) / math.sqrt(self.weight(expected))
        return {"freq": _inverse_stft_adjoint(signs, freq), "time": signs}


@dataclass(frozen=True)
class OutputMeasure:
    """Noise-to-signal ratio of one output as it is."""

    output: str

    @property
    def name(self) -> str:
        """``branch:NAME``."""
        return f"branch:{self.output}"

    def weight(self, expected: Outputs) -> float:
        """Return the output's energy."""
        return _audible_energy(expected[self.output].double())

    def of(self, expected: Outputs, actual: Outputs) -> float:
        """Return error energy by signal energy."""
        reference = expected[self.output].double()
        return _ratio(reference - actual[self.output].double(), _audible_energy(reference))

    def probe(self, expected: Outputs, generator: torch.Generator) -> dict[str, Tensor]:
        """Return signs on every element."""
        reference = expected[self.output]
        scale = 1 / math.sqrt(self.weight(expected))
        return {self.output: _signs(reference.shape, generator, reference.device) * scale}


@dataclass(frozen=True)
class ToleranceMeasure:
    """Mean of (error / allowance)^2 over one output; an allowance is atol + rtol * |expected|."""

    output: str
    rtol: float
    atol: float

    @property
    def name(self) -> str:
        """``tolerance:NAME``."""
        return f"tolerance:{self.output}"

    def weight(self, expected: Outputs) -> float:
        """Return the number of elements."""
        return float(expected[self.output].numel())

    def of(self, expected: Outputs, actual: Outputs) -> float:
        """Return the mean square of error by allowance."""
        return float(self._excess(expected, actual).square().mean())

    def worst(self, expected: Outputs, actual: Outputs) -> float:
        """Return the greatest error by its allowance: above 1 the tolerance does not hold."""
        return float(self._excess(expected, actual).max())

    def probe(self, expected: Outputs, generator: torch.Generator) -> dict[str, Tensor]:
        """Return signs by allowance on every element."""
        reference = expected[self.output]
        signs = _signs(reference.shape, generator, reference.device)
        return {self.output: signs / (self._allowance(reference) * math.sqrt(reference.numel()))}

    def _allowance(self, reference: Tensor) -> Tensor:
        return self.atol + self.rtol * reference.abs()

    def _excess(self, expected: Outputs, actual: Outputs) -> Tensor:
        reference = expected[self.output].double()
        return (actual[self.output].double() - reference).abs() / self._allowance(reference)


def stem_measures(stems: Sequence[str]) -> tuple[StemMeasure, ...]:
    """Return the measure of each stem, in the order of the outputs."""
    return tuple(StemMeasure(index, stem) for index, stem in enumerate(stems))


def audible(measures: Sequence[Measure], expected: Outputs) -> tuple[Measure, ...]:
    """Return the measures of which ``expected`` is not silent (RMS under -80 dBFS)."""
    return tuple(measure for measure in measures if measure.weight(expected) > 0)


def _audible_energy(reference: Tensor) -> float:
    energy = float(reference.square().sum())
    return energy if energy > reference.numel() * 10 ** (SILENCE_DBFS / 10) else 0.0


def _ratio(error: Tensor, energy: float) -> float:
    return float(error.square().sum()) / energy if energy else math.nan


def _signs(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Return independent signs; the same on every device."""
    bits = torch.randint(0, 2, tuple(shape), generator=generator, dtype=torch.int8)
    return bits.to(device).float().mul_(2).sub_(1)


def _inverse_stft_adjoint(at_waveform: Tensor, like: Tensor) -> Tensor:
    """Return the transposed inverse STFT of ``at_waveform`` [1, 1, channels, samples]."""
    with torch.enable_grad():
        leaf = torch.zeros_like(like).requires_grad_()
        waveform = waveform_from_spectrogram(leaf, at_waveform.shape[-1])
        (pulled,) = torch.autograd.grad(waveform, leaf, at_waveform)
    return pulled
