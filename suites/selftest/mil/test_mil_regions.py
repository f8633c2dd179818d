"""Slab by slab or operation by operation: the same bits, names and errors, in less memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import mil
from harness.errors import ExecutionError
from harness.mil import arena, regions
from harness.mil.ops import registry
from harness.mil.ops.registry import definition
from harness.mil.ops.rows import ELEMENTWISE, Call, along, in_order
from harness.mil.regions import Region
from harness.mil.schedule import build_schedule
from harness.mil.types import DataType
from suites.ops.cases import all_cases
from suites.ops.packages import build_program, package_inputs, write_package

# In two cases the last bit of a result depends on what PyTorch is given beside the values. What is
# left after the last whole vector is computed by other code in sigmoid, gelu and the like: they
# stand in `norm` alone, whose rows are whole vectors, as those of HTDemucs are. And sums are taken
# in another order where values do not lie in memory as their axes stand: `turned` puts them back.
ROWS = 9
SHAPE = (ROWS, 4, 32)
ELEMENTS = ROWS * 4 * 32
UNARY = ("tanh", "sin", "sign", "relu", "cos", "abs", "softmax", "identity")
BINARY = ("add", "sub", "mul", "maximum")
WITHIN = ("mean", "largest", "rows_joined", "halves", "turned", "squeezed", "narrowed", "mixed")
ACROSS = ("mean_of_rows", "rows_reversed", "rows_as_columns", "rows_merged")


@pytest.fixture
def small_slabs(monkeypatch):
    """Have regions of small values: two rows are a slab, the last one has three."""
    lower_limits(monkeypatch)


def lower_limits(patch):
    patch.setattr(arena, "_SMALLEST", 1)
    patch.setattr(regions, "_LARGE", ELEMENTS // 2)
    patch.setattr(regions, "_SLAB", ELEMENTS // 4)
    patch.setattr(regions, "_FEWEST_LARGE", 1)


def one_by_one(model, inputs, **settings):
    """Run without regions: any operation might get numerics of its own."""
    return model.run(inputs, operation_numerics=lambda _: None, **settings)


def found_regions(model, taps=()):
    names = [feature.name for feature in model.outputs] + model.tap_names(taps)
    kept = {model.plan.slots[name] for name in names}
    schedule = build_schedule(model.plan, kept, reuse=True, in_slabs=True)
    return [s.step for s in schedule.steps if isinstance(s.step, Region)]


def values(seed=0, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).half().float()


def random_program(choices):
    def body(mb, x):
        rng = np.random.default_rng(0)
        dtype = np.float16 if x.dtype.__name__ == "fp16" else np.float32
        shapes = (SHAPE, (1, 4, 1), (32,), (4, 32), ())
        made = [x, *(mb.const(val=rng.standard_normal(s).astype(dtype)) for s in shapes)]
        whole = [0, 1]  # which of them have all rows
        for kind, name, first, second in choices:
            a, b = made[whole[first % len(whole)]], made[second % len(made)]
            if kind == 0:
                new = getattr(mb, UNARY[name % len(UNARY)])(x=a)
            elif kind == 1:
                new = getattr(mb, BINARY[name % len(BINARY)])(x=a, y=b)
            elif kind == 2:
                new = within_rows(mb, WITHIN[name % len(WITHIN)], a)
            else:
                new = across_rows(mb, ACROSS[name % len(ACROSS)], a)
            whole.append(len(made))
            made.append(new)
        return [mb.identity(x=made[index]) for index in whole[-3:]]

    return body


def within_rows(mb, how, a):
    if how == "mean":
        return mb.sub(x=a, y=mb.reduce_mean(x=a, axes=[1, 2], keep_dims=True))
    if how == "largest":
        largest = mb.reduce_max(x=a, axes=[-1], keep_dims=False)
        return mb.sub(x=a, y=mb.expand_dims(x=largest, axes=[2]))
    if how == "rows_joined":
        return mb.reshape(x=mb.tanh(x=mb.reshape(x=a, shape=[ROWS, 1, 128])), shape=SHAPE)
    if how == "halves":
        left, right = mb.split(x=a, axis=1, num_splits=2)
        return mb.concat(values=[mb.mul(x=left, y=right), right], axis=1)
    if how == "turned":
        return turned(mb, a, [0, 2, 1])
    if how == "squeezed":
        wide = mb.reshape(x=a, shape=[-1, 1, 4, 32])
        return mb.squeeze(x=mb.relu(x=wide), axes=[1])
    if how == "narrowed":
        return mb.cast(x=mb.cast(x=a, dtype="fp16"), dtype=a.dtype.__name__)
    return mb.conv(x=a, weight=np.full((4, 4, 1), 0.25, np.float32).astype(numpy_type(a)))


def across_rows(mb, how, a):
    if how == "mean_of_rows":
        return mb.sub(x=a, y=mb.reduce_mean(x=a, axes=[0], keep_dims=True))
    if how == "rows_reversed":
        return mb.reverse(x=a, axes=[0])
    if how == "rows_as_columns":
        return turned(mb, a, [2, 1, 0])
    return mb.reshape(x=mb.relu(x=mb.reshape(x=a, shape=[4, ROWS, 32])), shape=SHAPE)


def turned(mb, a, perm):
    back = mb.transpose(x=mb.abs(x=mb.transpose(x=a, perm=perm)), perm=perm)
    return mb.reshape(x=mb.reshape(x=back, shape=[ELEMENTS]), shape=SHAPE)


def numpy_type(value):
    return np.float16 if value.dtype.__name__ == "fp16" else np.float32


def same(actual, expected):
    return torch.equal(actual.view(torch.int32), expected.view(torch.int32))  # NaN equals itself


step = st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 30), st.integers(0, 30))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    choices=st.lists(step, min_size=3, max_size=14),
    dtype=st.sampled_from([np.float32, np.float16]),
    data=st.data(),
)
def test_slabs_change_nothing(make_package, choices, dtype, data):
    """Each operation on its own is the oracle; inputs, constants and taps must survive."""
    model = mil.load(make_package(random_program(choices), dtype=dtype, x=SHAPE))
    x = values()
    original = x.clone()
    with pytest.MonkeyPatch.context() as patch:
        lower_limits(patch)
        expected = one_by_one(model, {"x": x}, taps="all")
        taps = data.draw(st.lists(st.sampled_from(sorted(expected)), max_size=3, unique=True))
        executable = model.executable(mil.get_numerics("storage"), x.device)
        constants = {slot: tensor.clone() for slot, tensor in executable.constants.items()}
        for chosen in (taps, "all", ()):
            for _ in range(2):
                for name, tensor in model.run({"x": x}, taps=chosen).items():
                    assert same(tensor, expected[name]), name
    assert torch.equal(x, original), "an input was overwritten"
    for slot, tensor in constants.items():
        assert torch.equal(executable.constants[slot], tensor), "a constant was overwritten"


CLAIMING = [case for case in all_cases() if definition(case.op).rows is not None]


@pytest.mark.parametrize("case", CLAIMING, ids=[case.id for case in CLAIMING])
def test_a_row_depends_on_nothing_but_its_row(case, tmp_path, monkeypatch):
    """Whoever registers an operation with rows that are none gets wrong values in large models."""
    monkeypatch.setattr(regions, "_makes_large", lambda _: True)
    monkeypatch.setattr(regions, "_SLAB", 1)
    monkeypatch.setattr(regions, "_FEWEST_LARGE", 1)
    monkeypatch.setattr(regions, "_FEWEST_ROWS", 1)
    model = mil.load(write_package(build_program(case, case.dtypes[0]), tmp_path / "p.mlpackage"))
    arrays = package_inputs(case, case.dtypes[0])
    whole = model.predict(arrays, operation_numerics=lambda _: None)
    for name, array in model.predict(arrays).items():
        np.testing.assert_allclose(array, whole[name], rtol=1e-3 if array.itemsize == 2 else 1e-6)


def test_rules_that_claim_rows_are_tried():
    """The test above says nothing about an operation whose cases have none."""
    tried = {case.op for case in CLAIMING}
    claiming = {name for name in registry.known_types() if name != "const"}
    assert {name for name in claiming if definition(name).rows is not None} == tried


def norm(mb, x):
    """What a group norm and a gated unit become in a package."""
    x = mb.conv(x=mb.gelu(x=x, name="first"), weight=np.ones((4, 4, 1), np.float32))
    wide = mb.reshape(x=x, shape=(ROWS, 1, 4, 32))
    centred = mb.sub(x=wide, y=mb.reduce_mean(x=wide, axes=[2, 3], keep_dims=True), name="centred")
    variance = mb.reduce_mean(x=mb.square(x=centred), axes=[2, 3], keep_dims=True)
    deviation = mb.sqrt(x=mb.add(x=variance, y=np.float32(1e-5)), name="deviation")
    y = mb.reshape(x=mb.real_div(x=centred, y=deviation), shape=SHAPE)
    left, right = mb.split(x=y, axis=1, num_splits=2)
    gated = mb.mul(x=left, y=mb.sigmoid(x=right, name="gate"))
    return mb.exp(x=mb.reduce_sum(x=gated, axes=[0]), name="y")


@pytest.mark.parametrize("numerics", ["storage", "float64", "native", "fp16_accumulate"])
def test_a_norm_is_one_region_of_slabs_with_a_remainder(make_package, small_slabs, numerics):
    model = mil.load(make_package(norm, x=SHAPE))
    (region,) = found_regions(model)
    first, *_, last = [s.operation.name for s in region.blocks[0].steps]
    assert (first, last) == ("first", model.operations[-3].name)
    assert [stop - start for start, stop, _ in region.slabs] == [3, 2, 2, 2]
    chosen = mil.get_numerics(numerics)
    x = chosen.from_numpy(values().numpy(), DataType.FLOAT32)
    expected = one_by_one(model, {"x": x}, numerics=chosen)
    for name, tensor in model.run({"x": x}, numerics=chosen).items():
        assert torch.equal(tensor, expected[name])


def test_a_value_inside_can_be_tapped(make_package, small_slabs):
    model = mil.load(make_package(norm, x=SHAPE))
    taps = ["centred", "deviation", "gate"]
    assert any(len(region.outputs) > 1 for region in found_regions(model, taps))
    x = values()
    expected = one_by_one(model, {"x": x}, taps=taps)
    for name, tensor in model.run({"x": x}, taps=taps).items():
        assert torch.equal(tensor, expected[name]), name


def test_an_observer_sees_whole_values(make_package, small_slabs):
    model = mil.load(make_package(norm, x=SHAPE))
    seen = {}
    model.run({"x": values()}, observe=lambda o, r: seen.setdefault(o.name, r[0].shape))
    assert list(seen) == [operation.name for operation in model.operations]
    assert seen["centred"] == (ROWS, 1, 4, 32)


def test_small_values_and_gradients_stay_whole(make_package, monkeypatch):
    """Where slabs do not pay, or all values are needed later, operations run one by one."""
    model = mil.load(make_package(norm, x=SHAPE))
    assert not found_regions(model)
    lower_limits(monkeypatch)
    x = values().requires_grad_()
    (y,) = model.run({"x": x}, differentiable=True).values()
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_what_fails_inside_is_named(make_package, small_slabs, monkeypatch):
    def broken(x: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        raise ValueError("no root")

    lie = dataclasses.replace(definition("sqrt"), function=broken)
    monkeypatch.setitem(registry._DEFINITIONS, "sqrt", lie)
    model = mil.load(make_package(norm, x=SHAPE))
    with pytest.raises(ExecutionError, match=r"sqrt.*'deviation'.*float32\[3, 1, 1, 1\].*no root"):
        model.run({"x": values()})


def needed_in_two_ways(mb, x):
    """As many rows as columns: values that are taken by rows here and broadcast over them there."""
    x = mb.cos(x=x)
    sums = mb.reduce_sum(x=x, axes=[1, 2], keep_dims=False)
    y = mb.add(x=mb.mul(x=x, y=sums), y=mb.reduce_sum(x=x, axes=[0, 1]))
    tables = [mb.const(val=np.arange(n, n + 32, dtype=np.float32)) for n in (0, 1)]
    y = mb.mul(x=y, y=tables[1])
    for table in reversed(tables):
        y = mb.mul(x=y, y=mb.expand_dims(x=mb.relu(x=table), axes=[1, 2]))
    return mb.sub(x=mb.tanh(x=y), y=tables[0])


def seen_turned(mb, x):
    """A convolution, which writes over nothing, of what lies in memory otherwise than it stands."""
    turned = mb.transpose(x=mb.relu(x=x), perm=[0, 2, 1])
    moved = mb.tanh(x=mb.sin(x=turned))
    weight = np.random.default_rng(0).standard_normal((32, 32, 1)).astype(np.float32)
    return mb.reduce_sum(x=mb.conv(x=moved, weight=weight), axes=[0])


def test_a_convolution_is_not_written_over_a_turned_value(make_package, small_slabs):
    path = make_package(seen_turned, x=(ROWS, 32, 32))
    model, inputs = mil.load(path), {"x": values(shape=(ROWS, 32, 32))}
    assert found_regions(model)
    (found,), (expected,) = model.run(inputs).values(), one_by_one(model, inputs).values()
    torch.testing.assert_close(found, expected)  # sums of turned values are in another order


def read_while_written(mb, x):
    """The last step reads a part of what it might write over."""
    x = mb.reverse(x=x, axes=[1])
    y = mb.sin(x=x)
    part, _ = mb.split(x=x, axis=1, split_sizes=[1, 3])
    return mb.reduce_max(x=mb.sub(x=mb.tanh(x=y), y=part), axes=[0])


@pytest.mark.parametrize("body", [needed_in_two_ways, read_while_written])
def test_a_value_that_is_needed_in_two_ways(make_package, small_slabs, body):
    model = mil.load(make_package(body, x=(32, 4, 32)))
    assert found_regions(model)
    x = values(shape=(32, 4, 32))
    expected = one_by_one(model, {"x": x})
    assert all(same(y, expected[name]) for name, y in model.run({"x": x}).items())


def test_threads_share_no_single_row(make_package, small_slabs):
    """PyTorch adds up one long row in as many parts as there are threads, several rows in one."""

    def body(mb, x):
        y = mb.sin(x=x)
        return mb.mul(x=y, y=mb.reduce_mean(x=y, axes=[1], keep_dims=True))

    shape = (5, 1 << 17)
    model, x = mil.load(make_package(body, x=shape)), values(shape=shape)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert found_regions(model)
        expected = one_by_one(model, {"x": x})
        assert all(same(y, expected[name]) for name, y in model.run({"x": x}).items())
    finally:
        torch.set_num_threads(threads)


def planned_bytes(model, **settings):
    kept = {model.plan.slots[feature.name] for feature in model.outputs}
    schedule = build_schedule(model.plan, kept, reuse=True, **settings)
    executable = model.executable(mil.get_numerics("storage"), torch.device("cpu"))
    return executable._arena(schedule)._memory.nbytes


def written_over(mb, x):
    x = mb.linear(x=x, weight=np.eye(32, dtype=np.float32))
    for name in UNARY:
        x = getattr(mb, name)(x=x)
    return mb.reduce_max(x=x, axes=[0])


@pytest.mark.parametrize("body", [norm, written_over])
def test_slabs_need_no_more_memory_than_one_of_them(make_package, body, monkeypatch):
    """Values inside exist for one slab; a chain that was written over in place still is."""
    model = mil.load(make_package(body, x=(ROWS, 4, 32)))
    monkeypatch.setattr(arena, "_SMALLEST", 1)
    before = planned_bytes(model)
    lower_limits(monkeypatch)
    assert found_regions(model)
    assert planned_bytes(model, in_slabs=True) <= before + 4 * ELEMENTS * 3 // ROWS


def reads(rows, results, literals=None, **shapes):
    shapes = {name: (shape,) for name, shape in shapes.items()}
    return set(rows.taken(Call(literals or {}, shapes, (results,))))


def test_operands_that_broadcast_are_needed_whole():
    assert reads(ELEMENTWISE, (5, 3), x=(5, 3), y=(3,)) == {"x"}
    assert reads(ELEMENTWISE, (5, 5), x=(5, 5), y=(5,)) == {"x"}, "a row as long as there are rows"
    assert reads(ELEMENTWISE, (5, 5), x=(5, 1), y=(1, 5)) == {"x"}
    assert reads(ELEMENTWISE, (5, 3), x=(5, 3), y=(5, 1)) == {"x", "y"}


@pytest.mark.parametrize("axes", [None, 0, -3, (0,), (1, -3), (0, 1, 2)])
def test_what_works_along_the_rows_needs_them_all(axes):
    assert reads(along("axes"), (5,), {"axes": axes}, x=(5, 3, 2)) == set()


def test_what_works_along_another_axis_takes_rows():
    assert reads(along("axes"), (5, 2), {"axes": (1,)}, x=(5, 3, 2)) == {"x"}
    assert reads(along("axes"), (5, 3), {"axes": -1}, x=(5, 3, 2)) == {"x"}


def test_a_reshape_keeps_rows_if_it_is_what_is_declared():
    """Its literal is replaced by the declared shape of a slab, which must not hide a fault."""
    assert reads(in_order("shape"), (5, 6), {"shape": (5, 6)}, x=(5, 3, 2)) == {"x"}
    assert reads(in_order("shape"), (5, 6), {"shape": (5, -1)}, x=(5, 3, 2)) == {"x"}
    assert reads(in_order("shape"), (6, 5), {"shape": (6, 5)}, x=(5, 3, 2)) == set()
    assert reads(in_order("shape"), (5, 6), {"shape": (5, 3)}, x=(5, 3, 2)) == set()
    assert reads(in_order("shape"), (5, 7), {"shape": (5, 7)}, x=(5, 3, 2)) == set()
