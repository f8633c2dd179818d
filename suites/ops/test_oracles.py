"""The oracles themselves: agreed with coremltools where it infers values, none missing."""

from __future__ import annotations

import numpy as np
import pytest

from harness.mil.ops.registry import known_types
from suites.ops.cases import all_cases
from suites.ops.inference import FOLDED_WRONGLY, inferred_values
from suites.ops.packages import expected_outputs

INFERRED = [case for case in all_cases() if case.id not in FOLDED_WRONGLY]


def test_oracles_agree_with_value_inference():
    """A second, independent opinion on what each operation means."""
    compared = []
    for case in INFERRED:
        inferred = inferred_values(case, case.dtypes[0])
        if inferred is None:
            continue
        expected = expected_outputs(case, case.dtypes[0])
        for ours, theirs in zip(expected, inferred, strict=True):
            np.testing.assert_allclose(
                np.asarray(theirs, np.float64), ours, rtol=2e-5, atol=2e-6, err_msg=case.id
            )
        compared.append(case.op)
    assert len(set(compared)) >= 80, f"only {sorted(set(compared))} were compared"


# Operations that are no function of tensors alone, and where they are tested instead.
TESTED_ELSEWHERE = {
    "suites/selftest/mil/test_mil_control_flow.py": {
        "classify",
        "cond",
        "list_gather",
        "list_length",
        "list_read",
        "list_scatter",
        "list_write",
        "make_list",
        "read_state",
        "while_loop",
        "write_state",
    },
    "suites/selftest/mil/test_mil_random.py": {
        "random_bernoulli",
        "random_categorical",
        "random_normal",
        "random_uniform",
    },
}


def test_every_operation_has_a_case():
    covered = {case.op for case in all_cases()} | {"const"}
    assert set(known_types()) - covered == set.union(*TESTED_ELSEWHERE.values()), (
        "add a row to suites/ops/cases_*.py"
    )


@pytest.mark.parametrize("name", sorted(FOLDED_WRONGLY))
def test_excused_oracle_is_still_folded_wrongly(name):
    """An excuse that no longer holds hides a disagreement."""
    case = next(case for case in all_cases() if case.id == name)
    with pytest.raises((TypeError, ValueError, AssertionError)):
        np.testing.assert_allclose(
            inferred_values(case, "fp32"), expected_outputs(case, "fp32"), rtol=1e-5
        )
