"""coremltools' own tests of its MIL operations, judged through the executor.

coremltools ships the tests that Apple's engineers run against the Core ML framework. Off macOS they
skip their numerical part without a word; under `harness.mil.bridge` they run it against this
executor. `run` gives a `Conformance`: how many tests predicted and compared, by operation type.
"""

from harness.conformance.results import (
    CaseResult,
    CaseStatus,
    Conformance,
    OperationTally,
    StaleWaiver,
)
from harness.conformance.runner import Selection, run
from harness.conformance.table import to_markdown

__all__ = [
    "CaseResult",
    "CaseStatus",
    "Conformance",
    "OperationTally",
    "Selection",
    "StaleWaiver",
    "run",
    "to_markdown",
]
