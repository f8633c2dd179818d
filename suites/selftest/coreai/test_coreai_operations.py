"""Single operations: which of them loses its digits in Core AI's runtime, and what helps."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.coreai import OperationError, compare_operations
from harness.coreai.asset import Asset
from harness.coreai.convert import decomposed, lower, save
from harness.devices import device
from harness.metrics import snr_db
from harness.subjects.protocol import Extracted, Interface

COUNT = 1 << 19


class Mean(nn.Module):
    """The smallest network that loses FP32's digits: one operation, as in docs/coreai.md."""

    interface = Interface({"x": (1, COUNT)}, {"y": (1, 1)})

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1, keepdim=True)


def test_a_long_mean_loses_digits_and_its_stages_do_not(installed: None) -> None:
    mean = cast(Extracted, Mean().eval())
    x = {"x": 0.5 + torch.randn(1, COUNT, generator=torch.Generator().manual_seed(1))}
    (alone,) = compare_operations(mean, x)
    assert (alone.operation, alone.shape, alone.calls) == ("mean", (1, COUNT), 1)
    assert alone.runtime_db < 110 < alone.torch_db
    staged = compare_operations(mean, x, as_is=False)
    assert {error.operation for error in staged} == {"mean"}
    assert len(staged) == 2
    assert min(error.runtime_db for error in staged) > 115


def test_each_operation_is_named_with_its_module(
    installed: None, small: Extracted, signal: Tensor
) -> None:
    told: list[str] = []
    found = compare_operations(small, {"x": signal}, progress=told.append)
    by_name: dict[str, OperationError] = {error.operation: error for error in found}
    assert {"mean", "convolution", "native_group_norm", "sigmoid", "addmm"} <= by_name.keys()
    assert by_name["convolution"].module == "convolution"
    assert by_name["mean"].calls == 3  # of the input, inside the deviation, and of squares
    assert [e.runtime_db for e in found] == sorted(e.runtime_db for e in found)
    assert by_name["convolution"].runtime_db > 135
    assert told == [f"{len(found)} operations, from the inputs on"]


class Half(nn.Module):
    """Operations in FP16 that the profile tells to the bit, or nearly."""

    def forward(self, a: Tensor, b: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        normed = nn.functional.layer_norm(a, [a.shape[-1]], a[0], a[1])
        return a @ b, torch.addmm(bias, a, b), a / (a.abs() + 1), a.mean(-1), normed


@pytest.fixture(scope="module")
def halves() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = ((32, 700), (700, 24), (24,))
    return tuple(torch.randn(s, generator=generator).half() for s in shapes)  # type: ignore[return-value]


def test_the_profile_is_what_the_runtime_does(
    installed: None, halves: tuple[Tensor, Tensor, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("half") / "half.aimodel"
    names = [f"y{index}" for index in range(5)]
    save(lower(decomposed(Half().eval(), halves, as_is=True), ["a", "b", "c"], names), path, {})
    given = dict(zip("abc", (x.numpy() for x in halves), strict=True))
    made = Asset(path).execute(given)
    a, b, bias = halves
    unit = device("coreai-cpu")
    np.testing.assert_array_equal(made["y0"], unit.matmul(a, b).numpy())
    np.testing.assert_array_equal(made["y1"], unit.linear(a, b.T, bias).numpy())
    quotient = unit.elementwise(
        torch.div, a, unit.elementwise(torch.add, a.abs(), bias.new_ones(1))
    )
    np.testing.assert_array_equal(made["y2"], quotient.numpy())
    np.testing.assert_array_equal(made["y3"], unit.mean(a, [-1]).numpy()[:, 0])
    normed = unit.layer_norm(a, [-1], a[0], a[1]).numpy()
    assert np.mean(made["y4"] == normed) > 0.999
    assert snr_db(normed, made["y4"]) > 90
