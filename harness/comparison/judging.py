"""Verdicts on pairs: by the gate of their kind, part by part, with the cause of what fails.

Tensors of different types are held by value: FP16 and integers are exact in a wider float. A signal
is judged as a whole, in each channel and in its worst second, and never converted unless that was
asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import soxr

from harness.audio.contract import SAMPLE_RATE
from harness.comparison.arrays import explain_array, explain_shape
from harness.comparison.causes import UNEXPLAINED, Cause
from harness.comparison.inputs import Audio, Tensor
from harness.comparison.kinds import AUDIO_FILE, TensorKind, kind_of
from harness.comparison.losses import missing_band
from harness.comparison.pairing import Pair
from harness.comparison.spectra import explain_spectrum
from harness.comparison.waves import Others, explain_wave
from harness.errors import ParityError
from harness.layers import stem_outcomes
from harness.verdicts import Gate, Outcome, Verdict, compare, failed, gate

Array = npt.NDArray[Any]

_MOST_INTEGER: Final = 1 << 53
_GREATEST: Final = 1e100
"""Where values are greater, no cause is sought."""


@dataclass(frozen=True)
class ComparisonRequest:
    """How a comparison is to be made.

    Attributes:
        gate: judges everything; None leaves it to the kind of each tensor.
        resample: whether a candidate of another rate is resampled.
        downmix: whether both sides are averaged to one channel where their channels differ.
        sources: names of the stems by their number.
    """

    gate: Gate | None = None
    resample: bool = False
    downmix: bool = False
    sources: Callable[[int], Sequence[str]] = lambda count: ()


@dataclass(frozen=True)
class ComparisonRow:
    """One row of a comparison.

    Attributes:
        name: of the tensor or file.
        stem: which of its stems, if it has several.
        what: which channel, or "worst second"; empty for the whole.
        layer: the rung of the ladder that its gate belongs to.
        gate: what judged it.
        outcome: the verdict; its reason also has the words of the cause.
        cause: what explains the failure.
        notes: what else was done or seen: another type, how the pair was found.
        lacking: the side that has nothing of this name, if one has not.
    """

    name: str
    stem: str
    what: str
    layer: str
    gate: Gate
    outcome: Outcome
    cause: Cause | None = None
    notes: tuple[str, ...] = ()
    lacking: Literal["", "reference", "candidate"] = ""


def judge(
    pair: Pair, rivals: Sequence[Pair], request: ComparisonRequest
) -> tuple[ComparisonRow, ...]:
    """Compare a pair.

    Args:
        pair: what is compared.
        rivals: the other pairs, whose references may stand instead of this one.
        request: how.
    """
    item = pair.expected or pair.actual
    kind = AUDIO_FILE if isinstance(item, Audio) else kind_of(pair.name)
    bounds = gate(kind.gate)
    if request.gate is not None:
        bounds = replace(request.gate, audio=bounds.audio)
    notes = (pair.note,) if pair.note else ()
    unlike = failed("one is an audio file and the other a tensor: convert one of them")
    row = ComparisonRow(pair.name, "", "", kind.layer, bounds, unlike, None, notes)
    if pair.expected is None:
        row = _failed(row, "the reference has no such tensor", "", pair.name)
        return (replace(row, lacking="reference"),)
    if pair.actual is None:
        row = _failed(row, "the candidate has no such tensor", pair.name, "")
        return (replace(row, lacking="candidate"),)
    if isinstance(pair.expected, Audio) and isinstance(pair.actual, Audio):
        return tuple(_audio(row, pair.expected, pair.actual, rivals, request))
    if isinstance(pair.expected, Tensor) and isinstance(pair.actual, Tensor):
        return tuple(_tensor(row, kind, pair.expected.load(), pair.actual.load(), request))
    return (row,)


def _audio(
    row: ComparisonRow,
    expected: Audio,
    actual: Audio,
    rivals: Sequence[Pair],
    request: ComparisonRequest,
) -> Iterator[ComparisonRow]:
    one, other = expected.read(), actual.read()
    if expected.encoding != actual.encoding:
        row = _noted(row, f"encodings differ: {expected.encoding} against {actual.encoding}")
    if expected.rate != actual.rate:
        if not request.resample:
            reason = (
                f"sample rate: expected {expected.rate} Hz, got {actual.rate} Hz; "
                "--resample compares it after a conversion"
            )
            yield _failed(row, reason, f"{expected.rate} Hz", f"{actual.rate} Hz")
            return
        other = np.asarray(soxr.resample(other.T, actual.rate, expected.rate, quality="HQ")).T
        row = _noted(row, f"resampled from {actual.rate} to {expected.rate} Hz (soxr HQ)")
    if one.shape[0] != other.shape[0]:
        counts = f"{one.shape[0]}", f"{other.shape[0]}"
        if not request.downmix:
            reason = (
                f"channels: expected {counts[0]}, got {counts[1]}; --downmix compares the means "
                "of the channels"
            )
            yield _failed(row, reason, f"{counts[0]} channels", f"{counts[1]} channels")
            return
        one, other = one.mean(axis=0, keepdims=True), other.mean(axis=0, keepdims=True)
        row = _noted(row, f"mixed down to mono: {counts[0]} against {counts[1]} channels")
    others = partial(_other_files, expected, rivals, one.shape[0])
    yield from _stem(row, one, other, expected.rate, others)


def _tensor(
    row: ComparisonRow, kind: TensorKind, expected: Array, actual: Array, request: ComparisonRequest
) -> Iterator[ComparisonRow]:
    try:
        if kind.form == "stems" and expected.dtype.kind == "c":
            raise ParityError("the stems are complex numbers, expected samples")
        (expected, actual), note = by_value(expected, actual)
    except ParityError as error:
        yield replace(row, outcome=failed(str(error)))
        return
    if note:
        row = _noted(row, note)
    if kind.gate == "conversion" and request.gate is None and expected.dtype.kind in "iub":
        row = replace(row, gate=gate("integers"))  # indices, counts, classes
    if expected.shape != actual.shape or expected.size == 0:
        outcome = compare(expected, actual, row.gate)
        yield _explained(row, outcome, explain_shape(expected, actual, row.gate))
        return
    if kind.form == "stems":
        # Whatever comes before channels and samples counts stems: a batch of one is no other thing.
        shape = (-1, *np.atleast_2d(expected).shape[-2:])
        expected, actual = expected.reshape(shape), actual.reshape(shape)
        names = request.sources(expected.shape[0])
        for index in range(expected.shape[0]):
            mine = replace(row, stem=_stem_name(names, index))
            others = partial(_other_rows, expected, index, names)
            yield from _stem(mine, expected[index], actual[index], SAMPLE_RATE, others)
        return
    outcome = compare(expected, actual, row.gate)
    cause = None
    if outcome.verdict is Verdict.FAIL and _searchable(expected, actual):
        cause = _tensor_cause(kind, expected, actual, row.gate, request)
    yield _explained(row, outcome, cause, searched=_searchable(expected, actual))


def _tensor_cause(
    kind: TensorKind, expected: Array, actual: Array, gate: Gate, request: ComparisonRequest
) -> Cause | None:
    if kind.form == "spectrum" and expected.ndim >= 3 and expected.shape[-3] % 2 == 0:
        count = expected.shape[-4] if expected.ndim > 3 else 1
        return explain_spectrum(expected, actual, gate, sources=request.sources(count))
    if kind.form == "wave" and expected.ndim >= 2:
        return _wave_cause(expected, actual, gate, request)
    return explain_array(expected, actual, gate)


def _wave_cause(
    expected: Array, actual: Array, gate: Gate, request: ComparisonRequest
) -> Cause | None:
    """Return the cause in the first of the signals [..., channels, n] that fails."""
    shape = expected.shape[-2:]
    ones, others = expected.reshape(-1, *shape), actual.reshape(-1, *shape)
    names = request.sources(len(ones))
    for index, (one, other) in enumerate(zip(ones, others, strict=True)):
        if compare(one, other, gate).verdict is Verdict.FAIL:
            rows = partial(_other_rows, ones, index, names)
            cause = explain_wave(one, other, gate, rate=SAMPLE_RATE, others=rows)
            if cause is not None and index < len(names):
                return replace(cause, words=f"{names[index]}: {cause.words}")
            return cause
    return None


def _stem(
    row: ComparisonRow, expected: Array, actual: Array, rate: int, others: Others
) -> Iterator[ComparisonRow]:
    """Judge one stem and explain the first of its rows that fails."""
    searched = expected.shape == actual.shape and _searchable(expected, actual)
    rows = [
        (" ".join(part.values()), outcome)
        for part, outcome in stem_outcomes(expected, actual, row.gate, rate)
    ]
    broken = next((what for what, found in rows if found.verdict is Verdict.FAIL), None)
    for what, outcome in rows:
        if what != broken:
            yield replace(row, what=what, outcome=outcome)
            continue
        cause, unequal = None, expected.shape != actual.shape
        if searched:
            cause = explain_wave(expected, actual, row.gate, rate=rate, others=others)
        elif unequal:
            cause = explain_shape(expected, actual, row.gate)
        found = _explained(replace(row, what=what), outcome, cause, searched or unequal)
        trace = missing_band(expected, actual, rate) if searched and cause is None else ""
        yield _noted(found, trace) if trace else found


def by_value(expected: Array, actual: Array) -> tuple[tuple[Array, Array], str]:
    """Return both tensors in one type that holds each of their numbers, and a note if they differ.

    Complex tensors become pairs of real and imaginary parts on a new last axis.

    Raises:
        ParityError: one of them holds no numbers, or too wide ones, or integers beyond 2^53
            against another type.
    """
    for side, tensor in (("reference", expected), ("candidate", actual)):
        if tensor.dtype.kind not in "fiubc":
            raise ParityError(f"the {side} has dtype {tensor.dtype}, which holds no numbers")
        if tensor.real.itemsize > 8:
            raise ParityError(f"the {side} has dtype {tensor.dtype}, which is wider than float64")
    if expected.dtype.kind == "c" or actual.dtype.kind == "c":
        if expected.dtype.kind != actual.dtype.kind:
            raise ParityError(
                f"dtype: expected {expected.dtype}, got {actual.dtype}; give the real and "
                "imaginary parts of the complex one"
            )
        expected, actual = _parts(expected), _parts(actual)
    if expected.dtype == actual.dtype:
        return (expected, actual), ""
    note = f"types differ, held by value: {expected.dtype} against {actual.dtype}"
    common = np.result_type(expected.dtype, actual.dtype)
    if common.kind == "f":
        for tensor in (expected, actual):
            wide = tensor.dtype.kind in "iu" and tensor.dtype.itemsize == 8 and tensor.size
            if wide and max(abs(int(tensor.min())), abs(int(tensor.max()))) > _MOST_INTEGER:
                raise ParityError(
                    f"dtype: {tensor.dtype} beyond 2^53 has no equal in {common}; give both "
                    "tensors one integer type"
                )
    return (expected.astype(common), actual.astype(common)), note


def _parts(tensor: Array) -> Array:
    return np.stack([tensor.real, tensor.imag], axis=-1)


def _searchable(*tensors: Array) -> bool:
    """Return whether all is finite, and would be when squared and summed."""
    ends = (float(end) for t in tensors for end in (t.min(initial=0), t.max(initial=0)))
    return all(abs(end) < _GREATEST for end in ends)


def _stem_name(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"stem {index + 1}"


def _other_rows(
    stems: Array, own: int, names: Sequence[str], start: int, stop: int
) -> Iterator[tuple[str, Array]]:
    for index, stem in enumerate(stems):
        if index != own:
            yield _stem_name(names, index), stem[:, start:stop]


def _other_files(
    own: Audio, rivals: Sequence[Pair], channels: int, start: int, stop: int
) -> Iterator[tuple[str, Array]]:
    for pair in rivals:
        item = pair.expected
        if not isinstance(item, Audio) or item is own:
            continue
        if item.rate == own.rate and item.channels == channels and item.frames >= stop:
            yield pair.name, item.read(start, stop)


def _noted(row: ComparisonRow, note: str) -> ComparisonRow:
    return replace(row, notes=(*row.notes, note))


def _failed(row: ComparisonRow, reason: str, expected: str, observed: str) -> ComparisonRow:
    return replace(row, outcome=failed(reason, expected=expected, observed=observed))


def _explained(
    row: ComparisonRow, outcome: Outcome, cause: Cause | None, searched: bool = True
) -> ComparisonRow:
    if outcome.verdict is not Verdict.FAIL or not (searched or cause):
        return replace(row, outcome=outcome)
    words = f"cause: {cause.sentence()}" if cause else UNEXPLAINED
    reason = f"{outcome.reason}; {words}"
    return replace(row, outcome=replace(outcome, reason=reason), cause=cause)
