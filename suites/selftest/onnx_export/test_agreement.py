"""When two engines disagree about an operation: by more than a last bit and the order of a sum."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness import mil
from harness.engines.agreement import disagreements
from harness.mil.editing import new_operation
from harness.mil.program import Operation
from harness.mil.types import DataType
from harness.onnx_export import export_model, registry
from harness.workbench.second_opinion import operations_apart
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import make_program


def squared(mb, x):
    return mb.relu(x=mb.add(x=mb.mul(x=x, y=x, name="squared"), y=np.float32(1), name="more"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> mil.Model:
    folder: Path = tmp_path_factory.mktemp("agreement")
    program = make_program(squared, {"x": (4,)}, np.float32)
    return mil.load(write_package(program, folder / "x.mlpackage"))


@pytest.fixture
def operation(model: mil.Model) -> Operation:
    return next(o for o in model.operations if o.outputs[0].name == "squared")


ONE = np.float32(1)
NEXT = np.nextafter(ONE, np.float32(2))
SOUND = {
    "equal": ([1, 2], [1, 2]),
    "last bit": ([1, 1000], [NEXT, 1000]),
    "order of a sum": ([1, 1000], [1.009, 1000]),
    "both broken": ([np.nan, -np.inf, 1], [np.nan, -np.inf, 1]),
}
BROKEN = {
    "more than rounding": ([1, 1000], [1.02, 1000]),
    "not a number": ([1, 1], [1, np.nan]),
    "a number for none": ([1, np.nan], [1, 1]),
    "infinite": ([1, 1], [1, np.inf]),
    "the other infinity": ([1, np.inf], [1, -np.inf]),
    "finite": ([1, np.inf], [1, 3e38]),
    "zeros": ([1e-3, 2e-3], [0, 0]),
}


@pytest.mark.parametrize("name", [*SOUND, *BROKEN])
def test_what_counts_as_rounding(name: str, operation: Operation) -> None:
    pair = (SOUND | BROKEN)[name]
    expected, actual = ({"squared": np.array(side, np.float32)} for side in pair)
    found = disagreements([operation], expected, actual)
    assert [row.value for row in found] == (["squared"] if name in BROKEN else [])


@pytest.mark.parametrize(("off", "sound"), [(2e-6, True), (2e-5, False)])
def test_what_cancels_in_a_mean_is_rounded_as_large_as_it_was(off: float, sound: bool) -> None:
    """The mean of a signal that has none: a sound package was red for the order of its sum."""
    mean = new_operation("reduce_mean", "mean", (1,), DataType.FLOAT32, x="x")
    x = np.random.default_rng(0).standard_normal(4096).astype(np.float32)
    made = {"x": x, "mean": np.array([1e-4], np.float32)}
    found = disagreements([mean], made, {"mean": np.array([1e-4 + off], np.float32)})
    assert not found if sound else found


@pytest.mark.parametrize("dtype", [np.int32, np.bool_])
def test_integers_and_truth_values_may_not_differ(dtype: type, operation: Operation) -> None:
    expected, actual = (np.array([1, last], dtype) for last in (1, 0))
    assert disagreements([operation], {"squared": expected}, {"squared": actual})
    assert not disagreements([operation], {"squared": expected}, {"squared": expected.copy()})
    wide = expected.astype(np.float64)
    assert disagreements([operation], {"squared": expected}, {"squared": wide})


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")),
    reason="not evaluated: pip install 'htdemucs-parity[onnx]'",
)
@pytest.mark.parametrize("at_once_bytes", [1, 2**20])
def test_operations_are_compared_alone_however_many_at_once(
    at_once_bytes: int, model: mil.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In groups, too, a wrong operation is named, and what inherits its error is not."""
    inputs = {"x": np.array([1, -2, 3, 0.5], np.float32)}
    steps: list[tuple[int, int]] = []

    def found() -> list[str]:
        exported = export_model(model)
        rows = operations_apart(
            model,
            exported,
            inputs,
            at_once_bytes=at_once_bytes,
            advance=lambda done, total: steps.append((done, total)),
        )
        return [row.value for row in rows]

    assert found() == []
    assert steps[-1] == (len(model.operations),) * 2
    assert len(steps) == (len(model.operations) if at_once_bytes == 1 else 1)
    wrong = replace(registry._RULES["mul"], function=lambda g, x, y: g("Add", x, y))
    monkeypatch.setitem(registry._RULES, "mul", wrong)
    assert found() == ["squared"]
