"""If these fail, sensitivities are those of another network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from harness.audio import SAMPLE_RATE
from harness.precision.sensitivity import (
    Measure,
    Stems,
    ToleranceMeasure,
    measures_of,
    output_measure,
    stem_measures,
)
from harness.precision.sensitivity.adjoint import Recording, Visit
from harness.precision.sensitivity.measures import Stretch
from harness.precision.virtual import VirtualPrecision
from harness.subjects.htdemucs import stem_waveform
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import make_program
from suites.selftest.precision.conftest import STEMS

DRUMS, VOCALS = stem_measures(STEMS)


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

    measure = output_measure("gated")
    recording = Recording(small.base, signal)
    signs = measure.signs(recording.outputs, generator, 1)
    recording.walk_back(measure.probes(recording.outputs, signs), visit)
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
        VOCALS,
        replace(DRUMS, stretch=Stretch(1, 2000, 6000)),
        measures_of(STEMS, ())[0],
        output_measure("freq"),
        ToleranceMeasure("time", 1e-3, 1e-4),
    ],
    ids=lambda measure: measure.name,
)
def test_probes_give_the_measured_error_on_average(
    measure: Measure, narrow: VirtualPrecision, music: dict[str, torch.Tensor]
) -> None:
    expected = narrow.base.run(music)
    actual = errors_like(expected, 1e-4)
    generator = torch.Generator().manual_seed(0)
    squares = []
    probes = measure.probes(expected, measure.signs(expected, generator, 64))
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
    ratio, stretch = VOCALS.worst_stretch(expected, actual)
    assert stretch is not None
    assert stretch.channel == 1
    assert ratio == pytest.approx(replace(VOCALS, stretch=stretch).of(expected, actual))
    assert DRUMS.worst_stretch(expected, actual) == (0.0, None)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 1), (2, 1, 1), (1, 3, 1), (4,), (1,)])
@pytest.mark.parametrize("kind", ["add", "sub", "mul", "real_div"])
def test_gradients_of_broadcast_operands_are_those_of_pytorch(
    kind: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """These derivatives are written out; a wrong one misleads every sensitivity behind it."""

    def body(mb: Any, x: Any, y: Any) -> Any:
        other = mb.sin(x=y)
        made = getattr(mb, kind)(x=mb.exp(x=x), y=mb.add(x=other, y=np.float32(2)))
        turned = getattr(mb, kind)(x=mb.add(x=other, y=np.float32(3)), y=made)
        means = mb.reduce_mean(x=turned, axes=[0, -1], keep_dims=False)
        row = mb.reduce_mean(x=mb.transpose(x=made, perm=[2, 0, 1]), axes=[1], keep_dims=True)
        twice = getattr(mb, kind)(x=turned, y=turned)
        return mb.mul(x=means, y=2.0), mb.squeeze(x=row, axes=[1]), twice

    assert_gradients_of_pytorch(body, {"x": (2, 3, 4), "y": shape}, tmp_path)


@pytest.mark.parametrize(
    "limits",
    [
        {"begin": [0, 1, 1], "end": [2, 3, 3]},
        {"begin": [0, -2, 0], "end": [1, -1, 4], "stride": [1, 1, 2]},
        {"begin": [0, 0, 3], "end": [2, 3, 0], "stride": [1, 2, -1]},
        {"begin": [1, 0, 1], "end": [0, 0, 0], "begin_mask": [1, 1, 0], "end_mask": [1, 1, 1]},
        {"begin": [1, 0, 0], "end": [2, 3, 4], "squeeze_mask": [True, False, False]},
    ],
    ids=["middle", "negative", "backwards", "open", "squeezed"],
)
def test_gradients_of_what_a_slice_leaves_out_are_zero(
    limits: dict[str, list[int]], tmp_path: Path
) -> None:
    """A gradient that is put elsewhere shows the error of another part of the network."""

    def body(mb: Any, x: Any) -> Any:
        masks = {k: [bool(b) for b in v] if k.endswith("mask") else v for k, v in limits.items()}
        return mb.slice_by_index(x=mb.exp(x=x), **masks)

    assert_gradients_of_pytorch(body, {"x": (2, 3, 4)}, tmp_path)


def test_gradients_of_squares_and_linear_layers_are_those_of_pytorch(tmp_path: Path) -> None:
    def body(mb: Any, x: Any, w: Any) -> Any:
        weight = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
        bias = np.ones(5, np.float32)
        layer = mb.linear(x=mb.square(x=mb.sin(x=x)), weight=weight, bias=bias)
        return mb.square(x=layer), mb.linear(x=x, weight=weight), mb.square(x=w)

    assert_gradients_of_pytorch(body, {"x": (2, 3, 4), "w": (5, 4)}, tmp_path)


def test_a_nan_is_the_worst_error_of_every_measure() -> None:
    """Else an overflow in FP16 reads as no error at all, and tuning calls it a success."""
    expected = {"freq": torch.randn(1, 1, 4, 2048, 22), "time": torch.randn(1, 1, 2, 22050)}
    broken = {name: torch.full_like(value, math.nan) for name, value in expected.items()}
    measures = measures_of(Stems(("bass",), stem_waveform, SAMPLE_RATE), ["freq"])
    assert [measure.of(expected, broken) for measure in measures] == [math.inf] * 3
    tolerance = ToleranceMeasure("time", 1e-3, 1e-4)
    assert tolerance.of(expected, broken) == tolerance.worst(expected, broken) == math.inf
    ratio, stretch = measures[1].worst_stretch(expected, broken)
    assert ratio == math.inf
    assert stretch is not None


def test_a_quotient_of_tiny_numbers_keeps_its_derivative(tmp_path: Path) -> None:
    """The square of 1e-24 is 0 in float32: dividing by it makes NaN of what is finite."""

    def body(mb: Any, x: Any) -> Any:
        small = mb.mul(x=mb.add(x=mb.square(x=x), y=np.float32(1)), y=np.float32(1e-24))
        return mb.real_div(x=mb.mul(x=mb.exp(x=x), y=np.float32(1e-24)), y=small)

    assert_gradients_of_pytorch(body, {"x": (2, 3, 4)}, tmp_path)


def assert_gradients_of_pytorch(
    body: Callable[..., Any], shapes: dict[str, tuple[int, ...]], folder: Path
) -> None:
    """Assert that two probes come to the inputs as through PyTorch's graph of the whole program."""
    program = make_program(body, shapes, np.float32)
    model = mil.load(write_package(program, folder / "p.mlpackage"))
    generator = torch.Generator().manual_seed(1)
    inputs = {name: torch.rand(size, generator=generator) for name, size in shapes.items()}
    recording = Recording(model, inputs)
    probes = {
        name: torch.randn((2, *value.shape), generator=generator)
        for name, value in recording.outputs.items()
    }
    found: dict[int, torch.Tensor] = {}

    def visit(visit: Visit) -> None:
        for slot, gradient in visit.at_inputs.items():
            found[slot] = found[slot] + gradient if slot in found else gradient

    recording.walk_back(probes, visit)
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    outputs = model.run(leaves, differentiable=True)
    for number in range(2):
        scalar = sum((outputs[name] * probes[name][number]).sum() for name in outputs)
        expected = torch.autograd.grad(scalar, list(leaves.values()), retain_graph=True)
        for name, gradient in zip(leaves, expected, strict=True):
            actual = found[model.plan.inputs[name]][number]
            torch.testing.assert_close(actual, gradient, rtol=1e-5, atol=1e-5)
