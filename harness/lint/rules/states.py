"""States: what Core ML takes as one, and what crashes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.lint.finding import Hit
from harness.lint.registry import code, error, issue, warning
from harness.lint.view import View
from harness.mil import DataType
from harness.mil.graph import GraphValue
from harness.mil.types import StateType, TensorType

_LOADING: Final = code("converters/mil/backend/mil/load.py")
_LINE: Final = 32


def _states(view: View) -> Iterator[tuple[GraphValue, TensorType]]:
    for value in view.graph.block.inputs:
        if isinstance(value.type, StateType) and isinstance(value.type.wrapped, TensorType):
            yield value, value.type.wrapped


@error(source=_LOADING, next_step="declare the state in FP16, and cast around it")
def state_not_fp16(view: View) -> Iterator[Hit]:
    """A state is not in FP16, the only type that Core ML keeps states in."""
    for value, held in _states(view):
        if held.dtype is not DataType.FLOAT16:
            yield Hit(f"its state {value.name!r} is {held.dtype}")


@error(source=_LOADING, next_step="give the state its largest shape, and slice it")
def state_of_flexible_shape(view: View) -> Iterator[Hit]:
    """A state has no fixed shape."""
    for value, held in _states(view):
        if not held.is_static:
            yield Hit(f"its state {value.name!r} is {held}")


@error(
    source=issue(2713),
    next_step="return something computed from it, such as its product with another tensor",
)
def output_written_to_state(view: View) -> Iterator[Hit]:
    """A value is returned and written to a state: loading such a model crashes Core ML."""
    for node in view.graph.nodes:
        if node.operation.type not in ("write_state", "coreml_update_state"):
            continue
        written = node.read("data") or node.read("value")
        if written is not None and None in written.leaves:
            yield Hit(f"writes {written.name!r}, which the function returns", node)


@warning(source=issue(2631), next_step="pad the last axis of the state to a multiple of 32")
def state_of_odd_width(view: View) -> Iterator[Hit]:
    """The last axis of a state is no multiple of 32: the Neural Engine fails on it."""
    for value, held in _states(view):
        width = (held.shape or (None,))[-1] if held.shape else None
        if width is not None and width % _LINE:
            yield Hit(f"the last axis of its state {value.name!r} has {width} elements")
