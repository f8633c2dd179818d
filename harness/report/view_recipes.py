"""View models of the precision recipes: all that a run knows of each, told once.

In: the checks of a run, and the rows that it keeps of packages, stems and songs. Out: one view for
each subject and recipe: which gates it meets, counted and in words; its stems; its package. An
exploratory recipe is measured: what it does not meet fails nothing. Only the checks that gate under
every recipe (that a package keeps its contract and is what it declares) can turn it red, and none
can turn it green.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.report.bounds import Bound, bounds_of, lowest_snr
from harness.report.order import by_recipe, grouped
from harness.report.text import listing, words
from harness.report.units import plural
from harness.report.view_checks import CheckRow
from harness.report.view_precision import PrecisionCard, PrecisionMap
from harness.report.view_scores import QualityTable, quality_tables
from harness.report.view_sound import SoundView, sound_view
from harness.verdicts import GATES, LAYERS, Run, Verdict, sortable

RECIPE_GATES = ("conversion", "end_to_end")
"""The gates that a recipe is for: where they gate, it does."""


@dataclass(frozen=True)
class RecipeGate:
    """One gate of one layer under a recipe; ``worst`` is the check that is closest to its bound.

    ``lowest`` is the one with the lowest SNR.
    """

    layer: str
    gate: str
    name: str
    bounds: tuple[Bound, ...]
    state: str
    word: str
    not_evaluated: int
    lowest: CheckRow | None
    worst: CheckRow | None

    @property
    def met(self) -> bool:
        """Whether every check was evaluated and meets every bound."""
        return (
            bool(self.bounds)
            and not self.not_evaluated
            and all(bound.met == bound.total for bound in self.bounds)
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return what was found in words, bound by bound."""
        parts = [bound.sentence for bound in self.bounds]
        if self.not_evaluated:
            parts.append(f"{plural(self.not_evaluated, 'check')} not evaluated")
        return tuple(parts) or ("not evaluated",)


@dataclass(frozen=True)
class RecipeView:
    """One precision recipe of one subject; ``gating`` is ``None`` where nothing tells."""

    anchor: str
    subject: str
    recipe: str
    gating: bool | None
    state: str
    gates: tuple[RecipeGate, ...]
    package: PrecisionCard | None
    sound: SoundView | None
    quality: QualityTable | None

    @property
    def open(self) -> bool:
        """Whether it is shown unfolded: what failed, or was not evaluated though it gates."""
        return self.state == "fail" or bool(self.gating and self.state != "pass")

    @property
    def outputs(self) -> RecipeGate | None:
        """How the model's outputs are held to its gate."""
        return next((gate for gate in self.gates if gate.name == RECIPE_GATES[0]), None)

    @property
    def role(self) -> str:
        """Return what the recipe is to the run, in words."""
        if self.gating is None:
            return "nothing in this run used it"
        if self.gating:
            return "gating: the verdict rests on it"
        held = tuple(gate.gate for gate in self.gates if gate.state != "measured")
        return "exploratory: measured only" + (f", but for {listing(held)}" if held else "")

    @property
    def unmet(self) -> tuple[str, ...]:
        """Return the names of the gates that it was held to and does not meet in full."""
        return tuple(gate.gate for gate in self.gates if gate.bounds and not gate.met)

    @property
    def summary(self) -> str:
        """Return which gates it does not meet, in words."""
        if not self.gates or self.state == "not_evaluated":
            return "Not evaluated: no check of this run tells what this recipe meets."
        unknown = tuple(gate.gate for gate in self.gates if not gate.bounds)
        if not self.unmet and not unknown:
            return f"Meets {'every gate' if len(self.gates) > 1 else 'its gate'} in full."
        accepted = ", which is accepted for a while" if self.state == "waived" else ""
        parts = (
            f"Does not meet {listing(self.unmet)} in full{accepted}." if self.unmet else "",
            f"Not evaluated: {listing(unknown)}." if unknown else "",
        )
        return " ".join(filter(None, parts))


