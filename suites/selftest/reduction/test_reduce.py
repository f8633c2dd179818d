"""If these fail, a reduced program is larger than it has to be, or fails for another reason."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import mil
from harness._coremltools import import_coremltools
from harness.errors import ContractError, ExecutionError, ParityError
from harness.reduction import Attempt, Command, Differs, NotFinite, Raises, reduce, write_reduction
from suites.ops.packages import write_package
from suites.selftest.mil.converting import converted
from suites.selftest.reduction.conftest import half, kept

NUMBERS = np.linspace(-3, 3, 24).reshape(4, 6).astype(np.float16)
WEIGHT = np.full((6, 6), 0.25, np.float16)


def chain_with_overflow(mb, x):
    y = mb.relu(x=mb.linear(x=x, weight=WEIGHT, name="before"), name="positive")
    y = mb.add(x=y, y=np.float16(250.0), name="shifted")
    y = mb.mul(x=y, y=y, name="squared")
    z = mb.softmax(x=mb.tanh(x=y, name="bounded"), axis=-1, name="shares")
    return mb.reduce_sum(x=z, axes=[1], name="total")


def test_an_overflow_is_cut_down_to_the_operation_that_makes_it(make_attempt):
    attempt = make_attempt(lambda mb, x: chain_with_overflow(mb, x), x=100 * NUMBERS)
    found = reduce(attempt, NotFinite("inf"))
    assert kept(found.attempt.model) == ["mul"]
    assert list(found.attempt.inputs) == ["shifted"]
    assert "'squared', made by mul, are infinite" in found.evidence
    assert found.minimal
    assert found.operations == 7


def test_a_nan_of_two_infinities_needs_the_operation_that_joins_them(make_attempt):
    def body(mb, x):
        one = mb.exp(x=mb.relu(x=x, name="positive"), name="huge")
        return mb.tanh(x=mb.sub(x=one, y=mb.mul(x=one, y=one, name="huger"), name="nothing"))

    found = reduce(make_attempt(body, x=half(30.0, 1.0)), NotFinite("nan"))
    assert kept(found.attempt.model) == ["sub"]
    assert set(found.attempt.inputs) == {"huge", "huger"}


def test_an_error_is_cut_down_to_the_operation_that_raises_it(make_attempt):
    def body(mb, x):
        y = mb.tanh(x=mb.mul(x=x, y=np.float16(2), name="doubled"), name="bounded")
        shape = mb.cast(x=mb.reduce_sum(x=y, axes=[0, 1]), dtype="int32", name="size")
        sizes = mb.concat(values=[mb.expand_dims(x=shape, axes=[0]), [7]], axis=0, name="sizes")
        return mb.sigmoid(x=mb.reshape(x=y, shape=sizes, name="reshaped"), name="last")

    attempt = make_attempt(body, x=NUMBERS)
    found = reduce(attempt, Raises())
    assert kept(found.attempt.model) == ["reshape"]
    assert "reshaped" in found.evidence


def test_a_loss_of_precision_is_cut_down_to_what_loses_it(make_attempt):
    def body(mb, x):
        y = mb.tanh(x=mb.mul(x=x, y=np.float16(0.5), name="halved"), name="bounded")
        big = mb.add(x=y, y=np.float16(512.0), name="lifted")
        small = mb.sub(x=big, y=np.float16(512.0), name="lowered")
        return mb.relu(x=mb.sigmoid(x=small, name="gate"), name="last")

    found = reduce(make_attempt(body, x=NUMBERS), Differs(40.0))
    assert kept(found.attempt.model) == ["add", "sub"]
    assert list(found.attempt.inputs) == ["bounded"]
    assert found.minimal


def test_expected_tensors_say_which_operation_is_wrong_by_itself(make_attempt):
    def right(mb, x, mode="EXACT"):
        y = mb.gelu(x=mb.mul(x=x, y=np.float16(0.5), name="halved"), mode=mode, name="gelu")
        return mb.exp(x=mb.tanh(x=y, name="bounded"), name="last")

    expected = make_attempt(right, x=NUMBERS).model.predict({"x": NUMBERS}, taps="all")

    def wrong(mb, x):
        return right(mb, x, "SIGMOID_APPROXIMATION")

    attempt = make_attempt(wrong, x=NUMBERS)
    found = reduce(attempt, Differs(60.0, expected))
    assert kept(found.attempt.model) == ["gelu"]
    np.testing.assert_array_equal(found.attempt.inputs["halved"], expected["halved"])


@pytest.mark.parametrize("kind", ["nan", "inf", "nonfinite"])
def test_what_does_not_fail_is_not_reduced(make_attempt, kind):
    with pytest.raises(ParityError, match=r"nothing to reduce: .* does not fail on these inputs"):
        reduce(make_attempt(chain_with_overflow, x=0 * NUMBERS), NotFinite(kind))


def test_what_works_on_one_state_stays_together(tmp_path):
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    program = Program()
    placeholders = {
        "x": mb.placeholder((3,), types.fp16),
        "memory": mb.state_tensor_placeholder((3,), types.fp16),
    }
    with Function(placeholders, ct.target.iOS18) as function:
        x, memory = function.inputs["x"], function.inputs["memory"]
        mb.coreml_update_state(state=memory, value=mb.relu(x=x, name="positive"))
        twice = mb.add(x=mb.read_state(input=memory), y=x, name="twice")
        function.set_outputs([mb.tanh(x=mb.mul(x=twice, y=twice, name="squared"), name="last")])
    program.add_function("main", function)
    path = write_package(program, tmp_path / "state.mlpackage")
    attempt = Attempt(mil.load(path), {"x": half(300, 1, 2)}, path)

    class NeedsState(NotFinite):
        def judge(self, attempt):
            return "it has one" if attempt.model.states else None

    found = reduce(attempt, NeedsState("inf"))
    assert kept(found.attempt.model) == ["write_state", "read_state"]
    assert list(found.attempt.inputs) == ["positive"]
    assert kept(reduce(attempt, NotFinite("inf")).attempt.model) == ["mul"]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_left_fails_and_fails_no_more_without_one_of_its_operations(make_attempt, data):
    """Random programs; failing is that the operations of a random set are all there."""
    kinds = data.draw(st.lists(st.sampled_from(["relu", "tanh", "add", "mul"]), min_size=3))
    earlier = [st.integers(0, index) for index in range(len(kinds))]
    sources = [data.draw(st.tuples(number, number)) for number in earlier]
    needed = data.draw(st.sets(st.integers(0, len(kinds) - 1), min_size=1, max_size=4))

    def body(mb, x):
        values = [x]
        for index, (kind, (one, other)) in enumerate(zip(kinds, sources, strict=True)):
            given = {"x": values[one]} | ({} if kind in ("relu", "tanh") else {"y": values[other]})
            values.append(getattr(mb, kind)(**given, name=f"v{index}"))
        return values[1:]

    wanted = {f"v{index}" for index in needed}

    class Contains(NotFinite):
        def judge(self, attempt):
            names = {operation.name for operation in attempt.model.operations}
            attempt.predict("storage")
            return "all there" if wanted <= names else None

    found = reduce(make_attempt(body, x=NUMBERS), Contains("nan"))
    assert {operation.name for operation in found.attempt.model.operations} == wanted
    assert found.minimal


def test_a_command_of_the_users_own_says_what_failing_is(make_attempt):
    attempt = make_attempt(chain_with_overflow, x=NUMBERS)
    script = (
        "import sys; from pathlib import Path; from safetensors.numpy import load_file; "
        "load_file(sys.argv[2]); "
        "data = next(Path(sys.argv[1]).rglob('model.mlmodel')).read_bytes(); "
        "sys.exit('the tanh is broken' if b'tanh' in data else 0)"
    )
    oracle = Command(f'{sys.executable} -c "{script}" {{package}} {{inputs}}')
    found = reduce(attempt, oracle)
    assert kept(found.attempt.model) == ["tanh"]
    assert found.evidence == "exit code 1: the tanh is broken"


def test_a_command_is_run_without_a_shell(make_attempt, tmp_path):
    attempt = make_attempt(chain_with_overflow, x=NUMBERS)
    oracle = Command(f"false {{package}} ; touch {tmp_path / 'owned'}")
    assert oracle.judge(attempt) == "exit code 1"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("true", "does not say where the package goes"),
        ("true '{package}", "can't be split"),
        ("no-such-program-anywhere {package}", "can't be run: No such file"),
    ],
)
def test_a_command_that_cannot_judge_is_refused_in_one_sentence(make_attempt, command, message):
    attempt = make_attempt(chain_with_overflow, x=NUMBERS)
    with pytest.raises(ParityError, match=message):
        Command(command).judge(attempt)


def test_a_command_that_takes_too_long_does_not_count_as_failing(make_attempt):
    attempt = make_attempt(chain_with_overflow, x=NUMBERS)
    assert Command('sh -c "exec sleep 30" {package}', timeout_s=0.1).judge(attempt) is None


def test_a_loop_is_cut_out_with_all_that_is_in_it(make_attempt):
    def body(mb, x):
        last = mb.while_loop(
            _cond=lambda y: mb.less(x=mb.reduce_max(x=y, axes=[0, 1]), y=np.float16(6e4)),
            _body=lambda y: mb.mul(x=y, y=np.float16(40)),
            loop_vars=(mb.relu(x=x, name="positive"),),
            name="loop",
        )
        return mb.tanh(x=last, name="bounded")

    found = reduce(make_attempt(body, x=NUMBERS), NotFinite("inf"))
    assert kept(found.attempt.model) == ["while_loop"]
    assert list(found.attempt.inputs) == ["positive"]


def test_a_list_comes_with_what_makes_it(make_attempt):
    def body(mb, x):
        made = mb.make_list(init_length=2, elem_shape=(4, 6), dtype="fp16", name="made")
        filled = mb.list_write(ls=made, index=0, value=mb.relu(x=x, name="positive"), name="filled")
        read = mb.list_read(ls=filled, index=0, name="read")
        return mb.tanh(x=mb.exp(x=read, name="huge"), name="bounded")

    attempt = make_attempt(body, x=NUMBERS)

    class Reads(NotFinite):
        def judge(self, attempt):
            attempt.predict("storage")
            return "it reads a list" if "list_read" in kept(attempt.model) else None

    found = reduce(attempt, Reads("inf"))
    assert kept(found.attempt.model) == ["make_list", "list_write", "list_read"]
    assert list(found.attempt.inputs) == ["positive"]


def test_truth_values_come_in_as_constants_and_leave_as_numbers(make_attempt, tmp_path):
    def body(mb, x):
        positive = mb.greater(x=x, y=np.float16(0), name="positive")
        other = mb.logical_not(x=positive, name="other")
        return mb.select(cond=other, a=x, b=mb.tanh(x=x), name="chosen")

    attempt = make_attempt(body, x=NUMBERS)

    class Negates(NotFinite):
        def judge(self, attempt):
            attempt.predict("storage")
            return "it negates" if "logical_not" in kept(attempt.model) else None

    found = reduce(attempt, Negates("inf"))
    assert kept(found.attempt.model) == ["logical_not", "cast"]
    assert not found.attempt.inputs
    write_reduction(found, tmp_path / "bug")
    (result,) = mil.load(tmp_path / "bug" / "reduced.mlpackage").predict({}).values()
    np.testing.assert_array_equal(result, NUMBERS <= 0)


class Scaled(torch.nn.Module):
    def forward(self, x, scale):
        return torch.tanh(torch.relu(torch.exp(x * scale)))


def test_flexible_and_optional_inputs_are_fixed_at_what_they_were(tmp_path):
    ct = import_coremltools()
    inputs = [
        ct.TensorType("x", shape=(ct.RangeDim(1, 5), 3)),
        ct.TensorType("scale", shape=(1, 3), default_value=np.full((1, 3), 99, np.float32)),
    ]
    path = converted(
        tmp_path / "flexible.mlpackage", Scaled(), inputs, torch.ones(2, 3), torch.ones(1, 3)
    )
    attempt = Attempt(mil.load(path), {"x": np.ones((4, 3), np.float32)}, path)

    class Multiplies(NotFinite):
        def judge(self, attempt):
            evidence = super().judge(attempt)
            return evidence if {"mul", "exp"} <= set(kept(attempt.model)) else None

    found = reduce(attempt, Multiplies("inf"))
    assert kept(found.attempt.model) == ["mul", "exp"]
    assert {n: a.shape for n, a in found.attempt.inputs.items()} == {"x": (4, 3), "scale": (1, 3)}
    record = write_reduction(found, tmp_path / "bug")
    assert record["inputs"] == {"x": "float32[4, 3]", "scale": "float32[1, 3]"}


def gathered(mb, x, indices):
    """What the FP16 conversion for iOS 17 makes of a gathered int32: it is narrowed to int16."""
    narrow = mb.cast(x=x, dtype="int16", name="narrow")
    taken = mb.gather(x=narrow, indices=indices, axis=0, name="taken")
    return mb.cast(x=mb.cast(x=taken, dtype="int32", name="wide"), dtype="int32", name="last")


INDICES = np.array([1, 2, 0], np.int32)


def test_a_wrapped_integer_is_no_pass_and_its_cast_is_found(make_attempt):
    x = np.array([1, 70_000, -100_000, 3], np.int32)
    attempt = make_attempt(gathered, np.int32, x=x, indices=INDICES)
    oracle = Differs(60.0, {"last": x[INDICES]})
    assert oracle.judge(attempt) == (
        "output 'last': 2 of 3 integers are wrong, the first at (0,): 4464 instead of 70000"
    )
    assert "narrow" in [o.name for o in reduce(attempt, oracle).attempt.model.operations]
    within = make_attempt(gathered, np.int32, x=np.arange(4, dtype=np.int32), indices=INDICES)
    assert Differs(60.0, {"last": INDICES.astype(np.int64)}).judge(within) is None
    assert "shape" in str(Differs(60.0, {"last": INDICES[:2]}).judge(within))


def test_an_integer_that_a_precision_changes_is_a_difference(make_attempt):
    """Its SNR may be high: 1000 against 1001 are 60 dB."""

    def body(mb, x):
        return mb.cast(x=mb.mul(x=x, y=np.float16(3.0), name="tripled"), dtype="int32", name="last")

    found = reduce(make_attempt(body, x=half(1001, 2, 3)), Differs(40.0))
    assert kept(found.attempt.model) == ["mul", "cast"]
    assert "1 of 3 integers are wrong, the first at (0,): 3004 instead of 3003" in found.evidence


@pytest.mark.parametrize("oracle", [Differs(60.0), NotFinite("nan")])
def test_what_cannot_be_executed_is_no_pass(make_attempt, oracle):
    def body(mb, x, indices):
        return mb.gather(x=x, indices=indices, axis=0, name="last")

    beyond = np.array([7], np.int32)
    attempt = make_attempt(body, np.int32, x=INDICES, indices=beyond)
    with pytest.raises(ExecutionError, match="out of range"):
        oracle.judge(attempt)


def test_outputs_that_nothing_is_expected_of_are_no_pass(make_attempt):
    attempt = make_attempt(lambda mb, x: mb.exp(x=x, name="last"), x=NUMBERS)
    with pytest.raises(ContractError, match=r"none of the outputs \(last\) is a tensor of numbers"):
        Differs(60.0, {"other": NUMBERS}).judge(attempt)
