"""Figures of precision: views in, charts out.

In: view models of operations, errors and the precision lab. Out: `markupsafe.Markup` charts; each
name starts the ids of its figure and is unique within the page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from harness.report.chart import Chart, Ticks, ticks
from harness.report.text import short_tap, shorten
from harness.report.units import db
from harness.report.view_errors import ErrorView
from harness.report.view_lab import SensitivityView, TuningView
from harness.report.view_operations import CLOSE_DB, Series
from harness.verdicts.rows.operations import OperationProfile

_LONGEST = 14  # characters of a tap's name under the axis
_DB = 1 / (20 * math.log10(2))  # on an axis that counts in powers of two


def along_figure(series: Series, name: str) -> Markup:
    """Draw the SNR after each operation, and mark the first one under the gate."""
    low, rail, levels = _scale(series)
    chart = _along(series, low, rail, levels, "SNR, dB")
    _ratios(chart, series, low, rail)
    words = f"every operation is above {series.gate_db:g} dB"
    for first in series.below[:1]:
        chart.ring(first.index, _height(first.snr_db, low, rail), f"first: {first.operation}")
        words = (
            f"the first not above {series.gate_db:g} dB is {first.operation} at {db(first.snr_db)}"
        )
    worst = series.worst
    lowest = f"lowest {db(worst.snr_db)} at {worst.operation}; " if worst else ""
    return chart.svg(
        name,
        f"SNR after each operation, recipe {series.row.recipe}",
        f"{len(series.drawn)} operations in program order; {lowest}{words}.",
    )


def local_figure(series: Series, name: str) -> Markup:
    """Draw what each operation adds itself, all before it being right."""
    known = [(point, point.value("local_db") or 0.0) for point in series.having("local_db")]
    finite = [level for _, level in known if math.isfinite(level)]
    low = 10.0 * math.floor(min([*finite, 60.0]) / 10.0)
    high = 10.0 * math.ceil(max([*finite, 90.0]) / 10.0)
    low = max(low, -20.0)
    rail = high + 0.1 * (high - low)
    levels = [*ticks(low, high, 6), (rail, "exact")]
    chart = _along(series, low, rail, levels, "SNR of the operation alone, dB")
    _dots(chart, [p for p, _ in known], lambda p: _height(p.value("local_db"), low, rail))
    words = "no operation could be looked at alone"
    if known:
        worst, level = min(known, key=lambda pair: pair[1])
        chart.ring(worst.index, _height(level, low, rail), worst.operation)
        words = f"{worst.operation} adds most, {db(level)}"
    return chart.svg(
        name, f"Error that each operation adds itself, recipe {series.row.recipe}", f"{words}."
    )


def range_figure(series: Series, name: str) -> Markup:
    """Draw the largest magnitude of each operation against FP16's largest number."""
    levels = {p.operation: p.value("headroom_db") or 0.0 for p in series.having("headroom_db")}
    known = [p for p in series.points if math.isfinite(levels.get(p.operation, math.inf))]
    lowest = max((levels[p.operation] for p in known), default=120.0)
    bottom = -20.0 * math.ceil(min(max(lowest, 60.0), 200.0) / 20.0)
    top = max(20.0, *(20.0 * math.ceil(-levels[p.operation] / 20.0) for p in known), 20.0)
    chart = _along(series, bottom, top, ticks(bottom, top, 6), "peak, dB from 65,504")
    chart.level(0.0, "FP16's largest number")
    _dots(chart, known, lambda point: -levels[point.operation])
    loudest, words = series.loudest, "no magnitude is known"
    if loudest is not None:
        level = levels[loudest.operation]
        chart.ring(loudest.index, -level, loudest.operation)
        words = f"{loudest.operation} has the least headroom, {db(level)}"
    close = f"{len(series.close)} operations in FP16 are within {CLOSE_DB:.0f} dB of it"
    return chart.svg(
        name,
        f"Range of each operation against 65,504, recipe {series.row.recipe}",
        f"{words}; {close}.",
    )


