"""Epsilons that FP16 can't hold: what they should keep from zero is zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.lint.finding import Hit
from harness.lint.registry import code, error, issue, warning
from harness.lint.view import View, in_fp16, origin
from harness.mil import DataType
from harness.mil.graph import Node
from harness.mil.numerics.rounding import FP16_SMALLEST_NORMAL, FP16_SMALLEST_SUBNORMAL

_WITH_EPSILON: Final = (
    "layer_norm", "batch_norm", "instance_norm", "l2_norm", "log", "rsqrt", "inverse",
)  # fmt: skip
_DEFAULTS: Final = {"log": 1e-45, "rsqrt": 1e-12}
"""What coremltools writes where the model had no epsilon at all."""
_SUBSTITUTE: Final = FP16_SMALLEST_SUBNORMAL
"""What coremltools puts where a number would become zero in FP16."""
_SINGULAR: Final = {"log": "x", "rsqrt": "x", "sqrt": "x", "inverse": "x", "real_div": "y"}
"""Operations that an epsilon is added for, and the input that must not be zero."""


@dataclass(frozen=True, eq=False)
class _Epsilon:
    node: Node
    words: str
    stored: float

    @property
    def held(self) -> float:
        """What FP16 makes of it."""
        with np.errstate(under="ignore", over="ignore"):
            return float(np.float16(self.stored))


def _epsilons(view: View) -> Iterator[_Epsilon]:
    yield from _own(view)
    yield from _added(view)


def _own(view: View) -> Iterator[_Epsilon]:
    """Yield the epsilons that operations in FP16 have as an input."""
    for node in view.of(*_WITH_EPSILON):
        type_, stored = node.operation.type, view.number(node.read("epsilon"))
        x = node.read("x")
        if stored is None or x is None or x.dtype is not DataType.FLOAT16:
            continue
        default = _DEFAULTS.get(type_)
        if default is not None and (stored <= default * 1.5 or stored == _SUBSTITUTE):
            continue  # the model had none; 1e-45 is 1.4e-45 in FP32
        variance = view.array(node.read("variance")) if type_ == "batch_norm" else None
        if variance is not None and (variance >= FP16_SMALLEST_NORMAL).all():
            continue
        yield _Epsilon(node, "its epsilon", stored)


def _added(view: View) -> Iterator[_Epsilon]:
    """Yield what is added, or put as a lower bound, before a logarithm, a root or a division."""
    for node in view.of("add", "maximum", "clip"):
        bound = node.operation.type != "add"
        readers = [reader for value in node.results for reader in value.readers]
        guards = any(_SINGULAR.get(reader.operation.type) == name for reader, name in readers)
        if not in_fp16(node) or not guards:
            continue
        for parameter, value in node.inputs:
            stored = view.number(value)
            meant = parameter in (("alpha",) if node.operation.type == "clip" else ("x", "y"))
            if stored is None or not meant or stored < 0 or stored > 1:
                continue
            if stored == 0 and (bound or value.dtype is not DataType.FLOAT16):
                continue  # a bound of zero is meant
            yield _Epsilon(node, f"its input {parameter}", stored)


@error(
    source=code("converters/mil/mil/passes/defs/quantization.py"),
    next_step="choose an epsilon of 6.1e-5 or more, or keep the operation in FP32",
)
def epsilon_vanishes(view: View) -> Iterator[Hit]:
    """An epsilon is zero in FP16: the logarithm, root or division behind it sees zeros."""
    for found in _epsilons(view):
        if found.held == 0:
            yield Hit(f"{found.words} is {found.stored:.3g}, and 0 in FP16", found.node)


@warning(
    source="IEEE 754: below 6.1e-5 FP16 numbers are subnormal, which some units take for zero",
    next_step="choose an epsilon of 6.1e-5 or more, or try the package with --numerics storage+ftz",
)
def epsilon_subnormal(view: View) -> Iterator[Hit]:
    """An epsilon is subnormal in FP16: it lost bits, and is zero on a unit that flushes them."""
    for found in _epsilons(view):
        if 0 < found.held < FP16_SMALLEST_NORMAL:
            least = (
                ", where coremltools puts whatever would have been zero"
                if found.held == _SUBSTITUTE
                else ""
            )
            yield Hit(f"{found.words} is {found.held:.4g} in FP16{least}", found.node)


@warning(
    source=issue(2728),
    next_step="compute x - max(x) - log(sum(exp(x - max(x)))), or keep both operations in FP32",
)
def log_of_softmax(view: View) -> Iterator[Hit]:
    """The logarithm of a softmax in FP16: a probability below 6e-8 is 0, and its logarithm -inf."""
    for node in view.of("log"):
        source = origin(node.read("x"))
        if source is None or source.operation.type != "softmax":
            continue
        if in_fp16(node) or in_fp16(source):
            yield Hit(f"reads the softmax {source.operation.name!r}", node)
