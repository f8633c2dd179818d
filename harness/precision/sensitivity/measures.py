"""What an error is measured by: a quadratic form on the outputs, and random probes of it.

A measure Q gives an error e of the outputs a number: the noise-to-signal ratio of a stem, of a
branch, or how often over a tolerance it is. ``Q(e) = |A e|^2 / weight``, with a linear A;
``A e`` is the *field* of the error. A covector A^T u has (A^T u) . e = u . A e, so with u of
independent signs v = A^T u / sqrt(weight) has E[(v . e)^2] = Q(e): a *probe*. Adjoints of a probe
give an estimate for every operation at once.

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

    def field(self, expected: Outputs, error: Outputs) -> Tensor:
        """Return A e: a tensor whose sum of squares by ``weight`` is ``of`` the error e."""

    def covectors(self, expected: Outputs, fields: Tensor) -> dict[str, Tensor]:
        """Return A^T u for each u of ``fields``, [fields, *output] for each output."""

    def signs(self, expected: Outputs, generator: torch.Generator) -> Tensor:
        """Return a field of independent signs."""


def random_probes(
    measure: Measure, expected: Outputs, generator: torch.Generator, count: int
) -> dict[str, Tensor]:
    """Return random covectors v with E[(v . e)^2] = ``measure.of`` an error e, as ``covectors``."""
    signs = torch.stack([measure.signs(expected, generator) for _ in range(count)])
    return measure.covectors(expected, signs / math.sqrt(measure.weight(expected)))


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

    def field(self, expected: Outputs, error: Outputs) -> Tensor:
        """Return what is measured of the error."""
        return self.waveform(error)

    def covectors(self, expected: Outputs, fields: Tensor) -> dict[str, Tensor]:
        """Return ``fields`` pulled back to both outputs."""
        freq, time = expected["freq"], expected["time"]
        at_time = time.new_zeros(len(fields), *time.shape)
        at_freq = freq.new_zeros(len(fields), *freq.shape)
        whole, part = at_time[:, 0, self.index], self.stretch
        seen = whole if part is None else whole[:, part.channel, None, part.start : part.stop]
        seen.copy_(fields)
        pulled = _inverse_stft_adjoint(whole[:, None, None], freq[:, :1])
        at_freq[:, :, self.index] = pulled[:, :, 0]
        return {"freq": at_freq, "time": at_time}

    def signs(self, expected: Outputs, generator: torch.Generator) -> Tensor:
        """Return signs on the samples that are measured."""
        time = expected["time"][0, self.index]
        signs = _signs(time.shape, generator, time.device)
        part = self.stretch
        return signs if part is None else signs[part.channel, None, part.start : part.stop]


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

    def parts(self) -> tuple[StemMeasure, ...]:
        """Return the measures whose errors, each times its weight, add up to this one's."""
        return stem_measures(self.stems)

    def weight(self, expected: Outputs) -> float:
        """Return the energy of all stems."""
        return sum(measure.weight(expected) for measure in self.parts())

    def of(self, expected: Outputs, actual: Outputs) -> float:
        """Return error energy by signal energy."""
        differences = [m.waveform(expected) - m.waveform(actual) for m in self.parts()]
        return _ratio(torch.stack(differences), self.weight(expected))

    def field(self, expected: Outputs, error: Outputs) -> Tensor:
        """Return the waveforms of all stems of the error."""
        time = error["time"].double()
        return waveform_from_spectrogram(error["freq"].double(), time.shape[-1]) + time

    def covectors(self, expected: Outputs, fields: Tensor) -> dict[str, Tensor]:
        """Return ``fields`` pulled back to both outputs."""
        at_time = fields.to(expected["time"].dtype)
        return {"freq": _inverse_stft_adjoint(at_time, expected["freq"]), "time": at_time}

    def signs(self, expected: Outputs, generator: torch.Generator) -> Tensor:
        """Return signs on the samples of every stem."""
        return _signs(expected["time"].shape, generator, expected["time"].device)


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

    def field(self, expected: Outputs, error: Outputs) -> Tensor:
        """Return the error of the output."""
        return error[self.output].double()

    def covectors(self, expected: Outputs, fields: Tensor) -> dict[str, Tensor]:
        """Return ``fields`` themselves."""
        return {self.output: fields.to(expected[self.output].dtype)}

    def signs(self, expected: Outputs, generator: torch.Generator) -> Tensor:
        """Return signs on every element."""
        reference = expected[self.output]
        return _signs(reference.shape, generator, reference.device)


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
        """Return the mean square of error by allowance; infinity where an error is NaN."""
        return _worst_if_nan(float(self._excess(expected, actual).square().mean()))

    def worst(self, expected: Outputs, actual: Outputs) -> float:
        """Return the greatest error by its allowance: above 1 the tolerance does not hold."""
        return _worst_if_nan(float(self._excess(expected, actual).max()))

    def field(self, expected: Outputs, error: Outputs) -> Tensor:
        """Return error by allowance."""
        return error[self.output].double() / self._allowance(expected[self.output])

    def covectors(self, expected: Outputs, fields: Tensor) -> dict[str, Tensor]:
        """Return ``fields`` by allowance."""
        reference = expected[self.output]
        return {self.output: (fields / self._allowance(reference)).to(reference.dtype)}

    def signs(self, expected: Outputs, generator: torch.Generator) -> Tensor:
        """Return signs on every element."""
        reference = expected[self.output]
        return _signs(reference.shape, generator, reference.device)

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
    """Return error energy by signal energy: NaN for a silent signal, infinity for a NaN error."""
    if not energy:
        return math.nan
    return _worst_if_nan(float(error.square().sum()) / energy)


def _worst_if_nan(error: float) -> float:
    return math.inf if math.isnan(error) else error


def _signs(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Return independent signs; the same on every device."""
    bits = torch.randint(0, 2, tuple(shape), generator=generator, dtype=torch.int8)
    return bits.to(device).float().mul_(2).sub_(1)


def _inverse_stft_adjoint(at_waveforms: Tensor, like: Tensor) -> Tensor:
    """Return the transposed inverse STFT of each of ``at_waveforms`` [:, 1, S, channels, samples].

    Args:
        at_waveforms: gradients at waveforms.
        like: what the inverse STFT takes.
    """
    with torch.enable_grad():
        leaf = torch.zeros_like(like).requires_grad_()
        waveform = waveform_from_spectrogram(leaf, at_waveforms.shape[-1])
    # One by one takes a quarter of the time of a batched derivative.
    pulled = [
        torch.autograd.grad(waveform, leaf, row, retain_graph=True)[0] for row in at_waveforms
    ]
    return torch.stack(pulled)
