"""View models of devices: what would become of a package on each, and what that rests on.

In: the ``devices`` rows of a run. Levels are SNR in dB.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.order import by_recipe, grouped
from harness.verdicts import Run
from harness.verdicts.rows.devices import DevicePrediction

PLACEMENT_WORDS = {
    "": "all of it there",
    "ane": "the Neural Engine before others",
    "gpu": "the GPU before others",
    "cpu": "the CPU before others",
    "worst": "the worst of all splits",
}


@dataclass(frozen=True)
class DeviceTable:
    """A subject under a recipe on one signal: a row for each device."""

    subject: str
    recipe: str
    case: str
    rows: tuple[DevicePrediction, ...]

    @property
    def title(self) -> str:
        """What is predicted."""
        named = " under recipe ".join(name for name in (self.subject, self.recipe) if name)
        return f"{named or 'the candidate'}, {self.case}"

    @property
    def names(self) -> tuple[str, ...]:
        """The stems or outputs that any row has, in the order of their first appearance."""
        return tuple(dict.fromkeys(level.name for row in self.rows for level in row.levels))

    @property
    def profiles(self) -> tuple[DevicePrediction, ...]:
        """A row for each profile: splits over units rest on the same claims."""
        return tuple({row.numerics.partition(",")[0]: row for row in reversed(self.rows)}.values())


def device_tables(run: Run) -> tuple[DeviceTable, ...]:
    """Return a table for each subject, recipe and case, in the run's order."""
    rows = by_recipe(run, run.artefacts.devices)
    groups = grouped(rows, lambda row: (row.subject, row.recipe, row.case))
    return tuple(DeviceTable(*names, tuple(mine)) for names, mine in groups.items())
