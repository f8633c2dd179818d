"""coremltools gets from the selector what the recipe says, and counts are what really happened."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace

import pytest

from harness.conversion import PrecisionSelector
from harness.conversion.recipes import PrecisionRecipe, PrecisionRule
from harness.errors import RecipeError


class Source(Enum):
    TORCHSCRIPT_MODULE_TYPE = 0
    TORCHSCRIPT_MODULE_NAME = 1


def operation(op_type: str, name: str, *scopes: str) -> SimpleNamespace:
    return SimpleNamespace(
        op_type=op_type,
        name=name,
        inputs={},
        scopes={Source.TORCHSCRIPT_MODULE_NAME: [*scopes, name]},
    )


SQRT_FP32 = PrecisionRecipe("sqrt-fp32", "fp16", (PrecisionRule("fp32", types=("sqrt",)),))


def test_true_means_fp16() -> None:
    selector = PrecisionSelector(SQRT_FP32)
    assert selector(operation("add", "a")) is True
    assert selector(operation("sqrt", "b")) is False


def test_operations_are_counted_once_and_constants_not_at_all() -> None:
    selector = PrecisionSelector(SQRT_FP32)
    for met in (operation("sqrt", "b"), operation("sqrt", "b"), operation("const", "c")):
        selector(met)
    (count,) = selector.report()
    assert (count.matched, count.decided) == (1, 1)
    assert [met.name for met in selector.operations] == ["b"]


def test_a_rule_that_matched_nothing_is_an_error_that_names_it() -> None:
    selector = PrecisionSelector(SQRT_FP32)
    selector(operation("add", "a"))
    with pytest.raises(RecipeError, match=r"'sqrt-fp32': rule 1: types: sqrt matches no operation"):
        selector.check()


def test_rules_by_module_see_the_scopes() -> None:
    recipe = PrecisionRecipe("one", "fp16", (PrecisionRule("fp32", modules=("encoder.0",)),))
    selector = PrecisionSelector(recipe)
    assert selector(operation("conv", "a", "encoder", "0", "conv")) is False
    assert selector(operation("conv", "b", "encoder", "1", "conv")) is True


def test_an_operation_whose_module_cannot_be_told_is_not_guessed() -> None:
    recipe = PrecisionRecipe("one", "fp16", (PrecisionRule("fp32", modules=("encoder.0",)),))
    selector = PrecisionSelector(recipe, lambda met: None)
    with pytest.raises(RecipeError, match=r"operation 'a' \(conv\) can't be told from its scopes"):
        selector(operation("conv", "a", "0", "conv"))
