"""View models of precision along a network, operation by operation or tap by tap.

In: the ``operations`` and ``taps`` rows of a run. Out: a `Series` for each of them, on a scale
that a subject's series share, with tables by operation type and by part. Metrics go by the names of
`harness.verdicts.rows.operations`; levels are in dB, ``inf`` where exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from harness.report.bounds import limit_db
from harness.report.order import by_recipe, grouped, unique
from harness.report.text import words
from harness.verdicts import Run
from harness.verdicts.rows.operations import (
    OPERATION_METRICS,
    OperationMetric,
    OperationProfile,
    OperationSeries,
)
from harness.verdicts.rows.packages import NetworkOutline

CLOSE_DB: Final = 6.0206
"""Headroom under which a signal twice as loud overflows."""
Heat = Callable[[float | None], float | None]


@dataclass(frozen=True)
class Line:
    """What the operations of one type or part were like.

    Attributes:
        fp16, fp32: how many run in each precision.
        worst: the worst of each metric that has a column, by its name.
        heat: how bad that is among the lines, 0 to 1; None where it is unknown.
    """

    name: str
    fp16: int
    fp32: int
    worst: Mapping[str, float | None]
    heat: Mapping[str, float | None]


@dataclass(frozen=True)
class Stretch:
    """A run of places in one part of the network: ``start`` to ``stop``, exclusive."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Series:
    """One recipe along the network.

    Attributes:
        row: as the run has it.
        limits_db: the common scale of the series of one subject and case.
        outline: of the subject, where the run has it.
        gate_db: the SNR that the outputs are held to: the line through every figure.
    """

    row: OperationSeries
    limits_db: tuple[float, float]
    outline: NetworkOutline | None
    gate_db: float

    @property
    def points(self) -> tuple[OperationProfile, ...]:
        """Every operation that computes, in program order."""
        return self.row.operations

    @property
    def executed(self) -> str:
        """What executed it, in words."""
        return ", ".join(unique((self.row.engine, self.row.numerics)))

    @property
    def last_index(self) -> int:
        """The place of the last operation in the program."""
        return max((point.index for point in self.points), default=1)

    @cached_property
    def drawn(self) -> tuple[OperationProfile, ...]:
        """The points with a ratio."""
        return self.having("snr_db")

    def having(self, name: str) -> tuple[OperationProfile, ...]:
        """Return the points with a metric that is a number."""
        return tuple(p for p in self.points if (v := p.value(name)) is not None and v == v)

    @property
    def unknown(self) -> int:
        """How many points have no ratio."""
        return len(self.points) - len(self.drawn)

    @property
    def exact(self) -> int:
        """How many points are identical to their reference."""
        return sum(point.snr_db == math.inf for point in self.drawn)

    @property
    def below(self) -> tuple[OperationProfile, ...]:
        """The points that are not above the line."""
        return tuple(point for point in self.drawn if not (point.snr_db or 0.0) > self.gate_db)

    @property
    def worst(self) -> OperationProfile | None:
        """The point with the lowest ratio."""
        return min(self.drawn, key=lambda point: point.snr_db or 0.0, default=None)

    @property
    def loudest(self) -> OperationProfile | None:
        """The operation with the least headroom."""
        known = self.having("headroom_db")
        return min(known, key=lambda point: point.value("headroom_db") or 0.0, default=None)

    @property
    def close(self) -> tuple[OperationProfile, ...]:
        """The FP16 operations of which a signal twice as loud overflows."""
        known = [point for point in self.having("headroom_db") if point.precision == "fp16"]
        return tuple(point for point in known if (point.value("headroom_db") or 0.0) < CLOSE_DB)

    @property
    def drops(self) -> tuple[tuple[OperationProfile, float], ...]:
        """Where the SNR falls to a new low, the largest falls first, each with its fall in dB."""
        lowest, found = math.inf, []
        for point in self.drawn:
            ratio = math.inf if point.snr_db is None else point.snr_db
            if ratio < lowest:
                if math.isfinite(lowest):
                    found.append((point, lowest - ratio))
                lowest = ratio
        return tuple(sorted(found, key=lambda drop: (-drop[1], drop[0].index))[:5])

    @property
    def types(self) -> tuple[Line, ...]:
        """A table by operation type, the most frequent first."""
        lines = _table(self.points, lambda point: point.type)
        return tuple(sorted(lines, key=lambda line: (-(line.fp16 + line.fp32), line.name)))

    @property
    def parts(self) -> tuple[Line, ...]:
        """A table by part of the network, in program order."""
        return _table(self.points, lambda point: part_of(point.module))

    @property
    def stages(self) -> tuple[Stretch, ...]:
        """The parts of the network as stretches of the program."""
        found: list[Stretch] = []
        for point in self.points:
            stage = self.outline.stage_of(point.module) if self.outline else None
            name = stage.name if stage else words(point.module.split(".")[0])
            if found and name in (found[-1].name, ""):
                found[-1] = Stretch(found[-1].name, found[-1].start, point.index + 1)
            elif name:
                found.append(Stretch(name, point.index, point.index + 1))
        return tuple(found)


