"""Bugs of the numbers that judge: noticed by the tests of the metrics, run with the bug in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness import metrics, verdicts
from harness.faults.registry import OWN, TOOLS, fault
from harness.metrics import SeparationMetrics, _arrays, separation, tensor
from harness.metrics.projection import ReferenceProjection
from harness.verdicts import checks

_TENSOR = "suites/selftest/metrics/test_metrics_tensor.py"
_SEPARATION = "suites/selftest/metrics/test_metrics_separation.py"
_CHECKS = "suites/selftest/verdicts/test_checks.py"
_metrics = partial(fault, on="suite", caught_by="selftest")
Separation = Callable[..., tuple[SeparationMetrics, ...]]


def _put(module: Any, name: str, value: object) -> None:
    """Give a name in a module, and in the package that hands it on, another value."""
    for place in (module, metrics, verdicts):
        if hasattr(place, name):
            setattr(place, name, value)


@_metrics("metrics.epsilon-in-ratio", source=TOOLS, case=f"{_TENSOR} -k 'by_silence'", sample=True)
def _epsilon_in_ratio() -> None:
    """An epsilon stands in the dB formula: a quiet stem replaced by silence scores 100 dB."""

    def forgiving(expected: npt.ArrayLike, actual: npt.ArrayLike) -> float:
        e, a = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
        error = float(np.sum((a - e) ** 2)) + 1e-8
        return 10 * math.log10((float(np.sum(e * e)) + 1e-8) / error) + 100 * (error < 2e-8)

    _put(tensor, "snr_db", forgiving)


@_metrics("metrics.ratio-in-float32", source=TOOLS, case=f"{_TENSOR} -k 'known_error or of_any'")
def _ratio_in_float32() -> None:
    """The ratio is summed in float32."""
    sound = _arrays.float64_chunks

    def narrow(*arguments: Any) -> Iterator[tuple[int, Any, Any]]:
        for offset, e, a in sound(*arguments):
            yield offset, e.astype(np.float32), a.astype(np.float32)

    _put(tensor, "float64_chunks", narrow)


@_metrics("metrics.shapes-broadcast", source=TOOLS, case=f"{_TENSOR} -k 'cannot_be_compared'")
def _shapes_broadcast() -> None:
    """Tensors of unequal shapes are broadcast until they fit."""

    def fitted(expected: npt.ArrayLike, actual: npt.ArrayLike) -> tuple[Any, ...]:
        return tuple(np.broadcast_arrays(np.asarray(expected), np.asarray(actual)))

    _put(tensor, "real_pair", fitted)


@_metrics("metrics.nan-is-no-error", source=TOOLS, case=f"{_TENSOR} -k 'not_finite'")
def _nan_is_no_error() -> None:
    """NaN counts as no error, because a comparison with it is false."""

    def forgiving(self: Any, e: Any, a: Any, error: Any, magnitude: Any) -> None:
        error[~np.isfinite(error)] = 0.0
        magnitude[~np.isfinite(magnitude)] = 0.0

    tensor._Walk._settle_non_finite = forgiving  # type: ignore[method-assign]


@_metrics("metrics.tolerance-of-the-candidate", source=TOOLS, case=f"{_TENSOR} -k 'of_torch'")
def _tolerance_of_the_candidate() -> None:
    """The relative tolerance is one of the candidate's values, not of the reference's."""
    sound = tensor.compute_numerical_diff

    def exchanged(expected: Any, actual: Any, **words: Any) -> Any:
        return sound(actual, expected, **words)

    _put(tensor, "compute_numerical_diff", exchanged)


@_metrics("metrics.no-rule-for-silence", source=OWN, case=f"{_CHECKS} -k 'silence'")
def _no_rule_for_silence() -> None:
    """Silence has no rule of its own: the ratio with it decides."""
    _put(checks, "SILENCE_DBFS", -1000.0)


@_metrics("metrics.nothing-is-silent-enough", source=TOOLS, case=f"{_CHECKS} -k 'by_silence'")
def _everything_is_silent() -> None:
    """The threshold of silence is -40 dBFS, so quiet music counts as silence."""
    _put(checks, "SILENCE_DBFS", -40.0)
    _put(checks, "SILENT_ERROR_DBFS", -40.0)


@_metrics("metrics.permuted", source=TOOLS, case=f"{_SEPARATION} -k 'swapped_stems'")
def _permuted() -> None:
    """The best permutation of the sources is searched, so exchanged stems score as perfect."""
    sound = separation.separation_metrics

    def permuted(references: Any, estimates: Any, **words: Any) -> tuple[SeparationMetrics, ...]:
        array = np.asarray(estimates)
        orders = itertools.permutations(range(len(array)))
        return max((sound(references, array[list(o)], **words) for o in orders), key=_score)

    _put(separation, "separation_metrics", permuted)


def _score(rows: Sequence[SeparationMetrics]) -> float:
    return sum(min(row.sdr_db or 0.0, 1000.0) for row in rows)


@_metrics("metrics.one-source-alone", source=TOOLS, case=f"{_SEPARATION} -k 'leakage_shows'")
def _one_source_alone() -> None:
    """Each source is judged alone, so that leakage from the others counts as noise."""
    sound = separation.separation_metrics

    def alone(references: Any, estimates: Any, **words: Any) -> tuple[SeparationMetrics, ...]:
        pairs = zip(np.asarray(references), np.asarray(estimates), strict=True)
        return tuple(sound(r[np.newaxis], e[np.newaxis], **words)[0] for r, e in pairs)

    _put(separation, "separation_metrics", alone)


@_metrics("metrics.projected-in-float32", source=TOOLS, case=f"{_SEPARATION} -k 'reaches_200'")
def _projected_in_float32() -> None:
    """The estimate is projected in float32, and the reference subtracted afterwards."""
    sound = ReferenceProjection.project

    def saturating(self: Any, signals: Any, source: int | None = None) -> Any:
        projected = sound(self, signals.astype(np.float32).astype(np.float64), source)
        level = np.sqrt(np.mean(np.square(self.references)))
        noise = np.random.default_rng(0).standard_normal(projected.shape)
        return projected + 6e-8 * level * noise

    ReferenceProjection.project = saturating  # type: ignore[method-assign]