def recipe_views(
    run: Run, check_rows: Sequence[CheckRow], maps: Iterable[PrecisionMap]
) -> tuple[RecipeView, ...]:
    """Return a view for each subject and recipe, the gating recipes first."""
    kept = run.artefacts
    checks = grouped(
        (row for row in check_rows if row.of("recipe")),
        lambda row: (row.of("subject"), row.of("recipe")),
    )
    packages = {(card.row.subject, card.row.recipe): card for item in maps for card in item.cards}
    songs = {(table.subject, table.recipe): table for table in quality_tables(run)}
    stems = (*kept.separation, *kept.stem_timeline, *kept.stem_picture, *kept.audio_clip)
    heard = ((row.subject, row.recipe) for row in stems)
    pairs = dict.fromkeys((*checks, *packages, *songs, *heard))
    named = {recipe for _, recipe in pairs}
    pairs |= {("", recipe): None for recipe in run.profile.recipes if recipe not in named}
    views = []
    for pair in pairs:
        mine, package = checks.get(pair, []), packages.get(pair)
        gates = _gates(mine)
        gating = _role(mine)
        if package and not gating:
            gating = package.row.gating
        sound = sound_view(run, *pair, mine)
        state, quality = _state(gates, gating), songs.get(pair)
        views.append(RecipeView("", *pair, gating, state, gates, package, sound, quality))
    views = [
        view
        for mine in grouped(by_recipe(run, views), lambda view: view.subject).values()
        for view in sorted(mine, key=lambda view: not view.gating)
    ]
    return tuple(replace(view, anchor=f"recipe-{n}") for n, view in enumerate(views, start=1))


def _role(rows: Sequence[CheckRow]) -> bool | None:
    """Return whether a recipe gates in this run: as its outputs and stems do.

    Checks of the package itself (its contract, the audit) gate under every recipe, so they do not
    tell.
    """
    checks = [row.check for row in rows]
    telling = [check.gating for check in checks if check.gate and check.gate.name in RECIPE_GATES]
    if telling:
        return any(telling)
    return False if checks else None


def _state(gates: Sequence[RecipeGate], gating: bool | None) -> str:
    states = {gate.state for gate in gates}
    if not states or states == {"not_evaluated"}:
        return "not_evaluated"
    if not gating:
        # A broken contract or audit turns the run red: it must not read as a mere measurement.
        return next((state for state in ("fail", "waived") if state in states), "measured")
    return _severest(states)


_WORST_FIRST = ("fail", "not_evaluated", "waived")


def _severest(states: Container[str]) -> str:
    return next((state for state in _WORST_FIRST if state in states), "pass")


def _gates(mine: Sequence[CheckRow]) -> tuple[RecipeGate, ...]:
    found = grouped(
        (row for row in mine if row.check.gate),
        lambda row: (row.check.layer, row.check.gate.name if row.check.gate else ""),
    )
    places = {name: place for place, name in enumerate(GATES)}
    order = sorted(found, key=lambda key: (LAYERS.index(key[0]), places.get(key[1], len(places))))
    return tuple(_gate(*key, found[key]) for key in order)


def _gate(layer: str, name: str, rows: Sequence[CheckRow]) -> RecipeGate:
    evaluated = [row for row in rows if row.check.verdict is not Verdict.NOT_EVALUATED]
    judged = [row for row in evaluated if row.headroom_db is not None] or evaluated
    worst = min(judged, key=lambda row: sortable(row.headroom_db), default=None)
    state, word = _gate_state(rows)
    return RecipeGate(
        layer=words(layer),
        gate=words(name),
        name=name,
        bounds=bounds_of(evaluated),
        state=state,
        word=word,
        not_evaluated=len(rows) - len(evaluated),
        lowest=lowest_snr(evaluated),
        worst=worst,
    )


def _gate_state(rows: Sequence[CheckRow]) -> tuple[str, str]:
    verdicts = {row.check.verdict.value for row in rows}
    if verdicts != {"not_evaluated"} and not any(row.check.gating for row in rows):
        if "fail" in verdicts:
            return "measured", "does not meet" if "pass" not in verdicts else "meets in part"
        return "measured", "meets"
    state = _severest(
        {"waived" if row.state == "waived" else row.check.verdict.value for row in rows}
    )
    return state, "fail, waived" if state == "waived" else words(state)
