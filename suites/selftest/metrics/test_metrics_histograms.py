"""The error table: it must count every element once, in the right bin."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.metrics import error_table

ANY = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None, derandomize=True)
@given(hnp.arrays(np.float64, (2, 50), elements=ANY))
def test_every_element_is_counted_once(values: np.ndarray) -> None:
    table = error_table(values[0], values[1])
    counted = sum(table.error_counts) + table.exact_count + table.non_finite
    assert counted == 50


@settings(deadline=None, derandomize=True)
@given(st.floats(2.0**-39, 2.0**8), st.floats(2.0**-40, 2.0**8))
def test_bins_are_powers_of_two(magnitude: float, error: float) -> None:
    table = error_table([magnitude, 0.0], [magnitude, error])
    row = table.magnitude_exponents.index(math.frexp(magnitude)[1] - 1)
    column = table.error_exponents.index(math.frexp(error)[1] - 1)
    assert table.exact[row] == sum(table.exact) == 1
    assert table.zero_errors[column] == sum(table.zero_errors) == 1


def test_relative_error_lies_on_the_diagonal() -> None:
    magnitudes = 2.0 ** np.arange(-10, 5)
    table = error_table(magnitudes, magnitudes * (1 + 2.0**-11))
    for row, exponent in enumerate(table.magnitude_exponents):
        column = table.error_exponents.index(exponent - 11) if exponent > -40 else 0
        assert table.counts[row][column] == (1 if -10 <= exponent < 5 else 0)
    assert sum(table.error_counts) == 15


def test_what_lies_beyond_the_bins_is_kept_in_the_outermost() -> None:
    table = error_table([1e-30, 1e30], [1e-30 + 1e-40, -1e30])
    assert table.counts[0][0] == 1
    assert table.counts[-1][-1] == 1


def test_the_table_is_plain_data() -> None:
    document = asdict(error_table(np.zeros(3, np.float32), np.ones(3, np.float32)))
    assert sum(json.loads(json.dumps(document))["zero_errors"]) == 3
