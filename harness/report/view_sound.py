"""View models of the stems as a whole: every stem of every case, along time, seen and heard.

In: the end-to-end checks and the ``separation``, ``stem_timeline``, ``stem_picture`` and
``audio_clip`` rows of a run. Out: for each subject and recipe a `SoundView`. Ratios are in dB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.raster import Picture, picture
from harness.report.reading import Row, as_number, number, rows, sequence, text, unique, whole
from harness.report.view_checks import sortable
from harness.report.view_stems import LIMIT_DB
from harness.verdicts import Check, Run, Verdict
from harness.verdicts.artefacts import VERSION

MEDIA_TYPES = ("audio/flac", "audio/wav", "audio/ogg")
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


@dataclass(frozen=True)
class StemCaseCell:
    """One stem of one case.

    Attributes:
        snr_db: of the whole stem; None where it has none (silence) or was not looked at.
        state: ``pass``, ``fail``, ``measured``, ``silent``, ``not_evaluated`` or ``absent``.
        ratios: (name, dB) of SDR, SIR, SAR and ISR, where the case is music.
        diagnosis: what kind of error is left, in words; empty where there is nothing to say.
    """

    snr_db: float | None
    state: str
    word: str
    ratios: tuple[tuple[str, float | None], ...]
    diagnosis: str


@dataclass(frozen=True)
class TimelineView:
    """The SNR of a stem in each stretch; ``worst`` is the place of the lowest, None if unknown."""

    stem: str
    start_s: tuple[float, ...]
    snr_db: tuple[float | None, ...]
    worst: int | None


@dataclass(frozen=True)
class PictureView:
    """Spectrograms and waveforms of one stem."""

    case: str
    stem: str
    snr_db: float | None
    duration_s: float
    low_hz: float
    high_hz: float
    pictures: tuple[tuple[str, Picture], ...]
    wave_peak: float
    wave: tuple[tuple[int, ...], tuple[int, ...]]
    rest_peak: float
    rest: tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class ClipView:
    """An excerpt to be heard; ``sounds`` are (what, data address)."""

    case: str
    stem: str
    start_s: float
    duration_s: float
    gain_db: float
    sounds: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SoundView:
    """The stems of one subject under one recipe.

    Attributes:
        cases, stems: of the matrix.
        matrix: a row of cells, one for each stem, for each case.
        timelines: (case, its stems along time).
    """

    subject: str
    recipe: str
    cases: tuple[str, ...]
    stems: tuple[str, ...]
    matrix: tuple[tuple[str, tuple[StemCaseCell, ...]], ...]
    timelines: tuple[tuple[str, tuple[TimelineView, ...]], ...]
    pictures: tuple[PictureView, ...]
    clips: tuple[ClipView, ...]

    @property
    def diagnoses(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return what kinds of error are left, each with the stems and cases that have it."""
        found: dict[str, dict[str, list[str]]] = {}
        for case, cells in self.matrix:
            for stem, cell in zip(self.stems, cells, strict=True):
                if cell.diagnosis:
                    found.setdefault(cell.diagnosis, {}).setdefault(case, []).append(stem)
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


def sound_views(run: Run) -> tuple[SoundView, ...]:
    """Return a view for each subject and recipe with stems, in the order of the run."""
    checks: dict[tuple[str, str], list[Check]] = {}
    for check in run.checks:
        labels = check.labels
        whole_stem = check.layer == "end_to_end" and {"stem", "recipe"} <= labels.keys()
        if whole_stem and not labels.get("channel") and not labels.get("what"):
            key = labels.get("subject", ""), labels["recipe"]
            checks.setdefault(key, []).append(check)
    order = {name: place for place, name in enumerate(run.profile.recipes)}
    keys = sorted(
        checks, key=lambda key: (_first(checks, key[0]), order.get(key[1], len(order)), key[1])
    )
    return tuple(_view(run, subject, recipe, checks[subject, recipe]) for subject, recipe in keys)


def _first(checks: dict[tuple[str, str], list[Check]], subject: str) -> int:
    return list(dict.fromkeys(owner for owner, _ in checks)).index(subject)


