"""View models of change: what moved since another run, and how the layers went over many.

In: a run and a `Record`. Out: rows of texts and numbers, and one small series for each layer. Only
runs with the same profile are drawn in one line: a run of one subject has other worst cases than a
run of three.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.report import units
from harness.report.text import words
from harness.verdicts import LAYERS, Changes, Movement, Reading, Record, Run, Snapshot, changes

SPARK_WIDTH, SPARK_HEIGHT = 180.0, 34.0
EXACT_DB = 160.0
"""Where a line is drawn whose checks were all exact: above every finite headroom seen."""


@dataclass(frozen=True)
class MovementRow:
    """One check that changed.

    Attributes:
        kind: ``verdict`` (another verdict), ``moved``, ``gone``, ``gate`` (another one) or ``new``.
        state: ``fail`` for the worse, ``pass`` for the better, ``measured`` if exploratory.
        before, after: verdict, number and headroom in words; empty where there was none.
        moved_db: change of the headroom.
    """

    id: str
    kind: str
    word: str
    state: str
    before: str
    after: str
    moved_db: float | None


@dataclass(frozen=True)
class Since:
    """What moved since the run that this one is held against.

    Attributes:
        before: the other run.
        reason: why it was accepted as the baseline; empty if it is just an earlier run.
        found: what moved between the two.
        rows: what moved in words; verdicts first.
    """

    before: Snapshot
    reason: str
    found: Changes
    rows: tuple[MovementRow, ...]

    @property
    def title(self) -> str:
        """What the other run is."""
        return "the baseline" if self.reason else "the earlier run"

    @property
    def worse(self) -> int:
        """How many of the moved checks got worse."""
        return sum(row.state == "fail" for row in self.rows)


@dataclass(frozen=True)
class Spark:
    """A quantity over the runs that are remembered, the latest last.

    Attributes:
        points: coordinates for a polyline of `SPARK_WIDTH` by `SPARK_HEIGHT`.
        last, lowest, highest: in words.
    """

    name: str
    points: str
    last: str
    lowest: str
    highest: str


@dataclass(frozen=True)
class HistoryView:
    """Everything that the page says of other runs."""

    since: Since | None
    sparks: tuple[Spark, ...]
    runs: int
    first: str
    left_out: int


def history_view(run: Run, record: Record) -> HistoryView:
    """Return what moved, and the lines over all runs of the same profile."""
    before, since = record.before, None
    now = Snapshot.of(replace(run, overtaken=""))  # what its own snapshot in the history says
    alike = [past for past in record.past if past.profile == now.profile and past != now]
    series = (*alike, now)
    if before is not None:
        found = changes(before, now)
        since = Since(before, record.reason, found, tuple(_rows(found)))
    return HistoryView(
        since=since,
        sparks=_sparks(series) if alike else (),
        runs=len(series),
        first=series[0].started[:10],
        left_out=len(record.past) - sum(past.profile == now.profile for past in record.past),
    )


def _rows(found: Changes) -> Iterable[MovementRow]:
    for kind, word, movements in (
        ("verdict", "verdict changed", found.flipped),
        ("gone", "no longer checked", found.removed),
        ("moved", "moved", found.moved),
        ("gate", "gate changed", found.regated),
        ("new", "new", found.added),
    ):
        for movement in movements:
            before, after = (
                _reading(side, movement.regated) for side in (movement.before, movement.after)
            )
            moved_db = movement.moved_db if before and after else None
            state = _state(kind, movement)
            yield MovementRow(movement.id, kind, word, state, before, after, moved_db)


def _state(kind: str, movement: Movement) -> str:
    newest = movement.after or movement.before
    if newest is None or not newest.gating:
        return "fail" if movement.demoted else "measured"
    if kind == "gate":
        return "measured"
    if kind == "gone":
        return "not_evaluated"
    return newest.verdict.value if kind != "moved" else "fail" if movement.worse else "pass"


def _reading(reading: Reading | None, gated: bool) -> str:
    if reading is None:
        return ""
    parts = [words(reading.verdict.value), *([] if reading.gating else ["exploratory"])]
    if reading.value is not None and reading.unit == "dB":
        parts.append(units.db(reading.value))
    elif reading.value is not None:
        parts.append(f"{reading.value:.4g} {reading.unit}".rstrip())
    if reading.headroom_db is not None:
        parts.append(f"headroom {units.headroom(reading.headroom_db)}")
    parts += [f"gate {reading.bounds}"] if gated else []
    return ", ".join(parts)


def _sparks(series: Sequence[Snapshot]) -> tuple[Spark, ...]:
    found = []
    for layer in LAYERS:
        values = [_least_headroom(snapshot, layer) for snapshot in series]
        if any(value is not None for value in values):
            found.append(_spark(f"{words(layer)}: least headroom", values, units.headroom))
    counts = [float(sum(r.gating for r in past.readings.values())) for past in series]
    found.append(_spark("gating checks", counts, units.count))
    found.append(_spark("duration", [past.duration_s for past in series], units.seconds))
    return tuple(found)


def _least_headroom(snapshot: Snapshot, layer: str) -> float | None:
    found = [
        reading.headroom_db
        for name, reading in snapshot.readings.items()
        if reading.gating and reading.headroom_db is not None and name.startswith(f"{layer}/")
    ]
    return min(found, default=None)


def _spark(name: str, values: Sequence[float | None], say: units.Say) -> Spark:
    known = [value for value in values if value is not None]
    drawn = [_drawable(value) for value in known]
    low, high = min(drawn), max(drawn)
    span = high - low or 1.0
    step = SPARK_WIDTH / max(len(values) - 1, 1)
    margin = 4.0
    points = [
        (
            round(index * step, 1),
            round(margin + (SPARK_HEIGHT - 2 * margin) * (high - _drawable(value)) / span, 1),
        )
        for index, value in enumerate(values)
        if value is not None
    ]
    return Spark(
        name=name,
        points=" ".join(f"{x:g},{y:g}" for x, y in points),
        last=say(values[-1]),
        lowest=say(min(known)),
        highest=say(max(known)),
    )


def _drawable(value: float) -> float:
    if math.isnan(value):
        return -EXACT_DB
    return max(min(value, EXACT_DB), -EXACT_DB) if math.isinf(value) else value
