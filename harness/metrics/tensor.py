"""How far one tensor is from another: two real arrays of one shape in, plain Python numbers out.

Conventions
-----------
- ``expected`` (e) is the reference, ``actual`` (a) the candidate, of any real dtypes of at most 64
  bits. Everything is computed in float64 (integers are subtracted before) and in chunks: the extra
  memory is a few MB whatever the size. Partial sums are added with one rounding, so that results
  don't depend on threads at all, and on the chunk size in their last bits only.
- Levels are in dBFS (an RMS of 1.0 is 0 dBFS), ratios in dB. No epsilon is added to anything.
- Shapes must be equal. Nothing is broadcast, reshaped or permuted.
- Closeness is that of ``torch.allclose(actual, expected)``: ``|a - e| <= atol + rtol * |e|``; equal
  infinities are close; NaN is close to nothing.
- An element with NaN, or with an infinity that has not its equal, has the error ``inf``: it is the
  greatest error, it has an index, and no tolerance lets it pass. An infinity with its equal has the
  error 0, but a ratio of energies with it is undefined: NaN.

Metrics
-------
* :func:`snr_db`: the signal-to-noise ratio, 10 log10(sum e^2 / sum (e - a)^2).
* :func:`compute_numerical_diff`: everything that a check or a report wants to know, in one walk
  over the data.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ParityError
from harness.metrics._arrays import CHUNK_ELEMENTS, FloatArray, RealArray, float64_chunks, real_pair
from harness.metrics.levels import EnergySum, precise_sum, ratio_db_from_log10
from harness.metrics.ulp import UlpStatistics, ulp_statistics

# Covers the roundings of `atol + rtol * |e|`, so that a minimum tolerance passes when it is tried.
_ROUND_UP: Final = 1 + 2.0**-50


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

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values; infinities and NaN stay floats."""
        return asdict(self)


def snr_db(expected: npt.ArrayLike, actual: npt.ArrayLike) -> float:
    """Signal-to-noise ratio 10 log10(sum e^2 / sum (e - a)^2) in dB, in float64, with nothing
    added.

    ``inf`` exactly where the tensors are equal, zeros included; ``-inf`` where ``expected`` is zero
    and ``actual`` is not, or ``actual`` alone is infinite; NaN where NaN is anywhere, or an
    infinity in ``expected``.

    Args:
        expected: real, any shape.
        actual: real, the same shape.

    Raises:
        ParityError: if the shapes differ, or a tensor is empty or not real.
    """
    reference, candidate = real_pair(expected, actual)
    reference_energy, error_energy = EnergySum(), EnergySum()
    with np.errstate(all="ignore"):
        for offset, e, a in float64_chunks(reference, candidate):
            reference_energy.add(e)
            error_energy.add(_error(reference, candidate, offset, e, a))
    if reference_energy.log10 == math.inf:
        return math.nan
    return ratio_db_from_log10(reference_energy.log10, error_energy.log10)


