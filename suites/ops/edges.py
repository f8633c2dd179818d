"""Edges of operations: what their inputs may hold beyond ordinary numbers, and what must come out.

The cases of ``cases_*.py`` are drawn anew, with NaN, infinities, zeros or FP16 subnormals among
their numbers; `suites.ops.cases_edges` has what no draw reaches. The oracles are the same: NumPy in
float64, from the inputs as they are stored in a numerics.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from suites.ops.cases import Case, all_cases
from suites.ops.packages import stored, wide

INF, NAN = np.inf, np.nan
SMALLEST_NORMAL = 2.0**-14

POOLS: dict[str, tuple[list[float], float]] = {
    "nan": ([NAN], 0.0),
    "infinite": ([INF], 0.0),
    "negative infinite": ([-INF], 0.0),
    "all infinite": ([INF], 1.0),
    "all special": ([NAN, INF, -INF], 1.0),
    "special": ([NAN, INF, -INF], 0.3),
    "zeros": ([0.0, -0.0], 1.0),
    "subnormal": ([6e-8, 2e-7, 3e-5], 1.0),
    "negative": ([-1.0, -0.25, -3.0], 1.0),
}
"""Which numbers, and their share of an array's elements; with a share of 0 there is one."""

# Types that are not drawn anew: the oracle is PyTorch's kernel, which multiplies by zero.
NOT_DRAWN = {"resample", "affine", "non_maximum_suppression"}
# Types that neither a draw nor a row of `cases_edges` reaches, each with its reason.
NO_EDGES = {
    **dict.fromkeys(
        ("logical_and", "logical_not", "logical_or", "logical_xor"),
        "truth values, of which every pair is in suites/ops",
    ),
    **dict.fromkeys(
        (
            "const",
            "constexpr_affine_dequantize",
            "constexpr_blockwise_shift_scale",
            "constexpr_cast",
            "constexpr_lut_to_dense",
            "constexpr_lut_to_sparse",
            "constexpr_sparse_blockwise_shift_scale",
            "constexpr_sparse_to_dense",
            "dequantize",
        ),
        "integers of 8 bits at most, whose differences every type holds, and constants",
    ),
    **dict.fromkeys(
        (
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
        ),
        "moves values, and computes none",
    ),
    **dict.fromkeys(
        ("random_bernoulli", "random_categorical", "random_normal", "random_uniform"),
        "takes no numbers but its parameters",
    ),
    **dict.fromkeys(("fill", "one_hot"), "writes its parameters"),
    "range_1d": "nothing to make, in test_nothing_gives_what_numpy_gives",
    "non_maximum_suppression": "an order of NaN, or an overlap of infinite boxes, is not defined",
}
# What a NaN or an infinity is as an integer is not defined; see `cases_edges`.
TO_INTEGERS = {"cast", "quantize"}
# In FP16 arithmetic the squares of subnormal numbers vanish before they are summed up.
SQUARES = {"l2_pool", "reduce_l2_norm", "l2_norm"}
NARROW = {"native", "native+ftz", "fp16_accumulate", "fp16_accumulate+ftz"}


def drawn_cases() -> Iterator[Case]:
    """Yield the cases that `drawn` changes: those that take floating-point numbers at run time."""
    for case in all_cases():
        arrays = [a for v in case.tensors.values() for a in (v if isinstance(v, list) else [v])]
        if case.op not in NOT_DRAWN and any(a.dtype.kind == "f" and a.size for a in arrays):
            yield case


def drawn(case: Case, pool: str) -> Case:
    """Return ``case`` with numbers of a pool among those that it takes at run time."""
    rng = np.random.default_rng(zlib.crc32(f"{case.id} {pool}".encode()))
    numbers, share = POOLS[pool]

    def values(old: Any) -> Any:
        if isinstance(old, list):
            return [values(item) for item in old]
        if old.dtype.kind != "f" or not old.size:
            return old
        chosen = rng.random(old.shape) < share
        if not chosen.any():
            chosen.reshape(-1)[rng.integers(old.size)] = True
        return np.where(chosen, rng.choice(numbers, old.shape), old)

    tensors = {name: values(old) for name, old in case.tensors.items()}
    return dataclasses.replace(case, tensors=tensors)


def is_compared(case: Case, pool: str, numerics: str) -> bool:
    """Return whether the oracle of ``case`` says what a draw from ``pool`` gives in a numerics."""
    if pool == "zeros" and case.id == "log_default":
        return False  # of which type the default epsilon is, its oracle does not know
    if pool == "subnormal":
        return not (case.op in SQUARES and numerics in NARROW)
    return case.op not in TO_INTEGERS or pool in ("zeros", "negative")


def expected_in(case: Case, dtype: str, numerics: str) -> list[np.ndarray]:
    """Return the oracle's results in float64, from the inputs as a numerics stores them."""
    flushes = numerics.endswith("+ftz") and dtype == "fp16"
    with np.errstate(all="ignore"):
        values = {n: wide(stored(v, dtype)) for n, v in (case.tensors | case.constants).items()}
        values = {n: flushed(v) if flushes else v for n, v in values.items()}
        values |= {n: wide(stored(v, dtype)) for n, v in case.params.items()}
        result = case.expected(**values)
    return [np.asarray(r, np.float64) for r in (result if isinstance(result, tuple) else (result,))]


def rounded(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return ``array`` as it is stored in a declared type."""
    with np.errstate(over="ignore"):
        return array.astype(dtype).astype(np.float64)


def flushed(value: Any) -> Any:
    """Return ``value`` with FP16's subnormals as zeros of their sign."""
    if isinstance(value, list):
        return [flushed(item) for item in value]
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        return value
    return np.where(np.abs(value) < SMALLEST_NORMAL, np.copysign(0.0, value), value)
