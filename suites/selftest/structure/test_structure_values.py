"""If these fail, the comparison of programs sees what isn't there, or not what is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.mil import DataType
from harness.mil.editing import constant, with_dtype
from harness.mil.program import Operation, Program
from harness.mil.types import TensorType
from harness.structure import ProgramChange, Significance, compare_programs
from suites.selftest.structure.programs import (
    SHAPE,
    Sketch,
    mutated,
    op,
    program,
    renamed,
    sketches,
)

POINTS = np.random.default_rng(3).standard_normal((4, *SHAPE)).astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_passes_computes_the_same_bits(data: st.DataObject) -> None:
    """The executor is the judge: programs that are called equal are equal wherever it looks."""
    sketch = data.draw(sketches())
    other = data.draw(mutated(sketch))
    expected, actual = sketch.model, other.model
    found = compare_programs(expected, actual)
    assert (found.verdict == "pass") == (not found.differences)
    if found.verdict == "pass":
        for point in POINTS:
            for name, array in expected.predict({"x": point}).items():
                np.testing.assert_array_equal(actual.predict({"x": point})[name], array)


def test_operations_that_are_made_in_memory_keep_their_own_constants() -> None:
    """All of them are at one place; the executor once took the first one's number for both."""
    model = program([op("add", "a", x="x", y=2.0), op("add", "b", x="x", y=0.5)], ("a", "b"))
    made = model.predict({"x": POINTS[0]})
    np.testing.assert_array_equal(made["a"], POINTS[0] + np.float32(2))
    np.testing.assert_array_equal(made["b"], POINTS[0] + np.float32(0.5))


@settings(max_examples=30, deadline=None)
@given(sketches(), st.randoms(use_true_random=False))
def test_names_and_order_are_no_difference(sketch: Sketch, random: Any) -> None:
    other = renamed(sketch.model, lambda name: f"other_{name}")
    assert compare_programs(sketch.model, other).differences == ()
    # Any order in which everything is defined before it is read.
    waiting, known, ordered = list(sketch.operations), {"x"}, []
    while waiting:
        ready = [o for o in waiting if known.issuperset(o.input_names)]
        chosen = random.choice(ready)
        waiting.remove(chosen)
        known.add(chosen.outputs[0].name)
        ordered.append(chosen)
    outputs = sketch.model.plan.function.block.outputs
    assert compare_programs(sketch.model, program(ordered, outputs)).differences == ()


def _chain(*changed: Operation) -> list[Operation]:
    """A chain in which every operation has its place: y = relu(tanh(2 x + 3) - x) * 0.5."""
    operations = [
        op("mul", "a", x="x", y=2.0),
        op("add", "b", x="a", y=3.0),
        op("tanh", "c", x="b"),
        op("sub", "d", x="c", y="x"),
        op("relu", "e", x="d"),
        op("mul", "y", x="e", y=0.5),
    ]
    by_name = {o.outputs[0].name: o for o in changed}
    return [by_name.pop(o.outputs[0].name, o) for o in operations]


@pytest.mark.parametrize(
    ("changed", "kind", "place", "parameter", "expected", "actual"),
    [
        (op("mul", "a", x="x", y=2.5), ProgramChange.CONSTANT, "a", "y", "2", "2.5 for 2"),
        (op("sigmoid", "c", x="b"), ProgramChange.OPERATION, "c", "", "tanh", "sigmoid"),
        (op("tanh", "c", x="a"), ProgramChange.INPUT, "c", "x", "add 'b'", "mul 'a'"),
        (op("sub", "d", x="c", y="a"), ProgramChange.INPUT, "d", "y", "input 'x'", "mul 'a'"),
        (op("identity", "c", x="b"), ProgramChange.MISSING, "c", "", "it", "nothing"),
    ],
)
def test_one_change_is_one_difference(
    changed: Operation, kind: ProgramChange, place: str, parameter: str, expected: str, actual: str
) -> None:
    """A cascade of all that comes after would hide what was changed."""
    found = compare_programs(program(_chain()), program(_chain(changed)))
    (only,) = found.differences
    assert (only.kind, only.operation, only.parameter) == (kind, place, parameter)
    assert (only.expected, only.actual, only.severity) == (
        expected,
        actual,
        Significance.COMPUTES,
    )
    assert found.verdict == "fail"
    assert str(only) in found.reason


