"""Precision recipes: which operation runs in FP16, which in FP32, and how weights are stored.

A recipe is data: a TOML file in this folder, or anywhere. Adding a file here ships a recipe.
"""

from __future__ import annotations

from harness.conversion.recipes.counts import (
    RuleCount,
    check_every_pattern_matched,
    count_rules,
)
from harness.conversion.recipes.recipe import (
    WEIGHTS,
    DescribedOperation,
    Precision,
    PrecisionRecipe,
    PrecisionRule,
    Weights,
    check_recipe_name,
)
from harness.conversion.recipes.toml import (
    load_recipe,
    named_recipes,
    parse_recipe,
    shipped_recipes,
)

__all__ = [
    "WEIGHTS",
    "DescribedOperation",
    "Precision",
    "PrecisionRecipe",
    "PrecisionRule",
    "RuleCount",
    "Weights",
    "check_every_pattern_matched",
    "check_recipe_name",
    "count_rules",
    "load_recipe",
    "named_recipes",
    "parse_recipe",
    "shipped_recipes",
]
