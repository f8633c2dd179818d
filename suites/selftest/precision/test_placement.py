"""If these fail, a split of a program over units is worse than the floor that is told of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from harness._coremltools import import_coremltools
from harness.audio.stft import spectrogram_from_waveform
from harness.conversion import load_recipe
from harness.devices import band, device
from harness.mil import Model
from harness.mil.numerics.device import device_numerics
from harness.places import GOLDEN_ROOT
from harness.precision.placement import (
    Floor,
    Machine,
    Split,
    find_floor,
    machine_of,
    vary,
)
from harness.precision.sensitivity import output_measure, snr_of
from harness.subjects import load_subject
from harness.workbench.packages import Packages
from harness.workbench.sources import SubjectSource
from suites.ops.packages import write_package

M1 = device("ane-m1")
MACHINE = machine_of(M1)
Outputs = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Placeable:
    """A program in FP16, a signal, and what should come out."""

    model: Model
    inputs: dict[str, torch.Tensor]
    expected: Outputs

    def levels(self, split: Split) -> dict[str, float]:
        made = self.model.run(self.inputs, operation_numerics=MACHINE.numerics(split))
        return self.levels_of(made)

    def levels_of(self, made: Outputs) -> dict[str, float]:
        return {name: snr_of(output_measure(name).of(self.expected, made)) for name in made}

    def floors(self) -> tuple[Floor, ...]:
        measures = [output_measure(output.name) for output in self.model.outputs]
        return find_floor(self.model, MACHINE, self.inputs, self.expected, measures)


def program(build: Callable[[Any, Any], Any], shape: tuple[int, ...], path: Path) -> Model:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    made = Program()
    with Function({"x": mb.placeholder(shape, types.fp16)}, ct.target.iOS18) as function:
        function.set_outputs([build(mb, function.inputs["x"])])
    made.add_function("main", function)
    return mil.load(write_package(made, path / "p.mlpackage"))


def layers(mb: Any, x: Any) -> Any:
    """Matrices whose sums units take otherwise, with gates and a GELU from tables between."""
    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        weight: np.ndarray = random.standard_normal((rows, columns)) / columns**0.5
        return weight.astype(np.float16)

    y = mb.linear(x=x, weight=matrix(32, 64), bias=np.ones(32, np.float16), name="first")
    y = mb.gelu(x=y, mode="EXACT", name="gelu")
    gate = mb.sigmoid(x=mb.linear(x=y, weight=matrix(32, 32), name="second"), name="gate")
    y = mb.mul(x=y, y=gate, name="gated")
    return mb.linear(x=y, weight=matrix(8, 32), name="y")


@pytest.fixture(scope="module")
def small_program(tmp_path_factory: pytest.TempPathFactory) -> Placeable:
    model = program(layers, (40, 64), tmp_path_factory.mktemp("placement"))
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((40, 64))).half().float()
    expected = model.run({"x": x.double()}, numerics="float64")
    return Placeable(model, {"x": x}, {name: y.float() for name, y in expected.items()})


def test_no_split_is_under_the_floor_and_the_worst_of_all_is_within_a_decibel(
    small_program: Placeable,
) -> None:
    """All 729 splits are executed: the search that finds the floor executes a few."""
    (floor,) = small_program.floors()
    able = MACHINE.able(small_program.model)
    every = [dict(zip(able, units, strict=True)) for units in itertools.product(*able.values())]
    levels = [small_program.levels(split)["y"] for split in every]
    assert len(every) == 3**6
    assert max(levels) > min(levels) + 15  # it matters how the program is split
    assert floor.db == pytest.approx(min(levels), abs=1)
    assert len(floor.tried) <= 8


def test_the_floor_was_executed(small_program: Placeable) -> None:
    (floor,) = small_program.floors()
    assert floor.db == small_program.levels(floor.worst.split)["y"]
    assert floor.db == min(floor.tried.values())


def test_a_unit_gets_what_it_can_run(tmp_path: Path) -> None:
    def wide(mb: Any, x: Any) -> Any:
        y = mb.add(x=x, y=np.float16(1), name="long")
        y = mb.reduce_mean(x=y, axes=[1], keep_dims=True, name="short")
        return mb.cast(
            x=mb.mul(x=mb.cast(x=y, dtype="fp32"), y=np.float32(2)), dtype="fp16", name="y"
        )

    model = program(wide, (2, 20000), tmp_path)  # an M1's Neural Engine takes 16,384 in width
    able = MACHINE.able(model)
    assert able["long"] == ("gpu", "cpu")
    assert "mul_0" not in able  # FP32, and the same wherever it runs
    everywhere = MACHINE.all_on(model, "ane")
    assert everywhere["long"] == "gpu"
    m5 = machine_of(device("ane-m5"))
    assert m5.able(model)["long"] == ("ane", "gpu", "cpu")
    assert m5.units["gpu"].profile.name == "gpu-m5"
    assert machine_of(device("cpu-bnns")).units["ane"].profile.name == "ane-m1"


def test_a_size_that_is_not_known_keeps_no_unit_from_an_operation(tmp_path: Path) -> None:
    """Else all of a package with flexible shapes would be taken from the Neural Engine."""
    import_coremltools()
    from coremltools.converters.mil.mil import get_new_symbol

    def doubled(mb: Any, x: Any) -> Any:
        return mb.add(x=x, y=x, name="y")

    model = program(doubled, (2, get_new_symbol()), tmp_path)
    assert model.plan.steps[0].types[0].shape == (2, None)
    assert MACHINE.able(model)["y"] == ("ane", "gpu", "cpu")


@pytest.mark.parametrize("name", ["ane-m1", "cpu-bnns", "gpu"])
def test_a_variant_is_as_if_it_had_been_executed(name: str, small_program: Placeable) -> None:
    usual, *others = band(name)
    others += [
        usual.supposing(activations="rounded_once", softmax="rounded_once"),
        usual.supposing(accumulator="wide"),
    ]
    made, varied = vary(small_program.model, small_program.inputs, usual, others)
    run = small_program.model.run(small_program.inputs, numerics=device_numerics(usual))
    assert torch.equal(made["y"], run["y"])
    for other, outputs in zip(others, varied, strict=True):
        executed = small_program.model.run(small_program.inputs, numerics=device_numerics(other))
        levels = [small_program.levels_of(y)["y"] for y in (outputs, executed)]
        assert levels[0] == pytest.approx(levels[1], abs=1), other.label


def masked(mb: Any, x: Any) -> Any:
    """Attention to what came before: what comes after is minus infinity."""
    mask = np.where(np.tril(np.ones((6, 6))), 0, -np.inf).astype(np.float16)
    return mb.softmax(x=mb.add(x=mb.gelu(x=x, mode="EXACT"), y=mask), axis=-1, name="y")


def overflowing(mb: Any, x: Any) -> Any:
    """Sums between 32,768, where the M1's end, and the end of FP16."""
    y = mb.linear(x=x, weight=np.full((6, 6), 1000, np.float16), bias=np.ones(6, np.float16))
    return mb.mul(x=y, y=np.float16(0.001), name="y")


