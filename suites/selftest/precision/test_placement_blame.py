"""If these fail, a capture that contradicts its prediction is blamed on the wrong operation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.devices import device
from harness.mil import Model
from harness.mil.numerics.device import device_numerics
from harness.precision.placement import find_culprit, machine_of
from harness.precision.sensitivity import output_measure, snr_of
from suites.selftest.precision.test_placement import layers, program

M1 = device("ane-m1")
WAYS = {
    **{name: unit for name, unit in machine_of(M1).units.items() if name != "ane"},
    "winograd": device("ane-m1", convolution="winograd_4"),
}
MEASURES = [output_measure("y")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return program(layers, (40, 64), tmp_path_factory.mktemp("blame"))


X = torch.from_numpy(np.random.default_rng(1).standard_normal((40, 64))).half().float()


def run(model: Model, way: str = "", operation: str = "") -> dict[str, torch.Tensor]:
    """Execute it as an M1 does, with one operation as some other unit does."""
    numerics = device_numerics(WAYS[way]) if way else None
    return model.run(
        {"x": X},
        numerics=device_numerics(M1),
        operation_numerics=lambda o: numerics if o.name == operation else None,
    )


@pytest.mark.parametrize(
    ("operation", "way"),
    [("first", "cpu"), ("second", "cpu"), ("y", "cpu"), ("gelu", "gpu"), ("gate", "gpu")],
)
def test_the_one_operation_that_a_hidden_device_computes_otherwise_is_named(
    operation: str, way: str, model: Model
) -> None:
    predicted, captured = run(model), run(model, way, operation)
    assert snr_of(MEASURES[0].of(predicted, captured)) < 66  # roundings alone are nearer
    found = find_culprit(model, {"x": X}, M1, WAYS, predicted, captured, MEASURES)
    assert found is not None
    assert found.operation == operation
    assert found.explained > 0.99  # the very same is executed


@pytest.mark.parametrize("operation", ["gelu", "y"])
def test_a_mask_hides_no_culprit(operation: str, tmp_path: Path) -> None:
    """Its infinities are the same by every way, and differ by nothing."""

    def causal(mb: Any, x: Any) -> Any:
        y = mb.gelu(x=x, mode="EXACT", name="gelu")
        mask = np.where(np.tril(np.ones((40, 64))), 0, -np.inf).astype(np.float16)
        for number in range(6):  # more than are executed
            y = mb.add(x=y, y=mask, name=f"masked_{number}")
        return mb.softmax(x=y, axis=-1, name="y")

    model = program(causal, (40, 64), tmp_path)
    predicted, captured = run(model), run(model, "gpu", operation)
    found = find_culprit(model, {"x": X}, M1, WAYS, predicted, captured, MEASURES)
    assert found is not None
    assert (found.operation, found.way) == (operation, "gpu")
    assert found.explained > 0.99


def test_what_no_way_explains_is_not_claimed_to_be(model: Model, tmp_path: Path) -> None:
    predicted = run(model)
    noise = np.random.default_rng(2).standard_normal(predicted["y"].shape)
    captured = {"y": predicted["y"] + 0.05 * torch.from_numpy(noise).float()}
    found = find_culprit(model, {"x": X}, M1, WAYS, predicted, captured, MEASURES)
    assert found is not None
    assert found.explained < 0.2
