"""ULP distances: the scale on which one operation's rounding is judged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ParityError
from harness.metrics import ulp_statistics


@settings(deadline=None, derandomize=True)
@given(
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.floats(-4e4, 4e4),
    st.integers(0, 300),
    st.booleans(),
)
def test_distance_is_the_number_of_nextafter_steps(
    dtype: type[np.floating], start: float, steps: int, upwards: bool
) -> None:
    value = first = dtype(start)
    taken = 0
    for _ in range(steps):
        value, taken = np.nextafter(value, dtype(math.inf if upwards else -math.inf)), taken + 1
    statistics = ulp_statistics([first], [value], dtype=dtype)
    assert statistics.maximum == statistics.p50 == taken
    assert ulp_statistics([value], [first], dtype=dtype) == statistics


def test_zeros_are_one_point_and_neighbours_are_one_step_across_it() -> None:
    tiny = np.finfo(np.float32).smallest_subnormal
    assert ulp_statistics([0.0], [-0.0]).maximum == 0
    assert ulp_statistics([tiny], [-tiny]).maximum == 2


def test_the_farthest_pair_of_float64_does_not_overflow() -> None:
    greatest = np.finfo(np.float64).max
    steps = 2 * int(np.float64(greatest).view(np.int64))
    assert ulp_statistics([-greatest], [greatest], dtype=np.float64).maximum == steps


def test_percentiles_are_exact_where_they_matter() -> None:
    expected = np.ones(1000, dtype=np.float32)
    bits = expected.view(np.int32) + np.arange(1000, dtype=np.int32)
    statistics = ulp_statistics(expected, bits.view(np.float32))
    assert (statistics.p50, statistics.p99, statistics.p999) == (499, 989, 998)
    assert statistics.maximum == 999


def test_large_percentiles_are_upper_bounds_within_a_factor_of_two() -> None:
    expected = np.ones(1000, dtype=np.float32)
    bits = expected.view(np.int32) + np.int32(100_000)
    statistics = ulp_statistics(expected, bits.view(np.float32))
    assert statistics.p50 == statistics.maximum == 100_000
    bits[0] += 1_000_000
    assert ulp_statistics(expected, bits.view(np.float32)).p50 == 2**17 - 1


def test_one_rounding_to_half_precision_is_exact_in_half_and_far_in_single() -> None:
    expected = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    actual = expected.astype(np.float16)
    assert ulp_statistics(expected, actual, dtype=np.float16).maximum == 0
    assert ulp_statistics(expected, actual, dtype=np.float32).maximum > 1000


def test_what_is_not_finite_is_skipped_and_counted() -> None:
    expected = [1.0, math.nan, math.inf, 1e30]
    statistics = ulp_statistics(expected, [1.0, 1.0, math.inf, 1.0], dtype=np.float16)
    assert statistics.skipped == 3  # 1e30 overflows float16
    assert statistics.maximum == 0
    assert ulp_statistics([math.nan], [math.nan]).skipped == 1


def test_an_integer_type_has_no_ulp() -> None:
    with pytest.raises(ParityError, match="int32"):
        ulp_statistics([1.0], [1.0], dtype=np.int32)
