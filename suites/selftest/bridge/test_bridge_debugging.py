"""Apple's debugging tools under the bridge: they find what was planted, on any machine.

Off macOS they return an empty list whatever the models do.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
import pytest

from harness.mil import bridge
from suites.selftest.bridge.conftest import Convert

WEIGHT = np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)
X = np.random.default_rng(6).standard_normal((2, 3)).astype(np.float32)


def network(mode: str = "EXACT", offset: float = 8.0) -> Any:
    def body(mb: Any, x: Any) -> Any:
        hidden = mb.linear(x=x, weight=WEIGHT, name="hidden")
        activated = mb.gelu(x=hidden, mode=mode, name="activated")
        shifted = mb.add(x=activated, y=np.float32(offset), name="shifted")
        return mb.softmax(x=mb.log(x=shifted, name="logarithm"), axis=-1, name="scores")

    return body


def tools() -> Any:
    from coremltools.models.ml_program.experimental import debugging_utils

    return debugging_utils


def same(_: Any, expected: np.ndarray, actual: np.ndarray) -> bool:
    return bool(np.allclose(expected, actual, rtol=1e-5, atol=1e-6))


def compare(expected: Any, actual: Any) -> list[str]:
    comparator = tools().MLModelComparator(expected, actual)
    found = asyncio.run(comparator.find_failing_ops(inputs={"x": X}, compare_outputs=same))
    return [operation.outputs[0].name for operation in found]


def with_nan(model: Any) -> list[str]:
    validator = tools().MLModelValidator(model)
    found = asyncio.run(validator.find_failing_ops_with_nan_output(inputs={"x": X}))
    return [operation.outputs[0].name for operation in found]


def test_the_comparator_finds_the_planted_operation(
    ledger: bridge.Ledger, convert: Convert
) -> None:
    wrong = convert(network("TANH_APPROXIMATION"))
    assert compare(convert(network()), wrong) == ["activated"]
    assert ledger.predictions > 0


@pytest.mark.exhaustive
@pytest.mark.usefixtures("ledger")
def test_the_comparator_finds_nothing_in_equal_models(convert: Convert) -> None:
    assert compare(convert(network()), convert(network())) == []


@pytest.mark.exhaustive
@pytest.mark.usefixtures("ledger")
def test_the_validator_finds_where_nan_is_born(convert: Convert) -> None:
    assert with_nan(convert(network(offset=-8.0))) == ["logarithm"]
    assert with_nan(convert(network())) == []


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML answers there")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_without_the_bridge_both_find_nothing_where_there_is_something(convert: Convert) -> None:
    assert compare(convert(network()), convert(network("TANH_APPROXIMATION"))) == []
    assert with_nan(convert(network(offset=-8.0))) == []


@pytest.mark.usefixtures("ledger")
def test_the_inspector_returns_every_intermediate(convert: Convert) -> None:
    inspector = tools().MLModelInspector(convert(network()))
    names = ["hidden", "activated", "shifted"]
    values = asyncio.run(inspector.retrieve_outputs(inputs={"x": X}, output_names=names))
    assert list(values) == names
    np.testing.assert_allclose(values["hidden"], X @ WEIGHT.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(values["shifted"], values["activated"] + np.float32(8))
