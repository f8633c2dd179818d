"""Activations and softmax."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from harness.packs.problems import EXACT, OPS, SEVERAL, Bounds, Compute, Draw, Problem


def _cases(draw: Draw, compute: Compute, **attributes: object) -> Iterator[Problem]:
    tails = np.linspace(-8.0, 8.0, 65, dtype=np.float32)  # where every activation has them
    given = {"x": np.concatenate([tails, draw(31)])}
    yield Problem("ramp", compute, given, attributes=attributes)
    given = {"x": draw(3, 16)}
    yield Problem("noise", compute, given, attributes=attributes, levels=True)
    yield Problem("scalar", compute, {"x": draw()}, attributes=attributes)
    yield Problem("empty", compute, {"x": draw(0)}, attributes=attributes)


@OPS.operation("gelu", {"x": "any"}, approximation="none")
def gelu(draw: Draw) -> Iterator[Problem]:
    """x / 2 * (1 + erf(x / sqrt(2))): the exact one, which HTDemucs uses."""
    yield from _cases(draw, F.gelu)


@OPS.operation("gelu_tanh", {"x": "any"}, approximation="tanh")
def gelu_tanh(draw: Draw) -> Iterator[Problem]:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))): the approximation."""
    yield from _cases(draw, partial(F.gelu, approximate="tanh"))


@OPS.operation("silu", {"x": "any"})
def silu(draw: Draw) -> Iterator[Problem]:
    """x / (1 + exp(-x)), also called swish."""
    yield from _cases(draw, F.silu)


@OPS.operation("sigmoid", {"x": "any"})
def sigmoid(draw: Draw) -> Iterator[Problem]:
    """1 / (1 + exp(-x))."""
    yield from _cases(draw, torch.sigmoid)
    yield Problem("saturated", torch.sigmoid, {"x": np.asarray([-80, -30, 0, 30, 80], np.float32)})


@OPS.operation("tanh", {"x": "any"})
def tanh(draw: Draw) -> Iterator[Problem]:
    """The hyperbolic tangent; its gradient 1 - y^2 cancels in the tails."""
    yield from _cases(draw, torch.tanh)


@OPS.operation("softplus", {"x": "any"})
def softplus(draw: Draw) -> Iterator[Problem]:
    """log(1 + exp(x)), which must not overflow for a large x."""
    yield from _cases(draw, F.softplus)
    given = {"x": np.asarray([-90, -20, 0, 20, 90, 1000], np.float32)}
    yield Problem("large", F.softplus, given)


@OPS.operation("elu", {"x": "any"})
def elu(draw: Draw) -> Iterator[Problem]:
    """x above 0, alpha * expm1(x) below; exp(x) - 1 has lost its digits at -96 dBFS."""
    yield from _cases(draw, F.elu, alpha=0.7)


@OPS.operation("leaky_relu", {"x": "any"})
def leaky_relu(draw: Draw) -> Iterator[Problem]:
    """x above 0, slope * x below."""
    yield from _cases(draw, F.leaky_relu, negative_slope=0.1)


@OPS.operation("relu", {"x": "any"}, bounds=EXACT)
def relu(draw: Draw) -> Iterator[Problem]:
    """max(x, 0); the gradient at 0 is 0."""
    yield from _cases(draw, F.relu)


@OPS.operation("glu", {"x": "the halves along axis are value and gate, in this order"})
def glu(draw: Draw) -> Iterator[Problem]:
    """value * sigmoid(gate), with the halves of x along an axis."""
    yield Problem("channels", F.glu, {"x": draw(2, 8, 5)}, attributes={"dim": 1}, levels=True)
    yield Problem("last_axis", F.glu, {"x": draw(3, 6)}, attributes={"dim": -1})
    yield Problem("two_elements", F.glu, {"x": draw(2)}, attributes={"dim": 0})


@OPS.operation("softmax", {"x": "any"}, bounds=SEVERAL)
def softmax(draw: Draw) -> Iterator[Problem]:
    """exp(x - max) / sum(exp(x - max)) along an axis."""
    last = {"dim": -1}
    yield Problem("basic", torch.softmax, {"x": draw(4, 9)}, attributes=last, levels=True)
    yield Problem("first_axis", torch.softmax, {"x": draw(5, 3)}, attributes={"dim": 0})
    yield Problem("one_element", torch.softmax, {"x": draw(3, 1)}, attributes=last)
    yield Problem("large_logits", torch.softmax, {"x": draw(3, 8, mean=1e4)}, attributes=last,
                  gradient_bounds=Bounds(1e-3, 1e-4, 80.0))  # fmt: skip
    yield Problem("long", torch.softmax, {"x": draw(2, 4096)}, attributes=last)


@OPS.operation("log_softmax", {"x": "any"}, bounds=SEVERAL)
def log_softmax(draw: Draw) -> Iterator[Problem]:
    """x - max - log(sum(exp(x - max))) along an axis."""
    last = {"dim": -1}
    yield Problem("basic", torch.log_softmax, {"x": draw(4, 9)}, attributes=last)
    yield Problem("wide_range", torch.log_softmax, {"x": draw(3, 8, scale=40.0)}, attributes=last)
