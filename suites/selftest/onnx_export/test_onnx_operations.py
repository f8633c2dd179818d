"""Each operation as it is exported, executed by ONNX Runtime, against the float64 oracles.

If one of these fails, the exported model is not the program, and a second opinion about a package
would be an opinion about something else.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import partial

import numpy as np
import pytest

from harness import mil
from harness.engines.onnx_engine import OnnxSession
from harness.mil.refusals import RefusedByCoreMLWarning
from harness.onnx_export import export_model, exported_types
from harness.verdicts import gate
from harness.workbench.second_opinion import operations_apart
from suites.ops.cases import Case, all_cases, by_position, normal
from suites.ops.cases_edges import EDGES, INF
from suites.ops.cases_layers import conv
from suites.ops.cases_recurrent import ALL, HIDDEN, TWO, lstm_by_steps, weights
from suites.ops.edges import drawn, drawn_cases, expected_in, is_compared, rounded
from suites.ops.packages import build_program, package_inputs, write_package

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
SIGNAL, ONE_TAP, THREE_TAPS = normal(1, 2, 8), normal(3, 2, 1, seed=1), normal(3, 2, 3, seed=1)
FUNCTIONS = {
    "recurrent_activation": "hard_sigmoid",
    "cell_activation": "relu",
    "activation": "linear",
}
# What no case of ``suites/ops`` asks, where ONNX reads a parameter otherwise, or its runtime does.
OWN = [
    Case("conv_same_dilated", "conv", conv, {"x": SIGNAL}, {"weight": THREE_TAPS},
         {"pad_type": "same", "dilations": [2]}),
    Case("conv_same_lower_dilated", "conv", conv, {"x": SIGNAL}, {"weight": THREE_TAPS},
         {"pad_type": "same_lower", "dilations": [2], "strides": [3]}),
    Case("conv_same_skipping", "conv", conv, {"x": SIGNAL}, {"weight": ONE_TAP},
         {"pad_type": "same", "strides": [4]}),
    Case("lstm_functions", "lstm", partial(lstm_by_steps, clip=np.inf), TWO,
         weights(4) | {"peephole": normal(3 * HIDDEN, seed=7)}, ALL | FUNCTIONS),
    Case("elu_quiet", "elu", lambda x, alpha: alpha * np.expm1(x),
         {"x": -1e-5 * np.abs(normal(9))}, {}, {"alpha": 0.75}),
    Case("squeeze_of_nothing", "squeeze", lambda x, axes: x, {"x": normal(1, 3)}, {},
         {"axes": [1]}),
    Case("floor_div_of_infinities", "floor_div", by_position(np.floor_divide),
         {"x": np.array([5, -5, INF, 5, -5, 0, 3]), "y": np.array([0, 0, 2, INF, INF, INF, -INF])}),
    Case("resize_onto_infinity", "resize_bilinear", lambda x, **_: x,
         {"x": np.array([[[[INF, 1], [-INF, -1]]]])}, {},
         {"target_size_height": 2, "target_size_width": 2, "sampling_mode": "DEFAULT"}),
]  # fmt: skip
# Where ONNX leaves open what comes out, and its runtime makes something else than the executor.
OPEN = {
    "pow_integer_limits": "a power that no integer holds",
    "cast_fp32_to_int32_limits": "NaN and infinities as integers",
    "cast_fp16_to_int32_limits": "NaN and infinities as integers",
    "topk_of_nan": "the order of NaN",
    "scatter_max_of_nan": "the order of NaN",
}
ORDERING = ("argsort", "topk", "max_pool", "reduce_max", "reduce_min", "reduce_arg", "scatter")
RECURRENT = ("rnn", "gru", "lstm")


def exported(operation, dtype, folder):
    with warnings.catch_warnings(), np.errstate(over="ignore"):  # in FP16 that is infinite
        warnings.simplefilter("ignore", RefusedByCoreMLWarning)
        model = mil.load(write_package(build_program(operation, dtype), folder / "c.mlpackage"))
        return model, export_model(model), package_inputs(operation, dtype)


def check(operation, dtype, folder):
    model, written, inputs = exported(operation, dtype, folder)
    last = next(o for o in reversed(model.operations) if o.type == operation.op)
    names = [variable.name for variable in last.outputs]
    made = OnnxSession(model, written).predict(inputs, taps=names)
    results = expected_in(operation, dtype, "storage")
    for variable, expected in zip(last.outputs, results, strict=True):
        actual, declared = made[variable.name], variable.type.dtype
        assert actual.dtype == declared.numpy, "the result must have the type that is declared"
        assert actual.shape == expected.shape
        exact = operation.exact or not declared.is_floating
        limits = gate("ops_exact" if exact else f"ops_{declared}")
        np.testing.assert_allclose(
            actual.astype(np.float64),
            rounded(expected, declared.numpy),
            rtol=limits.rtol,
            atol=limits.atol,
            err_msg=operation.id,
        )


@pytest.mark.parametrize("operation", OWN, ids=lambda case: case.id)
def test_parameters_are_read_as_the_program_means_them(operation, tmp_path):
    check(operation, "fp32", tmp_path / "oracle")
    assert operations_apart(*exported(operation, "fp32", tmp_path)) == []


@pytest.mark.parametrize(
    "operation",
    [case for case in EDGES if case.op in exported_types() and case.id not in OPEN],
    ids=lambda case: case.id,
)
def test_edges(operation, tmp_path):
    """Limits, masks and epsilons: a mistake there is invisible on ordinary numbers."""
    check(operation, operation.dtypes[0], tmp_path)


@pytest.mark.parametrize("pool", ["nan", "infinite", "negative infinite"])
def test_numbers_that_are_none_go_through_as_in_the_program(pool, tmp_path):
    """An infinity that the export makes or hides would be blamed on the package."""
    seen = 0
    for number, case in enumerate(drawn_cases()):
        undefined = case.op.startswith((*RECURRENT, *(ORDERING if pool == "nan" else ())))
        known = case.op in exported_types() and is_compared(case, pool, "storage")
        if known and not undefined:
            check(drawn(case, pool), case.dtypes[0], tmp_path / str(number))
            seen += 1
    assert seen > 100


@pytest.mark.parametrize(
    ("operation", "dtype"), PAIRS, ids=[f"{case.id}-{dtype}" for case, dtype in PAIRS]
)
def test_each_case(operation, dtype, tmp_path):
    check(operation, dtype, tmp_path)


def test_every_exported_type_is_tried():
    assert {case.op for case, _ in PAIRS} == set(exported_types())
