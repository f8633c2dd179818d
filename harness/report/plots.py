"""Figures: views in, inline SVG out.

In: view models with numbers in dB. Out: `markupsafe.Markup` holding one ``<svg>`` element without
a fixed size (it fills its column), whose colours are the page's CSS variables, so that one figure
serves light, dark and print. The same view gives the same bytes: no dates, no random ids.

matplotlib is used through its object-oriented interface alone; nothing here touches pyplot.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import MaxNLocator

from harness.report.curve import LIMIT_DB
from harness.report.text import printable
from harness.report.units import db
from harness.report.view_checks import LayerChecks
from harness.report.view_network import Panel, Point

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "harness.report",
    "path.simplify": False,
    "font.family": "DejaVu Sans",
    "font.size": 12.0,
    "axes.linewidth": 0.8,
    "text.parse_math": False,
}
# matplotlib wants colours, the page wants variables: each stand-in is replaced in the SVG.
_STAND_INS = {
    "ink": "#010101",
    "muted": "#020202",
    "line": "#030303",
    "panel": "#040404",
    "pass": "#050505",
    "fail": "#060606",
    "fp16": "#070707",
    "fp32": "#080808",
    "other": "#090909",
}
_MARKS = (("other", "butt", 5.7), ("fp32", "round", 6.5), ("fp16", "projecting", 4.9))
"""Precision, cap and width of its dots: circles and squares, so that colour is not needed."""


def network_figure(panel: Panel, name: str) -> Markup:
    """Draw the SNR at each tap in program order, FP16 and FP32 apart.

    Args:
        panel: the points and the scale that they share with the other panels of their group.
        name: what the ids of this figure start with; unique within the page.
    """
    lowest = panel.worst
    words = "no tap could be compared"
    if lowest is not None:
        words = f"lowest {db(lowest.snr_db)} at {lowest.op}"
    with mpl.rc_context(_SETTINGS):
        return _svg(
            _network(panel),
            name,
            f"SNR along the network, recipe {panel.recipe}",
            f"{len(panel.points)} taps in program order; {words}; {panel.below} of them "
            f"at or below {LIMIT_DB:g} dB.",
        )


def headroom_figure(layers: Sequence[LayerChecks], name: str) -> Markup:
    """Draw one lane per layer with a dot for each gating check at its headroom."""
    lanes = [layer for layer in layers if layer.gating]
    failed = sum(layer.failed for layer in lanes)
    with mpl.rc_context(_SETTINGS):
        return _svg(
            _headroom(lanes),
            name,
            "Headroom of every gating check, by layer",
            f"{sum(len(layer.gating) for layer in lanes)} gating checks, {failed} of them failed.",
        )


def _network(panel: Panel) -> Figure:
    figure, axes = _figure(400, 340)
    low, high = panel.limits_db
    rail = high + 0.1 * (high - low)
    last = max((point.index for point in panel.points), default=1)
    axes.set_xlim(-0.02 * last - 1, 1.02 * last + 1)
    axes.set_ylim(low, rail + 0.06 * (high - low))
    _draw_stages(axes, panel, last)
    axes.axhline(LIMIT_DB, color=_STAND_INS["ink"], linewidth=1.0, dashes=(4, 3))
    groups = [
        (mark, [point for point in panel.points if point.precision == mark[0]]) for mark in _MARKS
    ]
    groups.sort(key=lambda group: -len(group[1]))  # the rare ones on top
    for (precision, cap, width), mine in groups:
        heights = [
            rail if point.snr_db == math.inf else max(point.snr_db or 0.0, low) for point in mine
        ]
        _dots(axes, [point.index for point in mine], heights, precision, cap, width)
    places, labels = _ticks(low, high, rail, wide=False)
    axes.set_yticks(places, labels)
    named = _named(panel.points)
    labels = [point.op.removeprefix("crosstransformer.") for point in named]
    axes.set_xticks([point.index for point in named], labels, rotation=90, fontsize=11)
    axes.set_ylabel("SNR, dB")
    return figure


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


def _headroom(lanes: Sequence[LayerChecks]) -> Figure:
    figure, axes = _figure(440, 55 + 36 * max(len(lanes), 1))
    low, high = _headroom_limits(lanes)
    rail = high + 0.08 * (high - low)
    axes.set_xlim(low - 0.02 * (high - low), rail + 0.04 * (high - low))
    axes.set_ylim(-0.6, max(len(lanes), 1) - 0.4)
    axes.axvline(0.0, color=_STAND_INS["ink"], linewidth=1.0, dashes=(4, 3))
    for height, layer in enumerate(lanes):
        for states, cap in ((("pass",), "round"), (("fail", "waived"), "projecting")):
            mine = [
                (place, row.headroom_db)
                for place, row in enumerate(layer.gating)
                if row.state in states and _drawable(row.headroom_db)
            ]
            across = [
                rail if value == math.inf else min(max(low, value or 0.0), high)
                for _, value in mine
            ]
            up = [height + 0.6 * (_spread(place) - 0.5) for place, _ in mine]
            _dots(axes, across, up, states[0], cap, 4.0)
    places, labels = _ticks(low, high, rail, wide=True)
    axes.set_xticks(places, labels)
    axes.set_yticks(range(len(lanes)), [layer.name for layer in lanes])
    axes.invert_yaxis()  # the order of the table above it
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("headroom, dB (0 is the bound)")
    return figure


def _drawable(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


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


def _ticks(low: float, high: float, rail: float, *, wide: bool) -> tuple[list[float], list[str]]:
    """Return places and labels: round numbers, and the rail for what is exact."""
    places = MaxNLocator(7, steps=[1, 2, 4, 5, 10]).tick_values(low, high)
    clear = rail - 0.12 * (rail - low) if wide else high  # words need more room across than up
    kept = [float(place) for place in places if low <= place <= clear]
    labels = [f"{place:.0f}".replace("-", "\N{MINUS SIGN}") for place in kept]
    return [*kept, rail], [*labels, "exact"]


def _figure(width: int, height: int) -> tuple[Figure, Any]:
    """Return a figure of ``width`` by ``height`` CSS pixels with one bare pair of axes."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_STAND_INS["line"])
    axes.tick_params(colors=_STAND_INS["line"], labelcolor=_STAND_INS["ink"], labelsize=12)
    axes.xaxis.label.set_color(_STAND_INS["muted"])
    axes.yaxis.label.set_color(_STAND_INS["muted"])
    axes.grid(visible=True, color=_STAND_INS["line"], linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _dots(
    axes: Any, across: Sequence[float], up: Sequence[float], colour: str, cap: str, width: float
) -> None:
    """Draw dots as one path of zero-length strokes: a fifth of the bytes of separate markers."""
    if not across:
        return
    places = np.repeat(np.column_stack([across, up]).astype(float), 2, axis=0)
    codes = np.tile([Outline.MOVETO, Outline.LINETO], len(across))
    axes.add_patch(
        PathPatch(
            Outline(places, codes),
            fill=False,
            edgecolor=_STAND_INS[colour],
            linewidth=width,
            capstyle=cap,
            alpha=0.85,
            clip_on=False,
        )
    )


def _draw_stages(axes: Any, panel: Panel, last: int) -> None:
    top = axes.get_ylim()[1]
    for place, stage in enumerate(panel.stages):
        if place:
            axes.axvline(stage.start - 0.5, color=_STAND_INS["line"], linewidth=0.8)
        if stage.stop - stage.start > 0.16 * last:
            axes.text(
                (stage.start + stage.stop) / 2,
                top,
                stage.name,
                ha="center",
                va="bottom",
                fontsize=11.5,
                color=_STAND_INS["muted"],
            )


def _spread(place: int) -> float:
    """Return the van der Corput number of ``place``: even jitter without a random generator."""
    value, share = 0.0, 0.5
    while place:
        value += share * (place & 1)
        place >>= 1
        share /= 2
    return value


def _svg(figure: Figure, name: str, title: str, description: str) -> Markup:
    """Return the figure as an element that is named for those who can't see it."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    opening, body = text[: text.index(">")], text[text.index(">") + 1 : text.rindex("</svg>")]
    box = opening.partition('viewBox="')[2].partition('"')[0]
    head = (
        f'<svg class="plot" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'viewBox="{box}" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(printable(title))}</title>'
        f'<desc id="{name}-desc">{escape(printable(description))}</desc>'
    )
    return Markup(head + _inline(body, name) + "</svg>")


def _inline(body: str, name: str) -> str:
    """Return the inside of an SVG document as a part of a page that has other figures."""
    for pattern in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        body = re.sub(
            pattern, "", body, flags=re.DOTALL
        )  # a style sheet would reach the whole page
    for before, after in ((r'\bid="', 'id="'), (r"url\(#", "url(#"), (r'href="#', 'href="#')):
        body = re.sub(before, f"{after}{name}-", body)
    body = re.sub(r"(\d+\.\d\d)\d+", r"\1", body)
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", body)
    for colour, stand_in in _STAND_INS.items():
        body = body.replace(stand_in, f"var(--{colour})")
    return re.sub(r"\n\s*", "\n", body)