@pytest.mark.parametrize("build", [masked, overflowing])
def test_a_variant_of_what_is_infinite_is_a_number_where_it_would_be(
    build: Callable[[Any, Any], Any], tmp_path: Path
) -> None:
    model, inputs = program(build, (6, 6), tmp_path), {"x": torch.full((6, 6), 8.0)}
    usual, *others = band("ane-m1")
    others += [
        usual.supposing(product_ceiling=65520.0),
        usual.supposing(activations="rounded_once"),
    ]
    made, varied = vary(model, inputs, usual, others)
    assert made["y"].isinf().any() == (build is overflowing)
    for other, outputs in zip(others, varied, strict=True):
        executed = model.run(inputs, numerics=device_numerics(other))
        assert torch.allclose(outputs["y"], executed["y"], rtol=0.01, atol=0.01), other.label


@pytest.fixture(scope="module")
def short_mini(tmp_path_factory: pytest.TempPathFactory) -> Placeable:
    """``mini`` with its weights on an eighth of a second of the song."""
    packages = Packages(tmp_path_factory.mktemp("mini"), load_subject)
    subject = "mini?segment=1/8"
    model = mil.load(packages.path(subject, load_recipe("fp16")))
    audio = SubjectSource("mini", ("song",), GOLDEN_ROOT).inputs()["song"]["audio"][
        ..., 100_000:105_512
    ]
    inputs = {"audio": audio.contiguous(), "spectrogram": spectrogram_from_waveform(audio)}
    return Placeable(model, inputs, mil.load(packages.fp32(subject)).run(inputs))


def at_random(model: mil.Model, seed: int) -> Split:
    """Each operation on any of the units that can run it."""
    choice = random.Random(seed).choice
    return {name: choice(units) for name, units in MACHINE.able(model).items()}


@pytest.mark.exhaustive
def test_no_random_split_of_mini_is_under_the_floor(short_mini: Placeable) -> None:
    floors = {floor.measure.partition(":")[2]: floor for floor in short_mini.floors()}
    for seed in range(200):
        found = short_mini.levels(at_random(short_mini.model, seed))
        assert all(floors[name].db < level for name, level in found.items())


@pytest.mark.exhaustive
def test_a_search_from_the_worst_split_of_mini_finds_none_a_decibel_worse(
    short_mini: Placeable,
) -> None:
    """Another search: operations of one type and module move together, and stay if it is worse."""
    for floor in short_mini.floors():
        output, found, split = floor.measure.partition(":")[2], floor.db, floor.worst.split
        random = np.random.default_rng(0)
        for _ in range(60):
            tried = moved(MACHINE, short_mini.model, split, random)
            level = short_mini.levels(tried)[output]
            if level < found:
                found, split = level, tried
        assert found > floor.db - 1


def moved(
    machine: Machine, model: Model, split: Split, random: np.random.Generator
) -> dict[str, str]:
    """Return a split in which one operation in twenty is somewhere else."""
    able = machine.able(model)
    return {
        name: able[name][random.integers(len(able[name]))] if random.random() < 0.05 else unit
        for name, unit in split.items()
    }
