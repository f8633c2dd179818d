"""Does the program keep to the set of operations that it declares?

A device that knows only the declared set refuses the rest: "unknown operation", or "unknown opset".
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from harness.lint.finding import Hit
from harness.lint.opset import (
    COMMON_TYPES,
    SMALL_INTEGERS,
    Signature,
    first_release,
    signature,
    signatures,
)
from harness.lint.registry import code, error, issue
from harness.lint.view import View, is_fixed, shape_of
from harness.mil.graph import GraphValue, Node
from harness.mil.opsets import OPSETS

_DEFINITIONS: Final = code("converters/mil/mil/ops/defs")
_INPUTS: Final = code("converters/mil/mil/input_type.py")
_HIGHER_TARGET: Final = (
    "convert with a higher minimum_deployment_target, or build the program for the declared one"
)
_SMALL_INTEGERS_SINCE: Final = OPSETS["CoreML7"].release
_KNOWN_UP_TO: Final = OPSETS["CoreML8"].release

declared = partial(error, needs_declarations_only=True)
"""Decorates a rule that reads types and names alone."""


def _known(view: View) -> Iterator[tuple[Node, Signature]]:
    """Yield the operations that the declared set has, with what they take there."""
    for node in view.graph.nodes:
        found = signature(node.operation.type, view.release)
        if found is not None:
            yield node, found


def _tensors(node: Node, found: Signature) -> Iterator[tuple[str, GraphValue]]:
    for parameter, value in node.inputs:
        if parameter in found and value.dtype is not None:
            yield parameter, value


@declared(source=_DEFINITIONS, next_step=_HIGHER_TARGET)
def operation_of_a_later_opset(view: View) -> Iterator[Hit]:
    """An operation came with a later release than the function's set of operations."""
    for node in view.graph.nodes:
        type_ = node.operation.type
        release = first_release(type_)
        if release is not None and release > view.release:
            yield Hit(f"came with iOS {release}, but {view.opset} is iOS {view.release}", node)


@declared(source=_DEFINITIONS, next_step="replace the operation by ones that Core ML has")
def unknown_operation(view: View) -> Iterator[Hit]:
    """No set of operations has this one."""
    if view.release > _KNOWN_UP_TO:
        return  # what a newer set has is not published
    for node in view.graph.nodes:
        if node.operation.type not in signatures():
            yield Hit(f"{view.opset} has no operation {node.operation.type!r}", node)


@declared(source=_DEFINITIONS, next_step=_HIGHER_TARGET)
def input_of_a_later_opset(view: View) -> Iterator[Hit]:
    """An operation has an input that its definition in the function's set of operations lacks."""
    for node, found in _known(view):
        for parameter in node.reads:
            if parameter not in found and view.release <= _KNOWN_UP_TO:
                later = first_release(node.operation.type, parameter)
                since = f"came with iOS {later}" if later else "is in no set of operations"
                yield Hit(f"its input {parameter!r} {since}; declared is {view.opset}", node)


@declared(source=_DEFINITIONS, next_step=_HIGHER_TARGET)
def type_of_a_later_opset(view: View) -> Iterator[Hit]:
    """A value has an element type that the function's set of operations does not take there."""
    for node, found in _known(view):
        for parameter, value in _tensors(node, found):
            types = found[parameter].types
            if types is None or value.dtype in types or view.release > _KNOWN_UP_TO:
                continue
            later = first_release(node.operation.type, parameter, value.dtype)
            since = f"takes it since iOS {later}" if later else "never takes it"
            yield Hit(f"its input {parameter!r} is {value.dtype}, and it {since}", node)
        if view.release >= _SMALL_INTEGERS_SINCE or node.operation.type.startswith("constexpr_"):
            continue
        for value in node.results:
            if value.dtype is not None and value.dtype not in COMMON_TYPES:
                since = "since iOS 17" if value.dtype in SMALL_INTEGERS else "never"
                yield Hit(f"makes {value.dtype}, which Core ML computes with {since}", node)


@declared(source=_INPUTS, next_step="cast one of them: Core ML promotes no types")
def mixed_element_types(view: View) -> Iterator[Hit]:
    """Inputs that must have one element type have two."""
    for node, found in _known(view):
        seen: dict[str, tuple[str, GraphValue]] = {}
        for parameter, value in _tensors(node, found):
            group = found[parameter].group
            is_scalar = value.constant is not None and shape_of(value) == ()
            if not found[parameter].required and is_scalar:
                continue  # coremltools writes its defaults in FP32 beside FP16
            first, other = seen.setdefault(group, (parameter, value))
            if group and other.dtype is not value.dtype:
                yield Hit(
                    f"its input {first!r} is {other.dtype} and {parameter!r} {value.dtype}", node
                )


@declared(
    source=_INPUTS,
    next_step="make the input a constant, or take an operation that reads it at run time",
)
def input_must_be_constant(view: View) -> Iterator[Hit]:
    """An input that must be known before the program runs is computed in it."""
    for node, found in _known(view):
        for parameter, value in node.inputs:
            if parameter in found and found[parameter].constant and not is_fixed(value):
                yield Hit(f"its input {parameter!r} is computed as {value.name!r}", node)


@declared(source=_INPUTS, next_step="give the input; Core ML has no default for it")
def missing_input(view: View) -> Iterator[Hit]:
    """An operation lacks an input that it can't do without."""
    for node, found in _known(view):
        for name, parameter in found.items():
            if parameter.required and not node.reads.get(name):
                yield Hit(f"has no input {name!r}", node)


@error(
    source=issue(2283),
    next_step="save the model with the specification version of its set of operations",
)
def specification_below_opset(view: View) -> Iterator[Hit]:
    """The model promises to run where its set of operations is unknown."""
    known = OPSETS.get(view.opset)
    needed = known.specification if known else 0
    if 0 < view.specification_version < needed:
        yield Hit(
            f"specification version {view.specification_version} stands beside {view.opset}, "
            f"which needs version {needed}"
        )


@error(
    source=code("converters/mil/backend/mil/load.py"),
    next_step="convert each function for iOS 18 or later",
)
def several_functions_before_ios18(view: View) -> Iterator[Hit]:
    """A program of several functions declares a set of operations from before iOS 18."""
    if view.functions > 1 and view.release < 18:
        yield Hit(f"is one of {view.functions} functions and declares {view.opset}")
