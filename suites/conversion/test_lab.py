"""The precision lab on the small subject: what FP16 would endanger, and what costs most.

Exploratory: a recipe is judged by what it reaches, this says why. Documents of other subjects,
cases or goals can be attached to a report.
"""

from __future__ import annotations

import pytest

from harness.profiles import usual_cases
from harness.pytest_plugin import Recorder
from harness.workbench import Workbench
from harness.workbench.operations import headroom_attachment, sensitivity_attachment

pytestmark = [
    pytest.mark.layer("conversion"),
    pytest.mark.subjects("small"),
    pytest.mark.subjects("separating"),
]

ENDS_OF_THE_SCALE = ("hot", "quiet")


@pytest.mark.cases("figures")
@pytest.mark.recipes("fp16")
def test_headroom(parity: Recorder, bench: Workbench, subject: str, case: str, recipe: str) -> None:
    """How near each operation comes to 65,504 where the signal is loudest."""
    item = headroom_attachment(bench, subject, usual_cases(subject, ENDS_OF_THE_SCALE))
    parity.keep(item)
    what = "headroom of the loudest operation"
    assert item.least_headroom_db is not None
    least = item.least_headroom_db
    parity.bound(least, "headroom", gating=False, subject=subject, recipe=recipe, what=what)


@pytest.mark.cases("figures")
@pytest.mark.recipes("fp16")
def test_sensitivity(
    parity: Recorder, bench: Workbench, subject: str, case: str, recipe: str
) -> None:
    """Each operation's share of the output error; their sum must predict the whole."""
    item = sensitivity_attachment(bench, subject, recipe, (case,))
    parity.keep(item)
    pairs = [(item.predicted_db[name], level) for name, level in item.measured_db.items()]
    apart = max(abs(one - other) for one, other in pairs if one is not None and other is not None)
    labels = {"subject": subject, "case": case, "recipe": recipe}
    what = "predicted error beside the measured one"
    parity.bound(apart, "sensitivity", gating=False, what=what, **labels)
