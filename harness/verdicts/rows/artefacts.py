"""All rows of a run by kind, read from a document with the damaged ones apart."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from harness.errors import RunError
from harness.verdicts.jsondata import restored
from harness.verdicts.rows.devices import DevicePrediction
from harness.verdicts.rows.documents import (
    BenchRow,
    ConformanceRow,
    HeadroomRow,
    SensitivityRow,
    TuningRow,
)
from harness.verdicts.rows.operations import OperationSeries, TapSeries
from harness.verdicts.rows.packages import Explanation, NetworkOutline, PackageDescription
from harness.verdicts.rows.packs import PackResults
from harness.verdicts.rows.scores import Scores
from harness.verdicts.rows.signals import (
    AudioClip,
    ErrorCounts,
    Quality,
    Separation,
    StemPicture,
    StemTimeline,
    TransformError,
    WindowSums,
)

_MOST_DAMAGED: Final = 200


@dataclass(frozen=True)
class Damaged:
    """A row that can't be drawn: where it stands in the document, and what is wrong with it."""

    place: str
    reason: str


@dataclass(frozen=True)
class Artefacts:
    """Every row of a run, by kind: the name of a field is that of its kind in the document."""

    network: tuple[NetworkOutline, ...] = ()
    precision_map: tuple[PackageDescription, ...] = ()
    operations: tuple[OperationSeries, ...] = ()
    taps: tuple[TapSeries, ...] = ()
    error_counts: tuple[ErrorCounts, ...] = ()
    separation: tuple[Separation, ...] = ()
    quality: tuple[Quality, ...] = ()
    scores: tuple[Scores, ...] = ()
    devices: tuple[DevicePrediction, ...] = ()
    pack: tuple[PackResults, ...] = ()
    stem_timeline: tuple[StemTimeline, ...] = ()
    stem_picture: tuple[StemPicture, ...] = ()
    audio_clip: tuple[AudioClip, ...] = ()
    transform_error: tuple[TransformError, ...] = ()
    window_sums: tuple[WindowSums, ...] = ()
    explanation: tuple[Explanation, ...] = ()
    sensitivity: tuple[SensitivityRow, ...] = ()
    tuning: tuple[TuningRow, ...] = ()
    headroom: tuple[HeadroomRow, ...] = ()
    conformance: tuple[ConformanceRow, ...] = ()
    bench: tuple[BenchRow, ...] = ()

    def plus(self, rows: Iterable[Any]) -> Artefacts:
        """Return these and more rows, each under its kind; one that is there already stays once."""
        found: dict[str, tuple[Any, ...]] = {}
        for row in rows:
            kind = KIND_OF[type(row)]
            known = found.setdefault(kind, getattr(self, kind))
            if row not in known:
                found[kind] = (*known, row)
        return replace(self, **found)


ROW_CLASSES: Final[Mapping[str, Any]] = {
    name: typing.get_args(hint)[0] for name, hint in typing.get_type_hints(Artefacts).items()
}
"""Kind of row -> its class."""
KIND_OF: Final = {cls: kind for kind, cls in ROW_CLASSES.items()}


def read_rows(data: Any, place: str) -> tuple[Artefacts, tuple[Damaged, ...]]:
    """Return the rows in the JSON data of a document, and those that are damaged apart.

    Args:
        data: kinds of rows, each with a list.
        place: where it stands in the document.

    Raises:
        RunError: it holds no kinds of rows at all.
    """
    if not isinstance(data, dict):
        raise RunError(f"{place} holds no rows by kind, expected an object")
    found: dict[str, tuple[Any, ...]] = {}
    damaged: list[Damaged] = []
    for kind, rows in data.items():
        where = f"{place}.{kind}"
        if kind not in ROW_CLASSES:
            damaged.append(Damaged(where[:100], "of a kind that this version doesn't know"))
            continue
        if not isinstance(rows, list):
            damaged.append(Damaged(where, "no list of rows"))
            continue
        good = []
        for index, row in enumerate(rows):
            try:
                good.append(restored(ROW_CLASSES[kind], row, f"{where}[{index}]"))
            except RunError as error:
                damaged.append(Damaged(f"{where}[{index}]", str(error)))
        found[kind] = tuple(good)
    if len(damaged) > _MOST_DAMAGED:
        left = len(damaged) - _MOST_DAMAGED
        damaged[_MOST_DAMAGED:] = [Damaged(place, f"and {left} more damaged rows")]
    return Artefacts(**found), tuple(damaged)
