"""Verdicts: tolerances, checks and runs.

In: an expected and an actual array, and a gate from the one table of tolerances. Out: a check with
its verdict, and a run (one JSON document) that holds every check of an invocation.
"""

from harness.verdicts.checks import (
    LABELS,
    Check,
    Outcome,
    Verdict,
    bound,
    compare,
    failed,
    not_evaluated,
    sortable,
)
from harness.verdicts.faults import FaultOutcome, InjectedFault
from harness.verdicts.history import (
    Baseline,
    Changes,
    Movement,
    Reading,
    Record,
    Snapshot,
    changes,
    record_of,
    remember,
)
from harness.verdicts.ladder import LayerSummary
from harness.verdicts.runs import EXIT_CODES, Run
from harness.verdicts.states import (
    GREEN_GOLDENS,
    LOCAL_GOLDEN,
    RED_GOLDENS,
    EngineState,
    GoldenState,
    Profile,
)
from harness.verdicts.tolerances import (
    GATES,
    LAYERS,
    ON_REQUEST,
    Gate,
    gate,
)
from harness.verdicts.waivers import Waiver, applicable, read_waivers

__all__ = [
    "EXIT_CODES",
    "GATES",
    "GREEN_GOLDENS",
    "LABELS",
    "LAYERS",
    "LOCAL_GOLDEN",
    "ON_REQUEST",
    "RED_GOLDENS",
    "Baseline",
    "Changes",
    "Check",
    "EngineState",
    "FaultOutcome",
    "Gate",
    "GoldenState",
    "InjectedFault",
    "LayerSummary",
    "Movement",
    "Outcome",
    "Profile",
    "Reading",
    "Record",
    "Run",
    "Snapshot",
    "Verdict",
    "Waiver",
    "applicable",
    "bound",
    "changes",
    "compare",
    "failed",
    "gate",
    "not_evaluated",
    "read_waivers",
    "record_of",
    "remember",
    "sortable",
]
