"""If edits lie (nothing changes, or too much, or the original), no injected bug means much."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import mil
from harness.errors import PackageError, UnknownNameError
from harness.mil.editing import (
    computing,
    constant,
    edited,
    find,
    known_value,
    new_operation,
    skipped,
    with_constant,
    with_dtype,
    with_inputs,
    with_swapped,
    with_type,
)
from harness.mil.program import Constant, Operation
from harness.mil.types import DataType
from suites.selftest.mil.conftest import WEIGHT


def run(model: mil.Model, x: np.ndarray) -> np.ndarray:
    return model.predict({"x": x})["mean"]


def one(model: mil.Model, type: str) -> Operation:
    (operation,) = find(model, type=type)
    return operation


def tanh_gelu(y: np.ndarray) -> np.ndarray:
    return torch.nn.functional.gelu(torch.from_numpy(y), approximate="tanh").numpy()


def mean_of_halves(y: np.ndarray) -> np.ndarray:
    return (0.5 * (y[:, :2] + y[:, 2:])).astype(np.float32)


def test_an_edited_constant_is_computed_with_and_the_original_is_not_touched(
    network: mil.Model, x: np.ndarray
) -> None:
    before = run(network, x)
    linear = one(network, "linear")
    zeroed = edited(network, with_constant(network, linear, "weight", np.zeros_like))
    np.testing.assert_array_equal(run(zeroed, x), np.zeros_like(before))
    np.testing.assert_array_equal(run(network, x), before)
    np.testing.assert_array_equal(known_value(network, linear, "weight"), WEIGHT)


@pytest.mark.parametrize("dtype", [DataType.UINT8, DataType.INT8, DataType.UINT4, DataType.INT16])
def test_an_edited_constant_keeps_its_element_type(dtype: DataType, network: mil.Model) -> None:
    """Compressed weights are such constants, and mutations change them."""
    held = constant([[1, 2], [3, 4]], dtype)
    operation = new_operation("identity", "same", (2, 2), dtype, x=held)
    changed = with_constant(network, operation, "x", lambda values: values * 2)
    ((made,),) = (items for name, items in changed.inputs.items() if name == "x")
    assert isinstance(made, Constant)
    assert made.type == held.type
    np.testing.assert_array_equal(made.value, [[2, 4], [6, 8]])


def test_an_edited_attribute_is_computed_with(network: mil.Model, x: np.ndarray) -> None:
    gelu = one(network, "gelu")
    changed = edited(network, with_inputs(gelu, mode=constant("TANH_APPROXIMATION")))
    np.testing.assert_allclose(
        run(changed, x), mean_of_halves(tanh_gelu(x @ WEIGHT.T)), rtol=1e-5, atol=1e-6
    )


def test_a_skipped_operation_passes_its_input_on(network: mil.Model, x: np.ndarray) -> None:
    changed = edited(network, skipped(one(network, "gelu")))
    np.testing.assert_allclose(run(changed, x), mean_of_halves(x @ WEIGHT.T), rtol=1e-5, atol=1e-6)


def test_operands_can_be_exchanged_and_types_replaced(network: mil.Model, x: np.ndarray) -> None:
    difference = edited(network, with_type(one(network, "add"), "sub"))
    exchanged = edited(network, with_swapped(with_type(one(network, "add"), "sub"), "x", "y"))
    np.testing.assert_array_equal(run(difference, x), -run(exchanged, x))
    assert np.abs(run(difference, x)).max() > 0.1


def test_a_declared_type_is_rounded_to(network: mil.Model, x: np.ndarray) -> None:
    total = one(network, "add")
    changed = edited(network, with_dtype(total, mil.DataType.FLOAT16))
    halves = run(changed, x) * 2
    np.testing.assert_array_equal(halves, halves.astype(np.float16).astype(np.float32))
    assert (halves != 2 * run(network, x)).any()


def test_an_operation_can_be_put_in_front_of_another(network: mil.Model, x: np.ndarray) -> None:
    mean = one(network, "mul")
    total = one(network, "add").outputs[0]
    doubled = new_operation("add", "doubled", (3, 2), mil.DataType.FLOAT32, x="total", y="total")
    assert total.name == "total"
    changed = edited(network, with_inputs(mean, x="doubled"), before={"mean": [doubled]})
    np.testing.assert_array_equal(run(changed, x), 2 * run(network, x))
    assert [operation.location.index for operation in changed.operations] == sorted(
        {operation.location.index for operation in changed.operations}
    )


def test_other_mathematics_can_stand_in_for_an_operation(network: mil.Model, x: np.ndarray) -> None:
    changed = computing(network, {"activated": lambda x, mode, out: torch.zeros_like(x)})
    np.testing.assert_array_equal(run(changed, x), np.zeros((3, 2), np.float32))


def test_a_function_that_can_not_be_called_in_its_place_is_refused(network: mil.Model) -> None:
    """Refused when it runs, it would count as a bug that a gate has seen."""
    with pytest.raises(PackageError, match=r"called with x, mode, out, which .* does not take"):
        computing(network, {"activated": lambda x, mode: torch.zeros_like(x)})


def test_what_does_not_exist_is_named(network: mil.Model) -> None:
    with pytest.raises(UnknownNameError, match="'tanh"):
        find(network, type="tanh")
    stranger = new_operation("relu", "nowhere", (3,), mil.DataType.FLOAT32, x="x")
    with pytest.raises(UnknownNameError, match="nowhere"):
        edited(network, stranger)
    with pytest.raises(UnknownNameError, match="nowhere"):
        computing(network, {"nowhere": torch.relu})
    with pytest.raises(PackageError, match="'x' is bound to no constant"):
        known_value(network, one(network, "gelu"), "x")
    with pytest.raises(PackageError, match="can't be left out"):
        skipped(one(network, "split"))


def test_a_program_that_does_not_fit_together_is_refused(network: mil.Model) -> None:
    with pytest.raises(PackageError, match="reads 'mean' before"):
        edited(network, with_inputs(one(network, "gelu"), x="mean"))
    with pytest.raises(PackageError, match="lacks its required input 'weight'"):
        edited(network, with_inputs(one(network, "linear"), weight=None))
