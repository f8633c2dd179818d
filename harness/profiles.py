"""What a run evaluates unless it is told otherwise, and what this machine has for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from harness.engines import availability, engine_names
from harness.verdicts import EngineState, Profile

# The trained subject takes every case: its blocks matter, and a segment takes it half a second. The
# published size has constants, shapes and sums that a narrow network has not, and takes ten times
# as long: it gets music, every frequency at once with all taps, and both ends of the scale.
DEFAULT: Final = Profile(
    name="parity",
    engines=("torch", "mil"),
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
        recipes: in place of the default ones.
        engines: required beside the default ones.
    """
    names = tuple(subjects) or DEFAULT.subjects
    by_subject = {name: DEFAULT.cases[name] for name in names if name in DEFAULT.cases}
    if cases:
        own = {} if subjects else by_subject
        by_subject = {
            name: tuple(case for case in dict.fromkeys(cases) if case in own.get(name, cases))
            for name in names
        }
        names = tuple(name for name in names if by_subject[name])
    return replace(
        DEFAULT,
        engines=tuple(dict.fromkeys((*DEFAULT.engines, *engines))),
        subjects=names,
        recipes=tuple(recipes) or DEFAULT.recipes,
        cases={name: by_subject[name] for name in names if name in by_subject},
    )


def work_of(profile: Profile, known: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the subject and case of every golden that a profile rests on, of the ``known`` cases.

    A case that doesn't exist is kept: whoever looks it up says so.
    """
    everything = tuple(known)
    return tuple(
        (subject, case)
        for subject in profile.subjects
        for case in profile.cases.get(subject, everything)
    )


def engine_states() -> tuple[EngineState, ...]:
    """Return what each engine says of itself on this machine."""
    states = []
    for name in engine_names():
        state = availability(name)
        states.append(EngineState(name, state.available, state.reason, state.version))
    return tuple(states)