def test_a_missing_operation_is_one_difference() -> None:
    without = [o for o in _chain(op("tanh", "c", x="a")) if o.outputs[0].name != "b"]
    (only,) = compare_programs(program(_chain()), program(without)).differences
    assert (only.kind, only.operation, only.type) == (ProgramChange.MISSING, "b", "add")


def test_an_inserted_operation_is_one_difference() -> None:
    operations = _chain(op("relu", "e", x="louder"))
    operations.insert(4, op("mul", "louder", x="d", y=1.01))
    (only,) = compare_programs(program(_chain()), program(operations)).differences
    assert (only.kind, only.operation, only.type) == (ProgramChange.INSERTED, "louder", "mul")


def test_a_changed_element_type_is_named() -> None:
    narrow = with_dtype(op("tanh", "c", x="b"), DataType.FLOAT16)
    (only,) = compare_programs(program(_chain()), program(_chain(narrow))).differences
    assert (only.kind, only.operation) == (ProgramChange.DTYPE, "c")
    assert (only.expected, only.actual) == ("fp32[2, 3]", "fp16[2, 3]")


def test_a_changed_constant_says_how_far() -> None:
    weight = np.arange(6, dtype=np.float32).reshape(SHAPE)
    other = weight.copy()
    other[1, 2] += 0.25
    one, two = (program([op("add", "y", x="x", y=constant(w))]) for w in (weight, other))
    (only,) = compare_programs(one, two).differences
    assert (only.kind, only.elements, only.greatest) == (ProgramChange.CONSTANT, 1, 0.25)
    assert "1 of 6 numbers differ, by at most 0.25" in str(only)


def test_a_constant_that_is_not_a_number_has_no_greatest_difference() -> None:
    one, two = (program([op("mul", "y", x="x", y=value)]) for value in (2.0, float("nan")))
    found = compare_programs(one, two)
    (only,) = found.differences
    assert only.greatest is not None
    assert np.isnan(only.greatest)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["verdict"] == "fail"


def test_swapped_operands_of_a_difference_are_rewired() -> None:
    swapped = op("sub", "d", x="x", y="c")
    found = compare_programs(program(_chain()), program(_chain(swapped)))
    assert [(d.kind, d.parameter) for d in found.differences] == [
        (ProgramChange.INPUT, "x"),
        (ProgramChange.INPUT, "y"),
    ]


def test_swapped_outputs_are_rewired() -> None:
    operations = [op("relu", "r", x="x"), op("tanh", "t", x="x")]
    swapped = [op("relu", "t", x="x"), op("tanh", "r", x="x")]
    found = compare_programs(program(operations, ("r", "t")), program(swapped, ("r", "t")))
    assert {(d.kind, d.parameter) for d in found.differences} == {
        (ProgramChange.OUTPUT, "r"),
        (ProgramChange.OUTPUT, "t"),
    }


def test_inputs_of_other_names_belong_together_by_position() -> None:
    """A stranger's package may call them as it likes; a name says nothing of what is computed."""
    own = program([op("sub", "y", x="a", y="b")], inputs=("a", "b"))
    other = program([op("sub", "z", x="one", y="two")], ("z",), inputs=("one", "two"))
    exchanged = program([op("sub", "z", x="two", y="one")], ("z",), inputs=("one", "two"))
    assert compare_programs(own, other).differences == ()
    assert compare_programs(own, exchanged).verdict == "fail"


def test_another_decomposition_is_written_otherwise() -> None:
    """x * sigmoid(x) may be what is meant by silu; the program alone can't tell."""
    own = [op("mul", "a", x="x", y=2.0), op("silu", "b", x="a"), op("tanh", "y", x="b")]
    other = [
        op("mul", "a", x="x", y=2.0),
        op("sigmoid", "s", x="a"),
        op("mul", "b", x="a", y="s"),
        op("tanh", "y", x="b"),
    ]
    found = compare_programs(program(own), program(other))
    assert found.verdict == "not_evaluated"
    assert {d.severity for d in found.differences} == {Significance.WRITTEN}
    assert "written otherwise" in found.reason


def test_a_square_may_be_a_product() -> None:
    own, other = op("square", "y", x="x"), op("mul", "y", x="x", y="x")
    assert compare_programs(program([own]), program([other])).verdict == "not_evaluated"


