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
)
from harness.verdicts.runs import (
    EXIT_CODES,
    GREEN_GOLDENS,
    LOCAL_GOLDEN,
    RED_GOLDENS,
    SCHEMA_VERSION,
    EngineState,
    GoldenState,
    LayerSummary,
    Profile,
    Run,
    check_from_dict,
    check_to_dict,
)
from harness.verdicts.tolerances import (
    GATES,
    LAYERS,
    SUBJECT_LAYERS,
    Gate,
    gate,
)

__all__ = [
    "EXIT_CODES",
    "GATES",
    "GREEN_GOLDENS",
    "LABELS",
    "LAYERS",
    "LOCAL_GOLDEN",
    "RED_GOLDENS",
    "SCHEMA_VERSION",
    "SUBJECT_LAYERS",
    "Check",
    "EngineState",
    "Gate",
    "GoldenState",
    "LayerSummary",
    "Outcome",
    "Profile",
    "Run",
    "Verdict",
    "bound",
    "check_from_dict",
    "check_to_dict",
    "compare",
    "failed",
    "gate",
    "not_evaluated",
]
