"""Views, reuse and liveness: memory is given back early, and nothing that is needed is lost."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import mil
from harness.errors import ExecutionError, ParityError
from harness.mil import arena
from harness.mil.arena import ArenaLayout, Lifetime
from harness.mil.ops import registry
from harness.mil.ops.registry import Effect, definition
from harness.mil.schedule import build_schedule
from harness.mil.types import DataType, TensorType

SHAPE = (4, 6)
UNARY = ("square", "tanh", "relu", "identity", "reverse", "abs")
BINARY = ("add", "sub", "mul", "maximum")
ROUND_TRIPS = ("transposed", "reshaped", "halves", "row_shift", "rounded", "half_rounded")


def random_program(choices):
    """Return a body that wires random operations, many of them views of one another."""

    def body(mb, x):
        values = [x, mb.const(val=np.linspace(-1, 1, 24, dtype=np.float32).reshape(SHAPE))]
        for kind, name, first, second in choices:
            a, b = values[first % len(values)], values[second % len(values)]
            if kind == 0:
                values.append(getattr(mb, UNARY[name % len(UNARY)])(x=a))
            elif kind == 1:
                values.append(getattr(mb, BINARY[name % len(BINARY)])(x=a, y=b))
            else:
                values.append(view(mb, ROUND_TRIPS[name % len(ROUND_TRIPS)], a))
        return [mb.identity(x=value) for value in values[-3:]]

    return body


def view(mb, how, a):
    if how == "transposed":
        return mb.transpose(x=mb.square(x=mb.transpose(x=a, perm=[1, 0])), perm=[1, 0])
    if how == "reshaped":
        return mb.reshape(x=mb.reshape(x=a, shape=[24]), shape=SHAPE)
    if how == "halves":
        top, bottom = mb.split(x=a, axis=0, num_splits=2)
        return mb.concat(values=[mb.add(x=top, y=bottom), mb.sub(x=bottom, y=top)], axis=0)
    if how == "rounded":
        return mb.cast(x=mb.cast(x=a, dtype="fp16"), dtype="fp32")
    if how == "half_rounded":
        top, bottom = mb.split(x=a, axis=1, num_splits=2)
        rounded = mb.cast(x=mb.cast(x=mb.transpose(x=top, perm=[1, 0]), dtype="fp16"), dtype="fp32")
        return mb.concat(values=[mb.transpose(x=rounded, perm=[1, 0]), bottom], axis=1)
    whole = mb.concat(values=[a, a], axis=1)
    part = mb.slice_by_index(x=whole, begin=[0, 3], end=[4, 9])
    return mb.add(x=part, y=mb.slice_by_index(x=whole, begin=[0, 2], end=[4, 8]))


step = st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 30), st.integers(0, 30))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(choices=st.lists(step, min_size=3, max_size=14), data=st.data())
def test_reuse_changes_nothing(make_package, choices, data):
    """The same program with reuse off is the oracle; inputs, constants and taps must survive."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arena, "_SMALLEST", 1)
        compare_with_reuse_off(mil.load(make_package(random_program(choices), x=SHAPE)), data)


def compare_with_reuse_off(model, data):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    original = x.clone()
    expected = model.run({"x": x}, taps="all", differentiable=True)
    names = sorted(expected)
    taps = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    executable = model.executable(mil.get_numerics("storage"), x.device)
    constants = {slot: tensor.clone() for slot, tensor in executable.constants.items()}
    for chosen in (taps, "all", ()):
        for _ in range(2):
            actual = model.run({"x": x}, taps=chosen)
            for name, tensor in actual.items():
                assert torch.equal(tensor, expected[name].detach()), name
    assert torch.equal(x, original), "an input was overwritten"
    for slot, tensor in constants.items():
        assert torch.equal(executable.constants[slot], tensor), "a constant was overwritten"


def chain(mb, x):
    for _ in range(20):
        x = mb.add(x=mb.mul(x=x, y=np.float32(0.5)), y=np.float32(1))
    return x


