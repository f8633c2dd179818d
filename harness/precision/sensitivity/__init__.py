"""What each operation adds to the error of a model's outputs: `measure_sensitivity`."""

from harness.precision.sensitivity.measures import (
    Measure,
    SignalMeasure,
    Stems,
    ToleranceMeasure,
    audible,
    measures_of,
    output_measure,
    output_measures,
    stem_measures,
)
from harness.precision.sensitivity.measuring import (
    Probing,
    Sensitivity,
    measure_sensitivity,
    snr_of,
)
from harness.precision.sensitivity.shares import ShareEstimator
from harness.precision.sensitivity.sites import RESULT, Site, part_sites

__all__ = [
    "RESULT",
    "Measure",
    "Probing",
    "Sensitivity",
    "ShareEstimator",
    "SignalMeasure",
    "Site",
    "Stems",
    "ToleranceMeasure",
    "audible",
    "measure_sensitivity",
    "measures_of",
    "output_measure",
    "output_measures",
    "part_sites",
    "snr_of",
    "stem_measures",
]
