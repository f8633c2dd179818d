"""View models of the stems: every stem of every case, along time, seen and heard.

In: the rows of the end-to-end checks, and the ``separation``, ``stem_timeline``, ``stem_picture``
and ``audio_clip`` rows of a run. Out: for each subject and recipe a `SoundView`. Ratios are in dB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.bounds import limit_db, lowest_snr
from harness.report.order import grouped, unique
from harness.report.view_checks import CheckRow, ranked
from harness.verdicts import Run, Verdict, sortable
from harness.verdicts.rows.signals import AudioClip, Separation, StemPicture, StemTimeline

GATE = "end_to_end"


def below(snr_db: float | None, limit: float) -> bool:
    """Return whether a ratio does not exceed a limit; an unknown one counts as below."""
    return not sortable(snr_db) > limit


def of_stem(row: CheckRow) -> bool:
    """Return whether a check holds a stem, or a part of one, to the gate of stems."""
    gate = row.check.gate
    return bool(row.of("stem") and gate and gate.name == GATE)


@dataclass(frozen=True)
class SoundView:
    """The stems of one subject under one recipe.

    Attributes:
        gate_db: the ratio that each stem must exceed.
        cases, stems: that were looked at.
        cells: by case and stem the worst of its checks: of the whole stem, a channel or a second.
        rows: what kind of error is left in music, the lowest SNR first.
        timelines: by case, its stems along time.
    """

    gate_db: float
    cases: tuple[str, ...]
    stems: tuple[str, ...]
    cells: dict[tuple[str, str], CheckRow]
    rows: tuple[Separation, ...]
    timelines: dict[str, list[StemTimeline]]
    pictures: tuple[StemPicture, ...]
    clips: tuple[AudioClip, ...]

    def worst(self, stem: str = "") -> CheckRow | None:
        """Return the check of a stem, or of all of them, that matters most; None without one."""
        mine = [row for (_, name), row in self.cells.items() if stem in ("", name)]
        return worst_of(mine) if mine else None

    @property
    def recorded(self) -> bool:
        """Whether the run kept more than the checks."""
        return bool(self.timelines or self.pictures or self.clips)


def worst_of(rows: Iterable[CheckRow]) -> CheckRow:
    """Return the row with the lowest SNR of those that fail, or were not evaluated, or of all.

    Gating rows speak for all where there are any, and silence where nothing has a ratio.
    """
    order = ranked(rows)
    mine = [row for row in order if row.check.gating] or order
    failed = [row for row in mine if row.check.verdict is Verdict.FAIL]
    unknown = [row for row in mine if row.check.verdict is Verdict.NOT_EVALUATED]
    first = failed or unknown or mine
    return lowest_snr(first) or first[0]


def worst_stretch(line: StemTimeline) -> int | None:
    """Return the place of the stretch with the lowest ratio; None if every one is silent."""
    known = [(sortable(at), place) for place, at in enumerate(line.snr_db) if at is not None]
    return min(known)[1] if known else None


def extent_db(lines: Iterable[StemTimeline]) -> tuple[tuple[float, float], ...]:
    """Return the lowest and the highest finite ratio of stems along time; nothing without one."""
    known = [v for line in lines for v in line.snr_db if v is not None and math.isfinite(v)]
    return ((min(known), max(known)),) if known else ()


def sound_view(
    run: Run, subject: str, recipe: str, check_rows: Sequence[CheckRow]
) -> SoundView | None:
    """Return what a run knows of the stems of a subject under a recipe; None for nothing.

    Args:
        run: what is shown.
        subject, recipe: whose stems.
        check_rows: of this subject and recipe.
    """

    def mine(row: Separation | StemTimeline | StemPicture | AudioClip) -> bool:
        return (row.subject, row.recipe) == (subject, recipe)

    kept = run.artefacts
    rows = tuple(sorted(filter(mine, kept.separation), key=lambda row: sortable(row.snr_db)))
    cells = grouped(filter(of_stem, check_rows), lambda row: (row.of("case"), row.of("stem")))
    view = SoundView(
        gate_db=limit_db(run, GATE, subject),
        cases=tuple(dict.fromkeys(case for case, _ in cells)),
        stems=unique([*(stem for _, stem in cells), *(row.stem for row in rows)]),
        cells={place: worst_of(found) for place, found in cells.items()},
        rows=rows,
        timelines=grouped(filter(mine, kept.stem_timeline), lambda row: row.case),
        pictures=tuple(filter(mine, kept.stem_picture)),
        clips=tuple(filter(mine, kept.audio_clip)),
    )
    return view if view.cells or view.rows or view.recorded else None
