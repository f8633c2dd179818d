"""Each operation as it is exported, executed by ONNX Runtime, against the float64 oracles.

If one of these fails, the exported model is not the program, and a second opinion about a package
would be an opinion about something else.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest

from harness import mil
from harness.engines.onnx_engine import OnnxSession
from harness.mil.refusals import RefusedByCoreMLWarning
from harness.onnx_export import export_model, exported_types
from harness.verdicts import gate
from suites.ops.cases import all_cases
from suites.ops.packages import build_program, expected_outputs, package_inputs, write_package

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")),
    reason="not evaluated: pip install 'htdemucs-parity[onnx]'",
)

# ONNX limits what goes into the activations of an LSTM, MIL its memory.
REFUSED = {"lstm_peephole"}
PAIRS = [
    (case, dtype)
    for case in all_cases()
    if case.op in exported_types() and case.id not in REFUSED
    for dtype in case.dtypes
]
# One of each type, in FP16 where there is one: it has the casts, too.
FIRST = {case.op: (case, dtype) for case, dtype in reversed(PAIRS) if dtype != "fp32"}
FIRST = {case.op: (case, dtype) for case, dtype in reversed(PAIRS)} | FIRST


def check(operation, dtype, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RefusedByCoreMLWarning)
        model = mil.load(write_package(build_program(operation, dtype), folder / "c.mlpackage"))
    last = next(o for o in reversed(model.operations) if o.type == operation.op)
    names = [variable.name for variable in last.outputs]
    session = OnnxSession(model, export_model(model))
    made = session.predict(package_inputs(operation, dtype), taps=names)
    for variable, expected in zip(last.outputs, expected_outputs(operation, dtype), strict=True):
        actual, declared = made[variable.name], variable.type.dtype
        assert actual.dtype == declared.numpy, "the result must have the type that is declared"
        assert actual.shape == expected.shape
        exact = operation.exact or not declared.is_floating
        limits = gate("ops_exact" if exact else f"ops_{declared}")
        reference = expected.astype(declared.numpy) if exact else expected
        np.testing.assert_allclose(
            actual.astype(np.float64),
            reference.astype(np.float64),
            rtol=limits.rtol,
            atol=limits.atol,
            err_msg=operation.id,
        )


@pytest.mark.parametrize("op", sorted(FIRST))
def test_each_type(op, tmp_path):
    check(*FIRST[op], tmp_path)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("operation", "dtype"), PAIRS, ids=[f"{case.id}-{dtype}" for case, dtype in PAIRS]
)
def test_each_case(operation, dtype, tmp_path):
    check(operation, dtype, tmp_path)


def test_every_exported_type_is_tried():
    assert set(FIRST) == set(exported_types())