def test_dead_operands_are_reused(make_package):
    model = mil.load(make_package(chain, x=(8, 8)))
    seen = []
    model.run({"x": torch.ones(8, 8)}, observe=lambda _, o: seen.append(o[0].data_ptr()))
    assert len(set(seen)) == 1, "one buffer is enough for a chain of elementwise operations"
    seen.clear()
    x = torch.ones(8, 8)
    model.run({"x": x}, observe=lambda _, o: seen.append(o[0].data_ptr()))
    assert x.data_ptr() not in seen


def test_a_dead_value_is_rounded_where_it_is(make_package):
    """A cast costs no memory, unless what it rounds is needed as it was."""

    def body(mb, x):
        dead, needed = mb.exp(x=x, name="dead"), mb.exp(x=x, name="needed")
        rounded = [
            mb.cast(
                x=mb.transpose(x=value, perm=[1, 0]), dtype="fp16", name=f"rounded_{value.name}"
            )
            for value in (dead, needed)
        ]
        wide = [mb.cast(x=value, dtype="fp32") for value in rounded]
        return mb.add(x=mb.sub(x=wide[0], y=wide[1]), y=mb.transpose(x=needed, perm=[1, 0]))

    model = mil.load(make_package(body, x=(8, 8)))
    seen = {}
    x = torch.randn(8, 8, generator=torch.Generator().manual_seed(2))
    y = model.run({"x": x}, observe=lambda o, v: seen.setdefault(o.name, v[0].data_ptr()))
    assert seen["rounded_dead"] == seen["dead"]
    assert seen["rounded_needed"] != seen["needed"]
    assert all(torch.equal(value, x.exp().t()) for value in y.values())


def shrinking(mb, x):
    """Large values that are dead soon, among views of them."""
    for _ in range(6):
        row = mb.reshape(x=mb.square(x=x), shape=[1, 64])
        x = mb.mul(x=row, y=mb.exp(x=mb.reshape(x=x, shape=[64, 1])))
        x = mb.reduce_mean(x=mb.reshape(x=x, shape=[64, 8, 8]), axes=[0])
    return x


def test_memory_of_dead_values_is_written_again(make_package, monkeypatch):
    """Without it each large result of a model costs page faults, in every run."""
    monkeypatch.setattr(arena, "_SMALLEST", 1)
    model = mil.load(make_package(shrinking, x=(8, 8)))
    x = 0.1 * torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    expected = model.run({"x": x}, differentiable=True)
    seen: list[list[int]] = []
    for _ in range(3):
        memory: list[int] = []
        y = model.run(
            {"x": x}, observe=lambda _, o, m=memory: m.append(o[0].untyped_storage().data_ptr())
        )
        assert all(torch.equal(y[name], expected[name]) for name in y)
        seen.append(memory)
    large = [step.type == "mul" for step in model.operations]
    places = [{m for m, wide in zip(memory, large, strict=True) if wide} for memory in seen]
    assert len(set(seen[0])) < len(seen[0]) / 2
    assert places[0] == places[1] == places[2], "the second run has to find the memory of the first"


def test_results_stay_when_their_model_runs_again(make_package, monkeypatch):
    """A caller who keeps a result must not see it change in the next run."""
    monkeypatch.setattr(arena, "_SMALLEST", 1)

    def body(mb, x):
        first = mb.mul(x=mb.exp(x=x), y=x)
        return [mb.add(x=first, y=1.0), mb.transpose(x=mb.sin(x=first), perm=[1, 0])]

    model = mil.load(make_package(body, x=(8, 8)))
    x = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    kept = model.run({"x": x}, taps="all")
    copies = {name: tensor.clone() for name, tensor in kept.items()}
    outputs = model.run({"x": x})
    outputs_then = {name: tensor.clone() for name, tensor in outputs.items()}
    for factor in (2, 3):
        model.run({"x": factor * x})
        model.run({"x": factor * x}, taps="all")
    assert all(torch.equal(kept[name], copies[name]) for name in kept)
    assert all(torch.equal(outputs[name], outputs_then[name]) for name in outputs)


