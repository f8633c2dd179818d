"""If these fail, an operation that overflows, vanishes or sums too long is not named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import mil
from harness.diagnosis import audit_headroom
from harness.diagnosis.contraction import accumulated_terms
from harness.mil.editing import edited, find, with_constant
from harness.precision.virtual import VirtualPrecision
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import make_program

Signal = dict[str, torch.Tensor]
LONG = 16_384


def means(mb, x):
    """The mean of many values, and a product beside it."""
    y = mb.reduce_mean(x=x, axes=[1], keep_dims=True, name="long_mean")
    return mb.mul(x=x, y=mb.add(x=y, y=np.float32(1.0), name="shifted"), name="scaled")


@pytest.fixture(scope="module")
def long_mean(tmp_path_factory: pytest.TempPathFactory) -> VirtualPrecision:
    program = make_program(means, {"x": (1, LONG)}, np.float32)
    path = write_package(program, tmp_path_factory.mktemp("long") / "long.mlpackage")
    return VirtualPrecision(mil.load(path))


def test_ordinary_signals_leave_no_operation_at_risk(
    small: VirtualPrecision, signal: Signal
) -> None:
    audit = audit_headroom(small.base, {"noise": signal})
    assert audit.as_fp16
    assert [o.operation for o in audit.at_risk] == []
    assert {"conv", "mixed", "gelu"} <= {o.operation for o in audit.operations}
    assert "rows" not in {o.operation for o in audit.operations}  # it only moves values
    total = len(audit.operations)
    assert total < len(small.base.operations)
    assert audit.counted == (
        f"0 of {total} operations that compute floats, cast or lose integers (what only moves "
        "values is not counted)"
    )


# What is normalised before it keeps its level on a loud signal: more is needed there.
@pytest.mark.parametrize(("victim", "factor"), [("conv", 1e4), ("mixed", 1e5)])
def test_weights_that_are_far_too_large_name_their_operation(
    victim: str, factor: float, small: VirtualPrecision, signal: Signal
) -> None:
    operation = find(small.base, name=victim)[0]
    huge = with_constant(small.base, operation, "weight", lambda weight: factor * weight)
    loud = {"x": 4 * signal["x"]}
    audit = audit_headroom(edited(small.base, huge), {"ordinary": signal, "hot": loud})
    first = audit.at_risk[0]
    assert first.operation == victim
    assert first.risks[0].kind == "range"
    assert first.headroom_db < 0
    assert victim == "mixed" or first.risks[0].case == "hot"


def test_only_operations_in_fp16_are_at_risk_once_the_precision_is_declared(
    small: VirtualPrecision, signal: Signal
) -> None:
    loud = {"x": 1e4 * signal["x"]}
    wide = audit_headroom(small.base, {"hot": loud})
    assert "squared" in {o.operation for o in wide.at_risk}
    kept = {o.operation for o in wide.at_risk}
    mixed = audit_headroom(small.model(small.fp32_for(kept)), {"hot": loud})
    assert not mixed.as_fp16
    assert not {o.operation for o in mixed.at_risk} & kept


def test_a_quiet_case_shows_subnormals_that_a_loud_one_hides(
    small: VirtualPrecision, signal: Signal
) -> None:
    quiet, silence = {"x": 1e-5 * signal["x"]}, {"x": 0 * signal["x"]}
    assert not audit_headroom(small.base, {"loud": signal}).at_risk
    cases = {"loud": signal, "quiet": quiet, "silence": silence}
    audit = audit_headroom(small.base, cases)
    squared = next(o for o in audit.at_risk if o.operation == "squared")
    assert [(risk.kind, risk.case) for risk in squared.risks] == [("subnormal", "quiet")]
    assert squared.peak_case == "loud"


def test_a_long_sum_is_at_risk_by_its_length_alone(long_mean: VirtualPrecision) -> None:
    audit = audit_headroom(long_mean.base, {"ones": {"x": torch.ones(1, LONG)}})
    (found,) = audit.at_risk
    assert (found.operation, found.terms) == ("long_mean", LONG)
    assert [risk.kind for risk in found.risks] == ["accumulation"]


def test_one_operation_forced_to_accumulate_in_fp16_is_named_with_what_it_loses(
    long_mean: VirtualPrecision,
) -> None:
    model = long_mean.model(long_mean.fp32_for(()))
    # Four of them are less than half a unit in the last place of 8,192: the sum stops there.
    x = {"x": 0.9 + 0.05 * torch.rand(1, LONG, generator=torch.Generator().manual_seed(1))}
    audit = audit_headroom(
        model,
        {"noise": x},
        operation_numerics=lambda o: "fp16_accumulate" if o.name == "long_mean" else None,
    )
    (found,) = audit.at_risk
    assert found.operation == "long_mean"
    assert found.accumulated_db is not None
    assert found.accumulated_db < 30
    assert "16,384 terms" in found.risks[0].reason
    assert all(o.accumulated_db is None for o in audit.operations if o is not found)


@pytest.mark.parametrize("numerics", ["native", "float64", "fp16_accumulate", "storage+ftz"])
def test_any_numerics_can_be_audited_and_only_accumulation_costs_here(
    numerics: str, small: VirtualPrecision, signal: Signal
) -> None:
    model = small.model(small.fp32_for(()))
    audit = audit_headroom(model, {"noise": signal}, numerics=numerics)
    assert audit.numerics == numerics
    # 240 squares in an FP16 accumulator leave less than 60 dB; everything else is short.
    wanted = ["variance"] if numerics == "fp16_accumulate" else []
    assert [o.operation for o in audit.at_risk] == wanted


def test_terms_are_what_an_operation_adds_up_for_one_element(
    small: VirtualPrecision, long_mean: VirtualPrecision
) -> None:
    plans = (small.base.plan, long_mean.base.plan)
    terms = {s.operation.name: accumulated_terms(p, s) for p in plans for s in p.steps}
    assert terms["conv"] == 4 * 3
    assert terms["mean"] == terms["variance"] == 6 * 40
    assert terms["mixed"] == 6
    assert terms["long_mean"] == LONG
    assert terms["gelu"] == terms["rows"] == terms["shifted"] == 1


def test_the_document_is_json(small: VirtualPrecision, signal: Signal) -> None:
    document = audit_headroom(small.base, {"noise": signal}).to_dict()
    assert json.loads(json.dumps(document))["operations"][0]["operation"] == "conv"


def test_a_cast_in_which_integers_wrap_is_at_risk_in_any_precision(tmp_path: Path) -> None:
    """The FP16 conversion for iOS 17 narrows what is gathered to int16 (apple/coremltools#2222)."""

    def body(mb, x):
        narrow = mb.cast(x=x, dtype="int16", name="narrow")
        return mb.cast(x=narrow, dtype="int32", name="wide")

    program = make_program(body, {"x": (4,)}, np.int32)
    model = mil.load(write_package(program, tmp_path / "narrow.mlpackage"))
    small, large = (torch.tensor(v, dtype=torch.int32) for v in ([1, 2, 3, 4], [1, 70_000, -1, 3]))
    audit = audit_headroom(model, {"small": {"x": small}, "large": {"x": large}})
    (found,) = audit.at_risk
    assert (found.operation, found.dtype, found.peak) == ("narrow", "int16", 70_000)
    assert found.headroom_db < 0
    assert [(risk.kind, risk.case) for risk in found.risks] == [("integer", "large")]
    assert found.risks[0].reason == (
        "stores 1 of 4 integers as other numbers: they reach from -1 to 70000, its type is int16"
    )
    assert not audit_headroom(model, {"small": {"x": small}}).at_risk
