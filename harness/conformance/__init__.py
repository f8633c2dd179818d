"""coremltools' own tests of its MIL operations, judged through the executor.

coremltools ships the tests that Apple's engineers run against the Core ML framework. Off macOS they
skip their numerical part without a word; under `harness.mil.bridge` they run it against this
executor. `run` gives a `Conformance`: how many tests predicted and compared, by operation type.
"""

from harness.conformance.results import Conformance
from harness.conformance.runner import Selection, run

__all__ = ["Conformance", "Selection", "run"]
