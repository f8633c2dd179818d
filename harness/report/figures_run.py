"""The figure of a run: the headroom of its checks.

In: view models with numbers in dB. Out: a `markupsafe.Markup` chart; its name starts its ids and is
unique within the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from harness.report.chart import Chart, ticks
from harness.report.view_checks import LayerChecks

_LANE = 36.0  # CSS pixels


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
