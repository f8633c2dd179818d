"""Three ways in which convolutions are written by hand, in FP32: each meets the tolerances.

A tolerance that only one order of the sums can meet would send whoever chose another after a bug
that isn't there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from harness.packs import Pack, Request, Results, judge
from harness.verdicts import Verdict

Array = np.ndarray
Sum = Callable[[Array, Array], Array]
"""Weights [O, C, taps] and shifted inputs [N, C, taps, positions] to [N, O, positions]."""


def direct(weight: Array, shifted: Array) -> Array:
    """One product after the other is added to a running sum, as a shader does."""
    y = np.zeros((shifted.shape[0], weight.shape[0], shifted.shape[3]), np.float32)
    for c, k in itertools.product(*map(range, weight.shape[1:])):
        y += weight[:, c, k, None] * shifted[:, None, c, k]
    return y


def im2col(weight: Array, shifted: Array) -> Array:
    """The shifted inputs are columns of a matrix, and one matrix product does the rest."""
    columns = shifted.reshape(shifted.shape[0], -1, shifted.shape[3])
    made: Array = weight.reshape(weight.shape[0], -1) @ columns
    return made


def implicit(weight: Array, shifted: Array) -> Array:
    """A matrix product for each tap, added up: the columns are never written."""
    products = (weight[:, :, k] @ shifted[:, :, k] for k in range(weight.shape[2]))
    y = np.zeros((shifted.shape[0], weight.shape[0], shifted.shape[3]), np.float32)
    for product in products:
        y += product
    return y


def convolved(
    x: Array, weight: Array, bias: Array | None, way: Sum, about: dict[str, Any]
) -> Array:
    """The convolution of a case: all but the sum is the same in each way."""
    axes, taps = x.ndim - 2, weight.shape[2:]
    stride, padding, dilation = (
        np.broadcast_to(about[name], axes) for name in ("stride", "padding", "dilation")
    )
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    size = [
        (padded.shape[2 + i] - dilation[i] * (taps[i] - 1) - 1) // stride[i] + 1
        for i in range(axes)
    ]
    places = [
        tuple(
            slice(k[i] * dilation[i], k[i] * dilation[i] + stride[i] * (size[i] - 1) + 1, stride[i])
            for i in range(axes)
        )
        for k in itertools.product(*map(range, taps))
    ]
    shifted = np.stack([padded[(..., *place)] for place in places], axis=2)
    flat = shifted.reshape(*shifted.shape[:3], -1)
    rows = weight.reshape(*weight.shape[:2], -1)
    groups = about["groups"]
    parts = [
        way(own, part)
        for own, part in zip(np.split(rows, groups), np.split(flat, groups, axis=1), strict=True)
    ]
    y = np.concatenate(parts, axis=1).reshape(x.shape[0], weight.shape[0], *size)
    return y if bias is None else y + bias.reshape(-1, *[1] * axes)


def answers(pack: Pack, operation: str, way: Sum) -> Iterator[tuple[str, Array]]:
    for case in pack.manifest.cases:
        if case.operation != operation:
            continue
        given = {e.name: pack.read(case, e) for e in case.tensors if e.file == "given"}
        parameters = given["param/weight"], given.get("param/bias")
        made = convolved(given["in/x"], *parameters, way, dict(case.attributes))
        assert made.dtype == np.float32
        yield f"{case.name}/out/y", made


@pytest.mark.parametrize("way", [direct, im2col, implicit])
@pytest.mark.parametrize("operation", ["conv1d", "conv2d"])
def test_each_way_meets_the_tolerances(operation: str, way: Sum, ops: Pack) -> None:
    made = dict(answers(ops, operation, way))
    assert len(made) > 8
    results = Results({name: (lambda array=array: array) for name, array in made.items()})
    judgement = judge(ops, results, Request((operation,), forward=True))
    assert judgement.missing == []
    assert [f"{f.name}: {f.outcome.reason}" for f in judgement.of(Verdict.FAIL)] == []
