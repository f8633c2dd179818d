"""Where subjects, goldens, packages and engines meet.

Suites and commands ask a `Workbench` for what they compare; `check_package` judges one package;
`open_separator` turns audio into stems.
"""

from harness.workbench.bench import (
    Prediction,
    Workbench,
    describe_package,
    inner_taps,
    tensor_label,
)
from harness.workbench.check import check_package, judge_weights, paperwork_checks, stem_checks
from harness.workbench.expected import beside_prediction_db, worst_tap_beside_prediction
from harness.workbench.quality import StemQuality, stem_qualities
from harness.workbench.separator import (
    Separator,
    open_separator,
    separate_file,
    stems_of,
    subject_sources,
)

__all__ = [
    "Prediction",
    "Separator",
    "StemQuality",
    "Workbench",
    "beside_prediction_db",
    "check_package",
    "describe_package",
    "inner_taps",
    "judge_weights",
    "open_separator",
    "paperwork_checks",
    "separate_file",
    "stem_checks",
    "stem_qualities",
    "stems_of",
    "subject_sources",
    "tensor_label",
    "worst_tap_beside_prediction",
]
