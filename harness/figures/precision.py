"""Figures of precision: the error along a network, what each operation adds, what a tuning tried.

In: view models of the report. Out: matplotlib figures, in the style of the paper that they are
drawn on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.figures.style import (
    INK,
    QUIET,
    Paper,
    decibel_axis,
    draw_gate,
    draw_legend,
    draw_note,
    name,
)
from harness.report.text import short_tap
from harness.report.view_lab import SensitivityView, TuningView
from harness.report.view_operations import Series
from harness.verdicts.rows.documents import TrialRow

_PRECISIONS = {
    "fp16": {"color": "#0072B2", "marker": "o", "label": "result in FP16"},
    "fp32": {"color": "#E69F00", "marker": "x", "label": "result in FP32"},
    "other": {"color": QUIET, "marker": "+", "label": "other"},
}
_NAME_LENGTH = 14


def operations_figure(paper: Paper, group: Sequence[Series]) -> Figure:
    """Draw the SNR after each operation: a panel for each recipe, a dot for each operation.

    Args:
        paper: to draw on.
        group: the series of one subject and case.
    """
    columns = 2 if paper.wide and len(group) > 1 else 1
    rows = math.ceil(len(group) / columns)
    about = (group[0].row.subject, group[0].row.case)
    height = 0.35 + rows * (0.5 if paper.wide else 0.62)
    figure = paper.figure("SNR after each operation", about, height)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axes, series in zip(panels, group, strict=False):
        place = decibel_axis(axes, [p.snr_db for s in group for p in s.points], group[0].gate_db)
        for precision, look in _PRECISIONS.items():
            mine = [(p.index, place(p.snr_db)) for p in series.points if p.precision == precision]
            if mine:
                size = 1.8 * paper.scale
                axes.plot(*zip(*mine, strict=True), linestyle="", markersize=size, **look)
        title = f"{name(series.row.recipe)}, against {name(series.row.reference, 40)}"
        axes.set_title(paper.fill(title, 0.8 / columns))
        _name_stages(axes, series)
        axes.set_ylabel("SNR (dB)" if axes.get_subplotspec().is_first_col() else "")
        draw_gate(axes, group[0].gate_db)
    for axes in panels[len(group) :]:
        axes.remove()
    for axes in panels[: len(group)][-columns:]:
        axes.set_xlabel("operations, in program order")
    draw_legend(figure)
    return figure


def taps_figure(paper: Paper, group: Sequence[Series]) -> Figure:
    """Draw the SNR at each tap of a network: a line for each recipe.

    Args:
        paper: to draw on.
        group: the series of one subject and case.
    """
    row = group[0].row
    what = f"SNR at each tap, against {name(row.reference, 40)}"
    figure = paper.figure(what, (row.subject, row.case), 1.2)
    axes = figure.add_subplot()
    place = decibel_axis(axes, [p.snr_db for s in group for p in s.points], group[0].gate_db)
    for series in group:
        axes.plot(
            [point.index for point in series.points],
            [place(point.snr_db) for point in series.points],
            label=name(series.row.recipe),
            **paper.looks[series.row.recipe],
        )
    names = {
        point.index: name(short_tap(point.operation, _NAME_LENGTH), _NAME_LENGTH + 8)
        for s in group
        for point in s.points
    }
    room = paper.width_in * 72 * 0.75 / (8 * paper.scale)  # how many names stand beside each other
    shown = sorted(names)[:: max(1, math.ceil(len(names) / room))]
    axes.set_xticks(shown, [names[at] for at in shown], rotation=90, size="x-small")
    axes.set_xticks(sorted(names), minor=True)
    axes.set_ylabel("SNR (dB)")
    draw_gate(axes, group[0].gate_db)
    draw_legend(figure)
    return figure


def sensitivities_figure(paper: Paper, view: SensitivityView) -> Figure:
    """Draw the operations that carry most of the error, and how much the first ones carry."""
    about = (view.row.subject, *view.row.cases, view.row.precision)
    what = f"Share of the error in {name(view.row.measure)}"
    figure = paper.figure(what, about, 1.2 if paper.wide else 2.1)
    top, sums = figure.subplots(*((1, 2) if paper.wide else (2, 1)))
    bars = range(len(view.top))
    top.barh(bars, [shared.percent for shared in view.top], color="#0072B2", height=0.7)
    names = [f"{name(shared.name, 20)} ({name(shared.type, 14)})" for shared in view.top]
    top.set_yticks(bars, names, size="x-small")
    top.set(title="Top operations", xlabel="share of the error (%)")
    top.grid(visible=False, axis="y")
    top.invert_yaxis()
    sums.plot(range(len(view.cumulative) + 1), [0.0, *view.cumulative], color="#0072B2")
    drawn, every = len(view.cumulative), len(view.row.operations)
    sums.set_title(paper.fill(f"Together ({drawn} of {every})", 0.4))
    sums.set(xlabel="operations, worst first", ylabel="share of the error (%)")
    sums.set(xlim=(0, None), ylim=(0, 102))
    if 0 < view.half <= drawn:
        words = f"half of it: {view.half} of {every}"
        draw_note(sums, view.half, view.cumulative[view.half - 1], words)
    return figure


def pareto_figure(paper: Paper, view: TuningView) -> Figure:
    """Draw what each tried set of FP32 operations reaches against what it costs."""
    goal = view.row.goal
    figure = paper.figure(
        "Lowest SNR against the cost of FP32", (view.row.subject, *view.row.cases)
    )
    axes = figure.add_subplot()
    targets = [] if goal.min_snr_db is None else [goal.min_snr_db]
    place = decibel_axis(axes, [trial.worst_db for trial in view.trials], *targets)

    def draw(tried: Iterable[TrialRow], label: str, **look: Any) -> None:
        points = [(100 * trial.fp32_share, place(trial.worst_db)) for trial in tried]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **look)

    draw(view.pareto, "best up to a cost", drawstyle="steps-post", color=INK)
    look = {"linestyle": "", "color": "#0072B2"}
    draw((t for t in view.trials if t.holds), "reaches the target", marker="o", **look)
    look = {"linestyle": "", "color": "#D55E00", "markerfacecolor": "none"}
    draw((t for t in view.trials if not t.holds), "misses it", marker="v", **look)
    look = {"linestyle": "", "color": INK, "markerfacecolor": "none"}
    draw([view.best] if view.best else (), "chosen", marker="o", markersize=9 * paper.scale, **look)
    axes.set(xlabel=f"share of {name(goal.cost)} in FP32 (%)", ylabel="lowest SNR (dB)")
    for target in targets:
        draw_gate(axes, target, "target")
    draw_legend(figure)
    return figure


def _name_stages(axes: Axes, series: Series) -> None:
    """Name the parts of the network that have room under the panel, and part them by lines."""
    last = max(series.last_index, 1)
    axes.set_xlim(-0.01 * last, 1.01 * last)
    wide = [stage for stage in series.stages if stage.stop - stage.start > 0.15 * last]
    if wide:
        axes.set_xticks([(stage.start + stage.stop) / 2 for stage in wide])
        axes.set_xticklabels([name(stage.name, _NAME_LENGTH) for stage in wide], size="small")
        axes.tick_params(axis="x", length=0)
    for stage in wide:
        axes.axvline(stage.start, color="0.75", linewidth=rcParams["grid.linewidth"], zorder=0)
