"""If these fail, tuning doesn't find the one operation that it misjudged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness import mil
from harness._coremltools import import_coremltools
from harness.precision.tuning import Goal, Tuner
from harness.precision.tuning.blame import region_to_blame
from harness.precision.tuning.parts import Parts
from harness.precision.virtual import VirtualPrecision
from suites.ops.packages import write_package

SIZE = 100


def chain(factors: np.ndarray) -> Parts:
    """A chain of operations of like parts, each times a factor of its own."""
    generator = np.random.default_rng(3)
    own = 10 ** generator.uniform(-1, 0, (SIZE, 2)) * factors[:, None]
    at_edges = 10 ** generator.uniform(-3, -2, (SIZE, 2)) * factors[:, None]
    edges = tuple((k - 1, k) for k in range(SIZE))
    return Parts(tuple(f"op{k}" for k in range(SIZE)), ("a/x", "b/x"), own, edges, at_edges)


class Runs:
    """Runs of one case: what the parts really are, and how many runs it took."""

    def __init__(self, truth: Parts) -> None:
        self.truth, self.count = truth, 0

    def __call__(self, narrow: np.ndarray) -> np.ndarray:
        self.count += 1
        return self.truth.error(~narrow) * [1.0, np.nan]


@pytest.mark.parametrize("liar", [0, 37, SIZE - 1])
def test_one_operation_that_does_far_more_than_predicted_is_found(liar: int) -> None:
    factors = np.ones(SIZE)
    factors[liar] = 1000.0
    runs = Runs(chain(factors))
    narrow = np.random.default_rng(0).random(SIZE) < 0.8
    narrow[liar] = True
    measured = float(runs.truth.error(~narrow)[0])
    parts = chain(np.ones(SIZE))
    region = region_to_blame(parts, narrow, 0, measured, runs)
    assert region is not None
    assert np.flatnonzero(region.operations).tolist() == [liar]
    assert region.ratios == pytest.approx([1000.0, 1.0])
    assert runs.count <= 2 * np.ceil(np.log2(SIZE))
    corrected = parts.corrected(region.operations, region.ratios)
    assert corrected.error(~narrow)[0] == pytest.approx(measured)


def test_nobody_is_to_blame_where_everything_is_worse() -> None:
    runs = Runs(chain(np.full(SIZE, 3.0)))
    everything = np.ones(SIZE, bool)
    measured = float(runs.truth.error(~everything)[0])
    assert region_to_blame(chain(np.ones(SIZE)), everything, 0, measured, runs) is None
    assert runs.count <= 6


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> VirtualPrecision:
    """A linear layer on many frames, and their mean; its weights are what they are in FP16."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    generator = np.random.default_rng(8)
    weight = generator.standard_normal((8, 8)).astype(np.float16).astype(np.float32)
    program = Program()
    with Function({"x": mb.placeholder((1, 400, 8), types.fp32)}, ct.target.iOS18) as function:
        frames = mb.linear(x=function.inputs["x"], weight=weight, name="frames")
        function.set_outputs([mb.reduce_mean(x=frames, axes=[1], name="mean")])
    program.add_function("main", function)
    path: Path = tmp_path_factory.mktemp("blame") / "pooled.mlpackage"
    return VirtualPrecision(mil.load(write_package(program, path)))


def test_roundings_that_are_alike_in_every_frame_are_predicted_to_add_up(
    pooled: VirtualPrecision,
) -> None:
    frame = torch.from_numpy(np.random.default_rng(1).standard_normal(8)).half().float()
    inputs = {"x": frame.expand(1, 400, 8).contiguous()}
    tuner = Tuner(pooled, {"constant": inputs}, Goal(60.0), probes=64)
    parts = tuner.parts()
    wide = np.array([name != "frames" for name in parts.operations])
    measured = tuner.measured(["mean"])["constant/branch:mean"]
    assert 10 * abs(np.log10(parts.error(wide)[0] / measured)) < 3.0
