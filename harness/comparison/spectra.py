"""Causes in spectrograms: [..., 2 x channels, bins, frames], real and imaginary parts as planes.

What can be told from the numbers alone is here; what needs the signal behind them (another window,
a shift by samples, another padding) is in `transforms`. A network's ``freq`` has one more axis, its
sources, each of which may be another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from harness.comparison.causes import Cause, FloatArray, Hypothesis, located, select, wanted_db
from harness.comparison.signals import fitted_gain, likeness, lost, overlap, roundings, with_gain
from harness.comparison.transforms import left_padding, transforms
from harness.verdicts import Gate, Verdict, compare

MOST_VALUES: Final = 1 << 22
"""How many values are searched for a cause, around the worst frame."""
_FEWEST_FRAMES: Final = 24
_FURTHEST_FRAME: Final = 8
_FURTHEST_BIN: Final = 2
_EDGE_FRAMES: Final = 3
"""Frames at each end that may reach beyond the signal: four cover each sample, one is inside."""
_PLANES: Final = ("left real", "left imaginary", "right real", "right imaginary")


def explain_spectrum(
    expected: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    gate: Gate,
    *,
    sources: Sequence[str] = (),
) -> Cause | None:
    """Return why ``actual`` breaks ``gate``, None if no single cause explains it.

    Args:
        expected, actual: [..., planes, bins, frames] of one shape, any real type; finite.
        gate: what is broken.
        sources: names of the spectra on the leading axes, in their order.
    """
    shape = expected.shape[-3:]
    e_all, a_all = expected.reshape(-1, *shape), actual.reshape(-1, *shape)
    bad = [
        index
        for index in range(e_all.shape[0])
        if compare(e_all[index], a_all[index], gate).verdict is not Verdict.PASS
    ]
    frame_error, frame_level = _frame_energies(e_all[bad], a_all[bad])
    frames = _frames(frame_error, len(bad) * shape[0] * shape[1])
    e = e_all[bad, ..., frames].astype(np.float64)
    a = a_all[bad, ..., frames].astype(np.float64)
    whole = e_all[..., frames]
    guesses = itertools.chain(
        _silence(e, a),
        _other_sources(whole, a, bad, sources),
        _layouts(e, a),
        _scales(e, a),
        _moved(e, a),
        _lost_bins(e, a),
        transforms(e, a),
        _padding(e, a, frame_error, frame_level, frames, gate),
    )
    cause = select(guesses, e, a, gate)
    if cause is None or len(bad) == e_all.shape[0] or cause.name == "another stem":
        return cause
    return located(cause, " and ".join(_called(index, sources) for index in bad))


def _frame_energies(
    expected: npt.NDArray[Any], actual: npt.NDArray[Any]
) -> tuple[FloatArray, FloatArray]:
    """Return the energy of the error and of the reference in each frame."""
    error, level = np.zeros((2, expected.shape[-1]))
    for one, other in zip(expected, actual, strict=True):
        for plane, its in zip(one, other, strict=True):
            e, a = plane.astype(np.float64), its.astype(np.float64)
            error += np.sum((a - e) ** 2, axis=0)
            level += np.sum(e**2, axis=0)
    return error, level


def _frames(error: FloatArray, values: int) -> slice:
    """Return the frames that are searched: all, or as many as may be, around the worst."""
    total, most = error.size, max(_FEWEST_FRAMES, MOST_VALUES // max(values, 1))
    if total <= most:
        return slice(0, total)
    start = min(max(0, int(np.argmax(error)) - most // 2), total - most)
    return slice(start, start + most)


def _called(index: int, sources: Sequence[str]) -> str:
    return sources[index] if index < len(sources) else f"spectrum {index + 1}"


def _silence(e: FloatArray, a: FloatArray) -> Iterator[Hypothesis]:
    if lost(a, e):
        yield Hypothesis("silence", "silent: the spectrum is lost", 0, a.copy())


def _other_sources(
    whole: npt.NDArray[Any], a: FloatArray, bad: list[int], sources: Sequence[str]
) -> Iterator[Hypothesis]:
    if whole.shape[0] < 2:
        return
    norms = np.array([np.linalg.norm(row.astype(np.float64)) for row in whole]) + 1e-300
    alike = np.array([[np.vdot(one, row) for row in whole] for one in a]) / norms
    found = [int(index) for index in np.argmax(alike, axis=1)]
    moved = [
        f"{_called(at, sources)} is {_called(is_, sources)}"
        for at, is_ in zip(bad, found, strict=True)
        if at != is_
    ]
    if moved:
        words = "another stem: " + ", ".join(moved)
        yield Hypothesis("another stem", words, 0, whole[found].astype(np.float64))


def _layouts(e: FloatArray, a: FloatArray) -> Iterator[Hypothesis]:
    """Yield the order and the signs of the planes that fit best."""
    planes = e.shape[1]
    alike = likeness(*(np.moveaxis(side, 1, 0).reshape(planes, -1) for side in (a, e)))
    order = [int(plane) for plane in linear_sum_assignment(-np.abs(alike))[1]]
    signs = [1 if alike[plane, source] >= 0 else -1 for plane, source in enumerate(order)]
    if order == list(range(planes)) and min(signs) > 0:
        return
    name, words = _layout_words(order, signs)
    predicted = e[:, order] * np.array(signs, dtype=np.float64)[:, None, None]
    yield from with_gain(Hypothesis(name, words, 0, predicted), a)


def _layout_words(order: list[int], signs: list[int]) -> tuple[str, str]:
    same = order == list(range(len(order)))
    if same and max(signs) < 0:
        return "polarity", "the polarity is inverted"
    if same and signs == [1, -1] * (len(order) // 2):
        return "conjugate", "the imaginary parts have the opposite sign (conjugate)"
    positive = min(signs) > 0
    if positive and order == [2, 3, 0, 1]:
        return "channels", "left and right are exchanged"
    if positive and order == [1, 0, 3, 2]:
        return "layout", "real and imaginary parts are exchanged"
    called = _PLANES if len(order) == len(_PLANES) else [f"{n + 1}" for n in range(len(order))]
    parts = [
        f"{'' if sign > 0 else 'minus '}{called[source]}"
        for source, sign in zip(order, signs, strict=True)
    ]
    return "layout", f"the planes are [{', '.join(parts)}]"


def _scales(e: FloatArray, a: FloatArray) -> Iterator[Hypothesis]:
    factor = fitted_gain(e, a)
    if factor > 0:
        inverse = f" (1/{1 / factor:.5g})" if factor < 1 else ""
        words = f"the scale is x{factor:.6g}{inverse}"
        yield Hypothesis("scale", words, 1, factor * e)
    yield from roundings(e, a)


def _moved(e: FloatArray, a: FloatArray) -> Iterator[Hypothesis]:
    """Yield shifts by frames and by bins."""
    frame = _best_shift(e, a, 3, _FURTHEST_FRAME)
    if frame:
        side = "late" if frame > 0 else "early"
        words = f"{side} by {abs(frame)} {'frame' if abs(frame) == 1 else 'frames'}"
        moved = e[overlap(3, -frame)]
        yield Hypothesis("frame offset", words, 1, moved, overlap(3, frame))
    step = _best_shift(e, a, 2, _FURTHEST_BIN)
    if step:
        words = f"bin k holds bin k {'-' if step > 0 else '+'} {abs(step)}"
        if step == -1:
            words += ": the lowest bin was dropped instead of the highest"
        yield Hypothesis("bin offset", words, 1, e[overlap(2, -step)], overlap(2, step))


def _best_shift(e: FloatArray, a: FloatArray, axis: int, furthest: int) -> int:
    """Return the shift along an axis under which the arrays are most alike."""

    def alike(shift: int) -> float:
        one, other = e[overlap(axis, -shift)], a[overlap(axis, shift)]
        norm = float(np.linalg.norm(one) * np.linalg.norm(other))
        return float(np.vdot(one, other)) / norm if norm > 0 else 0.0

    furthest = min(furthest, e.shape[axis] // 3)
    return max(range(-furthest, furthest + 1), key=alike)


def _lost_bins(e: FloatArray, a: FloatArray) -> Iterator[Hypothesis]:
    axes = (0, 1, 3)
    bins = np.flatnonzero((np.abs(a).max(axis=axes) == 0) & (np.abs(e).max(axis=axes) > 0))
    if not bins.size:
        return
    predicted = e.copy()
    predicted[:, :, bins] = 0
    words = f"{bins.size} bins are zero, the first of them {bins[0]}"
    if bins.size == 1:
        special = {0: " (0 Hz)", e.shape[2] - 1: " (the highest)"}.get(int(bins[0]), "")
        words = f"bin {bins[0]}{special} is zero"
    yield Hypothesis("lost bins", words, 0.5, predicted)


def _padding(
    e: FloatArray,
    a: FloatArray,
    frame_error: FloatArray,
    frame_level: FloatArray,
    frames: slice,
    gate: Gate,
) -> Iterator[Hypothesis]:
    """Yield that only the frames at the ends are wrong."""
    total = frame_error.size
    floor = np.maximum(frame_level, frame_level.mean() / 100)
    bad = np.flatnonzero(frame_error > floor * 10 ** (-wanted_db(gate) / 10))
    inner = (bad >= _EDGE_FRAMES) & (bad < total - _EDGE_FRAMES)
    if not bad.size or inner.any() or total < 4 * _EDGE_FRAMES:
        return
    left, right = int(np.sum(bad < _EDGE_FRAMES)), int(np.sum(bad >= total - _EDGE_FRAMES))
    ends = [f"the first {left}"] * bool(left) + [f"the last {right}"] * bool(right)
    words = f"only {' and '.join(ends)} of {total} frames differ: another padding"
    predicted = e.copy()
    edges = [frame - frames.start for frame in bad if frames.start <= frame < frames.stop]
    predicted[..., edges] = a[..., edges]
    if left and frames.start == 0:
        words += left_padding(e, a)
    yield Hypothesis("padding", words, 1, predicted)
