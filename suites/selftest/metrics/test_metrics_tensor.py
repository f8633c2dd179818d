"""Tensor metrics: a wrong number here turns a broken conversion green, or a good one red."""

from __future__ import annotations

import json
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import ParityError
from harness.metrics import compute_numerical_diff, snr_db

PROPERTY = settings(deadline=None, derandomize=True, max_examples=150)
TOLERANCES = st.sampled_from([0.0, 1e-7, 1e-5, 1e-4, 1e-3, 0.1, 2.0])
Array = npt.NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def pairs(draw: st.DrawFn, finite: bool = False) -> tuple[Array, Array]:
    """Arrays that are equal here, near there, far or not finite elsewhere."""
    shape = draw(hnp.array_shapes(max_dims=3, max_side=6))
    special = [] if finite else [math.nan, math.inf, -math.inf]
    values = st.one_of(
        st.floats(-1e3, 1e3), st.sampled_from([0.0, -0.0, 1.0, 1e-30, 1e30, *special])
    )
    expected = draw(hnp.arrays(np.float64, shape, elements=values))
    steps = draw(
        hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1e-6, 1e-4, 1e-3, -1.0]))
    )
    with np.errstate(invalid="ignore", over="ignore"):
        actual = expected * (1 + steps) + steps * draw(st.sampled_from([0.0, 1.0]))
    if not finite and draw(st.booleans()):
        other = draw(hnp.arrays(np.float64, shape, elements=values))
        actual = np.where(draw(hnp.arrays(np.bool_, shape)), other, actual)
    return expected, actual


# --- SNR ---------------------------------------------------------------------------------------


def test_snr_of_a_known_error() -> None:
    expected = np.array([3.0, 4.0])
    assert snr_db(expected, expected * 0.9) == pytest.approx(20.0, abs=1e-12)
    assert snr_db(expected, -expected) == pytest.approx(-20 * math.log10(2), abs=1e-12)


@pytest.mark.parametrize(
    ("expected", "actual", "ratio"),
    [
        ([1.0, 2.0], [1.0, 2.0], math.inf),
        ([0.0, 0.0], [0.0, -0.0], math.inf),
        ([0.0, 0.0], [0.0, 1e-30], -math.inf),
        ([1.0, 2.0], [1.0, math.inf], -math.inf),
        ([1.0, 2.0], [1.0, math.nan], math.nan),
        ([1.0, math.nan], [1.0, 2.0], math.nan),
        ([1.0, math.inf], [1.0, math.inf], math.nan),
        ([1.0, math.inf], [1.0, 2.0], math.nan),
        ([0.0, 0.0], [0.0, math.nan], math.nan),
    ],
)
def test_snr_at_the_edges(expected: list[float], actual: list[float], ratio: float) -> None:
    assert snr_db(expected, actual) == pytest.approx(ratio, nan_ok=True)
    both = compute_numerical_diff(expected, actual, rtol=0, atol=0)
    assert both.snr_db == pytest.approx(ratio, nan_ok=True)


@PROPERTY
@given(st.integers(0, 300), st.integers(-200, 200))
def test_snr_holds_over_the_whole_range_of_float64(depth: int, level: int) -> None:
    """A squared error that underflows would read as "exact", a squared reference as "perfect"."""
    expected = np.array([0.0, 10.0**level, 0.0])
    actual = expected.copy()
    actual[0] = 10.0 ** (level - depth)
    assume(actual[0] > 1e-300)
    assert snr_db(expected, actual) == pytest.approx(20.0 * depth, abs=1e-9)
    both = compute_numerical_diff(expected, actual, rtol=0, atol=0)
    assert both.snr_db == pytest.approx(20.0 * depth, abs=1e-9)
    assert both.expected_rms_dbfs == pytest.approx(20 * level - 10 * math.log10(3), abs=1e-9)


def test_snr_mixes_chunks_of_any_magnitude() -> None:
    """Chunks are scaled one by one: their sum must still be that of the whole."""
    expected = np.concatenate([np.full(10_000, 1e-170), np.full(10_000, 1.0), np.zeros(10_000)])
    actual = expected + np.concatenate([np.full(20_000, 0.0), np.full(10_000, 1e-160)])
    assert snr_db(expected, actual) == pytest.approx(3200.0, abs=1e-9)


