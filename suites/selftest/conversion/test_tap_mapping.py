"""A tap is compared with the value that it really is in the program, or with none at all."""

from __future__ import annotations

import re

import pytest

from harness.conversion.tap_mapping import TapLocation, TapOperation, TapSource, find_taps

Shape = tuple[int, ...]


def node(
    name: str, shape: Shape, *inputs: str, module: str | None = "m", type: str = "add"
) -> TapOperation:
    return TapOperation(type, module, inputs, ((name, shape),))


def find(
    nodes: list[TapOperation], shape: Shape, outputs: tuple[str, ...] = ()
) -> TapLocation | str:
    mapping = find_taps(nodes, outputs, {"tap": TapSource("m", shape)})
    assert len(mapping.found) + len(mapping.missing) == 1
    return mapping.found["tap"] if mapping.found else mapping.missing["tap"]


def test_the_value_that_leaves_the_module_is_the_tap() -> None:
    nodes = [
        node("a", (1, 4), "input"),
        node("b", (1, 4), "a", module="m.inner"),
        node("c", (1, 4), "b", module="other"),
    ]
    assert find(nodes, (1, 4)) == TapLocation("b")


def test_a_value_that_the_program_returns_leaves_its_module() -> None:
    assert find([node("a", (1, 4))], (1, 4), outputs=("a",)) == TapLocation("a")


def test_casts_are_looked_through() -> None:
    nodes = [
        node("a", (1, 4)),
        node("a_32", (1, 4), "a", type="cast"),
        node("b", (1, 4), "a_32"),
        node("b_32", (1, 4), "b", type="cast"),
        node("c", (1, 4), "b_32", module="other"),
    ]
    assert find(nodes, (1, 4)) == TapLocation("b")
    assert find(nodes[:4], (1, 4), outputs=("b_32",)) == TapLocation("b")


def test_the_shape_tells_a_result_from_what_else_leaves_the_module() -> None:
    nodes = [
        node("mean", (1, 1)),
        node("x", (1, 4), "mean"),
        node("out", (1, 4), "x", "mean", module="other"),
    ]
    assert find(nodes, (1, 4)) == TapLocation("x")


def test_a_merged_transpose_leaves_the_value_in_another_layout() -> None:
    nodes = [node("a", (1, 7, 3)), node("b", (1, 7, 3), "a", module="other")]
    assert find(nodes, (1, 3, 7)) == TapLocation("a", (0, 2, 1))


@pytest.mark.parametrize(
    ("shapes", "wanted", "reason"),
    [
        ([(1, 4), (1, 4)], (1, 4), r"2 values of shape \[1, 4\] leave it: v0, v1"),
        ([(5, 5, 2)], (2, 5, 5), "in more than one order of axes"),
        ([(1, 7, 3), (7, 1, 3)], (1, 3, 7), "2 values have shape .* in another order of axes"),
        ([(1, 9)], (1, 4), r"no value of shape \[1, 4\] leaves it"),
        ([], (1, 4), "no value that it makes is read outside of it"),
    ],
)
def test_a_tap_that_fits_several_values_or_none_is_missing_with_the_reason(
    shapes: list[Shape], wanted: Shape, reason: str
) -> None:
    nodes = [node(f"v{index}", shape) for index, shape in enumerate(shapes)]
    reader = TapOperation("concat", "other", tuple(f"v{index}" for index in range(len(shapes))), ())
    location = find([*nodes, reader], wanted)
    assert isinstance(location, str)
    assert re.search(reason, location)


def test_operations_of_unknown_modules_belong_to_no_tap() -> None:
    nodes = [node("a", (1, 4), module=None), node("b", (1, 4), "a", module="other")]
    assert find(nodes, (1, 4)) == "module m: no value that it makes is read outside of it"
