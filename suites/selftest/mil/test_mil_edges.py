"""Operations on what no ordinary signal holds, against NumPy and coremltools, in every numerics.

If one of these fails, a NaN or an infinity of a program is hidden, or one is made up: a package is
called finite that is not, or blamed for what a fused kernel of PyTorch does.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from harness.mil.numerics.kernels import HalfAccumulation
from harness.mil.ops import activation, elementwise_binary, elementwise_unary
from harness.mil.ops.registry import Context, definition, known_types
from suites.ops.cases import Case
from suites.ops.cases_edges import EDGES
from suites.ops.edge_table import FOLDED_OTHERWISE, PAGE, folded, written
from suites.ops.edges import (
    NARROW,
    NO_EDGES,
    POOLS,
    drawn,
    drawn_cases,
    expected_in,
    flushed,
    is_compared,
    rounded,
)
from suites.ops.inference import FOLDED_WRONGLY, inferred_values
from suites.ops.packages import build_program, package_inputs, write_package

pytestmark = pytest.mark.filterwarnings("ignore::harness.mil.refusals.RefusedByCoreMLWarning")

NUMERICS = tuple(mil.numerics_names())
PLAIN = tuple(name for name in NUMERICS if not name.endswith("+ftz"))
# FP32 is the same in all of them but `float64`; flushing is for FP16 subnormals.
CHEAP = {
    "infinite": {"fp32": ("storage",), "fp16": PLAIN},
    "special": {"fp32": ("storage", "float64"), "fp16": ("native",)},
    "subnormal": {"fp32": (), "fp16": ("storage", "storage+ftz", "native+ftz")},
    "zeros": {"fp32": ("storage",), "fp16": ("native",)},
}


class Executed:
    """The package of one case in one declared type, which any draw of it can be given."""

    def __init__(self, case: Case, dtype: str, folder: Path) -> None:
        self.dtype = dtype
        with np.errstate(over="ignore"):  # what FP16 can't hold is stored as infinity
            program = build_program(case, dtype)
        self.model = mil.load(write_package(program, folder / dtype))
        operation = next(o for o in reversed(self.model.operations) if o.type == case.op)
        self.names = [variable.name for variable in operation.outputs]

    def check(self, case: Case, numerics: str, what: str) -> None:
        """Hold what comes out to the oracle: NaN and infinities exactly, numbers closely."""
        with np.errstate(over="ignore"):
            inputs = package_inputs(case, self.dtype)
        actual = self.model.predict(inputs, taps=self.names, numerics=numerics)
        expected = expected_in(case, self.dtype, numerics)
        assert len(expected) == len(self.names)
        for name, right in zip(self.names, expected, strict=True):
            declared = self.model.plan.types[self.model.plan.slots[name]].dtype
            flushes = numerics.endswith("+ftz") and declared is mil.DataType.FLOAT16
            if declared.is_floating and not numerics.startswith("float64"):
                right = rounded(right, declared.numpy)
            right = flushed(right) if flushes else right
            told = f"{case.id}, {what}, {self.dtype}, {numerics}"
            compare(right, actual[name].astype(np.float64), *tolerance(declared, numerics), told)


def tolerance(declared: mil.DataType, numerics: str) -> tuple[float, float]:
    """Of the largest number, and beside it: this is about edges, precision is held elsewhere."""
    if not declared.is_floating:
        return 0.0, 0.0
    if declared is mil.DataType.FLOAT32:
        return 2e-5, 1e-30
    return (3e-2, 1e-5) if numerics in NARROW else (2e-3, 2.0**-24)


def compare(
    expected: np.ndarray, actual: np.ndarray, share: float, beside: float, told: str
) -> None:
    finite = np.isfinite(expected)
    largest = np.abs(expected[finite]).max() if finite.any() else 0.0
    atol = share * largest + beside
    np.testing.assert_allclose(actual, expected, share, atol, equal_nan=True, err_msg=told)


DRAWN = list(drawn_cases())


@pytest.mark.parametrize("case", DRAWN, ids=lambda case: case.id)
def test_numbers_that_are_none(case: Case, tmp_path: Path) -> None:
    for dtype in set(case.dtypes) & {"fp32", "fp16"}:
        executed = Executed(case, dtype, tmp_path)
        for pool, chosen in CHEAP.items():
            other = drawn(case, pool)
            for numerics in chosen[dtype]:
                if is_compared(case, pool, numerics):
                    executed.check(other, numerics, pool)


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", DRAWN, ids=lambda case: case.id)
def test_numbers_that_are_none_in_every_numerics(case: Case, tmp_path: Path) -> None:
    for dtype in set(case.dtypes) & {"fp32", "fp16"}:
        executed = Executed(case, dtype, tmp_path)
        for pool, numerics in itertools.product(POOLS, NUMERICS):
            if is_compared(case, pool, numerics):
                executed.check(drawn(case, pool), numerics, pool)


@pytest.mark.parametrize("case", EDGES, ids=lambda case: case.id)
def test_edge(case: Case, tmp_path: Path) -> None:
    for dtype in case.dtypes:
        executed = Executed(case, dtype, tmp_path)
        for numerics in NUMERICS if dtype == "fp16" else ("storage", "float64"):
            executed.check(case, numerics, "as given")


def test_value_inference_agrees() -> None:
    """A second opinion on each oracle, and so on what an edge of an operation is."""
    seen, other = set(), set()
    for case in DRAWN:
        dtype = case.dtypes[0]
        if case.id in FOLDED_WRONGLY or not is_compared(case, "special", "storage"):
            continue
        special = drawn(case, "special")
        with np.errstate(all="ignore"):
            inferred = inferred_values(special, dtype)
        if inferred is None:
            continue
        seen.add(case.op)
        expected = expected_in(special, dtype, "float64")
        for right, theirs in zip(expected, inferred, strict=True):
            try:
                compare(right, theirs.astype(np.float64), 2e-5, 1e-30, case.id)
            except AssertionError:
                other.add(case.op)
    assert other == set(FOLDED_OTHERWISE)
    assert seen == folded()


ROOMS = {module.__name__ for module in (activation, elementwise_binary, elementwise_unary)}
ELEMENTWISE = [
    case
    for case in DRAWN
    if definition(case.op).function.__module__ in ROOMS
    and case.op != "softmax"  # which needs an axis
    and not case.constants
    and not case.exact
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("case", ELEMENTWISE, ids=lambda case: case.id)
def test_a_scalar_is_computed_as_any_element(case: Case, dtype: torch.dtype) -> None:
    """PyTorch has kernels of their own for numbers without axes."""
    scalars = {name: np.float16(x.reshape(-1)[0]) for name, x in case.tensors.items()}
    tensors = {name: torch.tensor(x, dtype=dtype) for name, x in scalars.items()}
    actual = definition(case.op).function(**tensors, **case.params)
    expected = case.expected(**{n: x.astype(np.float64) for n, x in scalars.items()}, **case.params)
    assert actual.shape == ()
    np.testing.assert_allclose(actual.double().item(), expected, rtol=2e-3, atol=1e-3)


NOTHING = np.zeros((0, 3))
NONE = np.zeros((2, 0))
# What an operation gives of nothing, by NumPy.
OF_NOTHING: dict[str, tuple[dict[str, Any], Any]] = {
    "relu": ({"x": NOTHING}, NOTHING),
    "gelu": ({"x": NOTHING}, NOTHING),
    "add": ({"x": NOTHING, "y": np.ones(3)}, NOTHING),
    "softmax": ({"x": NOTHING, "axis": 1}, NOTHING),
    "layer_norm": ({"x": NOTHING, "axes": (1,)}, NOTHING),
    "cumsum": ({"x": NOTHING, "axis": 0}, NOTHING),
    "concat": ({"values": (NOTHING, np.ones((2, 3))), "axis": 0}, np.ones((2, 3))),
    "argsort": ({"x": NOTHING, "axis": 0}, np.argsort(NOTHING, 0)),
    "non_zero": ({"x": np.zeros((2, 3))}, np.zeros((0, 2))),
    "reduce_sum": ({"x": NOTHING, "axes": (0,)}, NOTHING.sum(0)),
    "reduce_prod": ({"x": NOTHING, "axes": (0,)}, NOTHING.prod(0)),
    "reduce_l1_norm": ({"x": NOTHING, "axes": (0,)}, np.abs(NOTHING).sum(0)),
    "reduce_l2_norm": ({"x": NOTHING, "axes": (0,)}, np.zeros(3)),
    "reduce_sum_square": ({"x": NOTHING, "axes": (1,)}, np.square(NOTHING).sum(1)),
    "reduce_log_sum": ({"x": NOTHING, "axes": (0,)}, np.full(3, -np.inf)),
    "reduce_mean": ({"x": NOTHING, "axes": (0,)}, np.full(3, np.nan)),
    "matmul": ({"x": NONE, "y": np.zeros((0, 3))}, NONE @ np.zeros((0, 3))),
    "linear": ({"x": NOTHING, "weight": np.ones((2, 3))}, NOTHING @ np.ones((3, 2))),
    "gather": ({"x": np.ones((2, 3)), "indices": np.zeros(0, np.int32)}, NOTHING),
    "tile": ({"x": np.ones((2, 3)), "reps": (0, 1)}, np.tile(np.ones((2, 3)), (0, 1))),
    "scaled_dot_product_attention": (
        {"query": np.ones((1, 0, 4)), "key": np.ones((1, 2, 4)), "value": np.ones((1, 2, 5))},
        np.zeros((1, 0, 5)),
    ),
}


@pytest.mark.parametrize("numerics", ["float32", "float16", "fp16_accumulate"])
@pytest.mark.parametrize("op", OF_NOTHING)
def test_nothing_gives_what_numpy_gives(op: str, numerics: str) -> None:
    """A filter that finds nothing makes empty tensors in a program without branches."""
    dtype = torch.float16 if numerics == "float16" else torch.float32
    given, expected = OF_NOTHING[op]
    with HalfAccumulation() if numerics == "fp16_accumulate" else contextlib.nullcontext():
        actual = definition(op).function(**{n: _tensors(v, dtype) for n, v in given.items()})
    np.testing.assert_array_equal(actual.double().numpy(), expected)


def _tensors(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, tuple) and isinstance(value[0], np.ndarray):
        return tuple(_tensors(item, dtype) for item in value)
    if not isinstance(value, np.ndarray):
        return value
    tensor = torch.from_numpy(value)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


@pytest.mark.parametrize(("start", "end", "step"), [(5, 1, 1), (1, 5, -1), (2, 2, 1), (0, 5, 2)])
def test_a_range_that_ends_before_it_starts_is_empty(start: int, end: int, step: int) -> None:
    context = Context(torch.float32, torch.device("cpu"), (mil.DataType.FLOAT32,), True)
    actual = definition("range_1d").function(context, start, end, step)
    np.testing.assert_array_equal(actual.numpy(), np.arange(start, end, step))


@pytest.mark.parametrize("op", ["reduce_max", "reduce_min"])
def test_the_largest_of_nothing_is_an_error(op: str) -> None:
    with pytest.raises(IndexError):
        definition(op).function(torch.zeros(0, 3), (0,))


def test_every_operation_is_looked_at() -> None:
    looked_at = {case.op for case in (*DRAWN, *EDGES)}
    assert looked_at.isdisjoint(NO_EDGES)
    assert looked_at | set(NO_EDGES) == set(known_types())


def recurrent(op: str, rows: int) -> tuple[torch.Tensor, ...]:
    """Run a layer of six units over [10, 3, 4], from a state of equal ``rows``."""
    generator = torch.Generator().manual_seed(0)
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[op]
    x, ih, hh, row = (
        torch.randn(*shape, generator=generator)
        for shape in ((10, 3, 4), (gates * 6, 4), (gates * 6, 6), (1, 6))
    )
    states = {"initial_h": row.repeat(rows, 1)}
    states |= {"initial_c": row.repeat(rows, 1)} if op == "lstm" else {}
    results: tuple[torch.Tensor, ...] = definition(op).function(
        x, **states, weight_ih=ih, weight_hh=hh, output_sequence=True
    )
    return results


@pytest.mark.parametrize("rows", [1, 2, 10])
@pytest.mark.parametrize("op", ["rnn", "gru", "lstm"])
def test_a_state_whose_rows_are_alike_serves_any_batch(op: str, rows: int) -> None:
    """coremltools gives a packed sequence of 3 a state of 10 rows of zeros: Core ML takes it."""
    for expected, actual in zip(recurrent(op, 3), recurrent(op, rows), strict=True):
        assert torch.equal(actual, expected)


def test_a_state_whose_rows_differ_needs_one_for_each_of_the_batch() -> None:
    x, weight = torch.ones(10, 3, 4), torch.ones(6, 4)
    with pytest.raises(ValueError, match="2 rows, not all alike, for a batch of 3"):
        definition("rnn").function(x, torch.arange(12.0).reshape(2, 6), weight, torch.ones(6, 6))


def test_the_page_says_what_was_looked_at() -> None:
    page = PAGE.read_text("utf-8")
    assert written(page) == page, "write it anew: python -m suites.ops.edge_table"
