"""What each operation adds to the error of a model's outputs."""

from harness.precision.sensitivity.compression import (
    measure_compression,
    measure_recipe,
    weight_bytes,
)
from harness.precision.sensitivity.estimates import Probing
from harness.precision.sensitivity.measures import (
    AllStemsMeasure,
    Measure,
    OutputMeasure,
    StemMeasure,
    ToleranceMeasure,
    stem_measures,
)
from harness.precision.sensitivity.sensitivity import Sensitivity, Share, measure_sensitivity

__all__ = [
    "AllStemsMeasure",
    "Measure",
    "OutputMeasure",
    "Probing",
    "Sensitivity",
    "Share",
    "StemMeasure",
    "ToleranceMeasure",
    "measure_compression",
    "measure_recipe",
    "measure_sensitivity",
    "stem_measures",
    "weight_bytes",
]
