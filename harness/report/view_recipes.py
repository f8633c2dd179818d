"""View models of the precision recipes: which gates each one meets, counted and in words.

In: the checks of a run, and its ``gates_by_recipe`` rows for what no check covers. Out: one
view for each subject and recipe. An exploratory recipe is measured: it is never green or red.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.bounds import Bound, bounds_of
from harness.report.reading import Row, flag, number, objects, rows, text, unique
from harness.report.text import words
from harness.report.units import NOT_COMPUTED, plural
from harness.report.view_checks import CheckRow, sortable
from harness.verdicts import GATES, LAYERS, Check, Run, Verdict


@dataclass(frozen=True)
class RecipeGate:
    """One gate of one layer under a recipe."""

    layer: str
    gate: str
    bounds: tuple[Bound, ...]
    state: str
    word: str
    not_evaluated: int
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
        return "gating: the verdict rests on it" if self.gating else "exploratory: measured only"

    @property
    def summary(self) -> str:
        """Return how many gates it meets, in words."""
        met = sum(gate.met for gate in self.gates)
        if not self.gates or self.state == "not_evaluated":
            return "Not evaluated: no check of this run tells what this recipe meets."
        if met == len(self.gates):
            return f"Meets {'every gate' if met > 1 else 'its gate'} in full."
        if met:
            return f"Meets {met} of {len(self.gates)} gates in full."
        return "Meets no gate in full."


def recipe_views(run: Run, check_rows: Sequence[CheckRow]) -> tuple[RecipeView, ...]:
    """Return a view for each subject and recipe, the gating recipes first."""
    artefacts = rows(run, "gates_by_recipe")
    pairs = dict.fromkeys(
        [
            (check.labels.get("subject", ""), check.labels["recipe"])
            for check in run.checks
            if check.labels.get("recipe")
        ]
        + [(text(row, "subject"), text(row, "recipe")) for row in artefacts]
    )
    known = {recipe for _, recipe in pairs}
    pairs.update({("", recipe): None for recipe in run.profile.recipes if recipe not in known})
    views = [_recipe(run, check_rows, artefacts, *pair) for pair in pairs if pair[1]]
    order = {subject: place for place, subject in enumerate(run.profile.subjects)}
    return tuple(
        sorted(views, key=lambda view: (order.get(view.subject, len(order)), not view.gating))
    )


def _recipe(
    run: Run,
    check_rows: Sequence[CheckRow],
    artefacts: Sequence[Row],
    subject: str,
    recipe: str,
) -> RecipeView:
    mine = [
        (check, row)
        for check, row in zip(run.checks, check_rows, strict=True)
        if check.labels.get("recipe") == recipe and check.labels.get("subject", "") == subject
    ]
    rest = [
        row
        for row in artefacts
        if text(row, "recipe") == recipe and text(row, "subject") == subject
    ]
    roles = [check.gating for check, _ in mine] + [flag(row, "gating") for row in rest]
    told = [role for role in roles if role is not None]
    gates = _gates(mine)
    covered = {gate.gate for gate in gates}
    for row in rest:
        gates += [
            _gate_from(item, bool(any(told)))
            for item in objects(row, "meets")
            if words(text(item, "gate")) not in covered
        ]
    gating = any(told) if told else None
    state, word = _state(gates, gating)
    return RecipeView(subject, recipe, gating, state, word, tuple(gates))


def _state(gates: Sequence[RecipeGate], gating: bool | None) -> tuple[str, str]:
    states = {gate.state for gate in gates}
    if not states or states == {"not_evaluated"}:
        return "not_evaluated", "not evaluated"
    if not gating:
        return "measured", "measured"
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
        bounds=bounds_of([check for check, _ in evaluated]),
        state=state,
        word=word,
        not_evaluated=len(group) - len(evaluated),
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


def _gate_from(item: Row, gating: bool) -> RecipeGate:
    met, name = flag(item, "met"), text(item, "gate")
    bound = GATES[name].describe() if name in GATES else words(name)
    state, word = "not_evaluated", "not evaluated"
    if met is not None:
        word = ("pass" if met else "fail") if gating else ("meets" if met else "does not meet")
        state = word if gating else "measured"
    return RecipeGate(
        layer=NOT_COMPUTED,
        gate=words(name),
        bounds=() if met is None else (Bound(bound, int(met), 1),),
        state=state,
        word=word,
        not_evaluated=0,
        worst_headroom_db=number(item, "worst_headroom_db"),
        worst=text(item, "worst_check") or NOT_COMPUTED,
        worst_anchor="",
    )
