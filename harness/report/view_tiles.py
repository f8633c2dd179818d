"""View models of the tiles under the verdict: how close it was, what moved, and what to ship.

In: the views of a run's checks, recipes and history. Out: up to four `Tile`s of short text, each
fact with the anchor of what it is about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.report.order import grouped
from harness.report.text import words
from harness.report.units import count, db, headroom, plural, size
from harness.report.view_checks import CheckRow, ranked
from harness.report.view_history import Since
from harness.report.view_recipes import RecipeView
from harness.report.view_sound import of_stem
from harness.verdicts import Run


@dataclass(frozen=True)
class Fact:
    """A figure or a name, and in words what it is of.

    Attributes:
        anchor: what it leads to on the page; empty for nothing.
        state: as that of a check; empty for what is neither good nor bad.
    """

    value: str
    words: str
    anchor: str
    state: str = ""


@dataclass(frozen=True)
class Tile:
    """A question about the run, and its answer."""

    label: str
    facts: tuple[Fact, ...]


def tiles(
    run: Run, rows: Sequence[CheckRow], recipes: Sequence[RecipeView], since: Since | None
) -> tuple[Tile, ...]:
    """Return how close a run was to its gates, what moved, and what can be shipped."""
    gating = [row for row in rows if row.check.gating]
    stems = [row for row in gating if of_stem(row)]
    worst = Tile("Worst stem", (_worst_stem(stems),))
    asked = bool(stems) or not of_files(run)
    if not stems and "end_to_end" not in run.profile.layers:  # nobody asked for any
        named = [row for row in gating if row.check.gate and row.check.gate.name == "conversion"]
        worst = Tile("Worst output", (_least_headroom(named),))
        asked = asked or bool(named)
    found = [worst] if asked else []
    found.append(Tile("Least headroom", (_least_headroom(gating),)))
    if not of_files(run) or (since and since.found.compared):
        title = since.title if since else "the baseline"
        found.append(Tile(f"Since {title}", (_moved(since),)))
    if recipes or not of_files(run):
        found.append(Tile("Recipe to ship", _to_ship(run, gating, recipes)))
    return tuple(found)


def of_files(run: Run) -> bool:
    """Whether a run is of files alone: with no subject there is nothing to ship and no baseline."""
    return bool(run.checks) and not run.profile.subjects


def _closest(rows: Iterable[CheckRow]) -> CheckRow | None:
    """Return the check that failed worst, or else has the least headroom of those that have one."""
    failed = ("fail", "waived")
    known = [row for row in rows if row.headroom_db is not None or row.state in failed]
    return next(iter(ranked(known)), None)


def _worst_stem(rows: Sequence[CheckRow]) -> Fact:
    row = _closest(rows)
    limit = row.check.gate.min_snr_db if row and row.check.gate else None
    if row is None or row.snr_db is None or limit is None:
        return _least_headroom(rows)
    side = "above" if row.snr_db > limit else "below"
    apart = f"{db(abs(row.snr_db - limit))} {side} the gate of {limit:g} dB"
    where = f"{row.what}, {row.context}"
    told = f"{apart}: {where}" if math.isfinite(row.snr_db) else where
    return Fact(db(row.snr_db), told, row.anchor, row.state)


def _least_headroom(rows: Sequence[CheckRow]) -> Fact:
    row = _closest(rows)
    if row is None:
        return Fact("not evaluated", "nothing was held to a gate", "", "not_evaluated")
    where = ", ".join(filter(None, (words(row.check.layer), row.what, row.context)))
    if row.headroom_db is None:
        return Fact("no distance", f"{where}: {row.word}, without a number", row.anchor, row.state)
    return Fact(headroom(row.headroom_db), where, row.anchor, row.state)


def _moved(since: Since | None) -> Fact:
    if since is None:
        return Fact("not known", "no baseline has been accepted", "")
    kinds = ("gone", "gate", "new")
    gone, gate, new = (sum(row.kind == kind for row in since.rows) for kind in kinds)
    moved = len(since.rows) - gate - new
    told = [f"{count(since.worse)} for the worse"] if moved else []
    told += [f"{count(gone)} no longer checked"] if gone else []
    told += [f"{count(gate)} under another gate"] if gate else []
    told += [f"{count(new)} new"] if new else []
    told += [f"compared with {count(since.found.compared)} of {plural(since.found.total, 'check')}"]
    value = f"{count(moved)} moved" if moved else "nothing moved"
    return Fact(value, ", ".join(told), "history")


def _to_ship(run: Run, rows: Sequence[CheckRow], recipes: Sequence[RecipeView]) -> tuple[Fact, ...]:
    """Return for each subject the cheapest gating recipe that holds, and what it costs."""
    found = grouped((view for view in recipes if view.gating), lambda view: view.subject)
    named = len(found) > 1
    facts = [
        _cheapest(run, rows, views, f"{subject}: " if named else "")
        for subject, views in found.items()
    ]
    return tuple(facts) or (Fact("none", "no recipe gates this run", "", "not_evaluated"),)


def _cheapest(run: Run, rows: Sequence[CheckRow], views: Sequence[RecipeView], of: str) -> Fact:
    """Return the recipe with the smallest share of operations in FP32, then the smallest package.

    A recipe holds if its own checks do, and those that it rests on: of its subject, and of none.
    """
    shaken = run.missing or len(run.red) > len(run.failing)
    amiss = {
        row.of("recipe")
        for row in rows
        if row.state == "fail" and row.of("subject") in ("", views[0].subject)
    }
    holding = [
        view
        for view in views
        if view.state == "pass" and not {"", view.recipe} & amiss and not shaken
    ]
    if not holding:
        state = "fail" if run.red else "not_evaluated"
        return Fact("none", f"{of}no gating recipe is proven to hold", "", state)
    priced = [(view.package.cost, view) for view in holding if view.package]
    if not priced:
        unpriced = ", ".join(view.recipe for view in holding)
        return Fact(unpriced, f"{of}what it costs was not recorded", holding[0].anchor, "pass")
    (share, size_bytes), view = min(priced, key=lambda item: item[0])
    price = f"{share:.0%} of its operations in FP32".replace("%", "\N{NO-BREAK SPACE}%")
    return Fact(view.recipe, f"{of}{price}, {size(size_bytes)}", view.anchor, "pass")
