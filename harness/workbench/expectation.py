"""What a run must look at: the inventory, for what somebody narrowed a run to or put in.

A run of the default profile has to have everything that the inventory lists. A narrowed one has to
have it for its subjects, cases and recipes. What the inventory does not list is modelled on what it
lists:

- a **subject** of one's own on the listed subject with the most cases, tap for tap and stem for
  stem, under the gates that listed subjects with weights like its own have (trained or seeded);
- a **case** on a listed case of the same kind, scope and taps;
- a **recipe** on a listed recipe that is gating, or not, under the same gates.

A **network** of one's own must have what the layers ask of it, and an **engine** that is asked for
beside the default ones makes every check once more of which it makes the tensors.

Of what is modelled only gating checks are expected: figures are drawn of some subjects alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from harness.conversion import load_recipe
from harness.engines import Engine, find_engine
from harness.errors import NotEvaluatedError, UnknownNameError
from harness.golden import Case
from harness.layers import ENGINE_GATES, TAP_GATES
from harness.profiles import DEFAULT, EXPLORATORY_KINDS, cases_of
from harness.subjects import Network, describe_subject, own_network
from harness.verdicts.completeness import Expectation, Expected
from harness.verdicts.inventory import Cell, Inventory, Shape, expected_of


def is_trained(subject: str) -> bool:
    """Return whether a subject has trained weights."""
    return describe_subject(subject).trained


def expectation(
    inventory: Inventory,
    known: Mapping[str, Case],
    *,
    subjects: Sequence[str] = (),
    cases: Sequence[str] = (),
    recipes: Sequence[str] = (),
    engines: Sequence[str] = (),
) -> Expectation:
    """Return what a run must look at.

    Args:
        inventory: what a complete run of the default profile looks at.
        known: the golden cases, which decide what a case that is not listed is like.
        subjects: those that it was narrowed to; empty for those of the inventory.
        cases: likewise; without ``subjects`` a listed subject keeps those that it has.
        recipes: likewise.
        engines: that execute; each beside the default ones makes checks of its own.

    Raises:
        NotEvaluatedError: a case or a recipe is like none of the inventory.
        ParityError: a subject or a recipe that doesn't exist.
    """
    everything = inventory.rows()
    found = [row for row in everything if not row.subject]
    model = _Model(inventory, known)
    for subject in dict.fromkeys(subjects or inventory.subjects):
        own = model.cases(subject)
        wanted = list(dict.fromkeys(cases or own or cases_of(subject, known)))
        if cases and not subjects:
            wanted = [case for case in wanted if case in own]
        elif not wanted:
            raise NotEvaluatedError(f"there is no golden case for {subject}")
        if wanted:
            network = own_network(subject)
            if network is not None:
                judged = [_known(case, known) for case in wanted]
                found += network_rows(network, judged, recipes or DEFAULT.recipes)
                continue
            whole = set(wanted) == set(own)
            found += model.rows(subject, wanted, recipes, with_figures=whole)
    given = {"subject": subjects, "case": cases, "recipe": recipes}
    words = [f"{noun} {' and '.join(dict.fromkeys(n))}" for noun, n in given.items() if n]
    narrowed = tuple(words) if set(found) != set(everything) else ()
    added = [find_engine(name) for name in engines if name not in DEFAULT.engines]
    found += [row for engine in added for row in _engine_rows(engine, found)]
    return Expectation(tuple(found), inventory.faults, narrowed)


def network_rows(
    network: Network, cases: Sequence[Case], recipes: Sequence[str]
) -> Iterator[Expected]:
    """Yield what a run must have of a network that is none of the inventory's: what layers ask.

    Args:
        network: without stems.
        cases: of one segment.
        recipes: those that are for it count.
    """
    outputs, inner = len(network.interface.outputs), len(network.interface.inner_taps)
    rules = [recipe for recipe in map(load_recipe, recipes) if recipe.is_for(network.name)]

    def gating(layer: str, kind: str, number: int, case: str = "", recipe: str = "") -> Expected:
        return Expected(layer, network.name, case, recipe, kind, number, 0)

    for recipe in rules:
        for kind in ("contract", "audit", "weights"):
            yield gating("conversion", kind, 1, recipe=recipe.name)
    for case in cases:
        behind = outputs + (inner if case.taps else 0)
        yield gating("surgery", "golden_here", behind, case.name)
        for recipe in rules:
            if not (recipe.gating or case.kind in EXPLORATORY_KINDS):
                continue
            place = case.name, recipe.name
            if recipe.must_pass("conversion"):
                yield gating("conversion", "conversion", outputs, *place)
            if recipe.is_fp32:
                yield gating("conversion", "expected_precision_fp32", behind, *place)
            elif case.taps:
                yield gating("conversion", "expected_precision", outputs + 1, *place)


def _engine_rows(engine: Engine, rows: Sequence[Expected]) -> Iterator[Expected]:
    """Yield the gating checks of ``rows`` once more for another engine that makes their tensors."""
    for row in rows:
        if row.engine or not row.gating or row.kind not in ENGINE_GATES[engine.executes]:
            continue
        number = row.gating
        if not engine.gives_taps and row.kind in TAP_GATES:
            interface = describe_subject(row.subject).interface
            stems = row.kind == "surgery" and bool(interface.sources)
            number = min(number, len(interface.outputs) + stems)
        yield replace(row, engine=engine.name, gating=number, exploratory=0)


def _known(case: str, known: Mapping[str, Case]) -> Case:
    if case not in known:
        raise UnknownNameError("case", case, known)
    return known[case]


class _Model:
    """Finds for a subject, a case and a recipe the cells that say how many checks there are."""

    def __init__(self, inventory: Inventory, known: Mapping[str, Case]) -> None:
        self._inventory, self._known = inventory, known
        self._cells: dict[tuple[str, str, str], list[Cell]] = {}
        for cell in inventory.cells:
            self._cells.setdefault((cell.subject, cell.case, cell.recipe), []).append(cell)
        self._widest = max(inventory.subjects, key=lambda name: len(self.cases(name)), default="")
        self._shape = lru_cache(maxsize=None)(self._shape_of)

    def cases(self, subject: str) -> tuple[str, ...]:
        """Return the cases that are listed of a subject."""
        return self._listed(subject, 1)

    def rows(
        self,
        subject: str,
        cases: Sequence[str],
        recipes: Sequence[str],
        *,
        with_figures: bool,
    ) -> list[Expected]:
        """Return what is expected of a subject on cases.

        Args:
            subject: any, listed or not.
            cases: any.
            recipes: any; empty for the listed ones, or those of the default profile.
            with_figures: whether exploratory checks that are about no case are expected, too.
        """
        own = self._listed(subject, 2)
        chosen = recipes or (own if subject in self._inventory.subjects else DEFAULT.recipes)
        fitting = [name for name in chosen if name in own or load_recipe(name).is_for(subject)]
        found: list[Expected] = []
        for case in ("", *cases):
            for recipe in ("", *dict.fromkeys(fitting)):
                figures = with_figures or bool(case)
                found += self._rows(subject, case, recipe, with_figures=figures)
        return found

    def _rows(
        self, subject: str, case: str, recipe: str, *, with_figures: bool
    ) -> Iterable[Expected]:
        if self._lists(subject, case, recipe):
            cells = self._cells.get((subject, case, recipe), [])
        else:
            cells, with_figures = self._modelled(subject, case, recipe), False
        for cell in cells:
            for row in expected_of(cell, self._shape(subject)):
                yield row if with_figures else replace(row, exploratory=0)

    def _modelled(self, subject: str, case: str, recipe: str) -> list[Cell]:
        """Return the cells of what is most like this, under the gates that such subjects have."""
        like = self._widest, self._case_like(case), self._recipe_like(recipe)
        alike = [
            name
            for name, shape in self._inventory.subjects.items()
            if shape.trained == is_trained(subject)
        ]
        gates = {
            (cell.layer, gate)
            for cell in self._inventory.cells
            for gate in cell.gating
            if cell.subject in (alike or self._inventory.subjects)
        }
        return [
            Cell(
                cell.layer,
                subject,
                case,
                recipe,
                {gate: n for gate, n in cell.gating.items() if (cell.layer, gate) in gates},
            )
            for cell in self._cells.get(like, [])
        ]

    def _case_like(self, case: str) -> str:
        listed = self.cases(self._widest)
        if case in ("", *listed):
            return case
        given = self._known.get(case)
        for name in listed:
            other = self._known.get(name)
            if given and other and _traits(given) == _traits(other):
                return name
        raise NotEvaluatedError(
            f"case {case} is like none of the inventory in kind, scope and taps, so nobody knows "
            f"how many checks it takes (listed: {', '.join(listed)})"
        )

    def _recipe_like(self, recipe: str) -> str:
        listed = self._listed(self._widest, 2)
        if recipe in ("", *listed):
            return recipe
        given = load_recipe(recipe)
        for name in listed:
            other = load_recipe(name)
            if (given.gating, set(given.gates)) == (other.gating, set(other.gates)):
                return name
        raise NotEvaluatedError(
            f"precision recipe {recipe} claims what none of the inventory claims, so nobody knows "
            f"how many checks it takes (listed: {', '.join(listed)})"
        )

    def _listed(self, subject: str, field: int) -> tuple[str, ...]:
        """Return the cases (1) or recipes (2) that are listed of a subject."""
        return tuple(dict.fromkeys(k[field] for k in self._cells if k[0] == subject and k[field]))

    def _lists(self, subject: str, case: str, recipe: str) -> bool:
        """Whether the inventory knows all three, so that an empty cell says that there is none."""
        return (
            subject in self._inventory.subjects
            and case in ("", *self.cases(subject))
            and recipe in ("", *self._listed(subject, 2))
        )

    def _shape_of(self, subject: str) -> Shape:
        listed = self._inventory.subjects.get(subject)
        if listed is not None:
            return listed
        network = describe_subject(subject)
        taps = network.interface.inner_taps
        return Shape(len(network.sources), len(taps), network.trained)


def _traits(case: Case) -> tuple[str, bool, bool]:
    return case.kind, case.is_file, case.taps
