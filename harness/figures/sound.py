"""Figures of stems: how close each one is, when it is furthest, and what the difference looks like.

In: view models of the report, and rows of a run. Out: matplotlib figures, in the style of the paper
that they are drawn on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.figures.style import (
    LONGEST_S,
    Paper,
    decibel_axis,
    draw_gate,
    draw_legend,
    draw_note,
    name,
    within,
)
from harness.report.order import grouped, unique
from harness.verdicts import sortable
from harness.verdicts.rows.signals import Raster, Separation, StemPicture, StemTimeline

_HERTZ = {100.0: "100", 500.0: "500", 2000.0: "2k", 10_000.0: "10k"}
_LOUDEST_DB = 1000.0  # beyond what any float64 can be


def stems_figure(paper: Paper, rows: Sequence[Separation], gate_db: float) -> Figure:
    """Draw the lowest SNR of each stem, over all cases, under each recipe.

    Args:
        paper: to draw on.
        rows: of one subject.
        gate_db: that each stem is held to.
    """
    figure = paper.figure(
        "Lowest SNR of each stem", (rows[0].subject, *sorted({row.case for row in rows}))
    )
    axes = figure.add_subplot()
    stems, recipes = unique(row.stem for row in rows), grouped(rows, lambda row: row.recipe)
    place = decibel_axis(axes, [row.snr_db for row in rows], gate_db)
    for column, (recipe, mine) in enumerate(recipes.items()):
        aside = 0.6 * ((column + 0.5) / len(recipes) - 0.5)
        known = [(row.stem, row.snr_db) for row in mine if row.snr_db is not None]
        worst = [
            min((at for of, at in known if of == stem), key=sortable, default=None)
            for stem in stems
        ]
        axes.plot(
            [at + aside for at in range(len(worst))],
            [place(at) for at in worst],
            label=name(recipe),
            **{**paper.looks[recipe], "linestyle": ""},
        )
    axes.set_xticks(range(len(stems)), [name(stem, 12) for stem in stems])
    axes.set_ylabel("lowest SNR (dB)")
    draw_gate(axes, gate_db)
    draw_legend(figure)
    return figure


def timeline_figure(paper: Paper, rows: Sequence[StemTimeline], gate_db: float) -> Figure:
    """Draw the SNR of the worst stem in each second: a line for each recipe.

    Args:
        paper: to draw on.
        rows: of one subject and case.
        gate_db: that each stem is held to.
    """
    figure = paper.figure("SNR of the worst stem in each second", (rows[0].subject, rows[0].case))
    axes = figure.add_subplot()
    place = decibel_axis(axes, [at for row in rows for at in row.snr_db], gate_db)
    found: list[tuple[float, float, str]] = []
    for recipe, mine in grouped(rows, lambda row: row.recipe).items():
        worst = _worst_stems(mine)
        axes.plot(
            list(worst),
            [place(at) for at, _ in worst.values()],
            label=name(recipe),
            markevery=math.ceil(len(worst) / 30) or None,
            **paper.looks[recipe],
        )
        found += [(place(at), middle, stem) for middle, (at, stem) in worst.items() if stem]
    axes.set(xlabel="time (s)", ylabel="SNR (dB)")
    if found:
        level, middle, stem = min(found)
        draw_note(axes, middle, level, f"{name(stem, 12)}, {level:.1f} dB")
    draw_gate(axes, gate_db)
    draw_legend(figure)
    return figure


def _worst_stems(rows: Sequence[StemTimeline]) -> dict[float, tuple[float | None, str]]:
    """Return the lowest SNR around the middle of each stretch, and its stem; None in silence."""
    worst: dict[float, tuple[float | None, str]] = {}
    for row in rows:
        for start, at in zip(row.start_s, row.snr_db, strict=True):
            middle = within(start + row.stretch_s / 2, 0.0, LONGEST_S)
            known = worst.get(middle, (None, ""))[0]
            if at is None:
                worst.setdefault(middle, (None, ""))
            elif known is None or sortable(at) < sortable(known):
                worst[middle] = at, row.stem
    return dict(sorted(worst.items()))


def spectrograms_figure(paper: Paper, row: StemPicture) -> Figure:
    """Draw the spectrograms of what PyTorch made, of what the package made, and of the rest."""
    about = (row.subject, row.case, row.recipe, row.stem)
    figure = paper.figure("Spectrograms", about, 0.95 if paper.wide else 1.9)
    low, high = math.log10(row.low_hz), math.log10(row.high_hz)
    end = within(row.duration_s, 1e-3, LONGEST_S)
    shape = (1, 3) if paper.wide else (3, 1)
    panels = figure.subplots(*shape, sharex=True, sharey=True)
    shown = {"Reference": row.reference, "Candidate": row.candidate, "Difference": row.difference}
    for axes, (title, picture) in zip(panels, shown.items(), strict=True):
        levels = levels_db(picture)
        scale = levels_db(row.reference) if title == "Candidate" else levels
        image = axes.imshow(
            levels,
            extent=(0.0, end, low, high),
            vmin=np.percentile(scale, 1),
            vmax=scale.max(),
            aspect="auto",
            interpolation="none",
        )
        axes.set(title=title, xlabel="time (s)", ylabel="frequency (Hz)")
        axes.grid(visible=False)
        axes.label_outer()
        side = "bottom" if paper.wide else "right"
        bar = figure.colorbar(image, ax=axes, location=side, extend="both", label="level (dBFS)")
        bar.locator = MaxNLocator(4, steps=[1, 2, 5, 10])  # few: their labels may not hang over
    hertz = {math.log10(at): label for at, label in _HERTZ.items()}
    inside = [at for at in hertz if low <= at <= high]
    panels[0].set_yticks(inside, [hertz[at] for at in inside])
    return figure


def levels_db(picture: Raster) -> npt.NDArray[np.float64]:
    """Return the levels [rows, columns] of a picture in dB, the highest band first."""
    codes = np.frombuffer(picture.codes, np.uint8).reshape(picture.rows, picture.columns)
    low, high = (within(at, -_LOUDEST_DB, _LOUDEST_DB) for at in (picture.low_db, picture.high_db))
    return low + codes / (picture.levels - 1) * (high - low)
