"""The layer ``end_to_end``: stems from audio to audio, and whether they separate as well.

Each stem as a whole, each of its channels, and its worst second: a quiet channel can be wrong while
the loud one carries the SNR, a click drowns in a whole song, and a leak in a pause has no ratio.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from harness.layers.tensors import compared
from harness.metrics import SILENCE_DBFS, dbfs, rms
from harness.verdicts import Check, Gate, bound, compare_worst_second, gate, not_evaluated

Stems = npt.NDArray[np.floating[Any]]
_NAMES: Final = {1: (), 2: ("left", "right")}


def channel_names(count: int) -> tuple[str, ...]:
    """Return the names of the channels that are judged apart: none of a mono signal."""
    return _NAMES.get(count, tuple(str(number) for number in range(1, count + 1)))


def stem_checks(
    expected: Stems,
    actual: Stems,
    sources: Sequence[str],
    labels: Mapping[str, str],
    *,
    gating: bool = True,
    bounds: Gate | None = None,
) -> Iterator[Check]:
    """Compare every stem: as a whole, each channel, and its worst second.

    Args:
        expected, actual: [S, C, n]. Where the shapes differ there is one check, of all stems.
        sources: names of the S stems.
        labels: of every check.
        gating: whether a run rests on them.
        bounds: in the place of the table's gate.
    """
    layer, bounds = "end_to_end", bounds or gate("end_to_end")
    if expected.shape != actual.shape:
        where = {**labels, "stem": "all stems"}
        yield compared(layer, layer, expected, actual, where, gating=gating, bounds=bounds)
        return
    for index, stem in enumerate(sources):
        one, other, where = expected[index], actual[index], {**labels, "stem": stem}
        yield compared(layer, layer, one, other, where, gating=gating, bounds=bounds)
        for number, channel in enumerate(channel_names(one.shape[0])):
            here = {**where, "channel": channel}
            yield compared(
                layer, layer, one[number], other[number], here, gating=gating, bounds=bounds
            )
        outcome = compare_worst_second(one, other, bounds)
        yield Check(layer, {**where, "what": "worst second"}, gating, bounds, outcome)


def audible_check(stems: Iterable[Stems], labels: Mapping[str, str]) -> Check | None:
    """Return a check that is not evaluated if nothing that was compared can be heard.

    A silent stem is judged by its error alone, and 0 beside 0 passes: a package that returns
    nothing whatever it is given would be green.

    Args:
        stems: what is expected of each input, [S, C, n].
        labels: of the check.
    """
    if any(dbfs(rms(stem)) >= SILENCE_DBFS for one in stems for stem in one):
        return None
    reason = (
        f"every stem of every input is silent (under {SILENCE_DBFS:g} dBFS), so nothing was "
        "compared: give audio that can be heard"
    )
    where = {**labels, "what": "audible stems"}
    return Check("end_to_end", where, True, gate("end_to_end"), not_evaluated(reason))


class Quality(Protocol):
    """The scores of one stem beside the true one, in dB."""

    @property
    def stem(self) -> str:
        """Name of the source."""
        ...

    @property
    def si_sdr_gain_db(self) -> float:
        """SI-SDR above that of the mixture."""
        ...

    def moved_db(self, other: Any, /) -> float:
        """Return by how much the most different score differs; NaN if one is not known."""
        ...


def quality_checks(
    before: Sequence[Quality],
    after: Sequence[Quality],
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
