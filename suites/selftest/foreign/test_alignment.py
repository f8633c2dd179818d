"""If these fail, a package is held to another precision than it declares."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import mil
from harness.conversion.survey import base_value
from harness.mil import Model
from harness.precision.virtual import VirtualPrecision
from harness.structure import compare_programs, without_precision
from harness.workbench.matching import Alignment
from suites.selftest.foreign.strangers import Stranger


@cache
def lab_of(package: str) -> VirtualPrecision:
    return VirtualPrecision(mil.load(package))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_precision_of_any_mixture_is_read_back_operation_by_operation(
    data: st.DataObject, images: Stranger
) -> None:
    lab = lab_of(str(images.package()))
    wide = data.draw(st.sets(st.sampled_from(sorted(o.name for o in lab.operations))))
    choice = lab.fp32_for(wide)
    mixed = lab.model(choice)
    found = Alignment(lab, mixed)
    assert found.choice == choice
    assert found.program(found.expected()).verdict == "pass"
    moved = {name: its for name, its in found.places.items() if base_value(name) != its}
    assert not moved


def test_types_are_all_that_a_program_loses(images: Stranger) -> None:
    """Another constant, or another operation, is still another program."""
    wide, narrow = (mil.load(images.package(p)) for p in ("FLOAT32", "FLOAT16"))
    assert compare_programs(without_precision(wide), without_precision(wide)).verdict == "pass"
    rounded = compare_programs(without_precision(wide), without_precision(narrow))
    assert (rounded.matched, rounded.missing, rounded.inserted) == (len(wide.operations), 0, 0)
    assert {item.kind.value for item in rounded.differences} == {"changed constant"}


@pytest.mark.parametrize("precision", ["FLOAT32", "FLOAT16"])
def test_a_cast_that_changes_the_kind_of_number_stays(precision: str, words: Stranger) -> None:
    model: Model = mil.load(words.package(precision))
    function = without_precision(model).program.function(model.function)
    types = {
        str(v.type).partition("[")[0]
        for o in function.block.operations
        for v in o.outputs
        if o.type not in ("const", "cast")
    }
    assert types <= {"fp32", "int32", "bool", "string"}
