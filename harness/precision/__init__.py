"""The precision lab: what FP16 costs, operation by operation, and the least FP32 that is enough.

`VirtualPrecision` gives a model in FP32 any precision without converting it. `measure_sensitivity`
says what each operation adds to the output error, `Tuner` finds the cheapest set of FP32 operations
that reaches a target.
"""

from __future__ import annotations

from harness.precision.compression import measure_compression, measure_recipe, weight_bytes
from harness.precision.costs import COST_KINDS, CostKind, fp32_share, operation_costs
from harness.precision.diagnosis import OperationError, ThreeWay
from harness.precision.estimates import Probing
from harness.precision.explain import Explanation, explain, focus_of
from harness.precision.goals import Confirmation, Goal, Trial, Tuning
from harness.precision.headroom import HeadroomAudit, OperationHeadroom, Risk, audit_headroom
from harness.precision.measures import (
    AllStemsMeasure,
    Measure,
    OutputMeasure,
    StemMeasure,
    ToleranceMeasure,
    stem_measures,
)
from harness.precision.sensitivity import Sensitivity, Share, measure_sensitivity
from harness.precision.three_way import three_way
from harness.precision.tune import Tuner, complete
from harness.precision.tuned import selector_source, tuned_recipe
from harness.precision.virtual import Choice, Compression, VirtualPrecision, operation_name

__all__ = [
    "COST_KINDS",
    "AllStemsMeasure",
    "Choice",
    "Compression",
    "Confirmation",
    "CostKind",
    "Explanation",
    "Goal",
    "HeadroomAudit",
    "Measure",
    "OperationError",
    "OperationHeadroom",
    "OutputMeasure",
    "Probing",
    "Risk",
    "Sensitivity",
    "Share",
    "StemMeasure",
    "ThreeWay",
    "ToleranceMeasure",
    "Trial",
    "Tuner",
    "Tuning",
    "VirtualPrecision",
    "audit_headroom",
    "complete",
    "explain",
    "focus_of",
    "fp32_share",
    "measure_compression",
    "measure_recipe",
    "measure_sensitivity",
    "operation_costs",
    "operation_name",
    "selector_source",
    "stem_measures",
    "three_way",
    "tuned_recipe",
    "weight_bytes",
]
