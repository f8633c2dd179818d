"""The layer ``end_to_end``: stems from audio to audio, and whether they separate as well.

Each stem as a whole, each of its channels, and its worst second: a quiet channel can be wrong while
the loud one carries the SNR, a click drowns in a whole song, and a leak in a pause has no ratio.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.audio.contract import SAMPLE_RATE
from harness.layers.tensors import compared
from harness.metrics import segmental_snr_db
from harness.verdicts import (
    Check,
    Gate,
    Outcome,
    Verdict,
    bound,
    compare,
    gate,
)
from harness.verdicts.rows.signals import StemQuality

Stems = npt.NDArray[np.floating[Any]]
WORST_SECOND: Final = {"what": "worst second"}


def channel_names(count: int) -> tuple[str, ...]:
    """Return what the channels of a signal are called."""
    if count == 2:
        return "left", "right"
    return tuple(f"channel {number}" for number in range(1, count + 1))


def stem_outcomes(
    expected: Stems, actual: Stems, bounds: Gate, rate: int = SAMPLE_RATE
) -> Iterator[tuple[Mapping[str, str], Outcome]]:
    """Compare one stem: as a whole, each channel if it has several, and its worst second.

    Args:
        expected, actual: [C, n]; of different shapes, or empty, only the whole is compared.
        bounds: the gate of each comparison.
        rate: samples per second.

    Yields:
        the labels of a part, none for the whole, and its outcome.
    """
    yield {}, compare(expected, actual, bounds)
    if expected.shape != actual.shape or expected.size == 0:
        return
    if expected.shape[0] > 1:
        for number, channel in enumerate(channel_names(expected.shape[0])):
            yield {"channel": channel}, compare(expected[number], actual[number], bounds)
    yield WORST_SECOND, worst_second(expected, actual, bounds, rate)


def worst_second(expected: Stems, actual: Stems, bounds: Gate, rate: int = SAMPLE_RATE) -> Outcome:
    """Compare the second with the lowest SNR, and the silent second with the greatest error.

    Whole signals hide both: a click, and what leaks into a pause.

    Args:
        expected, actual: [C, n], of one shape and type, not empty.
        bounds: the gate.
        rate: samples per second.

    Returns:
        the outcome of the silent second if that alone breaks the gate, or if there is no other; its
        reason says when, and in which channel.
    """
    found = segmental_snr_db(expected, actual, rate)
    outcomes = []
    for place in (found.worst, found.worst_silent):
        if place is not None:
            span = slice(place.start, place.stop)
            one, other = expected[place.index], actual[place.index]
            outcome = compare(one[span], other[span], bounds)
            channel = channel_names(expected.shape[0])[place.index[0]]
            where = f"from {place.start / rate:.2f} s"
            where += f", {channel}" if expected.shape[0] > 1 else ""
            outcomes.append(replace(outcome, reason=f"{where}: {outcome.reason}"))
    return next((o for o in outcomes if o.verdict is not Verdict.PASS), outcomes[0])


def stem_checks(
    expected: Stems,
    actual: Stems,
    sources: Sequence[str],
    labels: Mapping[str, str],
    *,
    gating: bool = True,
    bounds: Gate | None = None,
    rate: int = SAMPLE_RATE,
) -> Iterator[Check]:
    """Compare every stem: as a whole, each channel, and its worst second.

    Args:
        expected, actual: [S, C, n]. Where the shapes differ there is one check, of all stems.
        sources: names of the S stems.
        labels: of every check.
        gating: whether a run rests on them.
        bounds: in the place of the table's gate.
        rate: samples per second.
    """
    layer, bounds = "end_to_end", bounds or gate("end_to_end")
    if expected.shape != actual.shape:
        where = {**labels, "stem": "all stems"}
        yield compared(layer, layer, expected, actual, where, gating=gating, bounds=bounds)
        return
    for index, stem in enumerate(sources):
        where = {**labels, "stem": stem}
        for part, outcome in stem_outcomes(expected[index], actual[index], bounds, rate):
            yield Check(layer, {**where, **part}, gating, bounds, outcome)


def quality_checks(
    before: Sequence[StemQuality],
    after: Sequence[StemQuality],
    labels: Mapping[str, str],
    *,
    gating: bool = True,
) -> Iterator[Check]:
    """Judge that a conversion doesn't move how well stems are separated.

    Args:
        before, after: the scores of PyTorch's stems and of the candidate's.
        labels: of every check.
        gating: whether a run rests on the change; how good the stems are gates nothing.
    """
    for side, rows in (("PyTorch", before), ("the package", after)):
        gain = float(np.mean([row.si_sdr_gain_db for row in rows]))
        yield _number("quality_gain", gain, labels, f"mean SI-SDR of {side} over the mixture's")
    for expected, found in zip(before, after, strict=True):
        where = {**labels, "stem": expected.stem}
        moved = expected.moved_db(found)
        yield _number("quality", moved, where, "change of SI-SDR or SDR", gating)


def _number(
    name: str, value: float, labels: Mapping[str, str], what: str, gating: bool = False
) -> Check:
    outcome = bound(value, gate(name), what=what)
    where = {**labels, "what": what}
    return Check("end_to_end", where, gating, gate(name), outcome)
