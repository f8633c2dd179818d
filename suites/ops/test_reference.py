"""The float64 numerics, which serve as the executor's own reference, against the same oracles."""

from __future__ import annotations

import numpy as np
import pytest

from suites.ops.cases import all_cases
from suites.ops.packages import actual_outputs, expected_outputs

CASES = [case for case in all_cases() if "fp32" in case.dtypes and case.id != "cast_to_fp16"]


@pytest.mark.parametrize("operation", CASES, ids=lambda case: case.id)
def test_float64(tmp_path, operation):
    actual = actual_outputs(operation, "fp32", tmp_path / "case.mlpackage", "float64")
    for reference, (_, result) in zip(expected_outputs(operation, "fp32"), actual, strict=True):
        assert result.dtype.kind in "iub" or result.dtype == np.float64
        np.testing.assert_allclose(
            result,
            reference,
            rtol=1e-9,
            atol=1e-12,
            err_msg=f"{operation.id}: float64 numerics is not float64 somewhere inside",
        )