def taps_figure(series: Series, name: str) -> Markup:
    """Draw the SNR at each tap in program order, FP16 and FP32 apart."""
    low, rail, levels = _scale(series)
    ends = (low, rail + 0.03 * (series.limits_db[1] - low))
    chart = Chart((-1, series.last_index + 1), ends, height=325, bottom=112, top=30)
    chart.axes(_tap_names(series), levels, "", "SNR, dB", turned=True)
    _ratios(chart, series, low, rail, grown=1.8)
    lowest, words = series.worst, "no tap could be compared"
    if lowest is not None:
        words = f"lowest {db(lowest.snr_db)} at {lowest.operation}"
    return chart.svg(
        name,
        f"SNR at each tap, recipe {series.row.recipe}",
        f"{len(series.drawn)} taps in program order; {words}; {len(series.below)} of them at or "
        f"below {series.gate_db:g} dB.",
    )


def histogram_figure(view: ErrorView, name: str) -> Markup:
    """Draw how many elements have an error of each size, and the share up to it."""
    first = view.histogram[0][0] if view.histogram else -30
    last = view.histogram[-1][0] + 1 if view.histogram else 0
    most = max((share for _, share in view.histogram), default=1.0) or 1.0
    chart = Chart((first, max(last, first + 1)), (0.0, 100.0), height=200)
    sizes = ticks(first, last, 6, unit=_DB)
    chart.axes(sizes, ticks(0, 100, 5), "size of the error, dB re full scale", "elements, %")
    chart.bars([(k, k + 0.9, 100.0 * share / most) for k, share in view.histogram], "fp16")
    chart.line([(first, view.exact_percent), *view.cumulative], "fp32")
    return chart.svg(
        name,
        f"Errors of {view.row.tensor} by size, recipe {view.row.recipe}",
        f"Bars: elements with an error of that size, the tallest is {most:.1f} %. Line: share with "
        f"an error up to it; {view.exact_percent:.1f} % have none.",
    )


def magnitude_figure(view: ErrorView, name: str) -> Markup:
    """Draw the size of the error against the size of the value."""
    across = [cell[0] for cell in view.cells] or [0]
    up = [cell[1] for cell in view.cells] or [0]
    x, y = (min(across), max(across) + 1), (min(up), max(up) + 1)
    chart = Chart(x, y, height=260)
    values, errors = (ticks(*ends, 6, unit=_DB) for ends in (x, y))
    chart.axes(values, errors, "size of the value, dB re full scale", "size of the error, dB")
    most = max((cell[2] for cell in view.cells), default=1.0) or 1.0
    floor = most * 1e-6
    cells = [
        (m, m + 1, e, e + 1, 1 + math.log10(max(share, floor) / most) / 6)
        for m, e, share in view.cells
    ]
    chart.cells(cells, "fp32")
    for bits, label in ((11, "FP16"), (24, "FP32")):
        ends = (max(x[0], y[0] + bits), min(x[1], y[1] + bits))
        if ends[0] < ends[1]:
            chart.line([(m, m - bits) for m in ends], "ink", dashed=True)
            chart.note(ends[1], ends[1] - bits, f"half a step of {label} ", "end")
    return chart.svg(
        name,
        f"Error against magnitude of {view.row.tensor}, recipe {view.row.recipe}",
        f"Stronger is more elements; of {view.above_percent:.2g} % the error is as large as the "
        "value.",
    )


def shares_figure(view: SensitivityView, name: str) -> Markup:
    """Draw how much of the error the first operations carry together."""
    chart = Chart((0, max(len(view.cumulative), 1)), (0, 100), height=200)
    chart.axes(
        ticks(0, len(view.cumulative), 5),
        ticks(0, 100, 5),
        "operations, worst first",
        "share of error, %",
    )
    chart.line(
        [(0, 0.0), *((place + 1, share) for place, share in enumerate(view.cumulative))], "fp32"
    )
    if view.half:
        chart.upright(view.half, f"half of it: {view.half} of {len(view.row.operations)}")
    return chart.svg(
        name,
        "Share of the error by the most sensitive operations, "
        f"{view.row.subject} in {view.row.precision}",
        f"{view.half} of {len(view.row.operations)} operations that add to it carry half.",
    )