def test_snr_is_float64_for_half_precision() -> None:
    """Squares of float16 values over 256 overflow in float16."""
    expected = np.full(1000, 1000.0, dtype=np.float16)
    actual = np.full(1000, 1001.0, dtype=np.float16)
    assert snr_db(expected, actual) == pytest.approx(60.0, abs=1e-9)


@pytest.mark.parametrize(
    ("expected", "actual", "says"),
    [
        (np.zeros((2, 3)), np.zeros((3,)), r"\[2, 3\].*\[3\]"),
        (np.zeros((2, 3)), np.zeros((3, 2)), r"\[2, 3\].*\[3, 2\]"),
        (np.zeros((1,)), np.zeros(()), r"\[1\].*\[\]"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "nothing to compare"),
        (np.zeros(2, dtype=complex), np.zeros(2), "complex128"),
        (["a"], ["a"], "expected has dtype"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    expected: npt.ArrayLike, actual: npt.ArrayLike, says: str
) -> None:
    with pytest.raises(ParityError, match=says):
        snr_db(expected, actual)
    with pytest.raises(ParityError, match=says):
        compute_numerical_diff(expected, actual, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf])
def test_a_tolerance_that_passes_everything_or_nothing_is_refused(bad: float) -> None:
    with pytest.raises(ParityError, match="rtol"):
        compute_numerical_diff([1.0], [1.0], rtol=bad, atol=0)
    with pytest.raises(ParityError, match="atol"):
        compute_numerical_diff([1.0], [1.0], rtol=0, atol=bad)


# --- closeness ---------------------------------------------------------------------------------


@PROPERTY
@given(pairs(), TOLERANCES, TOLERANCES)
def test_closeness_is_that_of_torch(pair: tuple[Array, Array], rtol: float, atol: float) -> None:
    expected, actual = pair
    metrics = compute_numerical_diff(expected, actual, rtol=rtol, atol=atol)
    theirs = torch.isclose(
        torch.from_numpy(actual), torch.from_numpy(expected), rtol=rtol, atol=atol
    )
    assert metrics.mismatched == int((~theirs).sum())
    assert metrics.is_close is bool(theirs.all())
    assert metrics.mismatched_share == metrics.mismatched / expected.size
    assert (metrics.tolerance_ratio <= 1) is metrics.is_close


@PROPERTY
@given(pairs(), TOLERANCES, TOLERANCES)
def test_minimum_tolerances_are_enough_and_needed(
    pair: tuple[Array, Array], rtol: float, atol: float
) -> None:
    """The report says "would have passed with": trying that must pass, and less must not."""
    expected, actual = pair
    metrics = compute_numerical_diff(expected, actual, rtol=rtol, atol=atol)

    def passes(new_rtol: float, new_atol: float) -> bool:
        return compute_numerical_diff(expected, actual, rtol=new_rtol, atol=new_atol).is_close

    if math.isfinite(metrics.minimum_rtol):
        assert passes(metrics.minimum_rtol, atol)
        assert metrics.minimum_rtol == 0 or not passes(metrics.minimum_rtol * 0.999, atol)
    if math.isfinite(metrics.minimum_atol):
        assert passes(rtol, metrics.minimum_atol)
        assert metrics.minimum_atol == 0 or not passes(rtol, metrics.minimum_atol * 0.999)


def test_a_tolerance_of_nothing_asks_for_equality() -> None:
    metrics = compute_numerical_diff([0.0, 1.0], [-0.0, 1.0], rtol=0, atol=0)
    assert metrics.is_close
    assert metrics.max_abs_error == 0
    assert metrics.tolerance_ratio == 0
    metrics = compute_numerical_diff([0.0, 1.0], [0.0, 1 + 1e-15], rtol=0, atol=0)
    assert not metrics.is_close
    assert metrics.tolerance_ratio == math.inf


# --- numbers against a plain float64 computation -----------------------------------------------


@PROPERTY
@given(pairs(finite=True))
def test_statistics_agree_with_their_definitions(pair: tuple[Array, Array]) -> None:
    expected, actual = pair
    metrics = compute_numerical_diff(expected, actual, rtol=1e-3, atol=1e-4)
    error = np.abs(actual - expected)
    assert metrics.max_abs_error == error.max()
    assert metrics.mean_abs_error == pytest.approx(error.mean(), rel=1e-12)
    if metrics.max_abs_error_index is None:
        assert not error.any()
    else:
        assert metrics.max_abs_error_index == np.unravel_index(error.argmax(), error.shape)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.nan_to_num(error / np.abs(expected), nan=0.0, posinf=math.inf)
    assert metrics.max_rel_error == relative.max()
    ratio = error / (1e-4 + 1e-3 * np.abs(expected))
    assert metrics.tolerance_ratio == ratio.max()
    if metrics.tolerance_ratio_index is not None:
        assert ratio[metrics.tolerance_ratio_index] == ratio.max()
    norms = np.linalg.norm(expected) * np.linalg.norm(actual)
    if norms > 0:
        cosine = float(np.sum(expected * actual) / norms)
        assert metrics.cosine_similarity == pytest.approx(cosine, abs=1e-9)


def test_levels_and_ratio_fit_together() -> None:
    expected = rng().standard_normal((3, 1000))
    actual = expected + 1e-3 * rng(1).standard_normal((3, 1000))
    metrics = compute_numerical_diff(expected, actual, rtol=1e-3, atol=1e-4)
    levels = metrics.expected_rms_dbfs - metrics.error_rms_dbfs
    assert metrics.snr_db == pytest.approx(levels, abs=1e-9)
    assert metrics.snr_db == pytest.approx(60, abs=0.5)
    assert metrics.snr_db == snr_db(expected, actual)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.bool_])
