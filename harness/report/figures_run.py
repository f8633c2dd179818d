"""Figures of a run: the headroom of its checks, and the error at each tap.

In: view models with numbers in dB. Out: `markupsafe.Markup` charts; each name starts the ids of its
figure and is unique within the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from harness.report.chart import Chart, ticks
from harness.report.curve import LIMIT_DB
from harness.report.text import shorten
from harness.report.units import db
from harness.report.view_checks import LayerChecks
from harness.report.view_network import Panel, Point

_LANE = 36.0  # CSS pixels
_LONGEST = 14  # characters of a tap's name under the axis


def taps_figure(panel: Panel, name: str) -> Markup:
    """Draw the SNR at each tap in program order, FP16 and FP32 apart."""
    low, high = panel.limits_db
    rail = high + 0.1 * (high - low)
    last = max((point.index for point in panel.points), default=1)
    chart = Chart((-1, last + 1), (low, rail + 0.03 * (high - low)), height=325, bottom=100, top=30)
    names = [
        (point.index, shorten(point.op.removeprefix("crosstransformer."), _LONGEST))
        for point in _named(panel.points)
    ]
    levels = [tick for tick in ticks(low, high, 6) if tick[0] <= high]
    chart.axes(names, [*levels, (rail, "exact")], "", "SNR, dB", turned=True)
    for stage in panel.stages:
        chart.stage(stage.start, stage.stop, stage.name)
    chart.level(LIMIT_DB)
    for mark in ("other", "fp32", "fp16"):
        mine = [point for point in panel.points if point.precision == mark]
        heights = [rail if p.snr_db == math.inf else max(p.snr_db or 0.0, low) for p in mine]
        chart.dots([(p.index, up) for p, up in zip(mine, heights, strict=True)], mark, grown=1.8)
    lowest, words = panel.worst, "no tap could be compared"
    if lowest is not None:
        words = f"lowest {db(lowest.snr_db)} at {lowest.op}"
    return chart.svg(
        name,
        f"SNR at each tap, recipe {panel.recipe}",
        f"{len(panel.points)} taps in program order; {words}; {panel.below} of them at or below "
        f"{LIMIT_DB:g} dB.",
    )


def headroom_figure(layers: Sequence[LayerChecks], name: str) -> Markup:
    """Draw one lane per layer with a dot for each gating check at its headroom."""
    lanes = [layer for layer in layers if layer.gating][::-1]  # upwards; the table goes down
    low, high = _headroom_limits(lanes)
    rail = high + 0.08 * (high - low)
    count = max(len(lanes), 1)
    chart = Chart(
        (low, rail + 0.03 * (high - low)),
        (-0.6, count - 0.4),
        height=60 + _LANE * count,
        left=92,
    )
    clear = rail - 0.12 * (rail - low)  # the word needs room
    levels = [tick for tick in ticks(low, high, 6) if tick[0] <= clear]
    names = [(float(lane), layer.name) for lane, layer in enumerate(lanes)]
    chart.axes([*levels, (rail, "exact")], names, "headroom, dB (0 is the bound)")
    chart.upright(0.0)
    for lane, layer in enumerate(lanes):
        for states, mark in ((("pass",), "pass"), (("fail", "waived"), "fail")):
            mine = [
                (place, row.headroom_db)
                for place, row in enumerate(layer.gating)
                if row.state in states
                and row.headroom_db is not None
                and not math.isnan(row.headroom_db)
            ]
            chart.dots(
                [
                    (
                        rail if value == math.inf else min(max(low, value), high),
                        lane + 0.6 * (_jitter(place) - 0.5),
                    )
                    for place, value in mine
                ],
                mark,
            )
    failed = sum(layer.failed for layer in lanes)
    return chart.svg(
        name,
        "Headroom of every gating check, by layer",
        f"{sum(len(layer.gating) for layer in lanes)} gating checks, {failed} of them failed.",
    )


def _named(taps: Sequence[Point]) -> list[Point]:
    """Return the taps of the frequency branch whose names have room beside each other."""
    found: list[Point] = []
    for point in taps:
        crowded = found and point.index - found[-1].index < 2
        if not crowded and not _of_time_branch(point.op):
            found.append(point)
    return found


def _of_time_branch(tap: str) -> bool:
    """Return whether a tap belongs to the time branch, whose names mirror the other's."""
    first, last = tap.split(".")[0], tap.split(".")[-1]
    return first in ("tencoder", "tdecoder") or last == "time" or "_t" in (tap[-2:], tap[-4:-2])


def _headroom_limits(lanes: Sequence[LayerChecks]) -> tuple[float, float]:
    known = [
        row.headroom_db
        for layer in lanes
        for row in layer.gating
        if row.headroom_db is not None and math.isfinite(row.headroom_db)
    ]
    low = max(min([*known, -10.0]), -120.0)
    high = min(max([*known, 40.0]), 200.0)
    return 10.0 * math.floor(low / 10.0), 10.0 * math.ceil(high / 10.0)


def _jitter(place: int) -> float:
    """Return the van der Corput number of ``place``: even jitter without a random generator."""
    value, share = 0.0, 0.5
    while place:
        value += share * (place & 1)
        place >>= 1
        share /= 2
    return value
