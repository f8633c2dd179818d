"""Where subjects, goldens, packages and engines meet.

Suites and commands ask a `Workbench` for what they compare; `check_package` judges one package;
`open_separator` turns audio into stems.
"""

from harness.workbench.bench import (
    Prediction,
    Workbench,
    describe_package,
    inner_taps,
    predict_segment,
)
from harness.workbench.check import check_package
from harness.workbench.papers import paper_checks
from harness.workbench.quality import stem_qualities
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
    "Workbench",
    "check_package",
    "describe_package",
    "inner_taps",
    "open_separator",
    "paper_checks",
    "predict_segment",
    "separate_file",
    "stem_qualities",
    "stems_of",
    "subject_sources",
]