@pytest.mark.parametrize("chunk_elements", [1, 7, 100, 8192])
def test_result_does_not_depend_on_the_chunks(dtype: type, chunk_elements: int) -> None:
    expected = (rng().standard_normal((7, 9, 31)) * 3).astype(dtype)
    actual = (expected * 1.01 + 0.001).astype(dtype)
    whole = compute_numerical_diff(expected, actual, rtol=1e-3, atol=1e-4).to_dict()
    parts = compute_numerical_diff(
        expected, actual, rtol=1e-3, atol=1e-4, chunk_elements=chunk_elements
    ).to_dict()
    assert parts == {
        name: pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
        for name, value in whole.items()
    }


def test_a_transposed_view_is_read_in_its_own_order() -> None:
    expected = np.asfortranarray(rng().standard_normal((40, 300)))
    actual = expected.copy(order="C")
    actual[31, 7] += 100
    metrics = compute_numerical_diff(expected, actual, rtol=1e-3, atol=1e-4)
    assert metrics.max_abs_error_index == (31, 7)
    assert metrics.mismatched == 1
    swapped = compute_numerical_diff(expected.T, actual.T, rtol=1e-3, atol=1e-4)
    assert swapped.max_abs_error_index == (7, 31)


@pytest.mark.parametrize(
    ("dtype", "one", "other", "error"),
    [
        ("int64", 2**53, 2**53 + 1, 1),
        ("int64", -(2**63), 2**63 - 1, 2**64 - 1),
        ("uint64", 2**64 - 1, 2**64 - 2, 1),
        (">i8", -(2**53) - 1, -(2**53), 1),
        ("int8", -128, 127, 255),
    ],
)
def test_integers_are_subtracted_as_integers(dtype: str, one: int, other: int, error: int) -> None:
    """Float64 has no 2^53 + 1: an index off by one was no error."""
    e = np.tile(np.array([[0], [one], [3]], dtype), 9).T  # a view, not in its own order
    a = e.copy()
    a[2, 1] = other
    metrics = compute_numerical_diff(e, a, rtol=0.0, atol=0.0, chunk_elements=4)
    assert (metrics.max_abs_error, metrics.max_abs_error_index) == (float(error), (2, 1))
    assert metrics.mismatched == 1
    assert snr_db(e, a) == pytest.approx(metrics.snr_db)
    assert math.isfinite(metrics.snr_db)


