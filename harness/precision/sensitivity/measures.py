"""What an error is measured by: a quadratic form on the outputs, and random probes of it.

A measure Q gives an error e of the outputs a number: the noise-to-signal ratio of a stem, of an
output, or how often over a tolerance it is. ``Q(e) = |A e|^2 / weight``, with a linear A, and
``A e`` is the *field* of the error. A covector A^T u has (A^T u) . e = u . A e, so with u of
independent signs v = A^T u / sqrt(weight) has E[(v . e)^2] = Q(e): a *probe* (Hutchinson, "A
stochastic estimator of the trace", 1989). Adjoints of a probe tell of every operation at once.

What a program's outputs mean isn't known here: a field is any linear function of them. Everything
is torch, on the device of the outputs. A noise-to-signal ratio N is -10 log10(N) dB SNR.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, TypeVar

import torch

from harness.metrics import SILENCE_DBFS
from harness.precision.sensitivity.pullbacks import one_by_one

Tensor: TypeAlias = torch.Tensor
Outputs: TypeAlias = Mapping[str, Tensor]
M = TypeVar("M", bound="Measure")


@dataclass(frozen=True, eq=False)
class Stems:
    """What the outputs of a network sound like.

    Attributes:
        names: of the stems.
        waveform: returns a stem, by its index, [channels, samples] in float64; linear in the
            outputs.
        sample_rate: in Hz.
    """

    names: tuple[str, ...]
    waveform: Callable[[Outputs, int], Tensor]
    sample_rate: int


class Measure(ABC):
    """A quadratic measure of the error of a program's outputs.

    Attributes:
        name: says what is measured: ``stem:vocals``, ``tolerance:freq``.
    """

    name: str

    @abstractmethod
    def field(self, expected: Outputs, error: Outputs) -> Tensor:
        """Return A e in float64: its sum of squares by ``weight`` is what is measured of e."""

    @abstractmethod
    def weight(self, expected: Outputs) -> float:
        """Return the energy that the error is divided by; 0 where that can't be done."""

    def of(self, expected: Outputs, actual: Outputs) -> float:
        """Return the measured error of ``actual``: NaN beside silence, infinity of a NaN error."""
        weight = self.weight(expected)
        if not weight:
            return math.nan
        return _energy(self.field(expected, _difference(expected, actual))) / weight

    def signs(self, expected: Outputs, generator: torch.Generator, count: int) -> list[Tensor]:
        """Return ``count`` fields of independent signs; the same on every device."""
        like = self.field(expected, expected)
        bits = (
            torch.randint(0, 2, like.shape, generator=generator, dtype=torch.int8)
            for _ in range(count)
        )
        return [each.to(like.device).to(like.dtype).mul_(2).sub_(1) for each in bits]

    def covectors(self, expected: Outputs, fields: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return A^T u for each u of ``fields``, [fields, *output] for each output that A reads."""
        with torch.enable_grad():
            floats = {name: o for name, o in expected.items() if o.is_floating_point()}
            leaves = {name: torch.zeros_like(o).requires_grad_() for name, o in floats.items()}
            made = self.field(expected, leaves)
        # One by one takes a quarter of the time of a batched derivative of an inverse STFT.
        columns = one_by_one([made], list(leaves.values()), [fields], keep=False)
        return {n: column for n, column in zip(leaves, columns, strict=True) if column is not None}

    def probes(self, expected: Outputs, fields: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return covectors v of ``fields``: if they are signs, E[(v . e)^2] = ``of`` an error e."""
        scale = math.sqrt(self.weight(expected))
        return self.covectors(expected, [field / scale for field in fields])


@dataclass(frozen=True)
class Stretch:
    """Part of a signal: one channel, from ``start`` up to ``stop`` in samples."""

    channel: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class SignalMeasure(Measure):
    """Noise-to-signal ratio of a signal that is linear in the outputs.

    Attributes:
        name: ``stem:NAME``, ``branch:OUTPUT``, or ``stems`` for all of them.
        signal: returns it in float64; [channels, samples] where it has a sample rate.
        sample_rate: in Hz; 0 where it has no seconds.
        stretch: the part that is measured; None for the whole.
        parts: measures whose errors, each times its weight, add up to this one's.
    """

    name: str
    signal: Callable[[Outputs], Tensor]
    sample_rate: int = 0
    stretch: Stretch | None = None
    parts: tuple[SignalMeasure, ...] = ()

    def field(self, expected: Outputs, error: Outputs) -> Tensor:
        """Return what is measured of the error."""
        whole, part = self.signal(error), self.stretch
        return whole if part is None else whole[part.channel, None, part.start : part.stop]

    def weight(self, expected: Outputs) -> float:
        """Return the energy of what is measured; 0 if it is silent."""
        if self.parts:
            return sum(part.weight(expected) for part in self.parts)
        return _audible_energy(self.field(expected, expected))

    def worst_stretch(self, expected: Outputs, actual: Outputs) -> tuple[float, Stretch | None]:
        """Return the greatest ratio of any channel's seconds, and where it is.

        Silent seconds don't count; if all are, the ratio is 0.
        """
        whole = replace(self, stretch=None)
        reference = whole.field(expected, expected)
        error = whole.field(expected, _difference(expected, actual))
        worst: tuple[float, Stretch | None] = (0.0, None)
        length = reference.shape[-1]
        size = min(self.sample_rate, length)
        for start in dict.fromkeys(min(s, length - size) for s in range(0, length, size)):
            for channel in range(len(reference)):
                span = slice(start, start + size)
                weight = _audible_energy(reference[channel, span])
                ratio = _energy(error[channel, span]) / weight if weight else 0.0
                if ratio > worst[0]:
                    worst = ratio, Stretch(channel, start, start + size)
        return worst


@dataclass(frozen=True, eq=False)
class ToleranceMeasure(Measure):
    """Mean of (error / allowance)^2 over one output; an allowance is atol + rtol * |expected|."""

    output: str
    rtol: float
    atol: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", f"tolerance:{self.output}")

    def field(self, expected: Outputs, error: Outputs) -> Tensor:
        """Return error by allowance."""
        allowance = self.atol + self.rtol * expected[self.output].double().abs()
        return error[self.output].double() / allowance

    def weight(self, expected: Outputs) -> float:
        """Return the number of elements."""
        return float(expected[self.output].numel())

    def worst(self, expected: Outputs, actual: Outputs) -> float:
        """Return the greatest error by its allowance: above 1 the tolerance does not hold."""
        greatest = float(self.field(expected, _difference(expected, actual)).abs().max())
        return math.inf if math.isnan(greatest) else greatest


def stem_measures(stems: Stems) -> tuple[SignalMeasure, ...]:
    """Return the measure of each stem."""
    return tuple(
        SignalMeasure(f"stem:{name}", partial(_stem, stems, index), stems.sample_rate)
        for index, name in enumerate(stems.names)
    )


def _stem(stems: Stems, index: int, outputs: Outputs) -> Tensor:
    return stems.waveform(outputs, index)


def output_measure(output: str) -> SignalMeasure:
    """Return the measure of one output as it is."""
    return SignalMeasure(f"branch:{output}", lambda outputs: outputs[output].double())


def measures_of(stems: Stems | None, outputs: Sequence[str]) -> tuple[SignalMeasure, ...]:
    """Return the measures of all stems together and of each, if there are any, and of outputs."""
    if stems is None:
        return tuple(map(output_measure, outputs))
    each = stem_measures(stems)

    def together(outputs: Outputs) -> Tensor:
        return torch.stack([measure.signal(outputs) for measure in each])

    return (
        SignalMeasure("stems", together, parts=each),
        *each,
        *map(output_measure, outputs),
    )


def output_measures(outputs: Outputs) -> tuple[SignalMeasure, ...]:
    """Return the measure of each output that is floating-point numbers."""
    return tuple(output_measure(n) for n, value in outputs.items() if value.is_floating_point())


def audible(measures: Sequence[M], expected: Outputs) -> tuple[M, ...]:
    """Return the measures of which ``expected`` is not silent (RMS under -80 dBFS)."""
    return tuple(measure for measure in measures if measure.weight(expected) > 0)


def _difference(expected: Outputs, actual: Outputs) -> dict[str, Tensor]:
    return {name: expected[name].double() - actual[name].double() for name in expected}


def _energy(error: Tensor) -> float:
    energy = float(error.square().sum())
    return math.inf if math.isnan(energy) else energy


def _audible_energy(reference: Tensor) -> float:
    energy = float(reference.square().sum())
    return energy if energy > reference.numel() * 10 ** (SILENCE_DBFS / 10) else 0.0
