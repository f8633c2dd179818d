"""Long sums in stages: the same numbers, and no long sum left."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.coreai.convert import export
from harness.coreai.stages import (
    LONGEST_SUM,
    group_norm,
    layer_norm,
    mean,
    total,
    variance,
)
from harness.metrics import snr_db
from harness.subjects.protocol import Extracted

EQUAL_DB = 110.0


def noise(*shape: int) -> Tensor:
    return 0.5 + torch.randn(shape, generator=torch.Generator().manual_seed(3))


def same(expected: Tensor, actual: Tensor) -> bool:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    return snr_db(expected.numpy(), actual.numpy()) > EQUAL_DB


@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((2, 3, 40, 50), (1, 2, 3)),
        ((2, 3, 40, 50), (-1, 1, 2)),
        ((3, 4099), (1,)),  # a prime: no rows of equal length without padding
        ((60, 70, 2), (0, 1)),
    ],
)
def test_means_sums_and_variances_stay_what_they_are(
    shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool
) -> None:
    x = noise(*shape)
    assert same(x.mean(axes, keepdim), mean(x, axes, keepdim))
    assert same(x.sum(axes, keepdim), total(x, axes, keepdim))
    spread = variance(x, axes, correction=1, keepdim=keepdim)
    assert same(x.var(axes, correction=1, keepdim=keepdim), spread)


def test_without_axes_everything_is_reduced() -> None:
    x = noise(3, 50, 40)
    assert same(x.mean(), mean(x, None))
    assert same(x.var(correction=0), variance(x, None, correction=0))


@pytest.mark.parametrize("affine", [True, False])
def test_norms_stay_what_they_are(affine: bool) -> None:
    x, weight, bias = noise(2, 6, 900), noise(6), noise(6)
    given = (weight, bias) if affine else (None, None)
    expected = torch.native_group_norm(x, *given, 2, 6, 900, 3, 1e-5)
    made = group_norm(x, *given, 2, 6, 900, 3, 1e-5)
    assert all(same(e, m) for e, m in zip(expected, made, strict=True))
    given = (noise(6, 900), noise(6, 900)) if affine else (None, None)
    expected = torch.native_layer_norm(x, [6, 900], *given, 1e-5)
    made = layer_norm(x, [6, 900], *given, 1e-5)
    assert all(same(e, m) for e, m in zip(expected, made, strict=True))


def test_short_sums_are_left_alone() -> None:
    """Rewriting them would cost operations, and Apple's own norms, for nothing."""
    x = noise(1, 4, LONGEST_SUM // 4)
    assert mean(x, (1, 2)) is NotImplemented
    assert total(x, (1, 2)) is NotImplemented
    assert group_norm(x, None, None, 1, 4, LONGEST_SUM // 4, 1, 1e-5) is NotImplemented
    assert layer_norm(x, [4, LONGEST_SUM // 4], None, None, 1e-5) is NotImplemented


def test_half_precision_does_not_overflow_on_the_way_to_a_mean() -> None:
    x = torch.full((1, 4096), 300.0, dtype=torch.float16)
    assert mean(x, (1,)).item() == 300.0
    assert variance(x * torch.tensor([1, -1], dtype=x.dtype).repeat(2048), (1,)).isinf()


def test_no_long_sum_is_left_in_what_is_converted(
    installed: None, small: Extracted, signal: Tensor
) -> None:
    def lengths(as_is: bool) -> list[int]:
        found = []
        for node in export(small, as_is=as_is).graph.nodes:
            if node.target is torch.ops.aten.mean.dim:
                shape, axes = node.args[0].meta["val"].shape, node.args[1]
                found.append(math.prod(shape[axis] for axis in axes))
            if node.target is torch.ops.aten.native_group_norm.default:
                found.append(node.args[4] // node.args[6] * node.args[5])
        return found

    assert max(lengths(as_is=True)) == 4 * 2048
    assert max(lengths(as_is=False)) == LONGEST_SUM
    rewritten = export(small).module(check_guards=False)(signal)
    assert all(same(e, m) for e, m in zip(small(signal), rewritten, strict=True))