def pareto_figure(view: TuningView, name: str) -> Markup:
    """Draw what each tried set reaches against what it costs."""
    levels, goal = [trial.worst_db for trial in view.trials], view.row.goal
    ends = [*levels, 60.0 if goal.min_snr_db is None else goal.min_snr_db]
    low, high = min(ends) - 2, max(ends) + 2
    chart = Chart((0.0, 100.0), (low, high), height=230)
    chart.axes(ticks(0, 100, 5), ticks(low, high, 6), f"{goal.cost} in FP32, %", "worst SNR, dB")
    if goal.min_snr_db is not None:
        chart.level(goal.min_snr_db, "target")
    curve = [(100 * trial.fp32_share, trial.worst_db) for trial in view.pareto]
    chart.line(curve, "fp32")
    for mark, holds in (("fp16", False), ("fp32", True)):
        mine = [(100 * t.fp32_share, t.worst_db) for t in view.trials if t.holds is holds]
        chart.dots(mine, mark, grown=2.5)
    if view.best is not None:
        chart.ring(100 * view.best.fp32_share, view.best.worst_db, "chosen")
    return chart.svg(
        name,
        f"SNR against FP32 share, {view.row.subject}",
        f"{len(view.trials)} sets were tried, {len(view.pareto)} of them on the curve.",
    )


def _scale(series: Series) -> tuple[float, float, Ticks]:
    """Return the foot of the axis of SNR, the rail for exact results, and the ticks of both."""
    low, high = series.limits_db
    rail = high + 0.1 * (high - low)
    return low, rail, [*(tick for tick in ticks(low, high, 6) if tick[0] <= high), (rail, "exact")]


def _ratios(chart: Chart, series: Series, low: float, rail: float, grown: float = 1.0) -> None:
    """Draw the SNR of each operation over the stages of the network, beside the gate."""
    for stage in series.stages:
        chart.stage(stage.start, stage.stop, stage.name)
    chart.level(series.gate_db)
    _dots(chart, series.drawn, lambda point: _height(point.snr_db, low, rail), grown=grown)


def _along(series: Series, low: float, high: float, levels: Ticks, name: str) -> Chart:
    """Return a chart of the operations from the first to the last, with its axes."""
    ends = (low, high + 0.03 * (high - low))
    chart = Chart((-1, series.last_index + 1), ends, height=250, top=30)
    chart.axes(ticks(0, series.last_index, 5), levels, "operation, in program order", name)
    return chart


def _dots(
    chart: Chart,
    points: Sequence[OperationProfile],
    up: Callable[[OperationProfile], float],
    grown: float = 1.0,
) -> None:
    """Draw a dot for each operation at its place in the program, FP16 and FP32 apart."""
    for mark in ("other", "fp32", "fp16"):
        mine = [(point.index, up(point)) for point in points if point.precision == mark]
        chart.dots(mine, mark, grown=grown)


def _tap_names(series: Series) -> Ticks:
    """Return the names that have room beside each other: of the first branch, where it is known."""
    outline = series.outline
    found: list[tuple[float, str]] = []
    for point in series.drawn:
        name = point.operation
        stage = outline.stage_of(name) if outline else None
        elsewhere = outline and stage and stage.branch not in ("", *outline.branches[:1])
        if not elsewhere and not (found and point.index - found[-1][0] < 2):
            found.append((point.index, shorten(short_tap(name, _LONGEST), _LONGEST)))
    return found


def _height(value: float | None, low: float, rail: float) -> float:
    if value is None or value == math.inf:
        return rail
    return max(value, low)
