"""What coremltools itself computes for an operation on constants: its value inference."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from harness._coremltools import import_coremltools
from suites.ops.cases import Case
from suites.ops.packages import stored

# Cases that coremltools 9 folds against its own definitions, or can't fold.
FOLDED_WRONGLY = {
    "matmul_integer_factor": "two constants must have one type, an input and a constant need not",
    "concat_interleave": "value inference ignores the parameter interleave",
    "cumsum_exclusive_reverse": "np.zeros(shape, data): the data is passed as a dtype",
} | {
    f"scatter_along_axis_{mode}": "value inference ignores the parameter mode"
    for mode in ("add", "sub", "mul", "div", "max", "min")
}


def inferring_types() -> set[str]:
    """Return the operation types of coremltools whose newest definition infers values."""
    import_coremltools()
    from coremltools.converters.mil.mil.operation import Operation
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    newest = {type_: versions[max(versions)] for type_, versions in SSAOpRegistry.core_ops.items()}
    return {
        type_
        for type_, definition in newest.items()
        if definition.value_inference is not Operation.value_inference
        or hasattr(definition, "materialized_val_inference")
    }


def inferred_values(case: Case, dtype: str) -> list[np.ndarray] | None:
    """Return what coremltools computes while it builds a case's operation on constants."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function

    values = case.tensors | case.constants | case.params
    with Function({}, opset_version=ct.target[case.opset]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = getattr(mb, case.op)(**{n: _tuple(stored(v, dtype)) for n, v in values.items()})
    results = results if isinstance(results, (list, tuple)) else [results]
    known = [result.val for result in results]
    if known[0] is None and hasattr(results[0].op, "materialized_val_inference"):
        # Compressed constants are expanded on request only, so that folding leaves them alone.
        expanded = results[0].op.materialized_val_inference()
        known = list(expanded) if isinstance(expanded, tuple) else [expanded]
    return None if any(value is None for value in known) else [np.asarray(k) for k in known]


def _tuple(value: Any) -> Any:
    arrays = isinstance(value, list) and isinstance(value[0], np.ndarray)
    return tuple(value) if arrays else value
