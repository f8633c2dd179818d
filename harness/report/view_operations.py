"""View models of precision along a network, operation by operation, for each recipe.

In: the ``operations`` rows of a run. Out: for each subject and case one `Series` per recipe on a
common scale, with the first operation under the gate, tables by operation type and by module, and
how near each operation comes to FP16's largest number. Levels in dB, ``inf`` where exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.report.curve import LIMIT_DB, Curve, Stage, common_scale, stages, with_ratio
from harness.report.reading import Row, as_number, as_whole, rows, sequence, text, unique
from harness.verdicts import Run
from harness.verdicts.artefacts import VERSION

FP16_MAX = 65504.0
CLOSE_DB = 6.0206
"""Headroom under which a signal twice as loud overflows."""


@dataclass(frozen=True)
class Point:
    """One operation; ``precision`` is ``fp16``, ``fp32`` or ``other``."""

    place: int
    index: int
    operation: str
    type: str
    module: str
    precision: str
    snr_db: float | None
    local_db: float | None
    max_abs_error: float | None
    peak: float | None
    ulp_p50: float | None
    ulp_p99: float | None
    subnormal_share: float | None

    @property
    def headroom_db(self) -> float | None:
        """From the largest magnitude up to 65,504."""
        if self.peak is None or math.isnan(self.peak):
            return None
        if self.peak <= 0:
            return math.inf
        return 20 * (math.log10(FP16_MAX) - math.log10(self.peak))


@dataclass(frozen=True)
class Line:
    """What a type or a module of operations was like: the worst of each metric.

    Attributes:
        fp16, fp32: how many operations run in each precision.
        heat: for each of `METRICS`, how bad it is among the lines, 0 to 1.
    """

    name: str
    fp16: int
    fp32: int
    snr_db: float | None
    local_db: float | None
    max_abs_error: float | None
    headroom_db: float | None
    ulp_p99: float | None
    subnormal_share: float | None
    heat: tuple[float | None, ...] = ()


METRICS: tuple[tuple[str, bool], ...] = (
    ("snr_db", True),
    ("local_db", True),
    ("max_abs_error", False),
    ("headroom_db", True),
    ("ulp_p99", False),
    ("subnormal_share", False),
)
"""Columns of the tables, and whether a lower number is worse."""


@dataclass(frozen=True)
class Series(Curve[Point]):
    """One recipe along the network.

    Attributes:
        points: every operation that computes, in program order.
        unknown: how many of them have no ratio.
        limits_db: the common scale of the series of a group.
        first_below: the first operation that is not above the gate.
        drops: where the SNR falls to a new low, the largest falls first, each with its fall in dB.
        types, modules: tables.
        close: FP16 operations of which a signal twice as loud overflows.
    """

    subject: str
    case: str
    recipe: str
    executed: str
    reference: str
    points: tuple[Point, ...]
    unknown: int
    limits_db: tuple[float, float]
    stages: tuple[Stage, ...]
    first_below: Point | None
    drops: tuple[tuple[Point, float], ...]
    types: tuple[Line, ...]
    modules: tuple[Line, ...]
    close: tuple[Point, ...]

    @property
    def drawn(self) -> tuple[Point, ...]:
        """The points with a ratio."""
        return with_ratio(self.points)

    @property
    def loudest(self) -> Point | None:
        """The operation with the least headroom."""
        known = [point for point in self.points if point.headroom_db is not None]
        return min(known, key=lambda point: point.headroom_db or 0.0, default=None)


def operation_series(run: Run) -> tuple[Series, ...]:
    """Return a series for each subject, case and recipe, in the order of the run."""
    items = [row for row in rows(run, "operations") if as_number(row.get("version")) == VERSION]
    found = [(row, _points(row)) for row in items]
    limits = {
        key: common_scale([p.snr_db for row, points in found if _group(row) == key for p in points])
        for key in dict.fromkeys(_group(row) for row in items)
    }
    return tuple(_series(row, points, limits[_group(row)]) for row, points in found)


def _group(row: Row) -> tuple[str, str]:
    return text(row, "subject"), text(row, "case")


def _points(row: Row) -> tuple[Point, ...]:
    names = [str(name) for name in sequence(row.get("operation"))]
    types, modules = _words(row, "type", "types"), _words(row, "module", "modules")
    precisions = [str(name) for name in sequence(row.get("precision"))]
    columns = {
        key: [as_number(value) for value in sequence(row.get(key))]
        for key in (
            *("index", "snr_db", "local_db", "max_abs_error"),
            *("peak", "ulp_p50", "ulp_p99", "subnormal_share"),
        )
    }

    def at(key: str, place: int) -> float | None:
        return columns[key][place] if place < len(columns[key]) else None

    return tuple(
        Point(
            place=place,
            index=as_whole(at("index", place)) or 0,
            operation=name,
            type=types[place] if place < len(types) else "",
            module=modules[place] if place < len(modules) else "",
            precision=_precision(precisions[place]) if place < len(precisions) else "other",
            snr_db=at("snr_db", place),
            local_db=at("local_db", place),
            max_abs_error=at("max_abs_error", place),
            peak=at("peak", place),
            ulp_p50=at("ulp_p50", place),
            ulp_p99=at("ulp_p99", place),
            subnormal_share=at("subnormal_share", place),
        )
        for place, name in enumerate(names)
    )


def _precision(name: str) -> str:
    return name if name in ("fp16", "fp32") else "other"


def _words(row: Row, key: str, vocabulary: str) -> list[str]:
    known = [str(word) for word in sequence(row.get(vocabulary))]
    codes = [as_number(value) for value in sequence(row.get(key))]
    return [
        known[int(code)] if code is not None and 0 <= code < len(known) else "" for code in codes
    ]


def _series(row: Row, points: tuple[Point, ...], limits: tuple[float, float]) -> Series:
    drawn = with_ratio(points)
    return Series(
        subject=text(row, "subject"),
        case=text(row, "case"),
        recipe=text(row, "recipe"),
        executed=", ".join(unique((text(row, "engine"), text(row, "numerics")))),
        reference=text(row, "reference"),
        points=points,
        unknown=len(points) - len(drawn),
        limits_db=limits,
        stages=stages((point.place, point.module) for point in points),
        first_below=next((p for p in drawn if not (p.snr_db or 0.0) > LIMIT_DB), None),
        drops=_drops(drawn),
        types=_table(points, lambda point: point.type),
        modules=_table(points, lambda point: part_of(point.module), ranked=False),
        close=tuple(
            p
            for p in points
            if p.precision == "fp16" and p.headroom_db is not None and p.headroom_db < CLOSE_DB
        ),
    )


def part_of(module: str) -> str:
    """Return the part of the network that a module is in: ``encoder.0``, or a layer by number."""
    parts = module.split(".")
    size = 3 if len(parts) > 2 and parts[1].startswith("layers") else 2
    return ".".join(parts[:size])


def _drops(points: Sequence[Point]) -> tuple[tuple[Point, float], ...]:
    lowest, found = math.inf, []
    for point in points:
        ratio = point.snr_db if point.snr_db is not None else math.inf
        if ratio < lowest:
            if math.isfinite(lowest):
                found.append((point, lowest - ratio))
            lowest = ratio
    found.sort(key=lambda drop: (-drop[1], drop[0].place))
    return tuple(found[:5])


def _table(
    points: Sequence[Point], key: Callable[[Point], str], *, ranked: bool = True
) -> tuple[Line, ...]:
    names = dict.fromkeys(key(point) for point in points)
    lines = [_line(name, [p for p in points if key(p) == name]) for name in names]
    if ranked:
        lines.sort(key=lambda line: (-(line.fp16 + line.fp32), line.name))
    scales = [_scale([getattr(line, name) for line in lines], low) for name, low in METRICS]
    return tuple(
        _heated(
            line,
            [scale(getattr(line, name)) for scale, (name, _) in zip(scales, METRICS, strict=True)],
        )
        for line in lines
    )


def _heated(line: Line, heat: Iterable[float | None]) -> Line:
    return Line(**{**vars(line), "heat": tuple(heat)})


def _line(name: str, points: Sequence[Point]) -> Line:
    return Line(
        name=name,
        fp16=sum(point.precision == "fp16" for point in points),
        fp32=sum(point.precision == "fp32" for point in points),
        snr_db=_worst(min, (point.snr_db for point in points)),
        local_db=_worst(min, (point.local_db for point in points)),
        max_abs_error=_worst(max, (point.max_abs_error for point in points)),
        headroom_db=_worst(min, (point.headroom_db for point in points)),
        ulp_p99=_worst(max, (point.ulp_p99 for point in points)),
        subnormal_share=_worst(max, (point.subnormal_share for point in points)),
    )


def _worst(choose: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if any(math.isnan(value) for value in known):
        return math.nan
    return choose(known) if known else None


def _scale(
    values: Sequence[float | None], lower_is_worse: bool
) -> Callable[[float | None], float | None]:
    """Return how bad a value is among the others: 0 the best, 1 the worst; NaN is the worst."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    if not lower_is_worse and low >= 0 and high > 100 * max(low, 1e-12):
        low, high = math.log10(max(low, high * 1e-6, 1e-300)), math.log10(max(high, 1e-300))
        return _between(low, high, lambda value: math.log10(value) if value > 0 else low, False)
    return _between(low, high, lambda value: value, lower_is_worse)


def _between(
    low: float, high: float, place: Callable[[float], float], lower_is_worse: bool
) -> Callable[[float | None], float | None]:
    def heat(value: float | None) -> float | None:
        if value is None:
            return None
        if math.isnan(value):
            return 1.0
        if math.isinf(value):
            return 0.0 if (value > 0) == lower_is_worse else 1.0
        share = (place(value) - low) / (high - low) if high > low else 0.0
        share = min(max(share, 0.0), 1.0)
        return round(1.0 - share if lower_is_worse and high > low else share, 3)

    return heat
