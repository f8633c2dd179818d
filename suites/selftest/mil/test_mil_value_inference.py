"""A second opinion on what operations mean: coremltools' own value inference, in NumPy.

Each row of the tables in ``suites/ops/cases_*.py`` gives an operation's inputs; here their values
are drawn anew, in the row's ranges. If one of these fails, the executor reads a definition
otherwise than coremltools' constant folding does, and one of the two is wrong.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest

from suites.ops.cases import Case, all_cases
from suites.ops.inference import FOLDED_WRONGLY, inferred_values, inferring_types
from suites.ops.packages import actual_outputs

DRAWS = 2

# Types whose value inference can't be compared with an executed result, each with its reason.
NOT_COMPARED = {
    "_const_symbolic": "exists while coremltools converts, and is never saved",
    "const": "is its own value; every other case reads constants",
    "cond": "infers the values of a branch that has been folded already",
    "list_length": "infers a parameter of make_list, no tensor",
    "reverse_sequence": "raises NotImplementedError",
}


def redrawn(case: Case, draw: int) -> Case:
    """Return the case with other values: uniform between the least and the largest of each array.

    Integer constants stay: they are indices, lengths and shapes, which must fit together.
    """
    rng = np.random.default_rng([draw, zlib.crc32(case.id.encode())])

    def values(old, fixed):
        if isinstance(old, list):
            return [values(item, fixed) for item in old]
        if old.dtype.kind == "b":
            return rng.integers(0, 2, old.shape).astype(bool)
        if old.dtype.kind == "f":
            return rng.uniform(old.min(), old.max(), old.shape) if old.size else old
        return old if fixed else rng.integers(old.min(), old.max() + 1, old.shape, old.dtype)

    return dataclasses.replace(
        case,
        tensors={name: values(old, False) for name, old in case.tensors.items()},
        constants={name: values(old, True) for name, old in case.constants.items()},
    )


@pytest.mark.parametrize("draw", range(DRAWS))
def test_executes_what_coremltools_infers(tmp_path, draw):
    compared = set()
    for case in all_cases():
        drawn, dtype = redrawn(case, draw), case.dtypes[0]
        inferred = None if case.id in FOLDED_WRONGLY else inferred_values(drawn, dtype)
        if inferred is None:
            continue
        actual = actual_outputs(drawn, dtype, tmp_path / f"{case.id}.mlpackage", "storage")
        for theirs, (declared, ours) in zip(inferred, actual, strict=True):
            assert ours.shape == theirs.shape, case.id
            tolerance = (2e-5, 2e-6) if declared.is_floating else (0, 0)
            np.testing.assert_allclose(
                ours.astype(np.float64), theirs.astype(np.float64), *tolerance, err_msg=case.id
            )
        compared.add(case.op)
    # A type that is on neither side is one that nobody looked at; on both, a stale excuse.
    assert compared.isdisjoint(NOT_COMPARED)
    assert compared | set(NOT_COMPARED) == inferring_types()
