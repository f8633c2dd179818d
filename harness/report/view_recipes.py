"""View models of the precision recipes: which gates each one meets, counted and in words.

In: the checks of a run, and its ``precision_map`` rows for which recipes gate. Out: one view for
each subject and recipe. An exploratory recipe is measured: what it does not meet fails nothing.
Only the checks that gate under every recipe (that a package keeps its contract and is what it
declares) can turn it red, and none can turn it green.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.bounds import Bound, bounds_of, worst_snr_db
from harness.report.order import sortable, unique
from harness.report.text import listing, words
from harness.report.units import NOT_COMPUTED, plural
from harness.report.view_checks import GATING_WORDS, CheckRow
from harness.verdicts import GATES, LAYERS, Check, Run, Verdict

RECIPE_GATES = ("conversion", "end_to_end")
"""The gates that a recipe is for: where they gate, it does."""


@dataclass(frozen=True)
class RecipeGate:
    """One gate of one layer under a recipe."""

    layer: str
    gate: str
    name: str
    bounds: tuple[Bound, ...]
    state: str
    word: str
    checks: int
    not_evaluated: int
    worst_snr_db: float | None
    worst_headroom_db: float | None
    worst: str
    worst_anchor: str

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

    subject: str
    recipe: str
    gating: bool | None
    state: str
    word: str
    gates: tuple[RecipeGate, ...]

    @property
    def role(self) -> str:
        """Return what the recipe is to the run, in words."""
        if self.gating is None:
            return "nothing in this run used it"
        if self.gating:
            return "gating: the verdict rests on it"
        held = tuple(gate.gate for gate in self.gates if gate.state in GATING_WORDS)
        return "exploratory: measured only" + (f", but for {listing(held)}" if held else "")

    @property
    def met(self) -> tuple[str, ...]:
        """Return the names of the gates that it meets in full."""
        return tuple(gate.gate for gate in self.gates if gate.met)

    @property
    def unmet(self) -> tuple[str, ...]:
        """Return the names of the gates that it was held to and does not meet in full."""
        return tuple(gate.gate for gate in self.gates if gate.bounds and not gate.met)

    @property
    def summary(self) -> str:
        """Return which gates it meets, in words."""
        if not self.gates or self.state == "not_evaluated":
            return "Not evaluated: no check of this run tells what this recipe meets."
        unknown = tuple(gate.gate for gate in self.gates if not gate.bounds)
        if not self.unmet and not unknown:
            return f"Meets {'every gate' if len(self.gates) > 1 else 'its gate'} in full."
        parts = (
            f"Does not meet {listing(self.unmet)} in full." if self.unmet else "",
            f"Meets {listing(self.met)} in full." if self.met else "Meets no gate in full.",
            f"Not evaluated: {listing(unknown)}." if unknown else "",
        )
        return " ".join(filter(None, parts))


def recipe_views(run: Run, check_rows: Sequence[CheckRow]) -> tuple[RecipeView, ...]:
    """Return a view for each subject and recipe, the gating recipes first."""
    declared = {(row.subject, row.recipe): row.gating for row in run.artefacts.precision_map}
    pairs = dict.fromkeys(
        (check.labels.get("subject", ""), check.labels["recipe"])
        for check in run.checks
        if check.labels.get("recipe")
    )
    known = {recipe for _, recipe in pairs}
    pairs.update({("", recipe): None for recipe in run.profile.recipes if recipe not in known})
    views = [_recipe(run, check_rows, declared.get(pair), *pair) for pair in pairs]
    order = {subject: place for place, subject in enumerate(run.profile.subjects)}
    return tuple(
        sorted(views, key=lambda view: (order.get(view.subject, len(order)), not view.gating))
    )


def _recipe(
    run: Run, check_rows: Sequence[CheckRow], declared: bool | None, subject: str, recipe: str
) -> RecipeView:
    mine = [
        (check, row)
        for check, row in zip(run.checks, check_rows, strict=True)
        if check.labels.get("recipe") == recipe and check.labels.get("subject", "") == subject
    ]
    gates = _gates(mine)
    gating = _role([check for check, _ in mine]) if declared is None else declared
    state, word = _state(gates, gating)
    return RecipeView(subject, recipe, gating, state, word, tuple(gates))


def _role(checks: Sequence[Check]) -> bool | None:
    """Return whether a recipe of which nothing is declared gates: as its outputs and stems do.

    Checks of the package itself (its contract, the audit) gate under every recipe, so they do not
    tell.
    """
    telling = [check.gating for check in checks if check.gate and check.gate.name in RECIPE_GATES]
    if telling:
        return any(telling)
    return False if checks else None


def _state(gates: Sequence[RecipeGate], gating: bool | None) -> tuple[str, str]:
    states = {gate.state for gate in gates}
    if not states or states == {"not_evaluated"}:
        return "not_evaluated", "not evaluated"
    if not gating:
        # A broken contract or audit turns the run red: it must not read as a mere measurement.
        return ("fail", "fail") if "fail" in states else ("measured", "measured")
    for state in ("fail", "not_evaluated"):
        if state in states:
            return state, words(state)
    return "pass", "pass"


def _gates(mine: Sequence[tuple[Check, CheckRow]]) -> list[RecipeGate]:
    names = unique(check.gate.name for check, _ in mine if check.gate)
    order = [name for name in GATES if name in names]
    order += [name for name in names if name not in GATES]
    found = []
    for layer in LAYERS:
        for name in order:
            group = [
                (check, row)
                for check, row in mine
                if check.layer == layer and check.gate and check.gate.name == name
            ]
            if group:
                found.append(_gate(layer, name, group))
    return found


def _gate(layer: str, name: str, group: Sequence[tuple[Check, CheckRow]]) -> RecipeGate:
    evaluated = [pair for pair in group if pair[0].verdict is not Verdict.NOT_EVALUATED]
    judged = [pair for pair in evaluated if pair[1].headroom_db is not None] or evaluated
    worst = min(judged, key=lambda pair: sortable(pair[1].headroom_db), default=None)
    state, word = _gate_state([check for check, _ in group])
    return RecipeGate(
        layer=words(layer),
        gate=words(name),
        name=name,
        bounds=bounds_of([check for check, _ in evaluated]),
        state=state,
        word=word,
        checks=len(group),
        not_evaluated=len(group) - len(evaluated),
        worst_snr_db=worst_snr_db([check for check, _ in evaluated]),
        worst_headroom_db=worst[1].headroom_db if worst else None,
        worst=_place(*worst) if worst else NOT_COMPUTED,
        worst_anchor=worst[1].anchor if worst else "",
    )


def _place(check: Check, row: CheckRow) -> str:
    return " · ".join(unique([row.what, check.labels.get("case", "")]))


def _gate_state(checks: Sequence[Check]) -> tuple[str, str]:
    verdicts = {check.verdict for check in checks}
    gating = any(check.gating for check in checks)
    if verdicts == {Verdict.NOT_EVALUATED}:
        return "not_evaluated", "not evaluated"
    if not gating:
        if Verdict.FAIL in verdicts:
            return "measured", "does not meet" if Verdict.PASS not in verdicts else "meets in part"
        return "measured", "meets"
    for verdict in (Verdict.FAIL, Verdict.NOT_EVALUATED):
        if verdict in verdicts:
            return verdict.value, words(verdict.value)
    return "pass", "pass"
