"""What a model says about its inputs, outputs and states, beside the program itself.

The program declares types; the description adds their order, which shapes a flexible input takes,
and what an optional input is where the caller leaves it out.

Source: ``mlmodel/format/{Model,FeatureTypes}.proto`` of coremltools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import PackageError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ShapeRule:
    """Which shapes a flexible input takes.

    Attributes:
        default: the shape of an input that is left out; ``None`` if there is none.
        enumerated: the allowed shapes, if they are listed; those of several inputs at one place
            belong together.
        ranges: lower and upper bound of each dimension (``None``: no upper bound), if they are
            given.
    """

    default: Shape | None = None
    enumerated: tuple[Shape, ...] = ()
    ranges: tuple[tuple[int, int | None], ...] = ()

    def accepts(self, shape: Shape) -> bool:
        """Whether ``shape`` is allowed."""
        if self.enumerated:
            return shape in self.enumerated
        if not self.ranges:
            return True
        return len(shape) == len(self.ranges) and all(
            low <= size and (high is None or size <= high)
            for size, (low, high) in zip(shape, self.ranges, strict=True)
        )

    def __str__(self) -> str:
        if self.enumerated:
            return " or ".join(str(list(shape)) for shape in dict.fromkeys(self.enumerated))
        bounds = (
            str(low) if low == high else f"{low}..{'' if high is None else high}"
            for low, high in self.ranges
        )
        return f"[{', '.join(bounds)}]" if self.ranges else "any shape"


@dataclass(frozen=True)
class Described:
    """One described input, output or state.

    Attributes:
        name: as in the program.
        rule: allowed shapes.
        optional: whether an input may be left out.
        default: what fills an input that is left out.
    """

    name: str
    rule: ShapeRule = ShapeRule()
    optional: bool = False
    default: float = 0.0


@dataclass(frozen=True)
class Description:
    """Described inputs, outputs and states of one function, each in declared order."""

    inputs: tuple[Described, ...] = ()
    outputs: tuple[Described, ...] = ()
    states: tuple[Described, ...] = ()


def describe(message: Any) -> tuple[str, Mapping[str, Description]]:
    """Return the default function's name and each function's description.

    Args:
        message: the ``ModelDescription`` of a model file.

    Raises:
        PackageError: a shape is impossible.
    """
    if not message.functions:
        return "main", {"main": _function(message)}
    functions = {function.name: _function(function) for function in message.functions}
    return str(message.defaultFunctionName or "main"), functions


def _function(message: Any) -> Description:
    return Description(
        inputs=tuple(_feature(feature) for feature in message.input),
        outputs=tuple(_feature(feature) for feature in message.output),
        states=tuple(_feature(feature) for feature in message.state),
    )


def _feature(message: Any) -> Described:
    if message.type.WhichOneof("Type") != "multiArrayType":
        return Described(message.name, optional=message.type.isOptional)
    array = message.type.multiArrayType
    kind = array.WhichOneof("defaultOptionalValue")
    return Described(
        name=message.name,
        rule=_rule(array, message.name),
        optional=message.type.isOptional,
        default=float(getattr(array, kind)) if kind else 0.0,
    )


def _rule(array: Any, name: str) -> ShapeRule:
    default = tuple(map(int, array.shape)) or None
    if default is not None and min(default) < 0:
        raise PackageError(f"{name!r} is described with the impossible shape {list(default)}")
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "enumeratedShapes":
        shapes = tuple(tuple(map(int, s.shape)) for s in array.enumeratedShapes.shapes)
        return ShapeRule(default, enumerated=shapes)
    if kind == "shapeRange":
        ranges = tuple(
            (int(r.lowerBound), None if r.upperBound < 0 else int(r.upperBound))
            for r in array.shapeRange.sizeRanges
        )
        return ShapeRule(default, ranges=ranges)
    return ShapeRule(default)
