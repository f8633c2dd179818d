"""Causes in tensors without a form of their own, such as taps; and causes of another shape."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from harness.comparison.causes import Cause, FloatArray, Hypothesis, select
from harness.comparison.signals import WaveProblem, levels, likeness, lost, overlap
from harness.metrics import snr_db
from harness.verdicts import Gate, Verdict, compare

MOST_VALUES: Final = 1 << 22
_FURTHEST: Final = 3
_MOST_ROWS: Final = 256
_MOST_CUTS: Final = 9
"""Where a longer axis may have been cut: at either end, or up to so many places between."""


def explain_array(expected: npt.NDArray[Any], actual: npt.NDArray[Any], gate: Gate) -> Cause | None:
    """Return why ``actual`` breaks ``gate``, None if no single cause explains it.

    Args:
        expected, actual: of one shape, any real type; finite.
        gate: what is broken.
    """
    part = _part(expected, actual)
    e, a = expected[part].astype(np.float64), actual[part].astype(np.float64)
    return select(_hypotheses(e, a), e, a, gate)


def explain_shape(expected: npt.NDArray[Any], actual: npt.NDArray[Any], gate: Gate) -> Cause | None:
    """Return what makes a tensor of another shape equal: a cut, an order of axes, or axes of one.

    Args:
        expected, actual: of different shapes, any real type.
        gate: what the rest must hold.
    """
    if not (expected.size and actual.size):
        return None
    found = (
        Cause("shape", words, snr_db(one, other))
        for words, one, other in _fittings(expected, actual)
        if compare(one, other.astype(one.dtype), gate).verdict is Verdict.PASS
    )
    return max(found, key=lambda cause: cause.snr_db, default=None)


def _part(expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> tuple[slice, ...]:
    """Return what is searched: all, or as much of the longest axis as may be, from its start."""
    if expected.size <= MOST_VALUES:
        return (slice(None),) * expected.ndim
    axis = int(np.argmax(expected.shape))
    kept = max(1, expected.shape[axis] * MOST_VALUES // expected.size)
    with np.errstate(over="ignore", invalid="ignore"):
        position = np.argmax(np.abs(actual.astype(np.float32) - expected.astype(np.float32)))
    worst = int(np.unravel_index(int(position), expected.shape)[axis])
    start = min(max(0, worst - kept // 2), expected.shape[axis] - kept)
    return (slice(None),) * axis + (slice(start, start + kept),)


def _hypotheses(e: FloatArray, a: FloatArray) -> Iterator[Hypothesis]:
    if lost(a, e):
        yield Hypothesis("silence", "zero everywhere: the tensor is lost", 0, a.copy())
        return
    flat_e, flat_a = e.reshape(1, -1), a.reshape(1, -1)
    for guess in levels(WaveProblem(flat_e, flat_a, (0,), 0, flat_e.shape[1], 1)):
        yield replace(guess, predicted=guess.predicted.reshape(e.shape), region=(...,))
    for axis in range(e.ndim):
        yield from _shifts(e, a, axis)
        yield from _orders(e, a, axis)


def _shifts(e: FloatArray, a: FloatArray, axis: int) -> Iterator[Hypothesis]:
    for shift in itertools.chain(range(-_FURTHEST, 0), range(1, _FURTHEST + 1)):
        if abs(shift) * 3 > e.shape[axis]:
            continue
        words = f"values moved by {shift:+d} along axis {axis} (of {e.shape[axis]})"
        yield Hypothesis("shift", words, 1, e[overlap(axis, -shift)], overlap(axis, shift))


def _orders(e: FloatArray, a: FloatArray, axis: int) -> Iterator[Hypothesis]:
    """Yield the order of the rows along an axis that fits best."""
    rows = e.shape[axis]
    if not 2 <= rows <= _MOST_ROWS:
        return
    one, other = (np.moveaxis(array, axis, 0).reshape(rows, -1) for array in (e, a))
    order = linear_sum_assignment(-likeness(other, one))[1]
    moved = np.flatnonzero(order != np.arange(rows))
    if moved.size:
        words = (
            f"axis {axis} (of {rows}) is in another order: {moved.size} moved, the first is "
            f"{moved[0]}, which is {order[moved[0]]}"
        )
        yield Hypothesis("layout", words, 0.5, np.take(e, order, axis=axis))


def _fittings(
    expected: npt.NDArray[Any], actual: npt.NDArray[Any]
) -> Iterator[tuple[str, npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yield words and two arrays of one shape for each way to make the shapes agree."""
    squeezed = [axis for axis in expected.shape if axis != 1]
    if squeezed == [axis for axis in actual.shape if axis != 1]:
        yield "only the axes of length 1 differ", expected, actual.reshape(expected.shape)
    if sorted(expected.shape) == sorted(actual.shape) and expected.ndim <= 5:
        for axes in itertools.permutations(range(actual.ndim)):
            turned = actual.transpose(axes)
            if turned.shape == expected.shape and list(axes) != sorted(axes):
                yield f"the axes are in another order: transposed by {axes}", expected, turned
    differing = [
        axis
        for axis, (one, other) in enumerate(zip(expected.shape, actual.shape, strict=False))
        if one != other
    ]
    if expected.ndim == actual.ndim and len(differing) == 1:
        yield from _cuts(expected, actual, differing[0])


def _cuts(
    expected: npt.NDArray[Any], actual: npt.NDArray[Any], axis: int
) -> Iterator[tuple[str, npt.NDArray[Any], npt.NDArray[Any]]]:
    surplus = actual.shape[axis] - expected.shape[axis]
    longer, shorter = (actual, expected) if surplus > 0 else (expected, actual)
    size, count = shorter.shape[axis], abs(surplus)
    starts = sorted({0, count, *range(0, count + 1, max(1, math.ceil(count / _MOST_CUTS)))})
    for start in starts:
        part = longer[(slice(None),) * axis + (slice(start, start + size),)]
        ends = [f"the first {start}"] * bool(start)
        ends += [f"the last {count - start}"] * bool(count - start)
        place = f"axis {axis} (of {expected.shape[axis]})"
        if axis == expected.ndim - 2 and count == 1 and surplus > 0:
            place += ", where an STFT has its bins, DC first and Nyquist last,"
        if surplus > 0:
            words = f"{place} has {count} more: without {' and '.join(ends)} it is right"
            yield words, shorter, part
        else:
            words = f"{place} lacks {' and '.join(ends)}, the rest is right"
            yield words, part, shorter
