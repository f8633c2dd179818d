"""Which checks of an earlier run a later one set out to make: absence elsewhere is no movement.

In: the profiles of two runs, as snapshots keep them, and the identity of a check,
``layer/gate/subject/case/recipe/...`` with the labels that it has. Out: whether the later profile
covers it. A profile that says nothing of a subject's cases covers all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.verdicts.states import Profile


@dataclass(frozen=True)
class Scope:
    """What a run leaves out of what an earlier one looked at.

    Attributes:
        layers, subjects, recipes: of the earlier profile and not of the later one.
        cases: by subject, the only ones that the later run looks at.
        words: what may stand where a case does in a check that has none: recipes and engines.
    """

    layers: frozenset[str]
    subjects: frozenset[str]
    recipes: frozenset[str]
    cases: Mapping[str, frozenset[str]]
    words: frozenset[str]

    @classmethod
    def between(cls, before: Profile, after: Profile) -> Scope:
        """Return what the profile ``after`` leaves out of the profile ``before``."""
        return cls(
            layers=frozenset(before.layers) - set(after.layers),
            subjects=frozenset(before.subjects) - set(after.subjects),
            recipes=frozenset(before.recipes) - set(after.recipes),
            cases={subject: frozenset(cases) for subject, cases in after.cases.items()},
            words=frozenset((*before.recipes, *before.engines)),
        )

    def covers(self, check: str) -> bool:
        """Return whether the later run set out to make the check of this identity."""
        layer, _, rest = check.partition("/")
        labels = f"/{rest.partition('/')[2]}/"
        if layer in self.layers:
            return False
        if any(f"/{name}/" in labels for name in self.subjects | self.recipes):
            return False
        for subject, cases in self.cases.items():
            if labels.startswith(f"/{subject}/"):  # the first label, if there is one
                case = labels[len(subject) + 2 :].partition("/")[0]
                return case in cases or case in self.words
        return True