def columns() -> tuple[OperationMetric, ...]:
    """Return the metrics that have a column, in order."""
    return tuple(metric for metric in OPERATION_METRICS.values() if metric.column)


def operation_series(run: Run) -> tuple[Series, ...]:
    """Return the series of operations, recipes in the order of the run."""
    return _series(run, run.artefacts.operations)


def tap_series(run: Run, shown: Sequence[Series]) -> dict[tuple[str, str], list[Series]]:
    """Return the series of taps by subject and case.

    Args:
        run: what is shown.
        shown: what is drawn operation by operation; its taps are left out.
    """
    there = {(series.row.subject, series.row.recipe) for series in shown if series.points}
    rows = [row for row in run.artefacts.taps if (row.subject, row.recipe) not in there]
    return grouped(_series(run, rows), lambda series: (series.row.subject, series.row.case))


def _series(run: Run, rows: Sequence[OperationSeries]) -> tuple[Series, ...]:
    outlines = {outline.subject: outline for outline in run.artefacts.network}
    gates = {row.subject: limit_db(run, "conversion", row.subject) for row in rows}
    limits = {
        key: _common_scale(
            [point.snr_db for row in mine for point in row.operations], gates[key[0]]
        )
        for key, mine in grouped(rows, lambda row: (row.subject, row.case)).items()
    }
    return tuple(
        Series(row, limits[row.subject, row.case], outlines.get(row.subject), gates[row.subject])
        for row in by_recipe(run, rows)
    )


def _common_scale(values: Sequence[float | None], gate_db: float) -> tuple[float, float]:
    """Return the ends of the scale, in dB, on which the curves of a group are drawn."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min([*known, gate_db - 10.0]), max([*known, gate_db + 20.0])
    return max(-20.0, 10.0 * math.floor(low / 10.0)), 10.0 * math.ceil(high / 10.0)


def part_of(module: str) -> str:
    """Return the part of the network that a module is in: ``encoder.0``, or a layer by number."""
    parts = module.split(".")
    size = 3 if len(parts) > 2 and parts[1].startswith("layers") else 2
    return ".".join(parts[:size])


def _table(
    points: Sequence[OperationProfile], key: Callable[[OperationProfile], str]
) -> tuple[Line, ...]:
    groups, shown = grouped(points, key), columns()
    worst = {
        name: {m.name: m.worst(point.value(m.name) for point in mine) for m in shown}
        for name, mine in groups.items()
    }
    heat = {m.name: heat_scale(m, [found[m.name] for found in worst.values()]) for m in shown}
    return tuple(
        Line(
            name=name,
            fp16=sum(point.precision == "fp16" for point in mine),
            fp32=sum(point.precision == "fp32" for point in mine),
            worst=worst[name],
            heat={metric: heat[metric](value) for metric, value in worst[name].items()},
        )
        for name, mine in groups.items()
    )


def heat_scale(metric: OperationMetric, values: Sequence[float | None]) -> Heat:
    """Return how bad a value is among others: 0 is the best of them, 1 the worst, as NaN is."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    floor = 0.0
    if metric.logarithmic and low >= 0 and high > 100 * max(low, 1e-12):
        floor = max(low, high * 1e-6, 1e-300)
        low, high = math.log10(floor), math.log10(high)

    def heat(value: float | None) -> float | None:
        if value is None or math.isnan(value):
            return None if value is None else 1.0
        if math.isinf(value):
            return 0.0 if (value > 0) == metric.lower_is_worse else 1.0
        if not high > low:
            return 0.0
        place = math.log10(max(value, floor)) if floor else value
        share = (place - low) / (high - low)
        return round(1.0 - share if metric.lower_is_worse else share, 3)

    return heat
