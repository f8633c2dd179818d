"""The view model of the whole page: everything that it shows, and nothing of how it looks.

In: a `Run`. Out: a frozen `Page` of texts and numbers, made without tensors, engines or pytest, so
that a page, a Markdown summary and a test can all be written from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.reading import unique
from harness.report.text import listing, words
from harness.report.units import db, plural
from harness.report.view_checks import (
    MEASURED_WORDS,
    CheckRow,
    LayerChecks,
    check_rows,
    layer_checks,
    ranked,
    sortable,
)
from harness.report.view_diff import RecipeDiff, recipe_diffs
from harness.report.view_errors import ErrorView, error_views
from harness.report.view_faults import FaultMatrix, fault_matrix
from harness.report.view_history import HistoryView, history_view
from harness.report.view_lab import LabView, lab_view
from harness.report.view_network import Envelope, NetworkGroup, envelopes, network_groups
from harness.report.view_operations import Series, operation_series
from harness.report.view_origin import (
    EngineView,
    Facts,
    GoldenView,
    device,
    engine_views,
    golden_hash,
    golden_summary,
    golden_views,
    provenance,
    undrawn,
)
from harness.report.view_precision import PrecisionMap, precision_maps
from harness.report.view_proofs import (
    BenchView,
    ConformanceView,
    bench_view,
    conformance_views,
)
from harness.report.view_quality import QualityTable, quality_tables
from harness.report.view_recipes import RecipeView, recipe_views
from harness.report.view_sound import SoundView, sound_views
from harness.report.view_stems import SubjectStems, stem_views
from harness.report.view_transform import TransformView, WindowView, transform_views, window_views
from harness.verdicts import Gate, LayerSummary, Record, Run, Verdict

LAYER_MEANINGS = {
    "ops": "Each operation alone, against float64.",
    "stft": "The transform, against torch.stft and torch.istft.",
    "surgery": "The model without its STFT, against the original.",
    "conversion": "The package against PyTorch, outputs and taps.",
    "end_to_end": "Audio in; every stem, channel, segment out.",
}
NUMERICS_MEANINGS = {
    "storage": "float32 arithmetic, one rounding to the declared type after each operation",
    "float64": "float64 arithmetic: the reference",
    "native": "the half-precision kernels of this machine",
    "fp16_accumulate": "sums and products accumulate in FP16: the pessimistic bound",
}


@dataclass(frozen=True)
class Banner:
    """The verdict, what it rests on, and what it does not cover.

    Attributes:
        emulation: what the executed engines can't tell about a device; empty if Core ML ran.
        state: the verdict, or ``waived`` for a pass that rests on waivers.
        failures: the gating checks that failed, least headroom first.
        waived: those that failed and are accepted for a while.
        broken: what turned the run red besides checks (the harness, goldens, duplicates).
        escaped: the injected bugs that were not caught, each with its reason.
        golden_hash: of all goldens together.
        distance: what is known of the distance between the emulation and a device.
        faults: how many bugs were injected and caught, in words.
        missing: what was required and not looked at.
        cases: for each subject the cases on which something of it was evaluated.
    """

    state: str
    word: str
    headline: str
    subjects: tuple[str, ...]
    profile: str
    cases: tuple[tuple[str, tuple[str, ...]], ...]
    gating_recipes: tuple[str, ...]
    exploratory_recipes: tuple[str, ...]
    engines: tuple[EngineView, ...]
    numerics: tuple[tuple[str, str], ...]
    device: str
    goldens: str
    golden_hash: str
    distance: str
    gating_checks: int
    exploratory_checks: int
    exploratory_unmet: int
    emulation: str
    failures: tuple[CheckRow, ...]
    waived: tuple[CheckRow, ...]
    broken: tuple[str, ...]
    escaped: tuple[str, ...]
    faults: str
    missing: tuple[str, ...]
    started: str
    duration_s: float


@dataclass(frozen=True)
class Rung:
    """One layer of the ladder."""

    layer: str
    name: str
    meaning: str
    state: str
    word: str
    reason: str
    required: bool
    passed: int
    failed: int
    waived: int
    not_evaluated: int
    exploratory: int
    worst_headroom_db: float | None
    worst: CheckRow | None
    duration_s: float

    @property
    def total(self) -> int:
        """The number of gating checks."""
        return self.passed + self.failed + self.waived + self.not_evaluated


@dataclass(frozen=True)
class Page:
    """Everything that the report shows."""

    title: str
    banner: Banner
    ladder: tuple[Rung, ...]
    advice: str
    checks: tuple[LayerChecks, ...]
    recipes: tuple[RecipeView, ...]
    stems: tuple[SubjectStems, ...]
    quality: tuple[QualityTable, ...]
    sounds: tuple[SoundView, ...]
    transforms: tuple[TransformView, ...]
    windows: tuple[WindowView, ...]
    operations: tuple[Series, ...]
    errors: tuple[ErrorView, ...]
    diffs: tuple[RecipeDiff, ...]
    lab: LabView
    networks: tuple[NetworkGroup, ...]
    envelopes: tuple[Envelope, ...]
    precision: tuple[PrecisionMap, ...]
    faults: FaultMatrix
    conformance: tuple[ConformanceView, ...]
    bench: BenchView | None
    goldens: tuple[GoldenView, ...]
    history: HistoryView
    gates: tuple[Gate, ...]
    provenance: tuple[Facts, ...]
    undrawn: tuple[str, ...]


def build_page(run: Run, record: Record | None = None) -> Page:
    """Compute the view model of ``run``, held against what ``record`` remembers."""
    rows = check_rows(run)
    recipes = recipe_views(run, rows)
    operations = operation_series(run)
    ladder = tuple(_rung(layer, rows) for layer in run.layers)
    return Page(
        title=f"Parity report: {listing(run.profile.subjects, 'no subject')}",
        banner=_banner(run, rows, recipes),
        ladder=ladder,
        advice=_advice(ladder),
        checks=layer_checks(rows),
        recipes=recipes,
        stems=stem_views(run),
        quality=quality_tables(run),
        sounds=sound_views(run),
        transforms=transform_views(run),
        windows=window_views(run),
        operations=operations,
        errors=error_views(run),
        diffs=recipe_diffs(operations),
        lab=lab_view(run),
        networks=network_groups(run, {(s.subject, s.recipe) for s in operations if s.points}),
        envelopes=envelopes(run),
        precision=precision_maps(run),
        faults=fault_matrix(run),
        conformance=conformance_views(run),
        bench=bench_view(run),
        goldens=golden_views(run),
        history=history_view(run, record or Record()),
        gates=tuple(dict.fromkeys(check.gate for check in run.checks if check.gate)),
        provenance=provenance(run),
        undrawn=undrawn(run),
    )


def _banner(run: Run, rows: Sequence[CheckRow], recipes: Sequence[RecipeView]) -> Banner:
    failing = {f"{check.id}: {check.outcome.reason}" for check in run.failing}
    failures = ranked(row for row in rows if row.state == "fail")
    escaped = tuple(fault.complaint for fault in run.faults if not fault.caught)
    broken = tuple(reason for reason in run.red if reason not in failing.union(escaped))
    evaluated = [view for view in recipes if view.state != "not_evaluated"]
    gating = unique(view.recipe for view in evaluated if view.gating)
    accepted = run.waived if run.verdict is Verdict.PASS else {}
    return Banner(
        state="waived" if accepted else run.verdict.value,
        word=words(run.verdict.value) + (f", {len(accepted)} waived" if accepted else ""),
        headline=_headline(run, len(failures), len(broken), len(escaped)),
        subjects=run.profile.subjects or _labels(run, "subject"),
        profile=run.profile.name,
        cases=tuple(
            (subject, _labels(run, "case", subject)) for subject in _labels(run, "subject")
        ),
        gating_recipes=gating,
        exploratory_recipes=tuple(
            name for name in unique(view.recipe for view in evaluated) if name not in gating
        ),
        engines=engine_views(run),
        numerics=tuple(
            (name, NUMERICS_MEANINGS.get(name, "")) for name in _labels(run, "numerics")
        ),
        device=device(run),
        goldens=golden_summary(run),
        golden_hash=golden_hash(run),
        distance=_distance(run),
        gating_checks=sum(row.gating for row in rows),
        exploratory_checks=sum(not row.gating for row in rows),
        exploratory_unmet=sum(row.word == MEASURED_WORDS["fail"] for row in rows),
        emulation=_emulation(run),
        failures=failures,
        waived=ranked(row for row in rows if row.state == "waived"),
        broken=broken,
        escaped=escaped,
        faults=_fault_words(run),
        missing=run.missing,
        started=run.started,
        duration_s=run.duration_s,
    )


def _labels(run: Run, name: str, subject: str = "") -> tuple[str, ...]:
    """Return the values of a label among the evaluated checks, of a subject or all, in order."""
    return unique(
        check.labels.get(name, "")
        for check in run.checks
        if check.verdict is not Verdict.NOT_EVALUATED
        and subject in ("", check.labels.get("subject"))
    )


def _fault_words(run: Run) -> str:
    if not run.faults:
        return "none injected"
    caught = sum(fault.caught for fault in run.faults)
    return f"{plural(len(run.faults), 'known bug')} injected, {caught} caught"


def _headline(run: Run, failures: int, broken: int, escaped: int) -> str:
    gating = sum(check.gating for check in run.checks)
    if run.verdict is Verdict.FAIL:
        parts = []
        if failures:
            parts.append(f"{failures} of {plural(gating, 'gating check')} failed")
        if escaped:
            parts.append(f"{escaped} of {plural(len(run.faults), 'injected bug')} went unnoticed")
        if broken:
            parts.append(f"{plural(broken, 'thing')} that the checks rest on broke")
        return f"{', and '.join(parts)}."
    if run.verdict is Verdict.PASS:
        injected = f"all {plural(len(run.faults), 'injected bug')} were caught"
        if not gating:
            return f"{injected.capitalize()}."
        if run.waived:
            kept = f"{gating - len(run.waived)} of {plural(gating, 'gating check')} hold"
            failed = (
                f"{len(run.waived)} failed and {'is' if len(run.waived) == 1 else 'are'} waived"
            )
            return f"{kept}, {failed}{f', and {injected}' if run.faults else ''}."
        return (
            f"All {plural(gating, 'gating check')} hold{f', and {injected}' if run.faults else ''}."
        )
    if not any(check.verdict is not Verdict.NOT_EVALUATED for check in run.checks):
        return "Nothing was evaluated, so nothing is proven."
    return (
        f"Nothing failed, but {plural(len(run.missing), 'required thing')} "
        f"{'was' if len(run.missing) == 1 else 'were'} not looked at, so this run proves no parity."
    )


def _emulation(run: Run) -> str:
    executed = {engine.name for engine in run.engines if engine.executed}
    if "coreml" in executed:
        return ""
    reasons = [engine.reason for engine in run.engines if engine.name == "coreml" and engine.reason]
    why = f" ({reasons[0].rstrip('.')})" if reasons else ""
    if "mil" not in executed:
        return f"The Core ML engine did not run{why}, and no other engine executed a package."
    return (
        f"The Core ML engine did not run{why}. The package was executed by an emulation that "
        "follows its operations and declared precisions. An emulation is not the Neural Engine: "
        "what a device's own kernels add or leave out is not in these numbers."
    )


def _distance(run: Run) -> str:
    if any(engine.name == "coreml" and engine.executed for engine in run.engines):
        return "none: Core ML itself ran"
    spreads = [
        row.spread_db
        for view in envelopes(run)
        for row in view.rows
        if row.spread_db is not None and math.isfinite(row.spread_db)
    ]
    if not spreads:
        return "not measured: no device was compared, and one way of computing only was run"
    return (
        f"not measured: no device was compared; between the ways of computing that were run, the "
        f"same package moves by up to {db(max(spreads))}"
    )


def _rung(layer: LayerSummary, rows: Sequence[CheckRow]) -> Rung:
    mine = [
        row
        for row in rows
        if row.layer == layer.layer and row.gating and row.headroom_db is not None
    ]
    worst = min(mine, key=lambda row: sortable(row.headroom_db), default=None)
    accepted = layer.verdict is Verdict.PASS and layer.counts["waived"] > 0
    return Rung(
        layer=layer.layer,
        name=words(layer.layer),
        meaning=LAYER_MEANINGS.get(layer.layer, ""),
        state="waived" if accepted else layer.verdict.value,
        word=words(layer.verdict.value)
        + (f", {layer.counts['waived']} waived" if accepted else ""),
        reason=layer.reason,
        required=layer.required,
        passed=layer.counts["pass"],
        failed=layer.counts["fail"],
        waived=layer.counts["waived"],
        not_evaluated=layer.counts["not_evaluated"],
        exploratory=layer.exploratory,
        worst_headroom_db=worst.headroom_db if worst else None,
        worst=worst,
        duration_s=layer.duration_s,
    )


def _advice(ladder: Sequence[Rung]) -> str:
    failing = [rung for rung in ladder if rung.state == "fail"]
    if not failing:
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
