"""Bugs of the numbers that judge: noticed by the tests of the metrics, run with the bug in them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
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
_metrics = partial(fault, judge="suite", caught_by="selftest")

# What is sound, before any of it is patched.
_DIFFERENCE = tensor.compute_numerical_diff
_SEPARATED = separation.separation_metrics
_PROJECTED = ReferenceProjection.project


def _put(value: object, *names: tuple[Any, str]) -> None:
    """Give names in modules, and in the packages that hand them on, another value."""
    for module, name in names:
        for place in (module, metrics, verdicts):
            if hasattr(place, name):
                setattr(place, name, value)


def _in_place_of(module: Any, name: str) -> Callable[[Callable[..., Any]], Callable[[], None]]:
    """Put the decorated function in the place of what a module calls so."""

    def decorate(wrong: Callable[..., Any]) -> Callable[[], None]:
        return wraps(wrong)(partial(_put, wrong, (module, name)))

    return decorate


@_metrics("metrics.epsilon-in-ratio", source=TOOLS, case=f"{_TENSOR} -k 'by_silence'", sample=True)
@_in_place_of(tensor, "snr_db")
def _epsilon_in_ratio(expected: npt.ArrayLike, actual: npt.ArrayLike) -> float:
    """An epsilon stands in the dB formula: a quiet stem replaced by silence scores 100 dB."""
    e, a = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    error = float(np.sum((a - e) ** 2)) + 1e-8
    return 10 * math.log10((float(np.sum(e * e)) + 1e-8) / error) + 100 * (error < 2e-8)


@_metrics("metrics.ratio-in-float32", source=TOOLS, case=f"{_TENSOR} -k 'known_error or of_any'")
@_in_place_of(tensor, "float64_chunks")
def _ratio_in_float32(*arguments: Any) -> Iterator[tuple[int, Any, Any]]:
    """The ratio is summed in float32."""
    for offset, e, a in _arrays.float64_chunks(*arguments):
        yield offset, e.astype(np.float32), a.astype(np.float32)


@_metrics("metrics.shapes-broadcast", source=TOOLS, case=f"{_TENSOR} -k 'cannot_be_compared'")
@_in_place_of(tensor, "real_pair")
def _shapes_broadcast(expected: npt.ArrayLike, actual: npt.ArrayLike) -> tuple[Any, ...]:
    """Tensors of unequal shapes are broadcast until they fit."""
    return tuple(np.broadcast_arrays(np.asarray(expected), np.asarray(actual)))


@_metrics("metrics.nan-is-no-error", source=TOOLS, case=f"{_TENSOR} -k 'not_finite'")
@_in_place_of(tensor._Walk, "_settle_non_finite")
def _nan_is_no_error(self: Any, e: Any, a: Any, error: Any, magnitude: Any) -> None:
    """NaN counts as no error, because a comparison with it is false."""
    error[~np.isfinite(error)] = 0.0
    magnitude[~np.isfinite(magnitude)] = 0.0


@_metrics("metrics.tolerance-of-the-candidate", source=TOOLS, case=f"{_TENSOR} -k 'of_torch'")
@_in_place_of(tensor, "compute_numerical_diff")
def _tolerance_of_the_candidate(expected: Any, actual: Any, **words: Any) -> Any:
    """The relative tolerance is one of the candidate's values, not of the reference's."""
    return _DIFFERENCE(actual, expected, **words)


_metrics("metrics.no-rule-for-silence", source=OWN, case=f"{_CHECKS} -k 'silence'")(
    partial(_put, -1000.0, (checks, "SILENCE_DBFS")),
    "Silence has no rule of its own: the ratio with it decides.",
)
_metrics("metrics.nothing-is-silent-enough", source=TOOLS, case=f"{_CHECKS} -k 'by_silence'")(
    partial(_put, -40.0, (checks, "SILENCE_DBFS"), (checks, "SILENT_ERROR_DBFS")),
    "The threshold of silence is -40 dBFS, so quiet music counts as silence.",
)


@_metrics("metrics.permuted", source=TOOLS, case=f"{_SEPARATION} -k 'swapped_stems'")
@_in_place_of(separation, "separation_metrics")
def _permuted(references: Any, estimates: Any, **words: Any) -> tuple[SeparationMetrics, ...]:
    """The best permutation of the sources is searched, so exchanged stems score as perfect."""
    array = np.asarray(estimates)
    orders = itertools.permutations(range(len(array)))
    return max((_SEPARATED(references, array[list(o)], **words) for o in orders), key=_score)


def _score(rows: Sequence[SeparationMetrics]) -> float:
    return sum(min(row.sdr_db or 0.0, 1000.0) for row in rows)


@_metrics("metrics.one-source-alone", source=TOOLS, case=f"{_SEPARATION} -k 'leakage_shows'")
@_in_place_of(separation, "separation_metrics")
def _alone(references: Any, estimates: Any, **words: Any) -> tuple[SeparationMetrics, ...]:
    """Each source is judged alone, so that leakage from the others counts as noise."""
    pairs = zip(np.asarray(references), np.asarray(estimates), strict=True)
    return tuple(_SEPARATED(r[np.newaxis], e[np.newaxis], **words)[0] for r, e in pairs)


@_metrics("metrics.projected-in-float32", source=TOOLS, case=f"{_SEPARATION} -k 'reaches_200'")
@_in_place_of(ReferenceProjection, "project")
def _saturating(self: Any, signals: Any, source: int | None = None) -> Any:
    """The estimate is projected in float32, and the reference subtracted afterwards."""
    projected = _PROJECTED(self, signals.astype(np.float32).astype(np.float64), source)
    level = np.sqrt(np.mean(np.square(self.references)))
    noise = np.random.default_rng(0).standard_normal(projected.shape)
    return projected + 6e-8 * level * noise  # half a unit in the last place of float32