def test_a_folded_scale_is_written_otherwise() -> None:
    """A converter that multiplies a scale into the weights of the layer in front of it."""
    weight = np.eye(3, dtype=np.float32) + 1
    own = [
        op("linear", "a", x="x", weight=weight),
        op("mul", "b", x="a", y=np.float32([1, 2, 3])),
        op("tanh", "y", x="b"),
    ]
    folded = weight * np.float32([[1], [2], [3]])
    other = [op("linear", "b", x="x", weight=folded), op("tanh", "y", x="b")]
    assert compare_programs(program(own), program(other)).verdict == "not_evaluated"


def test_a_change_beside_another_decomposition_is_still_seen() -> None:
    own = [op("silu", "a", x="x"), op("tanh", "b", x="a"), op("relu", "c", x="b")]
    own.append(op("mul", "y", x="c", y=0.5))
    other = [op("sigmoid", "s", x="x"), op("mul", "a", x="x", y="s"), *own[1:3]]
    other.append(op("mul", "y", x="c", y=0.25))
    found = compare_programs(program(own), program(other))
    assert found.verdict == "fail"
    assert [d.operation for d in found.differences if d.severity is Significance.COMPUTES] == ["y"]


@pytest.mark.parametrize(
    "almost",
    [
        op("mul", "n", x="a", y=1.0000001),
        op("add", "n", x="a", y=1e-30),
        op("transpose", "n", SHAPE, x="a", perm=[1, 0]),
        op("sub", "n", x=0.0, y="a"),
        op("real_div", "n", x=1.0, y="a"),
    ],
    ids=lambda o: o.type,
)
def test_what_is_almost_an_identity_is_none(almost: Operation) -> None:
    own = [op("tanh", "a", x="x"), op("relu", "y", x="a")]
    other = [own[0], almost, op("relu", "y", x="n")]
    function = program(own)
    assert compare_programs(function, program(other)).verdict != "pass"


def test_a_narrow_cast_and_back_is_a_difference_and_a_wide_one_is_none() -> None:
    def with_casts(outer: DataType, inner: DataType) -> Any:
        made = with_dtype(op("tanh", "a", x="x"), outer)
        there = with_dtype(op("cast", "b", x="a", dtype=constant(str(inner))), inner)
        back = with_dtype(op("cast", "c", x="b", dtype=constant(str(outer))), outer)
        last = op("cast", "y", x="c", dtype=constant("fp32"))
        return [made, there, back, last]

    narrow, wide = DataType.FLOAT16, DataType.FLOAT32
    for outer, inner, verdict in ((narrow, wide, "pass"), (wide, narrow, "fail")):
        operations = with_casts(outer, inner)
        bare = [operations[0], op("cast", "y", x="a", dtype=constant("fp32"))]
        assert compare_programs(program(bare), program(operations)).verdict == verdict


def test_minus_zero_is_another_setting() -> None:
    one, two = (program([op("clip", "y", x="x", alpha=alpha, beta=1.0)]) for alpha in (0.0, -0.0))
    assert compare_programs(one, two).verdict == "fail"


def test_another_program_altogether_is_not_evaluated() -> None:
    """Without a common frame nothing that differs can be called a change."""
    own = [op("tanh", "a", x="x"), op("square", "b", x="a"), op("sigmoid", "y", x="b")]
    other = [op("linear", "y", x="x", weight=np.eye(3, dtype=np.float32))]
    found = compare_programs(program(own), program(other))
    assert found.verdict == "not_evaluated"
    assert found.missing + found.inserted > 0


def test_inputs_of_another_type_are_certain_whatever_else_is() -> None:
    """Nothing that is aligned is needed to see that a program takes another input."""
    own, other = (program([op(type, "y", x="x")]) for type in ("tanh", "square"))
    taken = replace(other.plan.function.inputs[0], type=TensorType(DataType.FLOAT16, SHAPE))
    function = replace(other.plan.function, inputs=(taken,))
    package = replace(other.package, program=Program({"main": function}))
    found = compare_programs(own, package)
    certain = [d for d in found.differences if d.severity is Significance.COMPUTES]
    assert found.verdict == "fail"
    assert ProgramChange.INTERFACE in {d.kind for d in certain}
