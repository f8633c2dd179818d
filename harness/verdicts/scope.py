"""Which checks of an earlier run a later one set out to make: absence elsewhere is no movement.

In: the profiles of two runs, as snapshots keep them, and the identity of a check,
``layer/gate/subject/case/recipe/...`` with the labels that it has. Out: whether the later profile
covers it. A profile that says nothing of a subject's cases covers all of them.
"""

from __future__ import annotations

from harness.verdicts.states import Profile


def covers(before: Profile, after: Profile, check: str) -> bool:
    """Return whether a run by ``after`` sets out to make a check of a run by ``before``."""
    layer, _, rest = check.partition("/")
    labels = f"/{rest.partition('/')[2]}/"
    if layer in before.layers and layer not in after.layers:
        return False
    left_out = {*before.subjects} - {*after.subjects} | {*before.recipes} - {*after.recipes}
    if any(f"/{name}/" in labels for name in left_out):
        return False
    for subject, cases in after.cases.items():
        if labels.startswith(f"/{subject}/"):  # the first label, if there is one
            case = labels[len(subject) + 2 :].partition("/")[0]
            # In a check that is about no case, a recipe or an engine stands there.
            return case in cases or case in (*before.recipes, *before.engines)
    return True
