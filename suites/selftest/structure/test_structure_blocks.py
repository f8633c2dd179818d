"""If these fail, a branch or a loop hides what differs inside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import mil
from harness._coremltools import import_coremltools
from harness.mil import DataType, Model
from harness.mil.program import Operation, Variable
from harness.mil.types import StateType, TensorType
from harness.structure import ProgramChange, compare_programs
from harness.structure.lowering import lower_pair
from suites.ops.packages import write_package
from suites.selftest.structure.programs import SHAPE, op, program

Make = Callable[..., Model]


def loop(
    mb: Any, x: Any, *, step: float = 3.0, limit: float = 1000.0, commuted: bool = False
) -> Any:
    """``x`` grows until its sum passes a limit, or doubles once if it is negative."""
    weight = mb.add(x=mb.abs(x=x), y=np.float32(step))

    def grown(count: Any, value: Any) -> Any:
        factors = {"x": weight, "y": value} if commuted else {"x": value, "y": weight}
        return mb.add(x=count, y=np.int32(1)), mb.mul(**factors)

    count, value = mb.while_loop(
        _cond=lambda count, value: mb.less(x=mb.reduce_sum(x=value), y=np.float32(limit)),
        _body=grown,
        loop_vars=(np.int32(0), x),
    )
    chosen = mb.cond(
        pred=mb.greater(x=mb.reduce_sum(x=x), y=np.float32(0)),
        _true_fn=lambda: mb.mul(x=value, y=np.float32(2)),
        _false_fn=lambda: mb.identity(x=value),
    )
    return count, mb.relu(x=chosen)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    def build(**how: Any) -> Model:
        program = Program()
        placeholders = {"x": mb.placeholder((2, 3), types.fp32)}
        with Function(placeholders, opset_version=ct.target.iOS18) as function:
            function.set_outputs(list(loop(mb, function.inputs["x"], **how)))
        program.add_function("main", function)
        number = len(list(tmp_path.iterdir()))
        return mil.load(write_package(program, tmp_path / f"{number}.mlpackage"))

    return build


def test_the_same_blocks_are_no_difference(make: Make) -> None:
    """Built twice, values have other names; operands that commute change places inside, too."""
    assert compare_programs(make(), make()).differences == ()
    assert compare_programs(make(), make(commuted=True)).differences == ()


def test_a_constant_inside_a_block_is_named(make: Make) -> None:
    found = compare_programs(make(), make(limit=999.0))
    (only,) = found.differences
    assert (only.kind, only.type, only.parameter) == (ProgramChange.CONSTANT, "less", "y")
    assert only.actual == "999 for 1000"


def test_a_change_outside_is_no_change_inside(make: Make) -> None:
    """What blocks read from outside is matched there, so it doesn't differ in them again."""
    (only,) = compare_programs(make(), make(step=4.0)).differences
    assert (only.kind, only.type, only.parameter) == (ProgramChange.CONSTANT, "add", "y")


def _digest(*operations: Operation) -> bytes:
    """Return the digest of a function of ``x`` and a state ``s`` that returns ``y``."""
    base = program([op("relu", "y", x="x")])
    state = Variable("s", StateType(TensorType(DataType.FLOAT32, SHAPE)))
    function = base.plan.function
    block = replace(function.block, operations=operations)
    function = replace(function, inputs=(*function.inputs, state), block=block)
    constants = base.package.constants
    return lower_pair(function, constants, function, constants)[0].digest


def test_states_keep_their_order() -> None:
    """A read before a write is another program than a read after it."""
    read = op("read_state", "r", input="s")
    write = replace(op("write_state", "w", input="s", data="x"), outputs=())
    last = op("add", "y", x="r", y="x")
    assert _digest(read, write, last) != _digest(write, read, last)
    assert _digest(read, write, last) == _digest(read, last, write)
