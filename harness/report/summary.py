"""The run in short Markdown, for the page of a CI job.

In: the view model of a run. Out: Markdown of at most `LIMIT_BYTES`: verdict, ladder, recipes, what
failed, what was not evaluated, and where the rest is. A service that drops a summary which is too
long never gets one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.report.text import listing, markdown, utc, words
from harness.report.units import count, db, headroom, seconds
from harness.report.view import Page
from harness.report.view_checks import CheckRow
from harness.report.view_recipes import RECIPE_GATES, RecipeGate, RecipeView
from harness.verdicts import Run

LIMIT_BYTES = 64_000
_SHOWN = 20
_SIGNS = {"pass": "✓", "fail": "✕", "not_evaluated": "○", "measured": "≈", "waived": "△"}
_LINKS = (
    "Whole report: `index.html`; data: `run.json`; for machines: `junit.xml` (all of them in this "
    "folder)."
)


def summary_markdown(page: Page) -> str:
    """Return the summary of a run's page."""
    banner = page.banner
    blocks = [
        f"## {_SIGNS[banner.state]} {banner.word.upper()}: {markdown(banner.headline)}",
        _overtaken(page.run),
        _tiles(page),
        _facts(page),
        _ladder(page),
        _recipes(page),
        _list("What failed", map(_failure, banner.failures)),
        _list(
            "What failed and is waived",
            [f"{row.check.id}: {row.told}; {row.waiver}" for row in banner.waived],
        ),
        _list("Known bugs that went unnoticed", banner.escaped),
        _list("What broke that the checks rest on", banner.broken),
        _list(
            "What could not be drawn", [f"{row.place}: {row.reason}" for row in page.run.damaged]
        ),
        _list("What was not evaluated", (*filter(None, [banner.emulation]), *page.run.missing)),
    ]
    return _fit([block for block in blocks if block])


def _fit(blocks: Sequence[str]) -> str:
    """Return as many blocks as fit, whole ones only, and the links."""
    kept, left = [], LIMIT_BYTES - len(_LINKS.encode()) - 80
    for block in blocks:
        left -= len(block.encode()) + 2
        if left < 0:
            kept.append("The rest is too long for this page.")
            break
        kept.append(block)
    return "\n\n".join([*kept, _LINKS]) + "\n"


def _overtaken(run: Run) -> str:
    if not run.overtaken:
        return ""
    return (
        f"**Outdated:** a newer run began {markdown(utc(run.overtaken))} and has not ended. "
        "Everything below is of the run before it."
    )


def _tiles(page: Page) -> str:
    return "\n".join(
        f"- {tile.label}: **{markdown(fact.value)}** ({markdown(fact.words)})"
        for tile in page.tiles
        for fact in tile.facts
    )


def _facts(page: Page) -> str:
    banner = page.banner
    engines = [engine.name for engine in banner.engines if engine.executed]
    parts = [
        f"subjects {markdown(listing(banner.subjects))}",
        f"engines {markdown(listing(engines))}",
        f"gating recipes {markdown(listing(banner.gating_recipes))}",
        f"exploratory {markdown(listing(banner.exploratory_recipes))}",
        f"goldens: {markdown(banner.goldens)}",
        f"faults: {markdown(banner.faults)}",
        *filter(None, [markdown(page.run.coverage)]),
        f"took {seconds(page.run.duration_s)}",
    ]
    return "; ".join(parts).capitalize() + "."


def _ladder(page: Page) -> str:
    lines = [
        "| layer | verdict | pass | fail | not evaluated | exploratory | least headroom | time |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for rung in page.ladder:
        accepted = rung.layer.counts["waived"]
        waived = f" ({count(accepted)} waived)" if accepted else ""
        word = rung.word if rung.layer.required else f"{rung.word} (not required)"
        cells = [
            rung.name,
            f"{_SIGNS[rung.state]} {word}",
            count(rung.layer.counts["pass"]),
            count(rung.layer.counts["fail"]) + waived,
            count(rung.layer.counts["not_evaluated"]),
            count(rung.layer.exploratory),
            headroom(rung.layer.worst_headroom_db),
            seconds(rung.layer.duration_s),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + (f"\n\n{page.advice}" if page.advice else "")


def _recipes(page: Page) -> str:
    lines = []
    for view in page.recipes:
        subject = view.subject if len(page.banner.subjects) > 1 else ""
        name = " · ".join(filter(None, [subject, view.recipe]))
        lines.append(f"{_SIGNS[view.state]} **{markdown(name)}**: {markdown(_recipe(view))}")
    return _section("Precision recipes", lines)


def _recipe(view: RecipeView) -> str:
    """Return what a recipe is and what became of its outputs and stems."""
    if view.gating is None:
        return "not evaluated, no check of this run used it"
    found = [f"{'gating' if view.gating else 'exploratory'}, {words(view.state)}"]
    if not view.gating:
        found += [_met(gate) for gate in view.gates if gate.name in RECIPE_GATES]
        found += [f"{gate.gate} fails" for gate in view.gates if gate.state == "fail"]
    return "; ".join(found)


def _met(gate: RecipeGate) -> str:
    if not gate.bounds:
        return f"{gate.gate} not evaluated"
    worst = f" (worst SNR {db(gate.lowest.snr_db)})" if gate.lowest else ""
    return f"{'meets' if gate.met else 'does not meet'} {gate.gate}{worst}"


def _failure(row: CheckRow) -> str:
    context = f" ({row.context})" if row.context else ""
    return f"{row.check.layer}: {row.what}{context}: {row.told}"


def _list(title: str, reasons: Iterable[str]) -> str:
    return _section(title, list(map(markdown, reasons)))


def _section(title: str, lines: Sequence[str]) -> str:
    """Return a list of Markdown under its title, cut where it gets long; nothing for no line."""
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    items = [f"- {line}" for line in (*lines[:_SHOWN], *more)]
    return f"### {title}\n\n" + "\n".join(items) if items else ""
