"""How figures look in print: one style, the widths of a page, and what every figure has in common.

A series is told by its colour (Okabe and Ito's, which every kind of colour vision tells apart), by
its line and by its marker, so that a figure survives a greyscale printer. Text is text: what a run
names is never read as mathematics. Lengths are in inches, type in points, levels in dB.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

from matplotlib import rcParams, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.errors import ParityError, one_line
from harness.report.order import unique
from harness.verdicts import Run

STYLE: Final[Mapping[str, Any]] = {
    "font.family": "DejaVu Sans",
    "text.parse_math": False,
    "figure.constrained_layout.use": True,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "0.88",
    "legend.fontsize": "small",
    "legend.frameon": False,
    "image.cmap": "viridis",
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType: journals refuse the Type 3 that is the default
    "svg.hashsalt": "htdemucs-parity",  # the ids in a file are the same in every run
}
SIZES: Final = {
    "font.size": 8.0,
    "lines.linewidth": 0.9,
    "lines.markersize": 3.5,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
"""In points, where a figure is printed; all of them grow together where it is projected."""
LOOKS: Final = tuple(
    {"color": colour, "linestyle": line, "marker": marker}
    for colour, line, marker in (
        ("#0072B2", "-", "o"),
        ("#D55E00", "--", "s"),
        ("#009E73", "-.", "^"),
        ("#CC79A7", ":", "D"),
        ("#000000", "-", "x"),
        ("#56B4E9", (0, (6, 2)), "v"),
        ("#8C6D00", (0, (1, 1)), "P"),
    )
)
"""Of recipes, in the order of the run."""
WIDTHS: Final = {"column": 3.4, "page": 7.0, "slide": 10.0}
NARROWEST, WIDEST = 3.2, 10.0
INK, QUIET = "0.15", "0.45"
LONGEST_S: Final = 1e7
"""The longest signal that an axis reaches: nobody separates songs of four months."""
_LOWEST_DB, _HIGHEST_DB = -20.0, 400.0  # float64 itself ends at some 320 dB
_locator: Final = MaxNLocator(6, steps=[1, 2, 5, 10])


def width_in(text: str) -> float:
    """Return a width that is given by name or in inches.

    Raises:
        ParityError: it is neither, or no width of a page.
    """
    try:
        width = WIDTHS[text] if text in WIDTHS else float(text)
    except ValueError:
        width = math.nan
    if not NARROWEST <= width <= WIDEST:
        raise ParityError(
            f"--width {text!r} is none of {', '.join(WIDTHS)} and no number of inches from "
            f"{NARROWEST:g} to {WIDEST:g}"
        )
    return width


@dataclass(frozen=True)
class Paper:
    """What figures are drawn on.

    Attributes:
        width_in: of each figure.
        looks: colour, line and marker of each recipe, the same in every figure.
    """

    width_in: float
    looks: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, width_in: float, run: Run) -> Paper:
        """Return a paper on which the recipes of ``run`` look different."""
        rows = run.artefacts
        drawn = (*rows.taps, *rows.separation, *rows.stem_timeline)
        recipes = unique((*run.profile.recipes, *(row.recipe for row in drawn)))
        return cls(width_in, dict(zip(recipes, cycle(LOOKS), strict=False)))

    @property
    def scale(self) -> float:
        """By how much type and lines are larger than `SIZES`: wider figures are projected."""
        return max(1.0, self.width_in / 4.0 - 0.75)

    @property
    def wide(self) -> bool:
        """Whether panels have room beside each other."""
        return self.width_in >= 6.0

    def style(self) -> AbstractContextManager[None]:
        """Return the context in which to draw and to save; it leaves no setting changed."""
        context: AbstractContextManager[None] = style.context(
            ["default", {**STYLE, **{key: self.scale * size for key, size in SIZES.items()}}]
        )
        return context

    def fill(self, text: str, share: float = 1.0) -> str:
        """Break a title into lines that a share of the width has room for."""
        letter = 0.57 * self.scale * SIZES["font.size"]
        return "\n".join(textwrap.wrap(text, int(share * self.width_in * 72 / letter)))

    def figure(self, what: str, about: Sequence[str], height: float = 1.0) -> Figure:
        """Return an empty figure with its title.

        Args:
            what: is drawn.
            about: subject, case, recipe: what of it there is.
            height: relative to that of a plain chart.
        """
        tall = self.width_in * (0.5 if self.wide else 0.72) * height
        figure = Figure(figsize=(self.width_in, tall))
        lines = [what, ", ".join(name(part, 60) for part in about if part)]
        text = "\n".join(map(self.fill, lines))
        figure.suptitle(text, x=0.04 / self.width_in, ha="left", size="medium")
        return figure


def name(text: str, length: int = 28) -> str:
    """Return what a run calls something, as one printable line."""
    line = one_line(text, length)
    return f" {line}" if line.startswith("_") else line  # a legend leaves out what begins with _


def within(value: float, low: float, high: float) -> float:
    """Return the number nearest to ``value`` between two ends; NaN is the lower one."""
    return min(max(low, value), high)  # max keeps its first where the second is NaN


def draw_gate(axes: Axes, level_db: float, word: str = "gate") -> None:
    """Draw a bound as a line that is named beside the panel, where nothing is under the words."""
    at = within(level_db, *axes.get_ylim())
    axes.axhline(at, color=INK, linestyle=(0, (4, 2)), zorder=2.5)
    axes.annotate(
        f"{word}\n{level_db:g} dB",
        (1.0, at),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        size="small",
        color=INK,
    )


def draw_note(axes: Axes, x: float, y: float, words: str) -> None:
    """Ring a point and say what it is."""
    ring = 2 * rcParams["lines.markersize"]
    axes.plot([x], [y], "o", markersize=ring, markerfacecolor="none", color=INK)
    axes.annotate(words, (x, y), xytext=(5, -5), textcoords="offset points", va="top", size="small")


def draw_legend(figure: Figure) -> None:
    """Name the series of all panels under the figure, each once."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found = {**dict(zip(labels, handles, strict=True)), **found}
    points = figure.get_figwidth() * 72
    entry = rcParams["font.size"] * (4 + 0.5 * max(map(len, found), default=1))
    legend = figure.legend(
        found.values(),
        found,
        loc="outside lower center",
        ncols=max(1, min(len(found), int(points / entry))),
        columnspacing=1.2,
    )
    for handle in legend.legend_handles:
        assert isinstance(handle, Line2D)  # a panel with a legend draws nothing else
        handle.set_markersize(max(handle.get_markersize(), rcParams["lines.markersize"]))


