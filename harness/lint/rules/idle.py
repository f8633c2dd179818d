"""What is computed for nothing, or returned without having been computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.lint.finding import Hit
from harness.lint.registry import warning
from harness.lint.view import View
from harness.mil.graph import Graph, GraphValue

_OWN: Final = "a classic of converters: a branch lost its end, or an input was folded"
_EFFECTS: Final = frozenset({"write_state", "coreml_update_state", "read_state"})


@warning(source=_OWN, next_step="see whether an output is missing; else convert again, and it goes")
def unused_operation(view: View) -> Iterator[Hit]:
    """Nothing reads what an operation makes."""
    for node in view.graph.nodes:
        type_ = node.operation.type
        if type_ in _EFFECTS or not node.results or node.blocks:
            continue
        if not any(value.is_read for value in node.results):
            yield Hit("nothing reads its results", node)


@warning(source=_OWN, next_step="see whether the example input made it a constant")
def unused_input(view: View) -> Iterator[Hit]:
    """Nothing reads an input of the function."""
    for value in view.graph.block.inputs:
        if not value.is_read:
            yield Hit(f"nothing reads its input {value.name!r}")


@warning(source=_OWN, next_step="see what tracing folded: the same answer comes for every input")
def output_ignores_inputs(view: View) -> Iterator[Hit]:
    """An output does not depend on any input, nor on chance."""
    if not view.graph.block.inputs:
        return
    alive = _alive(view.graph)
    for value in dict.fromkeys(view.graph.block.outputs):
        if value not in alive:
            yield Hit(f"its output {value.name!r} is the same for every input", value.producer)


def _alive(graph: Graph) -> set[GraphValue]:
    """Return the values that may depend on an input of the function, or on chance."""
    # To begin with, what the function and its blocks take.
    alive = {value for value in graph.values if value.producer is None and not value.constant}
    for node in graph.nodes:
        made = node.operation.type.startswith("random_") or any(
            value in alive for _, value in node.inputs
        )
        # Whether a block's values matter is known only inside it, so its results may.
        if made or node.blocks:
            alive.update(node.results)
    return alive
