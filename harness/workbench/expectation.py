"""What a run must look at: the inventory, for what somebody narrowed a run to or put in.

A run of the default profile has to have everything that the inventory lists. A narrowed one has to
have it for its subjects, cases and recipes. Of what the inventory does not list (a subject, a case
or a recipe of one's own) a run must have the gating checks that the layers make of its network, its
cases and its recipes: `required_rows` counts them. Figures are drawn of listed subjects alone.

An engine that is asked for beside the default ones makes every check once more of which it makes
the tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.conversion import PrecisionRecipe, load_recipe
from harness.engines import Engine, find_engine
from harness.errors import NotEvaluatedError, UnknownNameError
from harness.golden import Case
from harness.golden.recipes import SONG
from harness.layers import ENGINE_GATES, TAP_GATES
from harness.profiles import DEFAULT, EXPLORATORY_KINDS, cases_of
from harness.subjects import Network, describe_subject
from harness.verdicts import Profile
from harness.verdicts.completeness import Expectation, Expected


def expectation(
    inventory: Expectation,
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
        NotEvaluatedError: there is no case for a subject.
        ParityError: a subject, a case or a recipe that doesn't exist.
    """
    everything = inventory.checks
    found = [row for row in everything if not row.subject]
    for subject in dict.fromkeys(subjects or [row.subject for row in everything if row.subject]):
        listed = [row for row in everything if row.subject == subject]
        own = {row.case for row in listed} - {""}
        wanted = list(dict.fromkeys(cases or sorted(own) or cases_of(subject, known)))
        if cases and not subjects:
            wanted = [case for case in wanted if case in own]
        elif not wanted:
            raise NotEvaluatedError(f"there is no golden case for {subject}")
        if wanted:
            found += _rows_of(subject, listed, wanted, recipes, known)
    given = {"subject": subjects, "case": cases, "recipe": recipes}
    words = [f"{noun} {' and '.join(dict.fromkeys(n))}" for noun, n in given.items() if n]
    narrowed = tuple(words) if set(found) != set(everything) else ()
    added = [find_engine(name) for name in engines if name not in DEFAULT.engines]
    found += [row for engine in added for row in _engine_rows(engine, found)]
    return Expectation(tuple(found), inventory.faults, narrowed)


def declared_expectation(
    profile: Profile, known: Mapping[str, Case], *, cases: Sequence[str] = ()
) -> Expectation:
    """Return what a run of a declared network must look at: no inventory lists it.

    Args:
        profile: that of its run.
        known: its cases.
        cases: those that the run was narrowed to; empty for all.

    Raises:
        ParityError: a case or a recipe that doesn't exist.
    """
    nothing = Expectation(())
    chosen = {"subjects": profile.subjects, "cases": cases, "recipes": profile.recipes}
    found = expectation(nothing, known, **chosen, engines=profile.engines)
    return replace(found, narrowed=tuple(f"case {name}" for name in cases))


def _rows_of(
    subject: str,
    listed: Sequence[Expected],
    cases: Sequence[str],
    recipes: Sequence[str],
    known: Mapping[str, Case],
) -> Iterator[Expected]:
    """Yield what is listed of a subject, and what the layers ask of cases and recipes that aren't.

    Exploratory checks that are about no case are expected only with all of its cases.
    """
    own_cases, own_recipes = ({getattr(r, key) for r in listed} for key in ("case", "recipe"))
    names = recipes or (sorted(own_recipes - {""}) if listed else DEFAULT.recipes)
    fitting = [name for name in dict.fromkeys(names) if load_recipe(name).is_for(subject)]
    whole = set(cases) == own_cases - {""}
    for row in listed:
        if row.case in ("", *cases) and row.recipe in ("", *fitting):
            yield row if row.case or whole else replace(row, exploratory=0)
    if own_cases.issuperset(cases) and own_recipes.issuperset(fitting):
        return
    for name in cases:
        if name not in known:
            raise UnknownNameError("case", name, known)
    rules = {name: load_recipe(name) for name in fitting}
    for row in required_rows(describe_subject(subject), [known[name] for name in cases], rules):
        if row.case not in own_cases or row.recipe not in own_recipes:
            yield row


def required_rows(
    network: Network, cases: Sequence[Case], recipes: Mapping[str, PrecisionRecipe]
) -> Iterator[Expected]:
    """Yield the gating checks that the layers make of a network."""
    interface, stems = network.interface, len(network.sources)
    outputs, ends = len(interface.outputs), len(interface.outputs) + bool(stems)
    channels = network.signal_shape[1] if network.signal_shape else 1
    parts = 1 + 1 + (channels if channels > 1 else 0)
    papers = ("contract", "audit", "weights") if network.knows_constants else ("contract", "audit")
    all_taps = not network.passes_over_taps

    def row(layer: str, kind: str, number: int, case: str = "", recipe: str = "") -> Expected:
        return Expected(layer, network.name, case, recipe, kind, number, 0)

    for word in recipes:
        for kind in papers:
            yield row("conversion", kind, 1, recipe=word)
    for case in cases:
        inner = len(interface.inner_taps) if case.taps else 0
        if not case.is_file:
            later = (case.calls - 1) * outputs
            here = len(network.derived) + ends + inner + later
            yield row("surgery", "golden_here", here, case.name)
            if network.has_surgery:
                yield row("surgery", "surgery", ends + inner + later, case.name)
        for word, recipe in recipes.items():
            if not (recipe.gating or case.kind in EXPLORATORY_KINDS):
                continue
            place = case.name, word
            if not case.is_file:
                if recipe.must_pass("conversion"):
                    yield row("conversion", "conversion", case.calls * outputs, *place)
                if recipe.is_fp32:
                    exact = len(interface.returned) + all_taps * inner
                    yield row("conversion", "expected_precision_fp32", exact, *place)
                    if interface.states:
                        kept = case.calls * len(interface.states)
                        yield row("conversion", "expected_precision_state", kept, *place)
                    if case.calls > 1:
                        carried = (case.calls - 1) * len(interface.returned)
                        yield row("conversion", "expected_precision_carried", carried, *place)
                elif case.taps:
                    promised = case.calls * outputs + all_taps
                    yield row("conversion", "expected_precision", promised, *place)
            if stems and recipe.must_pass("end_to_end"):
                # Each stem as a whole, its channels where there are several, its worst second.
                yield row("end_to_end", "end_to_end", stems * parts, *place)
            if stems and recipe.gating and network.trained and case.kind == SONG:
                yield row("end_to_end", "quality", stems, *place)


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
