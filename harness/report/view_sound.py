"""View models of the stems as a whole: every stem of every case, along time, seen and heard.

In: the end-to-end checks and the ``separation``, ``stem_timeline``, ``stem_picture`` and
``audio_clip`` rows of a run. Out: for each subject and recipe a `SoundView`. Ratios are in dB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.order import grouped, sortable, unique
from harness.report.view_stems import below_limit
from harness.verdicts import Check, Run, Verdict
from harness.verdicts.rows.signals import AudioClip, Separation, StemPicture, StemTimeline


@dataclass(frozen=True)
class StemCaseCell:
    """One stem of one case.

    Attributes:
        snr_db: of the whole stem; None where it has none (silence) or was not looked at.
        state: ``pass``, ``fail``, ``measured``, ``not_evaluated`` or ``absent``.
        row: what kind of error is left, where the case is music.
    """

    snr_db: float | None
    state: str
    word: str
    row: Separation | None

    @property
    def ratios(self) -> tuple[tuple[str, float | None], ...]:
        """Name and dB of SDR, SIR, SAR and ISR; none where the case is no music."""
        row = self.row
        if row is None:
            return ()
        return ("SDR", row.sdr_db), ("SIR", row.sir_db), ("SAR", row.sar_db), ("ISR", row.isr_db)


@dataclass(frozen=True)
class SoundView:
    """The stems of one subject under one recipe.

    Attributes:
        cases, stems: of the matrix.
        matrix: a row of cells, one for each stem, for each case.
        timelines: by case, its stems along time.
    """

    subject: str
    recipe: str
    cases: tuple[str, ...]
    stems: tuple[str, ...]
    matrix: tuple[tuple[str, tuple[StemCaseCell, ...]], ...]
    timelines: dict[str, list[StemTimeline]]
    pictures: tuple[StemPicture, ...]
    clips: tuple[AudioClip, ...]

    @property
    def diagnoses(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return what kinds of error are left, each with the stems and cases that have it."""
        found: dict[str, dict[str, list[str]]] = {}
        for case, cells in self.matrix:
            for stem, cell in zip(self.stems, cells, strict=True):
                if cell.row and cell.row.diagnosis:
                    found.setdefault(cell.row.diagnosis, {}).setdefault(case, []).append(stem)
        return tuple(
            (words, tuple(f"{case}: {', '.join(stems)}" for case, stems in cases.items()))
            for words, cases in found.items()
        )

    @property
    def worst(self) -> tuple[float, str, str] | None:
        """The lowest SNR with its case and stem."""
        found = [
            (cell.snr_db, case, stem)
            for case, cells in self.matrix
            for stem, cell in zip(self.stems, cells, strict=True)
            if cell.snr_db is not None
        ]
        return min(found, key=lambda item: sortable(item[0]), default=None)


def worst_stretch(line: StemTimeline) -> int | None:
    """Return the place of the stretch with the lowest ratio; None if every one is silent."""
    known = [(sortable(at), place) for place, at in enumerate(line.snr_db) if at is not None]
    return min(known)[1] if known else None


def sound_views(run: Run) -> tuple[SoundView, ...]:
    """Return a view for each subject and recipe with stems, in the order of the run."""
    checks = grouped(
        (check for check in run.checks if _of_whole_stem(check)),
        lambda check: (check.labels.get("subject", ""), check.labels["recipe"]),
    )
    subjects = list(dict.fromkeys(subject for subject, _ in checks))
    order = {name: place for place, name in enumerate(run.profile.recipes)}
    keys = sorted(
        checks, key=lambda key: (subjects.index(key[0]), order.get(key[1], len(order)), key[1])
    )
    return tuple(_view(run, subject, recipe, checks[subject, recipe]) for subject, recipe in keys)


def _of_whole_stem(check: Check) -> bool:
    named = check.layer == "end_to_end" and {"stem", "recipe"} <= check.labels.keys()
    return named and not check.labels.get("channel") and not check.labels.get("what")


def _view(run: Run, subject: str, recipe: str, checks: Sequence[Check]) -> SoundView:
    rows = run.artefacts

    def mine(row: Separation | StemTimeline | StemPicture | AudioClip) -> bool:
        return (row.subject, row.recipe) == (subject, recipe)

    cases = unique(check.labels.get("case", "") for check in checks)
    stems = unique(check.labels["stem"] for check in checks)
    cells = {(c.labels.get("case", ""), c.labels["stem"]): c for c in checks}
    ratios = {(row.case, row.stem): row for row in filter(mine, rows.separation)}
    return SoundView(
        subject=subject,
        recipe=recipe,
        cases=cases,
        stems=stems,
        matrix=tuple(
            (case, tuple(_cell(cells.get((case, s)), ratios.get((case, s))) for s in stems))
            for case in cases
        ),
        timelines=grouped(filter(mine, rows.stem_timeline), lambda row: row.case),
        pictures=tuple(filter(mine, rows.stem_picture)),
        clips=tuple(filter(mine, rows.audio_clip)),
    )


def _cell(check: Check | None, row: Separation | None) -> StemCaseCell:
    if check is None:
        return StemCaseCell(None, "absent", "not in this run", None)
    outcome = check.outcome
    if check.verdict is Verdict.NOT_EVALUATED:
        return StemCaseCell(None, "not_evaluated", "not evaluated", row)
    state = check.verdict.value if check.gating else "measured"
    if outcome.metrics.get("silent") is True:
        return StemCaseCell(None, state, outcome.observed, row)
    level = outcome.metrics.get("snr_db")
    level = float(level) if isinstance(level, (int, float)) else None
    return StemCaseCell(level, state, "below" if below_limit(level) else "", row)
