"""Each operation of the executor against an independent float64 oracle.

If one of these fails, `harness.mil` misreads that operation's definition, and nothing it says about
a package that uses the operation can be trusted.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.profiles import PACKAGE_ENGINE
from suites.ops.cases import all_cases
from suites.ops.packages import actual_outputs, expected_outputs

pytestmark = pytest.mark.layer("ops")

PAIRS = [(case, dtype) for case in all_cases() for dtype in case.dtypes]
IDS = [f"{case.id}-{dtype}" for case, dtype in PAIRS]


@pytest.mark.parametrize(("operation", "dtype"), PAIRS, ids=IDS)
def test_storage(parity, tmp_path, operation, dtype):
    actual = actual_outputs(operation, dtype, tmp_path / "case.mlpackage", "storage")
    expected = expected_outputs(operation, dtype)
    assert len(actual) == len(expected)
    for number, (reference, (declared, result)) in enumerate(zip(expected, actual, strict=True)):
        assert result.dtype == declared.numpy, "the result must have the type that is declared"
        exact = operation.exact or not declared.is_floating
        gate = "ops_exact" if exact else f"ops_{declared}"
        parity.compare(
            reference,
            result.astype(np.float64),
            gate,
            case=f"{operation.id}-{dtype}",
            tensor=f"output {number}",
            engine=PACKAGE_ENGINE,
            numerics="storage",
        )
    parity.executed(PACKAGE_ENGINE)
