"""What a run evaluates unless it is told otherwise, and what this machine has for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from harness.engines import availability, engine_names, find_engine
from harness.verdicts import EngineState, Profile

if TYPE_CHECKING:
    from pathlib import Path

    from harness.golden import Case
    from harness.subjects import Network
    from harness.subjects.declared import Declaration

STEM_LAYERS: Final = ("end_to_end",)
"""The layers that say something of stems alone."""
SUBJECT_ENGINE: Final = "torch"
PACKAGE_ENGINE: Final = "mil"
"""What executes subjects and packages where nobody asks for another engine."""

# The trained subject takes every case: its blocks matter, and a segment takes it half a second. The
# published size has constants, shapes and sums that a narrow network has not, and takes ten times
# as long: it gets music, every frequency at once with all taps, and both ends of the scale.
DEFAULT: Final = Profile(
    name="parity",
    engines=(SUBJECT_ENGINE, PACKAGE_ENGINE),
    subjects=("mini", "htdemucs_6s@seeded"),
    recipes=(
        "fp32",
        "mini_60db",
        "mini_elementwise",
        "htdemucs_6s_60db",
        "fp16",
        "mixed",
    ),
    cases=MappingProxyType({"htdemucs_6s@seeded": ("noise", "quiet", "hot", "song")}),
    faults=True,
)


EXPLORATORY_KINDS: Final = ("song", "noise", "quiet", "hot", "example")
"""Recipes that nobody has to trust are measured on the signals that tell most."""


def chosen_profile(
    *,
    subjects: Sequence[str] = (),
    cases: Sequence[str] = (),
    recipes: Sequence[str] = (),
    engines: Sequence[str] = (),
) -> Profile:
    """Return the default profile as somebody narrowed it; what is empty stays as it is.

    Args:
        subjects: in place of the default ones.
        cases: the only ones. Without ``subjects``, a default subject keeps those that it has, and
            is left out if it has none of them; with ``subjects``, each takes all of them.
        recipes: in place of the default ones; names, and paths of TOML files.
        engines: beside the default ones: each executes what it can, and must have.

    Raises:
        UnknownNameError: there is no such engine or recipe.
        RecipeError: a file of a recipe can't be read, or has the name of another one.
    """
    names = tuple(subjects) or DEFAULT.subjects
    by_subject = {name: DEFAULT.cases[name] for name in names if name in DEFAULT.cases}
    if cases:
        listed = {} if subjects else by_subject
        by_subject = {
            name: tuple(case for case in dict.fromkeys(cases) if case in listed.get(name, cases))
            for name in names
        }
        names = tuple(name for name in names if by_subject[name])
    own = {name: _own(name) for name in names}
    without = {
        name: STEM_LAYERS for name, network in own.items() if network and not network.sources
    }
    return replace(
        DEFAULT,
        layers=tuple(
            layer
            for layer in DEFAULT.layers
            if layer not in STEM_LAYERS or not names or len(without) < len(names)
        ),
        engines=_with_engines(engines),
        subjects=names,
        recipes=recipe_names(recipes) or DEFAULT.recipes,
        cases={name: by_subject[name] for name in names if name in by_subject},
        without=without,
    )


def declared_profile(
    declaration: Declaration,
    *,
    cases: Sequence[str] = (),
    recipes: Sequence[str] = (),
    engines: Sequence[str] = (),
) -> Profile:
    """Return what a run of a declared network evaluates: the layers that say something of it.

    Args:
        declaration: of the network.
        cases: the only ones; empty for all that it declares.
        recipes: instead of those that it names.
        engines: beside the default ones.

    Raises:
        UnknownNameError: there is no such engine or recipe.
        RecipeError: a file of a recipe can't be read, or has the name of another one.
    """
    subject = declaration.name
    return Profile(
        name="network",
        layers=("surgery", "conversion", *(STEM_LAYERS if declaration.audio else ())),
        engines=_with_engines(engines),
        subjects=(subject,),
        recipes=recipe_names(recipes or declaration.recipes),
        cases={subject: tuple(cases)} if cases else {},
    )


def _with_engines(engines: Sequence[str]) -> tuple[str, ...]:
    """Return the default engines and others, which must be known."""
    return tuple(dict.fromkeys((*DEFAULT.engines, *(find_engine(name).name for name in engines))))


def recipe_names(words: Sequence[str]) -> tuple[str, ...]:
    """Return the names of recipes; those of files are known by them from then on.

    Raises:
        UnknownNameError: there is no such recipe.
        RecipeError: a file can't be read, or has the name of another recipe.
    """
    if not words:
        return ()
    from harness.conversion import named_recipes  # imports coremltools

    return tuple(named_recipes(words))


def home_of(subject: str, root: Path) -> Path:
    """Return the golden root of a subject: what declares its network, or else ``root``."""
    network = _own(subject)
    return root if network is None or network.home is None else network.home


def usual_cases(subject: str, otherwise: Sequence[str]) -> tuple[str, ...]:
    """Return the cases that a subject is looked at where nobody says which.

    Those of one segment that a declaration has, and ``otherwise`` where there is none.
    """
    network = _own(subject)
    if network is None or network.home is None:
        return tuple(otherwise)
    from harness.golden import load_cases

    known = load_cases(network.home)
    return tuple(name for name, case in known.items() if not case.is_file)


def work_of(profile: Profile, known: Mapping[str, Case]) -> tuple[tuple[str, str], ...]:
    """Return the subject and case of every golden that a profile rests on, of the ``known`` cases.

    A case that doesn't exist is kept: whoever looks it up says so.
    """
    return tuple(
        (subject, case)
        for subject in profile.subjects
        for case in profile.cases.get(subject) or cases_of(subject, known)
    )


def cases_of(subject: str, known: Mapping[str, Case]) -> tuple[str, ...]:
    """Return the cases that a subject is judged on where nobody says which."""
    network = _own(subject)
    if network is None:
        return tuple(known)
    stems = network.home is not None and bool(network.sources)
    return network.cases or tuple(name for name, case in known.items() if stems or not case.is_file)


def engine_states() -> tuple[EngineState, ...]:
    """Return what each engine says of itself on this machine."""
    states = []
    for name in engine_names():
        engine, state = find_engine(name), availability(name)
        told = name, state.available, state.reason, state.version
        states.append(EngineState(*told, executes=engine.executes, emulates=engine.emulates))
    return tuple(states)


def _own(subject: str) -> Network | None:
    if subject in DEFAULT.subjects:
        return None
    from harness.subjects import own_network  # imports torch

    return own_network(subject)
