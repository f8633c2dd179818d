"""Branches, loops, lists and states: blocks run like the flat program around them."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import mil
from harness.errors import (
    ContractError,
    ExecutionError,
    PackageError,
    ParityError,
    UnknownNameError,
)
from harness.mil import timing
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import rewrite_model

SHAPE = (2, 3)


def branches(mb, x):
    """Of two branches one doubles its argument, the other returns it as it is, or a constant."""
    total = mb.reduce_sum(x=x, keep_dims=False)
    doubled = mb.mul(x=x, y=np.float32(2), name="outside")
    pair = mb.cond(
        pred=mb.greater(x=total, y=np.float32(0)),
        _true_fn=lambda: (mb.add(x=doubled, y=x, name="inside"), mb.identity(x=x)),
        _false_fn=lambda: (x, mb.const(val=np.full(SHAPE, 7, np.float32))),
        name="branch",
    )
    return mb.relu(x=pair[0], name="first"), mb.relu(x=pair[1], name="second")


def test_a_branch_is_taken(make_package):
    model = mil.load(make_package(branches, x=SHAPE))
    up, down = np.full(SHAPE, 2, np.float32), np.full(SHAPE, -2, np.float32)
    for _ in range(2):  # a constant that was overwritten would show in the second round
        taken = model.predict({"x": up})
        np.testing.assert_array_equal(taken["first"], 3 * up)
        np.testing.assert_array_equal(taken["second"], up)
        other = model.predict({"x": down})
        np.testing.assert_array_equal(other["first"], 0 * up)
        np.testing.assert_array_equal(other["second"], np.full(SHAPE, 7))
    assert (up == 2).all()
    assert (down == -2).all()


def powers(mb, x):
    """``x`` is multiplied by a weight from outside until its sum passes 1000; counts the rounds."""
    weight = mb.add(x=mb.mul(x=x, y=np.float32(0)), y=np.float32(3), name="weight")
    count, value = mb.while_loop(
        _cond=lambda count, value: mb.less(x=mb.reduce_sum(x=value), y=np.float32(1000)),
        _body=lambda count, value: (
            mb.add(x=count, y=np.int32(1)),
            mb.mul(x=value, y=weight, name="grown"),
        ),
        loop_vars=(np.int32(0), x),
        name="loop",
    )
    return count, mb.add(x=value, y=weight, name="result")


@settings(max_examples=25, deadline=None)
@given(start=st.integers(1, 5_000))
def test_a_loop_runs_as_often_as_its_condition_holds(powers_model, start):
    x = np.full(SHAPE, start, np.float32)
    count, value = 0, x
    while value.sum(dtype=np.float32) < 1000:
        count, value = count + 1, value * np.float32(3)
    actual = powers_model.predict({"x": x})
    assert actual[powers_model.outputs[0].name] == count
    np.testing.assert_array_equal(actual["result"], value + np.float32(3))


@pytest.fixture(scope="module")
def powers_model(make_module_package):
    return mil.load(make_module_package(powers, x=SHAPE))


def test_values_inside_blocks_are_observed_but_not_tapped(powers_model):
    seen = []
    x = torch.full(SHAPE, 1.0)
    powers_model.run(
        {"x": x}, observe=lambda operation, outputs: seen.append((operation.name, outputs[0].max()))
    )
    grown = [value.item() for name, value in seen if name == "grown"]
    assert grown == [3.0**power for power in range(1, 6)]
    assert "grown" not in powers_model.predict({"x": x.numpy()}, taps="all")
    with pytest.raises(ContractError, match=r"inside while_loop 'loop' .* use observe="):
        powers_model.predict({"x": x.numpy()}, taps=["gro*"])
    with pytest.raises(UnknownNameError, match="unknown tap 'groan'"):
        powers_model.predict({"x": x.numpy()}, taps=["groan"])


def test_gradients_flow_through_blocks(powers_model, make_package):
    x = torch.full(SHAPE, 1.0, dtype=torch.float64, requires_grad=True)
    results = powers_model.run({"x": x}, numerics="float64", differentiable=True)
    (gradient,) = torch.autograd.grad(results["result"].sum(), x)
    np.testing.assert_allclose(gradient.numpy(), np.full(SHAPE, 3.0**5))
    branch = mil.load(make_package(branches, x=SHAPE))
    results = branch.run({"x": x}, numerics="float64", differentiable=True)
    (gradient,) = torch.autograd.grad(results["first"].sum(), x)
    np.testing.assert_allclose(gradient.numpy(), np.full(SHAPE, 3.0))


def test_half_is_rounded_inside_blocks(make_package):
    def body(mb, x):
        return mb.while_loop(
            _cond=lambda n, v: mb.less(x=n, y=np.int32(4)),
            _body=lambda n, v: (mb.add(x=n, y=np.int32(1)), mb.mul(x=v, y=np.float16(1.1))),
            loop_vars=(np.int32(0), x),
        )[1]

    model = mil.load(make_package(body, np.float16, x=(4,)))
    x = np.array([0.1, 1, 1000, 60000], np.float16)
    expected = x
    with np.errstate(over="ignore"):
        for _ in range(4):
            expected = expected * np.float16(1.1)
    (actual,) = model.predict({"x": x}).values()
    np.testing.assert_array_equal(actual, expected, strict=True)


def test_a_loop_without_end_is_refused(make_package, monkeypatch):
    def body(mb, x):
        return mb.while_loop(
            _cond=lambda v: mb.greater(x=mb.reduce_sum(x=v), y=np.float32(0)),
            _body=lambda v: mb.identity(x=v),
            loop_vars=(x,),
        )

    monkeypatch.setattr(timing, "MAX_BLOCK_RUNS", 50)
    model = mil.load(make_package(body, x=(2,)))
    assert model.predict({"x": np.zeros(2, np.float32)})
    with pytest.raises(ExecutionError, match="blocks ran 50 times without coming to an end"):
        model.predict({"x": np.ones(2, np.float32)})


def test_a_time_limit_ends_a_loop_and_names_it(make_package, monkeypatch):
    """A clock that goes on by a second whenever it is looked at."""

    def body(mb, x):
        def inner(v):
            return mb.while_loop(
                _cond=lambda n, w: mb.less(x=n, y=np.int32(2)),
                _body=lambda n, w: (mb.add(x=n, y=np.int32(1)), mb.identity(x=w)),
                loop_vars=(np.int32(0), v),
                name="inner",
            )[1]

        return mb.while_loop(
            _cond=lambda v: mb.greater(x=mb.reduce_sum(x=v), y=np.float32(0)),
            _body=inner,
            loop_vars=(x,),
            name="outer",
        )

    model = mil.load(make_package(body, x=(2,)))
    ones, seconds = {"x": np.ones(2, np.float32)}, itertools.count()
    monkeypatch.setattr(timing.time, "monotonic", lambda: float(next(seconds)))
    with (
        mil.time_limit(1000),
        mil.time_limit(100),
        pytest.raises(ExecutionError, match="time limit of 100 s is over") as caught,
    ):
        model.predict(ones)
    place = (
        r"while_loop 'outer' at main\[\d\] \(round 10\), in it while_loop 'inner' at .* \(round 2\)"
    )
    assert re.search(place, str(caught.value))
    with mil.time_limit(10_000):
        assert model.predict({"x": np.zeros(2, np.float32)})


@pytest.mark.parametrize("seconds", [0, -1, np.nan, np.inf])
def test_a_time_limit_is_a_positive_number(seconds):
    with pytest.raises(ParityError, match="expected a positive number"), mil.time_limit(seconds):
        pass


def nested(mb, x):
    """A branch inside a loop inside a branch; each reads values of all levels around it."""

    def loop():
        bias = mb.add(x=x, y=np.float32(1))
        return mb.while_loop(
            _cond=lambda n, v: mb.less(x=n, y=np.int32(5)),
            _body=lambda n, v: (mb.add(x=n, y=np.int32(1)), step(n, v, bias)),
            loop_vars=(np.int32(0), bias),
        )[1]

    def step(n, v, bias):
        even = mb.equal(x=mb.mod(x=n, y=np.int32(2)), y=np.int32(0))
        return mb.cond(
            pred=even,
            _true_fn=lambda: mb.add(x=mb.add(x=v, y=bias), y=x),
            _false_fn=lambda: mb.mul(x=v, y=np.float32(0.5)),
        )

    positive = mb.greater(x=mb.reduce_sum(x=x), y=np.float32(0))
    return mb.cond(pred=positive, _true_fn=loop, _false_fn=lambda: mb.square(x=x))


@pytest.mark.parametrize("sign", [1, -1])
def test_blocks_nest(make_package, sign):
    model = mil.load(make_package(nested, x=SHAPE))
    x = sign * np.arange(1, 7, dtype=np.float32).reshape(SHAPE)
    bias = v = x + 1
    for n in range(5):
        v = v + bias + x if n % 2 == 0 else v * np.float32(0.5)
    expected = v if sign > 0 else x * x
    for mode in ({}, {"differentiable": True}):
        (actual,) = model.run({"x": torch.from_numpy(x)}, **mode).values()
        np.testing.assert_array_equal(actual.numpy(), expected)


def listing(mb, x):
    """Rows of ``x`` go into a growing list, which is read by index, gathered and scattered."""
    empty = mb.make_list(init_length=1, dynamic_length=True, elem_shape=(3,), dtype="fp32")
    rows = mb.while_loop(
        _cond=lambda n, ls: mb.less(x=n, y=np.int32(4)),
        _body=lambda n, ls: (
            mb.add(x=n, y=np.int32(1)),
            mb.list_write(ls=ls, index=n, value=mb.gather(x=x, indices=n, axis=0)),
        ),
        loop_vars=(np.int32(0), empty),
    )[1]
    swapped = mb.list_scatter(
        ls=rows, indices=np.int32([0, 5]), value=mb.slice_by_size(x=x, begin=[2, 0], size=[2, 3])
    )
    return (
        mb.identity(x=mb.list_length(ls=rows), name="length"),
        mb.list_read(ls=rows, index=np.int32(1), name="second"),
        mb.list_gather(ls=rows, indices=np.int32([3, 0]), name="gathered"),
        mb.identity(x=mb.list_length(ls=swapped), name="grown"),
        mb.list_gather(ls=swapped, indices=np.int32([0, 1, 5]), name="scattered"),
        mb.relu(x=mb.list_read(ls=rows, index=np.int32(0)), name="untouched"),
    )


def test_lists(make_package):
    model = mil.load(make_package(listing, x=(4, 3)))
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    for _ in range(2):
        actual = model.predict({"x": x})
        assert actual["length"] == 4
        assert actual["grown"] == 6
        np.testing.assert_array_equal(actual["second"], x[1])
        np.testing.assert_array_equal(actual["gathered"], x[[3, 0]])
        np.testing.assert_array_equal(actual["scattered"], x[[2, 1, 3]])
        np.testing.assert_array_equal(actual["untouched"], x[0])


@pytest.mark.parametrize(
    ("index", "dynamic", "message"),
    [
        (3, True, "index 3 is outside a list of 3 elements"),
        (-1, True, "index -1 is outside a list"),
        (1, False, r"can't write at \[2\] in a list of 1 elements"),
    ],
)
def test_bad_list_indices(make_package, index, dynamic, message):
    def body(mb, x):
        ls = mb.make_list(init_length=1, dynamic_length=dynamic, elem_shape=(2,), dtype="fp32")
        ls = mb.list_write(ls=ls, index=mb.cast(x=mb.reduce_sum(x=x), dtype="int32"), value=x)
        return mb.list_read(ls=ls, index=np.int32(index))

    model = mil.load(make_package(body, x=(2,)))
    with pytest.raises(ExecutionError, match=message):
        model.predict({"x": np.ones(2, np.float32)})


def test_an_element_that_was_never_written_is_zeros(make_package):
    def body(mb, x):
        ls = mb.make_list(init_length=1, elem_shape=(2,), dtype="fp32")
        blank = mb.list_read(ls=ls, index=np.int32(0))
        ls = mb.list_write(ls=ls, index=np.int32(3), value=x)
        return blank, mb.list_gather(ls=ls, indices=np.array([3, 2], np.int32))

    x = np.array([1, 2], np.float32)
    results = list(mil.load(make_package(body, x=(2,))).predict({"x": x}).values())
    np.testing.assert_array_equal(results[0], [0, 0])
    np.testing.assert_array_equal(results[1], [[1, 2], [0, 0]])


def stateful_program():
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    inputs = {
        "x": mb.placeholder((3,), types.fp16),
        "memory": mb.state_tensor_placeholder((3,), types.fp16),
    }
    program = Program()
    with Function(inputs, opset_version=ct.target.iOS18) as function:
        x, memory = function.inputs["x"], function.inputs["memory"]
        old = mb.read_state(input=memory, name="old")
        total = mb.coreml_update_state(state=memory, value=mb.add(x=old, y=x), name="total")
        function.set_outputs([mb.mul(x=total, y=np.float16(0.1), name="mean"), old])
    program.add_function("main", function)
    return program


@pytest.fixture(scope="module")
def stateful(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "stateful.mlpackage"
    return mil.load(write_package(stateful_program(), path))


def half(*values):
    return np.array(values, np.float16)


def test_states_live_between_predictions(stateful):
    assert [str(feature) for feature in stateful.inputs] == ["x: fp16[3]"]
    assert [str(feature) for feature in stateful.states] == ["memory: fp16[3]"]
    first, second = stateful.new_state(), stateful.new_state()
    x, total = half(0.1, 1, 1000), half(0, 0, 0)
    for _ in range(4):
        actual = stateful.predict({"x": x}, state=first)
        np.testing.assert_array_equal(actual["old"], total, strict=True)
        actual["old"][:] = 9  # a result is the caller's
        total = total + x
        np.testing.assert_array_equal(actual["mean"], total * np.float16(0.1), strict=True)
        np.testing.assert_array_equal(first.read("memory"), total, strict=True)
    np.testing.assert_array_equal(second.read("memory"), half(0, 0, 0))
    second.write("memory", total)
    actual = stateful.predict({"x": x}, state=second)
    np.testing.assert_array_equal(actual["old"], total)


@pytest.mark.parametrize("numerics", ["storage", "native"])
def test_a_model_with_states_is_a_function_of_what_they_hold(stateful, numerics):
    """Else a tool that goes through a program without states judges another one."""
    function = mil.functional(stateful)
    assert [feature.name for feature in function.inputs] == ["x", "memory"]
    assert not function.states
    state, held = stateful.new_state(), np.zeros(3, np.float32)
    x = half(0.1, 1 / 3, 1000)
    for _ in range(3):
        expected = stateful.predict({"x": x}, state=state, numerics=numerics)
        inputs = {"x": x, "memory": held}
        for made in (
            mil.call(stateful, inputs, numerics=numerics),
            function.predict(inputs, numerics=numerics),
        ):
            for name, value in expected.items():
                np.testing.assert_array_equal(made[name], value, strict=True)
            np.testing.assert_array_equal(made["state.memory"], state.read("memory"))
        held = made["state.memory"]
    assert mil.functional(function) is function


def test_states_are_kept_wide_in_float64(stateful):
    state = stateful.new_state()
    x = np.array([0.1, 0.2, 1 / 3])
    for count in range(1, 4):
        actual = stateful.predict({"x": x}, state=state, numerics="float64")
        np.testing.assert_allclose(actual["mean"], 0.1 * count * x, rtol=1e-3)
        np.testing.assert_allclose(state.read("memory"), count * x, rtol=1e-15)
    stateful.predict({"x": half(0, 0, 0)}, state=state)
    assert state.read("memory").dtype == np.float16


def test_a_failed_prediction_leaves_the_state_alone(stateful):
    state = stateful.new_state()

    def fail(operation, _):
        if operation.name == "mean":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stateful.run({"x": torch.ones(3)}, state=state, observe=fail)
    assert not state.read("memory").any()


def test_state_contract(stateful, network, x):
    with pytest.raises(ContractError, match=r"has states \(memory: fp16\[3\]\): pass state="):
        stateful.predict({"x": half(1, 2, 3)})
    with pytest.raises(ContractError, match="has no states"):
        network.new_state()
    with pytest.raises(ContractError, match="is of another model"):
        network.predict({"x": x}, state=stateful.new_state())
    state = stateful.new_state()
    with pytest.raises(UnknownNameError, match="unknown state 'memoir'"):
        state.read("memoir")
    with pytest.raises(ContractError, match=r"float32 \[3\], but the package takes float16 \[3\]"):
        state.write("memory", np.zeros(3, np.float32))


def test_blocks_of_the_wrong_kind_are_refused(make_package):
    package = make_package(powers, x=SHAPE)

    def loop(message):
        block = next(iter(message.mlProgram.functions["main"].block_specializations.values()))
        return next(entry for entry in block.operations if entry.type == "while_loop")

    def swap(message):
        blocks = loop(message).blocks
        first = type(blocks[0]).FromString(blocks[0].SerializeToString())
        blocks[0].CopyFrom(blocks[1])
        blocks[1].CopyFrom(first)

    with pytest.raises(PackageError, match=r"block 0 goes from .* but must go from .* to \(bool\)"):
        mil.load(rewrite_model(package, swap))

    def drop(message):
        del loop(message).blocks[1]

    with pytest.raises(PackageError, match="has 1 blocks, not 2"):
        mil.load(rewrite_model(package, drop))