def _view(run: Run, subject: str, recipe: str, checks: Sequence[Check]) -> SoundView:
    cases = unique(check.labels.get("case", "") for check in checks)
    stems = unique(check.labels["stem"] for check in checks)

    def mine(kind: str) -> list[Row]:
        return [
            row
            for row in rows(run, kind)
            if text(row, "subject") == subject and text(row, "recipe") == recipe
        ]

    cells = {(c.labels.get("case", ""), c.labels["stem"]): c for c in checks}
    ratios = {(text(row, "case"), text(row, "stem")): row for row in mine("separation")}
    matrix = tuple(
        (case, tuple(_cell(cells.get((case, s)), ratios.get((case, s))) for s in stems))
        for case in cases
    )
    lines = [row for row in mine("stem_timeline") if whole(row, "version") == VERSION]
    pictures = [_picture(row) for row in mine("stem_picture") if whole(row, "version") == VERSION]
    clips = [_clip(row) for row in mine("audio_clip") if whole(row, "version") == VERSION]
    return SoundView(
        subject=subject,
        recipe=recipe,
        cases=cases,
        stems=stems,
        matrix=matrix,
        timelines=tuple(
            (case, tuple(_timeline(row) for row in lines if text(row, "case") == case))
            for case in unique(text(row, "case") for row in lines)
        ),
        pictures=tuple(view for view in pictures if view is not None),
        clips=tuple(view for view in clips if view is not None),
    )


def _cell(check: Check | None, row: Row | None) -> StemCaseCell:
    if check is None:
        return StemCaseCell(None, "absent", "not in this run", (), "")
    names = (("SDR", "sdr_db"), ("SIR", "sir_db"), ("SAR", "sar_db"), ("ISR", "isr_db"))
    ratios = () if row is None else tuple((name, number(row, key)) for name, key in names)
    diagnosis = "" if row is None else text(row, "diagnosis")
    outcome = check.outcome
    if check.verdict is Verdict.NOT_EVALUATED:
        return StemCaseCell(None, "not_evaluated", "not evaluated", ratios, diagnosis)
    state = check.verdict.value if check.gating else "measured"
    if outcome.metrics.get("silent") is True:
        return StemCaseCell(None, state, outcome.observed, ratios, diagnosis)
    level = as_number(outcome.metrics.get("snr_db"))
    below = not sortable(level) > LIMIT_DB
    return StemCaseCell(level, state, "below" if below else "", ratios, diagnosis)


def _timeline(row: Row) -> TimelineView:
    starts = [as_number(value) for value in sequence(row.get("start_s"))]
    levels = [as_number(value) for value in sequence(row.get("snr_db"))]
    pairs = [
        (start, level) for start, level in zip(starts, levels, strict=False) if start is not None
    ]
    known = [
        (sortable(level), place) for place, (_, level) in enumerate(pairs) if level is not None
    ]
    return TimelineView(
        stem=text(row, "stem"),
        start_s=tuple(start for start, _ in pairs),
        snr_db=tuple(level for _, level in pairs),
        worst=min(known)[1] if known else None,
    )


def _picture(row: Row) -> PictureView | None:
    duration, low, high = (number(row, key) for key in ("duration_s", "low_hz", "high_hz"))
    names = ("reference", "candidate", "difference")
    pictures = tuple((name, drawn) for name in names if (drawn := picture(row.get(name))))
    if not pictures or duration is None or low is None or high is None or not 0 < low < high:
        return None
    return PictureView(
        case=text(row, "case"),
        stem=text(row, "stem"),
        snr_db=number(row, "snr_db"),
        duration_s=duration,
        low_hz=low,
        high_hz=high,
        pictures=pictures,
        wave_peak=number(row, "wave_peak") or 0.0,
        wave=(_outline(row, "wave_low"), _outline(row, "wave_high")),
        rest_peak=number(row, "rest_peak") or 0.0,
        rest=(_outline(row, "rest_low"), _outline(row, "rest_high")),
    )


def _outline(row: Row, key: str) -> tuple[int, ...]:
    values = [as_number(value) for value in sequence(row.get(key))]
    return tuple(int(v) if v is not None and math.isfinite(v) else 0 for v in values[:2000])


def _clip(row: Row) -> ClipView | None:
    kind = text(row, "media_type")
    sounds = tuple(
        (name, f"data:{kind};base64,{row[name]}")
        for name in ("reference", "candidate", "difference")
        if isinstance(row.get(name), str) and _BASE64.issuperset(row[name])
    )
    start, duration = number(row, "start_s"), number(row, "duration_s")
    gain = number(row, "difference_gain_db")
    if kind not in MEDIA_TYPES or len(sounds) < 3 or start is None or duration is None:
        return None
    if gain is None or not math.isfinite(gain):
        return None
    return ClipView(text(row, "case"), text(row, "stem"), start, duration, gain, sounds)
