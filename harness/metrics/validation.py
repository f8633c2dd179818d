"""What is known about one tensor after it was compared with the expected one: values, no maths."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

from harness.metrics.ulp import UlpStatistics

# Covers the roundings of `atol + rtol * |e|`, so that a minimum tolerance passes when it is tried.
ROUND_UP: Final = 1 + 2.0**-50


@dataclass(frozen=True)
class NonFinite:
    """How many elements of a tensor are not finite."""

    nan: int
    positive_inf: int
    negative_inf: int

    @property
    def total(self) -> int:
        """All elements that are not finite."""
        return self.nan + self.positive_inf + self.negative_inf


@dataclass(frozen=True)
class ValidationMetrics:
    """How far ``actual`` is from ``expected``. Every number is a plain Python number.

    Indices are those of the first of the greatest; None where nothing differs.

    Attributes:
        shape: of both tensors.
        dtype: of ``expected``.
        actual_dtype: of ``actual``.
        size: number of elements.
        rtol: the relative tolerance that was asked about.
        atol: the absolute tolerance that was asked about.
        expected_rms_dbfs: level of ``expected``; ``-inf`` for zeros.
        error_rms_dbfs: level of ``actual - expected``.
        snr_db: as :func:`snr_db`.
        max_abs_error: greatest |a - e|.
        max_abs_error_index: where.
        max_rel_error: greatest |a - e| / |e|; ``inf`` where e is 0 and a is not.
        max_rel_error_index: where.
        mean_abs_error: mean |a - e|.
        mismatched: number of elements outside the tolerance.
        mismatched_share: the same as a share of all, 0 to 1.
        tolerance_ratio: greatest |a - e| / (atol + rtol * |e|). At most 1 exactly when all elements
            are close.
        tolerance_ratio_index: where: the element that decides.
        minimum_rtol: the least rtol that would have passed with this atol; ``inf`` where none
            would.
        minimum_atol: the least atol that would have passed with this rtol; ``inf`` where none
            would.
        cosine_similarity: of both tensors as vectors, -1 to 1; NaN where one is zero or its squares
            are not finite.
        expected_non_finite: NaN and infinities in ``expected``.
        actual_non_finite: NaN and infinities in ``actual``.
        ulp: distances in units in the last place, if asked for.
    """

    shape: tuple[int, ...]
    dtype: str
    actual_dtype: str
    size: int
    rtol: float
    atol: float
    expected_rms_dbfs: float
    error_rms_dbfs: float
    snr_db: float
    max_abs_error: float
    max_abs_error_index: tuple[int, ...] | None
    max_rel_error: float
    max_rel_error_index: tuple[int, ...] | None
    mean_abs_error: float
    mismatched: int
    mismatched_share: float
    tolerance_ratio: float
    tolerance_ratio_index: tuple[int, ...] | None
    minimum_rtol: float
    minimum_atol: float
    cosine_similarity: float
    expected_non_finite: NonFinite
    actual_non_finite: NonFinite
    ulp: UlpStatistics | None = None

    @property
    def is_close(self) -> bool:
        """Whether ``torch.allclose(actual, expected, rtol, atol)`` holds in float64."""
        return self.mismatched == 0

    @property
    def is_identical(self) -> bool:
        """Whether every element equals its counterpart (0.0 equals -0.0; NaN equals nothing)."""
        return self.max_abs_error == 0

    @property
    def minimum_tolerance(self) -> tuple[float, float]:
        """The least (rtol, atol) in the same proportion that would have passed; or infinities."""
        if math.isinf(self.tolerance_ratio):
            return math.inf, math.inf
        ratio = self.tolerance_ratio * ROUND_UP
        return self.rtol * ratio, self.atol * ratio

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values; infinities and NaN stay floats."""
        return asdict(self)