def test_models_that_run_in_turn_share_memory(make_package, monkeypatch):
    """Else a process that holds the packages of five recipes holds five networks' activations."""
    monkeypatch.setattr(arena, "_SMALLEST", 1)
    lent: list[set[int]] = []

    def run(model):
        memory: set[int] = set()
        model.run(
            {"x": torch.ones(8, 8)},
            observe=lambda o, v: o.type == "mul" and memory.add(v[0].untyped_storage().data_ptr()),
        )
        lent.append(memory)

    models = [mil.load(make_package(shrinking, x=(8, 8))) for _ in range(2)]
    for model in models * 2:
        run(model)
    assert lent[0]
    assert all(memory == lent[0] for memory in lent)


def test_memory_goes_with_the_last_model(make_package, monkeypatch):
    """Else a program that has long closed its packages keeps what the largest of them needed."""
    monkeypatch.setattr(arena, "_LIVING", weakref.WeakValueDictionary())
    models = [mil.load(make_package(shrinking, x=(8, 8))) for _ in range(2)]
    for model in models:
        model.run({"x": torch.ones(8, 8)})
    gone = weakref.ref(arena.common_scratch())
    del model, models[0]
    gc.collect()
    assert gone() is not None
    models.clear()
    gc.collect()
    assert gone() is None


def test_threads_never_share_memory():
    """Models are run by whoever has them: two runs in one piece of memory would mix results."""
    scratch, lent, mixed = arena.Scratch(), set(), []

    def run(_):
        for size in (64, 8, 256):
            with scratch.lend(size) as memory:
                mixed.append(id(memory) in lent)
                lent.add(id(memory))
                time.sleep(0)
                lent.remove(id(memory))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(400)))
    assert len(mixed) == 1200
    assert not any(mixed)


def test_memory_that_is_too_small_is_not_kept_beside_what_replaces_it():
    scratch = arena.Scratch()
    for size in (64, 128, 32):
        with scratch.lend(size) as memory, scratch.lend(16) as inner:
            assert len(memory) >= size
            assert not np.shares_memory(memory, inner)
    with scratch.lend(1) as memory, scratch.lend(1) as inner:
        assert (len(memory), len(inner)) == (128, 16)


def test_two_runs_at_the_same_time_do_not_share_memory(make_package, monkeypatch):
    """A run that starts inside another one, here by its observer, has memory of its own."""
    monkeypatch.setattr(arena, "_SMALLEST", 1)
    model = mil.load(make_package(shrinking, x=(8, 8)))
    x = 0.1 * torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    expected = model.run({"x": x})
    inner = model.run({"x": 2 * x})
    found = []

    def disturb(operation, values):
        if operation.type == "exp":
            found.append(model.run({"x": 2 * x}))

    outer = model.run({"x": x}, observe=disturb)
    assert len(found) == 6
    assert all(torch.equal(outer[name], expected[name]) for name in expected)
    assert all(torch.equal(run[name], inner[name]) for run in found for name in inner)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(1, 400)),
        max_size=30,
        unique_by=lambda item: item[0],
    )
)
def test_values_that_live_together_do_not_overlap(items):
    """If this fails, one operation silently writes over the operand of another."""
    lives = [
        Lifetime(first, TensorType(DataType.FLOAT32, (count,)), first + length)
        for first, length, count in items
    ]
    layout = ArenaLayout.of(lives, lambda _: torch.float32)
    assert set(layout.places) == {life.step for life in lives}
    for step in range(45):
        alive = [life for life in lives if life.step <= step <= life.last]
        ends = [(layout.places[life.step], 4 * life.type.count) for life in alive]
        taken = sorted((start, start + size) for start, size in ends)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(taken))
        assert all(start % 64 == 0 and stop <= layout.size for start, stop in taken)


def test_intermediates_are_freed(make_package):
    """At any time a chain needs two values, however long it is."""

    def body(mb, x):
        for _ in range(30):
            x = mb.softmax(x=x)
        return x

    model = mil.load(make_package(body, x=(8, 8)))
    references: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def observe(_, outputs):
        references.append(weakref.ref(outputs[0]))
        alive.append(sum(reference() is not None for reference in references))

    model.run({"x": torch.ones(8, 8)}, observe=observe)
    assert len(alive) == 30
    assert max(alive) <= 2


