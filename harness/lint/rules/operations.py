"""Operations that Core ML refuses, or crashes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.lint.finding import Hit
from harness.lint.registry import code, error, issue
from harness.lint.view import View, is_fixed, shape_of
from harness.mil.graph import GraphValue
from harness.mil.refusals import linears_of_integers, pads_of_other_axes

_MAX_RANK: Final = 5


@error(
    source=issue(2571, 2576, 2701),
    next_step="transpose the axis to the end and pad there, one pad for each axis",
)
def pad_of_other_axes(view: View) -> Iterator[Hit]:
    """Reflection or replication pads an axis that is not among the last two."""
    return (Hit(what, node) for node, what in pads_of_other_axes(view.graph, view.read))


@error(
    source=issue(2575),
    next_step="use matmul, or cast to a floating-point type before and back after",
)
def linear_of_integers(view: View) -> Iterator[Hit]:
    """A linear layer gets integers, for which Core ML builds no execution plan."""
    return (Hit(what, node) for node, what in linears_of_integers(view.graph, view.read))


@error(
    source=f"{issue(2536)}; {code('converters/mil/mil/program.py')}",
    next_step="merge axes with a reshape before the operation, and split them again after it",
)
def rank_above_five(view: View) -> Iterator[Hit]:
    """A tensor has more than five axes."""
    for value in view.graph.values:
        shape = shape_of(value)
        if shape is None or len(shape) <= _MAX_RANK or _only_decompressed(value):
            continue
        node = value.producer or (value.readers[0][0] if value.readers else None)
        yield Hit(f"{value.name!r} has {len(shape)} axes, and Core ML takes {_MAX_RANK}", node)


def _only_decompressed(value: GraphValue) -> bool:
    """Whether ``value`` is a constant that is read by what expands compressed weights alone."""
    expanding = (n.operation.type.startswith("constexpr_") for n, _ in value.readers)
    return is_fixed(value) and all(expanding)


@error(
    source=code("converters/mil/mil/ops/tests/iOS17/test_image_resizing.py (rdar://112418424)"),
    next_step="take the operation out: there is nothing to compute",
)
def empty_tensor(view: View) -> Iterator[Hit]:
    """A tensor has an axis of no elements."""
    for value in view.graph.values:
        if 0 in (shape_of(value) or ()) and value.constant is None:
            yield Hit(f"{value.name!r} is {value.type}", value.producer)


@error(
    source=code("converters/mil/mil/ops/tests/iOS14/test_pool.py (rdar://98852008)"),
    next_step="pad by an operation of its own, and pool with pad_type 'valid'",
)
def pool_same_lower(view: View) -> Iterator[Hit]:
    """A pooling over one axis with ``same_lower`` padding is computed wrongly."""
    for node in view.of("avg_pool", "max_pool", "l2_pool"):
        shape = shape_of(node.read("x"))
        if view.text(node.read("pad_type")) == "same_lower" and shape and len(shape) == 3:
            yield Hit("pools one axis with pad_type 'same_lower'", node)


@error(
    source=code(
        "converters/mil/mil/ops/tests/iOS18/test_tensor_transformation.py (rdar://128221986)"
    ),
    next_step="give the update one axis of one element",
)
def slice_update_by_scalar(view: View) -> Iterator[Hit]:
    """A slice is overwritten by a scalar, which Core ML does not support."""
    for node in view.of("slice_update"):
        if shape_of(node.read("update")) == ():
            yield Hit("its update has no axis", node)


@error(
    source=issue(2276, 2572, 2667),
    next_step="normalise over [N, C, D * H, W] and reshape back, or write out mean and variance",
)
def norm_of_volumes(view: View) -> Iterator[Hit]:
    """A batch or instance norm over three spatial axes crashes the process on the GPU."""
    for node in view.of("batch_norm", "instance_norm"):
        shape = shape_of(node.read("x"))
        if shape is not None and len(shape) == _MAX_RANK:
            yield Hit(f"normalises a tensor of {len(shape)} axes", node)