def compute_numerical_diff(
    expected: npt.ArrayLike,
    actual: npt.ArrayLike,
    *,
    rtol: float,
    atol: float,
    ulp_dtype: npt.DTypeLike | None = None,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> ValidationMetrics:
    """Measures everything about ``actual`` against ``expected`` in one walk.

    Args:
        expected: real, any shape.
        actual: real, the same shape.
        rtol: relative tolerance, finite and not negative.
        atol: absolute tolerance, finite and not negative.
        ulp_dtype: float16, float32 or float64 to also count distances in its units in the last
            place (this doubles the time); None to leave that out.
        chunk_elements: elements looked at in one step.

    Raises:
        ParityError: if the shapes differ, a tensor is empty or not real, or a tolerance is negative
            or not finite.
    """
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ParityError(f"{name} is {tolerance}, expected a finite number of at least 0")
    reference, candidate = real_pair(expected, actual)
    walk = _Walk(float(rtol), float(atol))
    with np.errstate(all="ignore"):
        for offset, e, a in float64_chunks(reference, candidate, chunk_elements):
            walk.add(offset, e, a, _error(reference, candidate, offset, e, a))
    ulp = None if ulp_dtype is None else ulp_statistics(reference, candidate, dtype=ulp_dtype)
    return walk.metrics(reference.shape, str(reference.dtype), str(candidate.dtype), ulp)


def _error(
    expected: RealArray, actual: RealArray, offset: int, e: FloatArray, a: FloatArray
) -> FloatArray:
    """|a - e| of a chunk; of integers before float64 rounds those beyond 2^53."""
    if (expected.dtype.kind, actual.dtype.kind) not in (("i", "i"), ("u", "u")):
        return np.abs(a - e)
    pair = [tensor.flat[offset : offset + e.size] for tensor in (expected, actual)]
    larger, smaller = np.maximum(*pair), np.minimum(*pair)
    # Wrapping subtraction is right even where int64 would overflow.
    return np.asarray(larger.astype(np.uint64) - smaller.astype(np.uint64), np.float64)


class _Peak:
    """The greatest value so far, and the flat index of its first element."""

    def __init__(self) -> None:
        self.value = 0.0
        self.position: int | None = None

    def add(self, values: FloatArray, offset: int) -> None:
        # fmax passes over NaN, which here is 0 / 0: no error against no allowance.
        value = float(np.fmax.reduce(values))
        if value > self.value:
            self.value = value
            self.position = offset + int(np.argmax(values == value))

    def index(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if self.position is None:
            return None
        return tuple(int(i) for i in np.unravel_index(self.position, shape))


class _Walk:
    """What is known after each chunk."""

    def __init__(self, rtol: float, atol: float) -> None:
        self.rtol, self.atol = rtol, atol
        self.expected_energy, self.actual_energy = EnergySum(), EnergySum()
        self.error_energy = EnergySum()
        self.products: list[float] = []
        self.errors: list[float] = []
        self.absolute, self.relative, self.ratio = _Peak(), _Peak(), _Peak()
        self.rtol_needed, self.atol_needed = _Peak(), _Peak()
        self.mismatched = 0
        self.expected_counts = np.zeros(3, dtype=np.int64)
        self.actual_counts = np.zeros(3, dtype=np.int64)

    def add(self, offset: int, e: FloatArray, a: FloatArray, error: FloatArray) -> None:
        magnitude = np.abs(e)
        self.expected_energy.add(e, float(np.max(magnitude)))
        self.actual_energy.add(a)
        self.products.append(float(np.sum(e * a)))
        total = float(np.sum(error))
        if not math.isfinite(total):
            self._settle_non_finite(e, a, error, magnitude)
            total = float(np.sum(error))
        self.errors.append(total)
        self.absolute.add(error, offset)
        self.error_energy.add(error)
        self._judge(offset, error, magnitude)

    def _settle_non_finite(
        self, e: FloatArray, a: FloatArray, error: FloatArray, magnitude: FloatArray
    ) -> None:
        """Gives equal infinities no error and every other non-finite pair an infinite one, in
        place."""
        error[~np.isfinite(error)] = math.inf
        error[e == a] = 0.0
        magnitude[~np.isfinite(magnitude)] = 0.0
        for counts, values in ((self.expected_counts, e), (self.actual_counts, a)):
            counts += [np.isnan(values).sum(), np.isposinf(values).sum(), np.isneginf(values).sum()]

    def _judge(self, offset: int, error: FloatArray, magnitude: FloatArray) -> None:
        relative_allowance = self.rtol * magnitude
        allowed = self.atol + relative_allowance
        # An infinite error is never close, not even where the allowance overflows.
        np.minimum(allowed, np.finfo(np.float64).max, out=allowed)
        self.mismatched += int(np.count_nonzero(error > allowed))
        self.ratio.add(error / allowed, offset)
        self.relative.add(error / magnitude, offset)
        self.rtol_needed.add((error - self.atol) / magnitude, offset)
        self.atol_needed.add(error - relative_allowance, offset)

    def metrics(
        self, shape: tuple[int, ...], dtype: str, actual_dtype: str, ulp: UlpStatistics | None
    ) -> ValidationMetrics:
        size = math.prod(shape)
        return ValidationMetrics(
            shape=shape,
            dtype=dtype,
            actual_dtype=actual_dtype,
            size=size,
            rtol=self.rtol,
            atol=self.atol,
            expected_rms_dbfs=10 * self.expected_energy.mean_log10(size),
            error_rms_dbfs=10 * self.error_energy.mean_log10(size),
            snr_db=self._snr_db(),
            max_abs_error=self.absolute.value,
            max_abs_error_index=self.absolute.index(shape),
            max_rel_error=self.relative.value,
            max_rel_error_index=self.relative.index(shape),
            mean_abs_error=precise_sum(self.errors) / size,
            mismatched=self.mismatched,
            mismatched_share=self.mismatched / size,
            tolerance_ratio=self.ratio.value,
            tolerance_ratio_index=self.ratio.index(shape),
            minimum_rtol=self.rtol_needed.value * _ROUND_UP,
            minimum_atol=self.atol_needed.value * _ROUND_UP,
            cosine_similarity=self._cosine_similarity(),
            expected_non_finite=_non_finite(self.expected_counts),
            actual_non_finite=_non_finite(self.actual_counts),
            ulp=ulp,
        )

    def _snr_db(self) -> float:
        if self.expected_energy.log10 == math.inf or self.actual_counts[0]:
            return math.nan
        return ratio_db_from_log10(self.expected_energy.log10, self.error_energy.log10)

    def _cosine_similarity(self) -> float:
        product = precise_sum(self.products)
        norms = math.sqrt(self.expected_energy.value) * math.sqrt(self.actual_energy.value)
        if not (math.isfinite(product) and 0 < norms < math.inf):
            return math.nan
        return max(-1.0, min(1.0, product / norms))


def _non_finite(counts: npt.NDArray[np.int64]) -> NonFinite:
    return NonFinite(*(int(count) for count in counts))