def test_dead_operations_are_skipped(make_package):
    def body(mb, x):
        mb.exp(x=mb.square(x=x, name="unused"), name="also_unused")
        return mb.tanh(x=x, name="y")

    model = mil.load(make_package(body, x=(2,)))
    ran = []
    model.run({"x": torch.ones(2)}, observe=lambda operation, _: ran.append(operation.name))
    assert ran == ["y"]
    ran.clear()
    results = model.predict({"x": np.full(2, 3, np.float32)}, taps=["unused"])
    assert results["unused"].tolist() == [9, 9], "a tap revives what it needs"
    assert "also_unused" not in results


@pytest.mark.parametrize("taps", [(), "all"])
def test_schedules_free_each_value_once(network, taps):
    plan = network.plan
    names = [feature.name for feature in network.outputs] + network.tap_names(taps)
    kept = {plan.slots[name] for name in names}
    schedule = build_schedule(plan, kept, reuse=True)
    freed = [slot for scheduled in schedule.steps for slot in scheduled.free]
    assert len(freed) == len(set(freed))
    assert not kept.intersection(freed)
    for position, scheduled in enumerate(schedule.steps):
        later = {slot for other in schedule.steps[position + 1 :] for slot in other.step.reads}
        assert not later.intersection(scheduled.free), "a value is freed before its last use"


def test_outputs_never_share_memory_with_inputs(make_package):
    model = mil.load(make_package(lambda mb, x: mb.identity(x=x), x=(3,)))
    x = np.ones(3, np.float32)
    result = model.predict({"x": x})
    (array,) = result.values()
    array[:] = 9
    assert x.tolist() == [1, 1, 1]


def test_constants_that_are_outputs_are_copied(make_package):
    def body(mb, x):
        value = mb.const(val=np.arange(3, dtype=np.float32))
        return mb.identity(x=value, name="y"), mb.add(x=x, y=value, name="z")

    model = mil.load(make_package(body, x=(3,)))
    x = np.zeros(3, np.float32)
    model.predict({"x": x})["y"][:] = 9
    assert model.predict({"x": x})["y"].tolist() == [0, 1, 2]


def test_a_wrong_declaration_is_caught(make_package, monkeypatch):
    """An operation that returns its input but is not declared a view would corrupt values."""
    lie = dataclasses.replace(definition("identity"), effect=Effect.COMPUTE)
    monkeypatch.setitem(registry._DEFINITIONS, "identity", lie)
    model = mil.load(make_package(lambda mb, x: mb.identity(x=x), x=(3,)))
    with pytest.raises(ExecutionError, match=r"must be registered with effect=Effect\.VIEW"):
        model.predict({"x": np.ones(3, np.float32)})


def test_an_operation_is_registered_once():
    with pytest.raises(ParityError, match="'gelu' is registered twice"):
        registry.operation("gelu")(lambda x: x)


def test_reuse_needs_a_parameter_out():
    def function(x: torch.Tensor) -> torch.Tensor:
        return x

    with pytest.raises(ParityError, match="can't reuse without a parameter out"):
        registry.operation("new_operation", reuse=("x",))(function)


def test_compressed_weights_are_expanded_once(make_package):
    """Else every prediction pays for it again; a caller's copy of them must not be the model's."""

    def body(mb, x):
        packed = mb.constexpr_affine_dequantize(
            quantized_data=np.arange(-4, 4, dtype=np.int8).reshape(2, 4),
            zero_point=np.int8(1),
            scale=np.float32(0.25),
            axis=np.int32(0),
            name="weights",
        )
        return mb.matmul(x=x, y=packed)

    model = mil.load(make_package(body, x=(3, 2)))
    x = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    ran: list[str] = []
    first = model.predict({"x": x}, taps=["weights"], observe=lambda o, _: ran.append(o.type))
    assert ran == ["matmul"]
    expected = (np.arange(-4, 4).reshape(2, 4) - 1) * 0.25
    np.testing.assert_array_equal(first["weights"], expected)
    first["weights"][:] = np.nan
    again = model.predict({"x": x})
    for name, array in again.items():
        np.testing.assert_allclose(array, x @ expected, rtol=1e-6)
        np.testing.assert_array_equal(array, first[name])
