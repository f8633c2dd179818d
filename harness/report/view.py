"""The view model of the whole page: everything that it shows, and nothing of how it looks.

In: a `Run`. Out: a frozen `Page` of texts and numbers, made without tensors, engines or pytest, so
that a page, a Markdown summary and a test can all be written from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.text import listing, words
from harness.report.view_banner import Banner, banner
from harness.report.view_checks import (
    CheckRow,
    LayerChecks,
    check_rows,
    layer_checks,
)
from harness.report.view_devices import DeviceTable, device_tables
from harness.report.view_diff import RecipeDiff, recipe_diffs
from harness.report.view_errors import ErrorView, error_views
from harness.report.view_faults import FaultLevel, fault_levels
from harness.report.view_history import HistoryView, history_view
from harness.report.view_lab import SensitivityView, TuningView, sensitivity_view, tuning_view
from harness.report.view_operations import Series, operation_series, tap_series
from harness.report.view_origin import Facts, goldens_of, provenance
from harness.report.view_precision import PrecisionMap, precision_maps
from harness.report.view_proofs import BenchView, bench_view
from harness.report.view_recipes import RecipeView, recipe_views
from harness.report.view_scores import ScoreTable, score_tables
from harness.report.view_tiles import Tile, of_files, tiles
from harness.verdicts import Gate, GoldenState, LayerSummary, Record, Run, Verdict, sortable

LAYER_MEANINGS = {
    "ops": "Each operation alone, against float64.",
    "stft": "The transform, against torch.stft and torch.istft.",
    "surgery": "The model without its STFT, against the original.",
    "conversion": "The package against what it was made from: outputs and inner values.",
    "end_to_end": "Audio in; every stem, channel, segment out.",
}


SECTIONS = {
    "verdict": "Verdict",
    "ladder": "Ladder",
    "explanation": "Why",
    "pack": "Packs",
    "recipes": "Recipes",
    "scores": "Scores",
    "devices": "Devices",
    "checks": "Checks",
    "network": "Network",
    "precision": "Precision",
    "transform": "Transform",
    "faults": "Faults",
    "history": "History",
    "proofs": "Benchmarks",
    "goldens": "Goldens",
    "provenance": "Provenance",
    "terms": "Terms",
}
"""Anchor and short name of each section, in the order of the page; a template for each."""
MAIN_JOB = "parity"
"""The profile that covers everything: there a section without content says so instead of going."""


@dataclass(frozen=True)
class Rung:
    """One layer of the ladder, and the gating check that is closest to its bound."""

    layer: LayerSummary
    worst: CheckRow | None

    @property
    def name(self) -> str:
        """The layer in words."""
        return words(self.layer.layer)

    @property
    def meaning(self) -> str:
        """What it compares."""
        return LAYER_MEANINGS.get(self.layer.layer, "")

    @property
    def accepted(self) -> bool:
        """Whether it passes and rests on waivers."""
        return self.layer.verdict is Verdict.PASS and self.layer.counts["waived"] > 0

    @property
    def state(self) -> str:
        """Its verdict, or ``waived``; the page colours by it."""
        return "waived" if self.accepted else self.layer.verdict.value

    @property
    def word(self) -> str:
        """Its verdict in words."""
        waived = f", {self.layer.counts['waived']} waived" if self.accepted else ""
        return words(self.layer.verdict.value) + waived


@dataclass(frozen=True)
class Page:
    """Everything that the report shows: a run, and what was made of it."""

    run: Run
    title: str
    banner: Banner
    tiles: tuple[Tile, ...]
    ladder: tuple[Rung, ...]
    advice: str
    checks: tuple[LayerChecks, ...]
    recipes: tuple[RecipeView, ...]
    scores: tuple[ScoreTable, ...]
    devices: tuple[DeviceTable, ...]
    operations: tuple[Series, ...]
    errors: tuple[ErrorView, ...]
    diffs: tuple[RecipeDiff, ...]
    sensitivities: tuple[SensitivityView, ...]
    tunings: tuple[TuningView, ...]
    taps: Mapping[tuple[str, str], Sequence[Series]]
    precision: tuple[PrecisionMap, ...]
    faults: tuple[FaultLevel, ...]
    bench: BenchView | None
    goldens: tuple[GoldenState, ...]
    history: HistoryView
    gates: tuple[Gate, ...]
    provenance: tuple[Facts, ...]

    @property
    def sections(self) -> tuple[tuple[str, str], ...]:
        """Anchor and title of the sections that this page has."""
        empty = {anchor for anchor, content in self._optional.items() if not content}
        if self.run.profile.name == MAIN_JOB:
            empty &= {"explanation", "scores", "devices", "pack"}
        return tuple((anchor, name) for anchor, name in SECTIONS.items() if anchor not in empty)

    @property
    def has_lab(self) -> bool:
        """Whether a document of the precision lab is in the run."""
        return bool(self.sensitivities or self.tunings or self.run.artefacts.headroom)

    @property
    def _optional(self) -> dict[str, object]:
        return {
            "explanation": self.run.artefacts.explanation,
            "recipes": self.recipes,
            "scores": self.scores,
            "devices": self.devices,
            "pack": self.run.artefacts.pack,
            "network": self.taps or self.operations or self.has_lab,
            "precision": self.precision,
            "transform": self.run.artefacts.transform_error or self.run.artefacts.window_sums,
            "faults": self.faults or self.run.profile.faults,
            "history": self.history.since or self.history.sparks,
            "proofs": self.run.artefacts.conformance or self.bench,
        }


def build_page(run: Run, record: Record | None = None) -> Page:
    """Compute the view model of ``run``, held against what ``record`` remembers."""
    rows = check_rows(run)
    maps = precision_maps(run)
    recipes = recipe_views(run, rows, maps)
    history = history_view(run, record or Record())
    operations = operation_series(run)
    seen = {row.check.layer for row in rows}
    ladder = tuple(
        _rung(layer, rows) for layer in run.layers if layer.layer in seen or not of_files(run)
    )
    return Page(
        run=run,
        title=f"Parity report: {listing(run.profile.subjects, run.profile.name)}",
        banner=banner(run, rows, recipes),
        tiles=tiles(run, rows, recipes, history.since),
        ladder=ladder,
        advice=_advice(ladder),
        checks=layer_checks(rows),
        recipes=recipes,
        scores=score_tables(run),
        devices=device_tables(run),
        operations=operations,
        errors=error_views(run),
        diffs=recipe_diffs(operations),
        sensitivities=tuple(map(sensitivity_view, run.artefacts.sensitivity)),
        tunings=tuple(map(tuning_view, run.artefacts.tuning)),
        taps=tap_series(run, operations),
        precision=maps,
        faults=fault_levels(run),
        bench=bench_view(run),
        goldens=goldens_of(run),
        history=history,
        gates=tuple(dict.fromkeys(check.gate for check in run.checks if check.gate)),
        provenance=provenance(run),
    )


def _rung(layer: LayerSummary, rows: Sequence[CheckRow]) -> Rung:
    mine = [
        row
        for row in rows
        if row.check.layer == layer.layer and row.check.gating and row.headroom_db is not None
    ]
    return Rung(layer, min(mine, key=lambda row: sortable(row.headroom_db), default=None))


def _advice(ladder: Sequence[Rung]) -> str:
    failing = [rung for rung in ladder if rung.state == "fail"]
    if not failing or len(ladder) == 1:
        return ""
    if len(failing) == 1:
        below = "every rung below it holds"
        if any(rung.state == "not_evaluated" for rung in ladder[: ladder.index(failing[0])]):
            below = "a rung below it was not evaluated"
        return f"Only {failing[0].name} fails; {below}."
    return (
        f"The lowest rung that fails is {failing[0].name}: start there, since what is above rests "
        "on it."
    )
