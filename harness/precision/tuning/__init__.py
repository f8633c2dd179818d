"""The cheapest set of FP32 operations that reaches a target: `tune`."""

from harness.precision.tuning.costs import COST_KINDS, fp32_share, operation_costs, weight_bytes
from harness.precision.tuning.goals import Confirmation, Goal, Trial, Tuning
from harness.precision.tuning.parts import Parts
from harness.precision.tuning.recipes import selector_source, tuned_recipe
from harness.precision.tuning.search import tune
from harness.precision.tuning.tuner import Tuner, complete

__all__ = [
    "COST_KINDS",
    "Confirmation",
    "Goal",
    "Parts",
    "Trial",
    "Tuner",
    "Tuning",
    "complete",
    "fp32_share",
    "operation_costs",
    "selector_source",
    "tune",
    "tuned_recipe",
    "weight_bytes",
]