def test_the_first_of_equal_errors_is_named() -> None:
    expected = np.zeros(20_000)
    actual = expected.copy()
    actual[[9_000, 15_000]] = 0.5
    metrics = compute_numerical_diff(expected, actual, rtol=0, atol=0.1)
    assert metrics.max_abs_error_index == (9_000,)
    assert metrics.max_rel_error == math.inf


def test_what_is_not_finite_is_counted_and_found() -> None:
    expected = np.zeros((2, 3))
    expected[0] = [math.inf, -math.inf, math.inf]
    actual = np.zeros((2, 3))
    actual[0] = [math.inf, -math.inf, 5.0]
    actual[1, 1] = math.nan
    metrics = compute_numerical_diff(expected, actual, rtol=1e-3, atol=1e-4)
    assert metrics.mismatched == 2
    assert metrics.max_abs_error == math.inf
    assert metrics.max_abs_error_index == (0, 2)
    assert metrics.tolerance_ratio == metrics.minimum_atol == metrics.minimum_rtol == math.inf
    assert metrics.mean_abs_error == math.inf
    assert metrics.expected_non_finite.positive_inf == 2
    assert metrics.expected_non_finite.negative_inf == 1
    assert metrics.expected_non_finite.total == 3
    assert metrics.actual_non_finite.nan == 1
    assert math.isnan(metrics.snr_db)
    assert math.isnan(metrics.cosine_similarity)


def test_equal_infinities_are_no_error() -> None:
    metrics = compute_numerical_diff([math.inf, 1.0], [math.inf, 1.5], rtol=0, atol=0.1)
    assert metrics.max_abs_error == 0.5
    assert metrics.mismatched == 1
    assert metrics.minimum_atol == pytest.approx(0.5)


def test_an_overflowing_difference_never_passes() -> None:
    metrics = compute_numerical_diff([1e308], [-1e308], rtol=2.0, atol=1e308)
    assert not metrics.is_close
    assert metrics.tolerance_ratio == math.inf


@PROPERTY
@given(pairs(), st.sampled_from([None, "float16", "float32"]))
def test_every_value_is_a_plain_python_value(
    pair: tuple[Array, Array], ulp_dtype: str | None
) -> None:
    """NumPy scalars in a test's properties crash a whole pytest-xdist run."""
    metrics = compute_numerical_diff(*pair, rtol=1e-3, atol=1e-4, ulp_dtype=ulp_dtype)
    document = metrics.to_dict()
    plain = {int, float, str, tuple, dict, type(None)}

    def check(value: object) -> None:
        assert type(value) in plain
        if isinstance(value, dict):
            for entry in value.values():
                check(entry)
        if isinstance(value, tuple):
            assert {type(entry) for entry in value} <= {int}

    check(document)
    assert json.loads(json.dumps(document))["size"] == pair[0].size


# --- why two gates -----------------------------------------------------------------------------


def test_allclose_alone_passes_an_error_of_34_db() -> None:
    """At RMS 0.005 an atol of 1e-4 allows an error that is clearly audible."""
    expected = 0.005 * rng().choice([-1.0, 1.0], 10_000)
    actual = expected + 1e-4 * rng(1).choice([-1.0, 1.0], 10_000)
    metrics = compute_numerical_diff(expected, actual, rtol=1e-3, atol=1e-4)
    assert metrics.is_close
    assert metrics.snr_db == pytest.approx(34, abs=0.1)


def test_snr_alone_passes_one_bad_sample() -> None:
    expected = 0.1 * rng().standard_normal(10_000_000).astype(np.float32)
    actual = expected.copy()
    actual[1234] += 0.1
    metrics = compute_numerical_diff(expected, actual, rtol=1e-3, atol=1e-4)
    assert metrics.snr_db > 60
    assert not metrics.is_close
    assert metrics.tolerance_ratio_index == (1234,)


def test_a_quiet_stem_replaced_by_silence_reads_0_db() -> None:
    """With an epsilon in the formula the same stem scores 100 dB in a published port."""
    expected = 1e-6 * rng().standard_normal(10_000)
    assert snr_db(expected, np.zeros_like(expected)) == pytest.approx(0.0, abs=1e-12)
