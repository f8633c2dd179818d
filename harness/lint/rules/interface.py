"""Inputs and outputs: element types and flexible shapes that Core ML takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.lint.finding import Hit
from harness.lint.registry import code, error, issue, warning
from harness.lint.view import View
from harness.mil import DataType
from harness.mil.description import Described
from harness.mil.types import TensorType

_GUIDE: Final = "https://apple.github.io/coremltools/docs-guides/source/flexible-inputs.html"
_ENTRY: Final = code("converters/_converters_entry.py")
_IO_TYPES: Final = code("converters/mil/backend/mil/passes/adjust_io_to_supported_types.py")
_MAX_SHAPES: Final = 128
_SINCE: Final = {
    DataType.FLOAT32: 15,
    DataType.INT32: 15,
    DataType.FLOAT16: 16,
    DataType.UINT8: 17,  # of greyscale images
    DataType.INT8: 26,
    DataType.STRING: 15,  # a classifier's label
}
"""The release from which a model can exchange values of a type."""


@error(
    source=f"{issue(2365, 2495)}; {_IO_TYPES}",
    next_step="exchange the value in FP32, FP16 or int32, and cast inside the program",
)
def interface_of_other_type(view: View) -> Iterator[Hit]:
    """An input or output has an element type that Core ML's arrays don't have."""
    for kind, values in (("input", view.graph.block.inputs), ("output", view.graph.block.outputs)):
        for value in dict.fromkeys(values):
            if value.dtype is None:
                continue
            since = _SINCE.get(value.dtype)
            if since is None or since > view.release:
                when = f"since iOS {since}" if since else "never"
                yield Hit(f"its {kind} {value.name!r} is {value.dtype}: {when}", value.producer)


def _enumerated(view: View) -> list[Described]:
    return [entry for entry in view.description.inputs if len(set(entry.rule.enumerated)) > 1]


@error(source=issue(2548), next_step="make all flexible inputs ranges, or all enumerations")
def enumerated_beside_range(view: View) -> Iterator[Hit]:
    """One input lists its shapes and another has ranges, which Core ML doesn't mix."""
    listed, inputs = _enumerated(view), view.description.inputs
    ranged = [entry for entry in inputs if any(low != high for low, high in entry.rule.ranges)]
    if listed and ranged:
        yield Hit(f"{listed[0].name!r} lists its shapes, and {ranged[0].name!r} has ranges")


@error(
    source=f"{issue(1115, 1827)}; {_ENTRY}",
    next_step="list the shapes of one input only, use ranges, or convert for iOS 18",
)
def several_enumerated_before_ios18(view: View) -> Iterator[Hit]:
    """Before iOS 18 only one input may list its shapes."""
    listed = _enumerated(view)
    if len(listed) > 1 and view.release < 18:
        yield Hit(f"{', '.join(repr(entry.name) for entry in listed)} list their shapes")


@error(
    source=_ENTRY,
    next_step="list as many shapes for each input: those at one place belong together",
)
def enumerated_of_unequal_length(view: View) -> Iterator[Hit]:
    """Inputs list different numbers of shapes, though those at one place belong together."""
    lengths = {entry.name: len(entry.rule.enumerated) for entry in _enumerated(view)}
    if len(set(lengths.values())) > 1:
        yield Hit(", ".join(f"{name!r} lists {count}" for name, count in lengths.items()))


@warning(source=issue(2271), next_step="list every combination that is used, or use ranges")
def several_enumerated(view: View) -> Iterator[Hit]:
    """Several inputs list their shapes: Core ML takes only those at one place together."""
    listed = _enumerated(view)
    if len(listed) > 1 and view.release >= 18:
        yield Hit(f"{', '.join(repr(entry.name) for entry in listed)} list their shapes")


@error(source=f"{issue(989)}; {_GUIDE}", next_step="use ranges instead")
def too_many_enumerated(view: View) -> Iterator[Hit]:
    """An input lists more than 128 shapes."""
    for entry in _enumerated(view):
        count = len(entry.rule.enumerated)
        if count > _MAX_SHAPES:
            yield Hit(f"{entry.name!r} lists {count} shapes")


@warning(source=_GUIDE, next_step="give the dimension an upper bound")
def range_without_end(view: View) -> Iterator[Hit]:
    """A flexible dimension has no upper bound, which ML Programs are not allowed."""
    for entry in view.description.inputs:
        for axis, (_, high) in enumerate(entry.rule.ranges):
            if high is None:
                yield Hit(f"axis {axis} of {entry.name!r} has no upper bound")


@warning(source=issue(2516), next_step="give the dimension a lower bound of 1")
def range_from_zero(view: View) -> Iterator[Hit]:
    """A flexible dimension may be empty: slices of such tensors fail when they run."""
    slices = any(True for _ in view.of("slice_by_index", "slice_by_size"))
    for entry in view.description.inputs if slices else ():
        for axis, (low, _) in enumerate(entry.rule.ranges):
            if low == 0:
                yield Hit(f"axis {axis} of {entry.name!r} starts at 0")


@error(
    source=issue(2578),
    next_step="convert for iOS 18, or give the model an input that it needn't read",
)
def no_inputs_before_ios18(view: View) -> Iterator[Hit]:
    """Before iOS 18 a model must have an input."""
    if not view.graph.block.inputs and view.release < 18:
        yield Hit(f"takes nothing and declares {view.opset}")


@error(
    source=code("converters/mil/backend/mil/load.py"),
    next_step="declare the rank; single dimensions may be flexible",
)
def input_of_unknown_rank(view: View) -> Iterator[Hit]:
    """An input has no declared rank."""
    for value in view.graph.block.inputs:
        if isinstance(value.type, TensorType) and value.type.shape is None:
            yield Hit(f"its input {value.name!r} is {value.type}")
