"""Where subjects, goldens, packages and engines meet.

Suites and commands ask a `Workbench` for what they compare; `check_package` judges one package;
`open_separator` turns audio into stems.
"""

from harness.workbench.bench import Workbench
from harness.workbench.check import check_package
from harness.workbench.papers import describe_package, paper_checks
from harness.workbench.predictions import Prediction, predict_segment, taps_in
from harness.workbench.separator import open_separator, separate_file

__all__ = [
    "Prediction",
    "Workbench",
    "check_package",
    "describe_package",
    "open_separator",
    "paper_checks",
    "predict_segment",
    "separate_file",
    "taps_in",
]
