"""If these fail, sensitivities are those of another network."""

from __future__ import annotations

import math

import pytest
import torch

from harness.precision import AllStemsMeasure, OutputMeasure, StemMeasure, VirtualPrecision
from harness.precision.adjoint import Recording, Visit
from harness.precision.measures import Stretch, ToleranceMeasure, random_probes


@pytest.mark.parametrize("stretch_bytes", [1, 4000, 1 << 30])
def test_gradients_are_those_of_pytorch_wherever_the_walk_is_cut(
    stretch_bytes: int, small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = small.base.run(signal)
    probes = {
        name: torch.randn((3, *value.shape), generator=generator) for name, value in outputs.items()
    }
    found: dict[str, torch.Tensor] = {}

    def visit(visit: Visit) -> None:
        for slot, name in zip(visit.step.outputs, visit.step.operation.outputs, strict=True):
            if slot in visit.at_outputs:
                found[name.name] = visit.at_outputs[slot]

    recording = Recording(small.base, signal, stretch_bytes=stretch_bytes)
    assert all(torch.equal(recording.outputs[name], outputs[name]) for name in outputs)
    recording.walk_back(probes, visit)
    first = dict(found)
    recording.walk_back(probes, visit)
    assert all(torch.equal(first[name], found[name]) for name in first)
    leaf = {"x": signal["x"].clone().requires_grad_()}
    taps = ["conv", "centred", "deviation", "scaled", "rows", "mixed", "gate"]
    values = small.base.run(leaf, taps=taps, differentiable=True)
    for number in range(3):
        scalar = sum((values[name] * probes[name][number]).sum() for name in outputs)
        expected = torch.autograd.grad(scalar, [values[tap] for tap in taps], retain_graph=True)
        for tap, gradient in zip(taps, expected, strict=True):
            torch.testing.assert_close(found[tap][number], gradient, rtol=1e-5, atol=1e-6)


def test_each_reader_of_a_value_has_a_gradient_of_its_own(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    generator = torch.Generator().manual_seed(0)
    slot = small.base.plan.slots["centred"]
    parts: dict[str, torch.Tensor] = {}
    whole: list[torch.Tensor] = []

    def visit(visit: Visit) -> None:
        if slot in visit.at_inputs:
            parts[visit.step.operation.name] = visit.at_inputs[slot]
        if slot in visit.at_outputs:
            whole.append(visit.at_outputs[slot])

    measure = OutputMeasure("gated")
    recording = Recording(small.base, signal)
    recording.walk_back(random_probes(measure, recording.outputs, generator, 1), visit)
    assert set(parts) == {"squared", "normal"}
    torch.testing.assert_close(whole[0], parts["squared"] + parts["normal"])


def errors_like(outputs: dict[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {
        name: value + scale * torch.randn(value.shape, generator=generator)
        for name, value in outputs.items()
    }


@pytest.mark.parametrize(
    "measure",
    [
        StemMeasure(1, "vocals"),
        StemMeasure(0, "drums", Stretch(1, 2000, 6000)),
        AllStemsMeasure(("drums", "vocals")),
        OutputMeasure("freq"),
        ToleranceMeasure("time", 1e-3, 1e-4),
    ],
    ids=lambda measure: measure.name,
)
def test_probes_give_the_measured_error_on_average(
    measure: StemMeasure, narrow: VirtualPrecision, music: dict[str, torch.Tensor]
) -> None:
    expected = narrow.base.run(music)
    actual = errors_like(expected, 1e-4)
    generator = torch.Generator().manual_seed(0)
    squares = []
    probes = random_probes(measure, expected, generator, 64)
    for number in range(64):
        dots = [
            (probe[number].double() * (actual[name] - expected[name]).double()).sum()
            for name, probe in probes.items()
        ]
        squares.append(float(sum(dots)) ** 2)
    ratio = sum(squares) / len(squares) / measure.of(expected, actual)
    assert abs(10 * math.log10(ratio)) < 3 * 4.34 * math.sqrt(2 / 64)  # three deviations


def test_a_stretch_is_found_where_the_error_is(
    narrow: VirtualPrecision, music: dict[str, torch.Tensor]
) -> None:
    expected = narrow.base.run(music)
    actual = {name: value.clone() for name, value in expected.items()}
    actual["time"][0, 1, 1] += 1e-3
    ratio, stretch = StemMeasure(1, "vocals").worst_stretch(expected, actual)
    assert stretch is not None
    assert stretch.channel == 1
    assert ratio == pytest.approx(StemMeasure(1, "vocals", stretch).of(expected, actual))
    assert StemMeasure(0, "drums").worst_stretch(expected, actual) == (0.0, None)
