"""What every metric of separated stems begins with: residuals, and their parts by projection.

In: references, factorised once, and estimates, real [sources, channels, n]. Out: which sources can
be measured, and for each of those P_j e and P e of its residual e (``separation`` says what they
mean).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import ParityError
from harness.metrics._arrays import FloatArray, RealArray, real_pair
from harness.metrics.levels import rms
from harness.metrics.projection import ReferenceProjection


@dataclass(frozen=True)
class Measurable:
    """References and estimates that fit together, and which of the sources can be measured.

    Attributes:
        projection: the references, factorised.
        estimates: real [sources, channels, n].
        names: of all sources.
        reasons: for each source why it can't be measured, or None.
        places: indices of those that can.
        residuals: float64 [measured sources, channels, n]: estimate - reference.
    """

    projection: ReferenceProjection
    estimates: RealArray
    names: tuple[str, ...]
    reasons: tuple[str | None, ...]
    places: tuple[int, ...]
    residuals: FloatArray

    @property
    def references(self) -> RealArray:
        """Real [sources, channels, n]."""
        return self.projection.references


def measurable(
    references: npt.ArrayLike | ReferenceProjection,
    estimates: npt.ArrayLike,
    sources: Sequence[str] | None,
    filter_length: int,
) -> Measurable:
    """What every metric of separated sources begins with; errors as :func:`separation_metrics`."""
    if isinstance(references, ReferenceProjection):
        projection = references
    else:
        projection = ReferenceProjection(references, filter_length=filter_length)
    reference, estimate = real_pair(projection.references, estimates)
    count = reference.shape[0]
    names = [str(j) for j in range(count)] if sources is None else list(sources)
    if len(names) != count:
        raise ParityError(f"{len(names)} source names ({', '.join(names)}) for {count} references")
    reasons = [_unmeasurable(j, projection, estimate[j]) for j in range(count)]
    todo = [j for j, reason in enumerate(reasons) if reason is None]
    residuals = np.empty((len(todo), *reference.shape[1:]))
    for place, j in enumerate(todo):
        np.subtract(estimate[j], reference[j], out=residuals[place], dtype=np.float64)
    return Measurable(projection, estimate, tuple(names), tuple(reasons), tuple(todo), residuals)


@dataclass(frozen=True)
class Parts:
    """One source and its residual's parts, all float64 [channels, n + taps - 1]."""

    place: int  # of the source among all
    estimate_rms: float
    source: FloatArray
    error: FloatArray  # e
    spatial: FloatArray  # P_j e
    joint: FloatArray  # P e


def decomposed(todo: Measurable) -> Iterator[Parts]:
    """Yield the parts of each source that can be measured, in order."""
    projection = todo.projection
    channels = projection.channels
    projected = projection.project(todo.residuals.reshape(-1, projection.length))
    padding = ((0, 0), (0, projection.filter_length - 1))
    for index, j in enumerate(todo.places):
        yield Parts(
            j,
            rms(todo.estimates[j]),
            np.pad(todo.references[j].astype(np.float64), padding),
            np.pad(todo.residuals[index], padding),
            projection.project(todo.residuals[index], source=j),
            projected[index * channels : (index + 1) * channels],
        )


def _unmeasurable(source: int, projection: ReferenceProjection, estimate: RealArray) -> str | None:
    """Why a source can't be measured, or None if it can."""
    if source not in projection.active:
        return "the reference is silent"
    broken = int(np.count_nonzero(~np.isfinite(estimate)))
    return f"the estimate holds {broken} samples that are not finite" if broken else None
