"""What each layer checks: pure functions from what was expected and what was made to checks.

Everybody who judges asks here: the suites, ``parity check`` and ``parity compare``, the judges of
injected faults and of mutations, and clean runs. So one candidate gets one verdict, whoever asks.

In: tensors by the names that goldens have (outputs by their own names, ``stems`` [S, C, n],
``tap.NAME`` in PyTorch's layout), the names of the outputs, the precision recipe of the candidate
where it is a package, what a virtual run of that recipe made, and labels. Out: `Check` values,
lazily and in the order of the network, so that who only asks whether anything fails can stop at the
first.

==============  ============================================================================
`stft`          a transform, forward or back, with PyTorch's
`surgery`       the extracted network with the original; the original with its golden
`conversion`    every output, and what the precision allows on outputs and taps
`papers`        what a package declares and holds: contract, program, precision, constants
`end_to_end`    stems, channels and worst seconds; quality beside the true stems
`scores`        those that are published, which gate nothing
==============  ============================================================================

Nothing here executes a model, reads a file or knows a test runner.
"""

from harness.layers.conversion import (
    agreement_check,
    beside_prediction_db,
    branch_checks,
    integer_checks,
    precision_checks,
    reaches_fp32_check,
    repeat_check,
    second_opinion_check,
    worst_value_check,
)
from harness.layers.end_to_end import (
    channel_names,
    quality_checks,
    stem_checks,
    stem_outcomes,
    worst_second,
)
from harness.layers.papers import (
    audit_check,
    compressed_check,
    contract_check,
    lint_check,
    program_check,
    weights_check,
)
from harness.layers.scores import stem_scores
from harness.layers.stft import transform_check
from harness.layers.surgery import golden_checks, surgery_checks
from harness.layers.tensors import (
    ENGINE_GATES,
    TAP_GATES,
    Tensors,
    first_failing,
)

__all__ = [
    "ENGINE_GATES",
    "TAP_GATES",
    "Tensors",
    "agreement_check",
    "audit_check",
    "beside_prediction_db",
    "branch_checks",
    "channel_names",
    "compressed_check",
    "contract_check",
    "first_failing",
    "golden_checks",
    "integer_checks",
    "lint_check",
    "precision_checks",
    "program_check",
    "quality_checks",
    "reaches_fp32_check",
    "repeat_check",
    "second_opinion_check",
    "stem_checks",
    "stem_outcomes",
    "stem_scores",
    "surgery_checks",
    "transform_check",
    "weights_check",
    "worst_second",
    "worst_value_check",
]
