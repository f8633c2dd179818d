"""The executor beside PyTorch's eager forward: time, memory, and time to load; ``nox -s bench``.

Processor time on one thread and wall clock on two, in turns in one process; the figures that count
are the medians of the ratios. Memory is the peak of a process of its own.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from harness import mil
from harness.engines import availability
from suites.bench.conftest import Measured
from suites.bench.one_segment import (
    SUBJECT,
    Side,
    alternate,
    cpu_ms,
    eager_sides,
    executor_sides,
    numbers,
    onnx_side,
    random_inputs,
    ratio,
    wall_ms,
)
from suites.bench.runtimes import runtime_calls
from suites.bench.test_separation import measure

ROUNDS = 7
RECIPES = ("fp32", "fp16", "mixed")

ONE_FORWARD = """
import sys, torch
from suites.bench.one_segment import eager_sides, executor_sides, random_inputs
inputs = {n: torch.from_numpy(a) for n, a in random_inputs().items()}
given = sys.argv[1:]
side, *_ = executor_sides(*given, inputs) if given else eager_sides(inputs, half=False)
for _ in range(2):
    side.call()
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    paths = {recipe: folder / f"{recipe}.mlpackage" for recipe in RECIPES}
    for recipe, path in paths.items():
        command = [sys.executable, "-m", "harness", "convert", SUBJECT, "--precision", recipe]
        measure(*command, "--out", str(path))
    return paths


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_time_of_one_segment(packages: dict[str, Path], threads: int, measured: Measured) -> None:
    inputs = {name: torch.from_numpy(array) for name, array in random_inputs().items()}
    sides = eager_sides(inputs, half=False)
    for name, path in packages.items():
        sides += executor_sides(name, path, inputs)
        if availability("onnx").available:
            sides.append(onnx_side(name, path))
    sides += [Side(name, call) for name, call in runtime_calls(SUBJECT, random_inputs()).items()]
    alternate(sides, ROUNDS, cpu_ms if threads == 1 else wall_ms)
    expected = {name: tensor.numpy() for name, tensor in sides[0].call().items()}
    clock = "processor time" if threads == 1 else "wall clock"
    print(f"\none segment of {SUBJECT}, {threads} threads, {clock}, {ROUNDS} rounds")
    for side in sides:
        median = statistics.median(side.milliseconds)
        apart = ", ".join(f"{db:.1f} dB" for db in numbers(side, expected).values() if db)
        print(f"{side.name:<20} {median:8.0f} ms  x{ratio(side, sides[0]):.3f}  {apart}")
        against = f"one segment, {threads} threads, {clock}: {side.name} beside {sides[0].name}"
        measured(against, ratio(side, sides[0]), "")
    assert all(len(side.milliseconds) == ROUNDS for side in sides)


def test_memory_of_one_segment(packages: dict[str, Path], measured: Measured) -> None:
    print(f"\npeak memory of a process that runs one segment of {SUBJECT} twice")
    eager = measure(sys.executable, "-c", ONE_FORWARD)
    print(f"{'eager fp32':<20} {eager.peak_mb:8.0f} MB")
    for name, path in packages.items():
        cost = measure(sys.executable, "-c", ONE_FORWARD, name, str(path))
        print(f"{name:<20} {cost.peak_mb:8.0f} MB  x{cost.peak_mb / eager.peak_mb:.2f}")
        measured(f"peak of memory, one segment: {name}", cost.peak_mb, "MB")
        assert cost.peak_mb > 0


def test_time_to_load(packages: dict[str, Path]) -> None:
    print(f"\nseconds to open and plan a package of {SUBJECT}, coremltools imported before")
    mil.load(packages["fp32"])
    for name, path in packages.items():
        start = time.perf_counter()
        model = mil.load(path)
        print(
            f"{name:<20} {time.perf_counter() - start:8.2f} s, {len(model.operations)} operations"
        )
        assert model.operations
