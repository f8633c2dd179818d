"""Which checks of an earlier run a later one set out to make: absence elsewhere is no movement.

In: the profiles of two runs as JSON data, as snapshots keep them, and the identity of a check,
``layer/gate/subject/case/recipe/...`` with the labels that it has. Out: whether the later profile
covers it. A profile that says nothing of a subject's cases covers all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
    def between(cls, before: Mapping[str, Any], after: Mapping[str, Any]) -> Scope:
        """Return what the profile ``after`` leaves out of the profile ``before``."""
        cases = after.get("cases")
        known = (name for key in ("recipes", "engines") for name in _names(before, key))
        return cls(
            layers=_names(before, "layers") - _names(after, "layers"),
            subjects=_names(before, "subjects") - _names(after, "subjects"),
            recipes=_names(before, "recipes") - _names(after, "recipes"),
            cases={name: _names(cases, name) for name in cases}
            if isinstance(cases, Mapping)
            else {},
            words=frozenset(known),
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


def _names(profile: Mapping[str, Any], key: str) -> frozenset[str]:
    value = profile.get(key)
    return frozenset(map(str, value)) if isinstance(value, (list, tuple)) else frozenset()
