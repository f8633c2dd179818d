"""Which figures a run has, by name, and what it lacks for the others.

In: a `Run`. Out: a `Drawing` for each figure, to be drawn on a `Paper`. A name begins with a kind
and goes on with what the figure is of; it is a file name, and the same in every run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Final, TypeVar

from matplotlib.figure import Figure

from harness.errors import ParityError, UnknownNameError
from harness.figures import precision, sound
from harness.figures.style import Paper
from harness.report.bounds import limit_db
from harness.report.order import by_recipe, grouped
from harness.report.view_lab import sensitivity_view, tuning_view
from harness.report.view_operations import operation_series, tap_series
from harness.report.view_sound import GATE as STEM_GATE
from harness.verdicts import Run

Shown = TypeVar("Shown")

_SONG: Final = "nox -s parity and parity check --report record it, where a case is a song"
KINDS: Final = {
    "operations": "nox -s parity records it",
    "taps": "nox -s parity and parity check --report record it",
    "stems": _SONG,
    "timeline": _SONG,
    "spectrograms": _SONG,
    "sensitivities": "attach a document of parity sensitivity",
    "pareto": "attach a document of parity tune",
}
"""Each kind of figure, and how a run comes to have it."""
_LONGEST: Final = 120
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.@]+")


@dataclass(frozen=True)
class Drawing:
    """A figure that a run has; ``draw`` is called in the style of the paper that it is given."""

    kind: str
    name: str
    draw: Callable[[Paper], Figure]


def drawings_of(run: Run) -> tuple[Drawing, ...]:
    """Return every figure that ``run`` has, in the order of `KINDS`; no two have one name."""
    found: dict[str, Drawing] = {}
    for drawing in _drawings(run):
        name, count = drawing.name, 2
        while name.lower() in found:
            name, count = f"{drawing.name}-{count}", count + 1
        found[name.lower()] = replace(drawing, name=name)
    return tuple(found.values())


def _drawings(run: Run) -> Iterator[Drawing]:
    rows = run.artefacts
    operations = grouped(operation_series(run), lambda s: (s.row.subject, s.row.case))
    timelines = grouped(by_recipe(run, rows.stem_timeline), lambda r: (r.subject, r.case))
    for labels, group in operations.items():
        yield _drawing("operations", labels, precision.operations_figure, group)
    for labels, group in tap_series(run, ()).items():
        yield _drawing("taps", labels, precision.taps_figure, group)
    for subject, stems in grouped(by_recipe(run, rows.separation), lambda r: r.subject).items():
        stem_levels = partial(sound.stems_figure, gate_db=limit_db(run, STEM_GATE, subject))
        yield _drawing("stems", [subject], stem_levels, stems)
    for labels, lines in timelines.items():
        seconds = partial(sound.timeline_figure, gate_db=limit_db(run, STEM_GATE, labels[0]))
        yield _drawing("timeline", labels, seconds, lines)
    for row in by_recipe(run, rows.stem_picture):
        of = (row.subject, row.case, row.recipe, row.stem)
        yield _drawing("spectrograms", of, sound.spectrograms_figure, row)
    for share in map(sensitivity_view, rows.sensitivity):
        names = (share.row.subject, share.row.precision)
        yield _drawing("sensitivities", names, precision.sensitivities_figure, share)
    for tuning in map(tuning_view, rows.tuning):
        yield _drawing("pareto", [tuning.row.subject], precision.pareto_figure, tuning)


def _drawing(
    kind: str, labels: Sequence[str], draw: Callable[[Paper, Shown], Figure], shown: Shown
) -> Drawing:
    name = _UNSAFE.sub("-", "-".join((kind, *labels)))[:_LONGEST].strip("-.")
    return Drawing(kind, name, lambda paper: draw(paper, shown))


def chosen(drawings: Sequence[Drawing], patterns: Iterable[str]) -> tuple[Drawing, ...]:
    """Return the figures whose kind or name matches one of ``patterns``; all for none.

    Raises:
        ParityError: there is nothing to draw, or none of a kind that was asked for.
        UnknownNameError: a pattern matches no figure.
    """
    patterns = tuple(patterns)
    without = lacking(drawings)
    for pattern in patterns:
        if pattern in without:
            raise ParityError(f"this run has {without[pattern]}")
        if not any(_matches(drawing, pattern) for drawing in drawings):
            raise UnknownNameError("figure", pattern, [*KINDS, *(d.name for d in drawings)])
    if not drawings:
        raise ParityError(f"this run has nothing to draw: {'; '.join(without.values())}")
    return tuple(d for d in drawings if not patterns or any(_matches(d, p) for p in patterns))


def lacking(drawings: Iterable[Drawing]) -> dict[str, str]:
    """Return the kinds of which there is no figure, each with a sentence on how to have one."""
    there = {drawing.kind for drawing in drawings}
    return {kind: f"no {kind}: {how}" for kind, how in KINDS.items() if kind not in there}


def _matches(drawing: Drawing, pattern: str) -> bool:
    return pattern == drawing.kind or fnmatchcase(drawing.name, pattern)
