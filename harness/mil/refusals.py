"""What Core ML does not run although the format can say it: nobody can hold an answer against it.

The executor computes these operations all the same; `load` warns of each. Each function goes
through a function's operations and yields what Core ML refuses, in words, with its source.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from harness.mil.constants import ReadArray
from harness.mil.graph import Graph, Node, graph_of
from harness.mil.program import Function
from harness.mil.types import TensorType

Refused: TypeAlias = Iterator[tuple[Node, str]]

_ISSUES: Final = "https://github.com/apple/coremltools/issues"


def pads_of_other_axes(graph: Graph, read: ReadArray) -> Refused:
    """Yield reflections and replications of an axis that is not among the last two.

    Source: coremltools' issues 2571 and 2576; which axes are meant was enumerated in 2701.
    """
    for node in graph.nodes:
        mode, amounts, x = node.read("mode"), node.read("pad"), node.read("x")
        if node.operation.type != "pad" or mode is None or amounts is None or x is None:
            continue
        if mode.constant is None or amounts.constant is None or not isinstance(x.type, TensorType):
            continue
        kind = mode.constant.value
        # A broken program may have anything here, an array too, which is equal to no single text.
        if not isinstance(kind, str) or kind not in ("reflect", "replicate") or not x.type.shape:
            continue
        sizes = read(amounts.constant).reshape(-1)
        pairs = sizes[: len(sizes) // 2 * 2].reshape(-1, 2)
        first = len(x.type.shape) - len(pairs)
        axes = [first + place for place, pair in enumerate(pairs[:-2]) if pair.any()]
        if axes:
            yield node, f"pads axis {axes[0]} of {len(x.type.shape)} by {kind}; the last two can be"


def linears_of_integers(graph: Graph, read: ReadArray) -> Refused:
    """Yield ``linear`` operations on integers, for which Core ML builds no execution plan.

    Source: coremltools' issue 2575; its pull request 2673 says that ``matmul`` works.
    """
    for node in graph.nodes:
        x = node.read("x")
        if node.operation.type != "linear" or x is None or x.dtype is None:
            continue
        if not x.dtype.is_floating:
            yield node, f"multiplies {x.dtype} by weights; matmul takes integers, linear floats"


REFUSALS: Final[tuple[tuple[Callable[[Graph, ReadArray], Refused], int], ...]] = (
    (pads_of_other_axes, 2576),
    (linears_of_integers, 2575),
)
"""Every kind, with the number of the issue that tells of it."""


class RefusedByCoreMLWarning(UserWarning):
    """Core ML does not run this program."""


def warn_of_refusals(function: Function, read: ReadArray) -> None:
    """Warn of each operation of ``function`` that Core ML refuses."""
    graph = graph_of(function)
    for refused, number in REFUSALS:
        for node, what in refused(graph, read):
            warnings.warn(
                f"Core ML refuses this program: {node.operation} {what} ({_ISSUES}/{number})",
                RefusedByCoreMLWarning,
                stacklevel=3,
            )
