"""Single operations: which of them loses its digits in Core AI's runtime, and what helps."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.coreai import OperationError, compare_operations
from harness.coreai.asset import Asset
from harness.coreai.convert import decomposed, lower, save
from harness.devices import device
from harness.devices.convolution import Window
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


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.ConvTranspose1d(64, 3, 8, stride=4), (1, 64, 24)),
        (nn.ConvTranspose1d(5, 2, 3, stride=1, padding=1, bias=False), (2, 5, 9)),
        (nn.ConvTranspose2d(16, 4, (8, 1), stride=(4, 1)), (1, 16, 12, 5)),
        (nn.ConvTranspose2d(48, 3, (3, 4), stride=(2, 2), padding=(1, 0)), (1, 48, 5, 6)),
    ],
    ids=lambda value: f"{value.in_channels}_{value.kernel_size}" if hasattr(value, "bias") else "",
)
def test_a_transposed_convolution_adds_one_product_after_the_other(
    installed: None,
    layer: nn.ConvTranspose1d | nn.ConvTranspose2d,
    shape: tuple[int, ...],
    tmp_path: Path,
) -> None:
    """In FP16, taps from last to first inside channels; the decoders of HTDemucs are made of it.

    Where a kernel has two axes its taps come in an order that is not known: it is as good as this.
    """
    generator = torch.Generator().manual_seed(7)
    half = layer.half().eval()
    x = torch.randn(shape, generator=generator).half()
    path = tmp_path / "transposed.aimodel"
    save(lower(decomposed(half, (x,), as_is=True), ["x"], ["y"]), path, {})
    made = Asset(path).execute({"x": x.numpy()})["y"]
    cuts = [(int(cut), int(cut)) for cut in layer.padding]
    window = Window([int(n) for n in layer.stride], cuts, [1] * len(cuts))
    told = device("coreai-cpu").transposed_convolution(x, half.weight, half.bias, window)
    if min(half.kernel_size[-2:]) == 1 or x.ndim == 3:
        np.testing.assert_array_equal(made, told.detach().numpy())
    exact = half.double()(x.double()).detach().numpy()
    assert snr_db(exact, told.detach().numpy()) == pytest.approx(snr_db(exact, made), abs=1)
