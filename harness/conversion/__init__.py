"""From PyTorch to a Core ML package: precision recipes, trace, conversion, and audit of a package.

``trace_inner_model`` once, then ``convert_to_coreml`` for each recipe; ``audit_package`` says
whether any package has the precision that a recipe gives it, ``compare_weights`` whether its
constants are the tensors of a model.
"""

from __future__ import annotations

from harness.conversion.audit import Audit, audit_package
from harness.conversion.contract import check_contract
from harness.conversion.convert import ConvertedPackage, convert_to_coreml
from harness.conversion.precision_map import precision_map
from harness.conversion.recipes import PrecisionRecipe, load_recipe, named_recipes, shipped_recipes
from harness.conversion.selector import PrecisionSelector
from harness.conversion.sidecar import Sidecar, module_paths, read_sidecar, tap_operations
from harness.conversion.tap_mapping import TapLocation
from harness.conversion.trace import TracedModel, trace_inner_model
from harness.conversion.weights import (
    WeightComparison,
    compare_weights,
    constants_by_place,
)

__all__ = [
    "Audit",
    "ConvertedPackage",
    "PrecisionRecipe",
    "PrecisionSelector",
    "Sidecar",
    "TapLocation",
    "TracedModel",
    "WeightComparison",
    "audit_package",
    "check_contract",
    "compare_weights",
    "constants_by_place",
    "convert_to_coreml",
    "load_recipe",
    "module_paths",
    "named_recipes",
    "precision_map",
    "read_sidecar",
    "shipped_recipes",
    "tap_operations",
    "trace_inner_model",
]
