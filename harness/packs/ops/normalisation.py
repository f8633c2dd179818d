"""Normalisations: group, layer and batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from harness.packs.groupnorm import EPS, predicted_errors
from harness.packs.problems import OPS, SEVERAL, Bounds, Draw, Problem

LONG_LENGTH = 1 << 18
LONG_MEAN = 4.0
"""A mean that is larger than the deviation makes the algorithms differ, as it does in music after a
GELU."""


def group_norm_of(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, statistics over each group."""
    return F.group_norm(x, groups, weight, bias, eps)


@OPS.operation("group_norm", {"x": "NCL or NCHW", "weight": "C", "bias": "C"}, bounds=SEVERAL)
def group_norm(draw: Draw) -> Iterator[Problem]:
    """(x - mean) / sqrt(var + eps) * weight + bias over a group's channels and positions; var is
    biased.
    """

    def case(name: str, x: Sequence[int], groups: int, eps: float, **more: Any) -> Problem:
        parameters = {"weight": draw(x[1], mean=1.0), "bias": draw(x[1])}
        mean = more.pop("mean", 0.0)
        given = {"x": draw(*x, mean=mean)}
        attributes = {"groups": groups, "eps": eps}
        return Problem(name, group_norm_of, given, parameters, attributes, **more)

    yield case("one_group", (2, 6, 10), 1, EPS, levels=True)
    yield case("groups", (1, 8, 5), 4, EPS)
    yield case("each_channel", (1, 4, 9), 4, EPS)
    yield case("images", (1, 6, 4, 3), 2, EPS)
    yield case("other_eps", (1, 4, 8), 2, 1e-3)
    yield case("large_mean", (1, 4, 64), 1, EPS, mean=100.0, bounds=Bounds(1e-4, 1e-4, 85.0),
               gradient_bounds=Bounds(1e-4, 1e-4, 85.0))  # fmt: skip
    yield _long_group_norm(draw)


def _long_group_norm(draw: Draw) -> Problem:
    x = draw(1, 1, LONG_LENGTH, mean=LONG_MEAN)
    parameters = {"weight": draw(1, mean=1.0), "bias": draw(1)}
    predicted = predicted_errors(x.reshape(-1), parameters["weight"][0], parameters["bias"][0])
    # Twice what plain sequential sums reach: nobody is asked for more than the simplest algorithm.
    bounds = Bounds(0.0, 2 * predicted["standard"], None)
    return Problem(
        "long_sum",
        group_norm_of,
        {"x": x},
        parameters,
        {"groups": 1, "eps": EPS},
        bounds=bounds,
        gradient_bounds=Bounds(1e-3, 1e-3, 60.0),
        algorithms=predicted,
    )


@OPS.operation("layer_norm", {"x": "[..., C]", "weight": "C", "bias": "C"}, bounds=SEVERAL)
def layer_norm(draw: Draw) -> Iterator[Problem]:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis; var is biased."""

    def compute(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)

    for name, shape, eps in (
        ("basic", (3, 7, 16), 1e-5),
        ("vector", (12,), 1e-5),
        ("other_eps", (4, 8), 1e-2),
        ("wide", (2, 2048), 1e-5),
    ):
        parameters = {"weight": draw(shape[-1], mean=1.0), "bias": draw(shape[-1])}
        given = {"x": draw(*shape)}
        yield Problem(name, compute, given, parameters, {"eps": eps}, levels=name == "basic")


@OPS.operation(
    "batch_norm",
    {"x": "NC...", "weight": "C", "bias": "C", "running_mean": "C", "running_var": "C"},
)
def batch_norm(draw: Draw) -> Iterator[Problem]:
    """With stored statistics, as at inference: (x - running_mean) / sqrt(running_var + eps) *
    weight + bias.
    """

    def compute(
        x: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> Tensor:
        # Spelled out, because PyTorch gives no gradient for the statistics.
        shape = (-1, *([1] * (x.dim() - 2)))
        scale = weight / (running_var + eps).sqrt()
        return (x - running_mean.view(shape)) * scale.view(shape) + bias.view(shape)

    for name, shape, eps in (
        ("signals", (2, 3, 9), 1e-5),
        ("images", (1, 4, 3, 5), 1e-3),
        ("features", (5, 6), 1e-5),
    ):
        channels = shape[1]
        parameters = {
            "weight": draw(channels, mean=1.0),
            "bias": draw(channels),
            "running_mean": draw(channels),
            "running_var": draw.positive(channels),
        }
        given = {"x": draw(*shape)}
        yield Problem(name, compute, given, parameters, {"eps": eps}, levels=name == "signals")