def decibel_axis(
    axes: Axes, values: Iterable[float | None], *levels_db: float
) -> Callable[[float | None], float]:
    """Scale the upright axis to ratios, and return where each of them stands on it.

    What is exact stands on a line of its own above the scale, NaN at the bottom; what is unknown
    stands nowhere.

    Args:
        axes: to be scaled.
        values: all that will be drawn.
        levels_db: what must be in sight, too.
    """
    given = [value for value in values if value is not None]
    finite = filter(math.isfinite, (*given, *levels_db))
    known = [within(value, _LOWEST_DB, _HIGHEST_DB) for value in finite]
    least, most = min(known, default=0.0), max(known, default=0.0)
    low = max(_LOWEST_DB, 10.0 * math.floor((least - 0.12 * (most - least)) / 10.0))
    high = max(10.0 * math.ceil((most + 1.0) / 10.0), low + 10.0)
    exact = math.inf in given
    ticks = [at for at in _locator.tick_values(low, high) if low <= at < high + (not exact)]
    labels = [f"{at:g}".replace("-", "\N{MINUS SIGN}") for at in ticks]
    rail = high + 0.07 * (high - low)
    axes.set_yticks([*ticks, rail] if exact else ticks, [*labels, "exact"] if exact else labels)
    axes.set_ylim(low, rail + 0.03 * (high - low) if exact else high)

    def place(value: float | None) -> float:
        if value is None:
            return math.nan
        return rail if value == math.inf else within(value, low, high)

    return place
