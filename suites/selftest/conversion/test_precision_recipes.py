"""A recipe means what its file says, and a file that says something else is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.conversion.recipes import (
    WEIGHTS,
    DescribedOperation,
    PrecisionRecipe,
    PrecisionRule,
    check_every_pattern_matched,
    count_rules,
    load_recipe,
    named_recipes,
    parse_recipe,
    shipped_recipes,
)
from harness.errors import RecipeError, UnknownNameError

TYPES = ("conv", "conv_transpose", "add", "reduce_mean")
PATHS = ("", "encoder.0", "encoder.0.conv", "encoder.1", "encoder.10.conv", "crosstransformer")

precisions = st.sampled_from(["fp16", "fp32"])
decisions = st.one_of(
    st.fixed_dictionaries(
        {"precision": precisions}, optional={"weights": st.sampled_from(WEIGHTS)}
    ),
    st.fixed_dictionaries({"weights": st.sampled_from(WEIGHTS)}),
)
type_globs = st.sampled_from([*TYPES, "conv*", "*", "reduce_*"])
module_globs = st.sampled_from([*PATHS[1:], "encoder.*", "*conv"])
rules = st.builds(
    lambda decision, **rest: PrecisionRule(**decision, **rest),
    decision=decisions,
    types=st.lists(type_globs, min_size=1, max_size=2).map(tuple),
    modules=st.lists(module_globs, max_size=2).map(tuple),
    optional=st.booleans(),
    reason=st.text(st.characters(exclude_categories=["Cs"])),
)
recipes = st.builds(
    PrecisionRecipe,
    name=st.just("any"),
    default=precisions,
    rules=st.lists(rules, max_size=4).map(tuple),
    gating=st.booleans(),
    description=st.text(st.characters(exclude_categories=["Cs"])),
)
operations = st.builds(
    DescribedOperation,
    type=st.sampled_from(TYPES),
    name=st.just("x"),
    module=st.sampled_from(PATHS),
    has_weights=st.booleans(),
)


@given(recipes)
def test_a_recipe_survives_being_written_and_read(recipe: PrecisionRecipe) -> None:
    assert parse_recipe(recipe.to_toml(), "file") == recipe


@given(recipes, operations)
def test_the_last_rule_that_matches_decides(
    recipe: PrecisionRecipe, operation: DescribedOperation
) -> None:
    precision, weights = recipe.default, "float"
    for rule in recipe.rules:
        if rule.matching(operation):
            precision = rule.precision or precision
            weights = rule.weights or weights
    assert recipe.decide(operation) == precision
    assert recipe.decide_weights(operation) == (weights if operation.has_weights else "float")


@given(recipes, operations)
def test_what_is_decided_without_a_module_path_holds_for_every_path(
    recipe: PrecisionRecipe, operation: DescribedOperation
) -> None:
    everywhere = [replace(operation, module=path) for path in PATHS]
    for decide in (recipe.decide, recipe.decide_weights):
        blind = decide(replace(operation, module=None))
        assert blind is None or {decide(placed) for placed in everywhere} == {blind}


@given(recipes, st.lists(operations))
def test_counts_add_up(recipe: PrecisionRecipe, met: list[DescribedOperation]) -> None:
    counts = count_rules(recipe, met)
    undisputed = [op for op in met if not any(rule.matching(op) for rule in recipe.rules)]
    once, twice = len(met) - len(undisputed), 2 * (len(met) - len(undisputed))
    assert once <= sum(count.decided for count in counts) <= twice
    if all(rule.weights is None for rule in recipe.rules):
        assert sum(count.decided for count in counts) == once
    for count in counts:
        assert count.decided <= count.matched <= len(met)
        assert count.matched == sum(bool(count.rule.matching(op)) for op in met)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("encoder.1", "encoder.1", True),
        ("encoder.1", "encoder.1.dconv.layers.0.3", True),
        ("encoder.1", "encoder.10", False),
        ("encoder.1", "tencoder.1", False),
        ("encoder.0.dconv*", "encoder.0.dconv.layers.1.0", True),
        ("*.dconv", "tencoder.3.dconv.layers.0.1", True),
        ("encoder", "", False),
    ],
)
def test_a_module_glob_covers_a_module_with_everything_inside(
    glob: str, path: str, matches: bool
) -> None:
    rule = PrecisionRule("fp32", modules=(glob,))
    assert bool(rule.matching(DescribedOperation("conv", "x", path))) is matches


def test_an_operation_must_fit_everything_that_a_rule_gives() -> None:
    rule = PrecisionRule("fp32", types=("conv",), names=("y_*",), modules=("encoder.0",))
    assert rule.matching(DescribedOperation("conv", "y_1", "encoder.0"))
    for misfit in (
        DescribedOperation("add", "y_1", "encoder.0"),
        DescribedOperation("conv", "x_1", "encoder.0"),
        DescribedOperation("conv", "y_1", "encoder.1"),
    ):
        assert rule.matching(misfit) == ()


def test_a_rule_reads_as_what_it_does() -> None:
    rule = PrecisionRule("fp32", types=("conv", "linear"), modules=("encoder.0",), optional=True)
    assert str(rule) == "fp32 for types conv, linear; modules encoder.0 (optional)"


def test_one_idle_pattern_in_a_rule_that_matches_is_an_error() -> None:
    recipe = PrecisionRecipe("typo", "fp16", (PrecisionRule("fp32", types=("sqrt", "real_dvi")),))
    counts = count_rules(
        recipe, [DescribedOperation("sqrt", "a", ""), DescribedOperation("real_div", "b", "")]
    )
    with pytest.raises(RecipeError, match=r"'typo': rule 1: types: real_dvi matches no operation"):
        check_every_pattern_matched(recipe, counts)


def test_names_of_another_version_s_trace_are_told_as_such() -> None:
    """A recipe that was tuned with PyTorch 2.13 names other values than 2.11 gives."""
    names = tuple(f"var_{number}" for number in range(1000, 1100))
    recipe = PrecisionRecipe("tuned", "fp16", (PrecisionRule("fp32", names=names),))
    counts = count_rules(recipe, [DescribedOperation("sqrt", "var_7", "")])
    with pytest.raises(
        RecipeError, match=r"var_1004 and 95 more .* here 2\.\d.*: tune it again"
    ) as e:
        check_every_pattern_matched(recipe, counts)
    assert len(str(e.value)) < 500


def test_weights_for_what_has_none_are_an_error() -> None:
    recipe = PrecisionRecipe("typo", "fp16", (PrecisionRule(weights="int8", types=("sqrt",)),))
    counts = count_rules(
        recipe, [DescribedOperation("sqrt", "a", ""), DescribedOperation("conv", "b", "", True)]
    )
    with pytest.raises(RecipeError, match=r"sqrt matches no operation of this model that has we"):
        check_every_pattern_matched(recipe, counts)


def test_an_idle_optional_rule_is_no_error() -> None:
    recipe = PrecisionRecipe(
        "spare", "fp16", (PrecisionRule("fp32", types=("softmax",), optional=True),)
    )
    check_every_pattern_matched(recipe, count_rules(recipe, [DescribedOperation("sqrt", "a", "")]))


def test_shipped_recipes_are_the_published_ones_and_those_that_were_tuned() -> None:
    shipped = shipped_recipes()
    assert {name: recipe.gating for name, recipe in shipped.items()} == {
        "elementwise_fp32": False,
        "fp16": False,
        "fp32": True,
        "htdemucs_6s_60db": True,
        "int8": False,
        "matrix_fp16": False,
        "mini_ane": False,
        "mini_60db": True,
        "mini_elementwise": True,
        "mixed": False,
        "norms_fp32": False,
        "norms_gelu_fp32": False,
        "palette4": False,
        "palette6": False,
        "palette8": False,
    }
    assert all(recipe.is_for("htdemucs") for recipe in shipped.values() if not recipe.subjects)
    assert not shipped["mini_60db"].is_for("htdemucs_6s")
    assert shipped["mini_60db"].gates == ("end_to_end",)
    assert shipped["mini_elementwise"].must_pass("conversion")
    published = [
        *("pow", "sqrt", "real_div", "l2_norm"),
        *("reduce_mean", "reduce_sum", "softmax", "matmul"),
    ]
    mixed = shipped["mixed"]
    assert mixed.default == "fp16"
    assert sorted(kind for rule in mixed.rules for kind in rule.types) == sorted(published)
    assert {rule.precision for rule in mixed.rules} == {"fp32"}
    assert all(rule.reason for rule in mixed.rules if rule.optional)
    assert all(recipe.description and recipe.source for recipe in shipped.values())


def test_a_recipe_is_loaded_by_name_or_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(load_recipe("mixed").to_toml(), encoding="utf-8")
    assert load_recipe(path) == load_recipe(str(path)) == load_recipe("mixed")


def test_a_recipe_of_a_file_goes_by_its_own_name_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "of_today.toml"
    path.write_text('name = "softmax_wide"\ndefault = "fp16"\n', encoding="utf-8")
    found = named_recipes(["fp32", str(path)])
    assert list(found) == ["fp32", "softmax_wide"]
    assert load_recipe("softmax_wide") == found["softmax_wide"] == load_recipe(path)


@pytest.mark.parametrize("taken", ["mixed", "mine"])
def test_a_recipe_with_the_name_of_another_is_refused(tmp_path: Path, taken: str) -> None:
    first, second = (tmp_path / name for name in ("first.toml", "second.toml"))
    first.write_text('name = "mine"\ndefault = "fp16"\n', encoding="utf-8")
    second.write_text(f'name = "{taken}"\ndefault = "fp32"\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=rf"second\.toml calls its recipe '{taken}', as another"):
        named_recipes([str(first), str(second)])


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"precision recipe 'mixd'; did you mean 'mixed'"):
        load_recipe("mixd")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.toml"):
        load_recipe(tmp_path / "absent.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"binary\.toml"):
        load_recipe(binary)


GOOD = 'name = "x"\ndefault = "fp16"\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name = ", r"f\.toml: not valid TOML"),
        ('default = "fp16"', r"f\.toml: key 'name' is missing"),
        ('name = "x"', r"f\.toml: key 'default' is missing"),
        ('name = "x"\ndefault = "fp8"', r"f\.toml: .*key 'default': .*fp16, fp32, found 'fp8'"),
        ('name = "a b"\ndefault = "fp16"', r"f\.toml: .*'a b'"),
        (GOOD + 'gating = "yes"', r"f\.toml: key 'gating': expected true or false, found 'yes'"),
        (GOOD + "defautl = 1", r"f\.toml: unknown key 'defautl'; did you mean 'default'"),
        (GOOD + "rules = 3", r"f\.toml: key 'rules': expected a list, found 3"),
        (GOOD + "rules = [3]", r"f\.toml: rule 1: expected a table, found 3"),
        (GOOD + '[[rules]]\nprecision = "fp32"', r"f\.toml: .*rule 1 matches everything"),
        (GOOD + '[[rules]]\ntypes = ["add"]', r"f\.toml: .*rule 1 decides nothing: .*'weights'"),
        (
            GOOD + '[[rules]]\nprecision = "fp32"\ntypes = ["a"]\n[[rules]]\nprecision = "fp32"\n'
            "types = []",
            r"f\.toml: rule 2: key 'types': expected a list of one or more strings, found \[\]",
        ),
        (
            GOOD + '[[rules]]\nprecision = "fp32"\ntypes = "add"',
            r"f\.toml: rule 1: key 'types': expected a list, found 'add'",
        ),
        (
            GOOD + '[[rules]]\nprecision = "fp32"\nnames = [1]',
            r"f\.toml: rule 1: key 'names': .*found \[1\]",
        ),
        (
            GOOD + '[[rules]]\nprecision = "fp32"\nmodules = [""]',
            r"f\.toml: .*rule 1: key 'modules' has an empty pattern",
        ),
        (
            GOOD + '[[rules]]\nprecision = "int8"\ntypes = ["add"]',
            r"f\.toml: .*rule 1: key 'precision': .*found 'int8'",
        ),
        (
            GOOD + '[[rules]]\nweights = "palette5"\ntypes = ["add"]',
            r"f\.toml: .*rule 1: key 'weights': .*palette8, palette6, palette4, found 'palette5'",
        ),
        (
            GOOD + '[[rules]]\nweights = 8\ntypes = ["add"]',
            r"f\.toml: rule 1: key 'weights': expected a string, found 8",
        ),
        (GOOD + '[[rules]]\nweights = "int8"', r"f\.toml: .*rule 1 matches everything"),
        (
            GOOD + '[[rules]]\nprecision = "fp32"\ntype = ["add"]',
            r"f\.toml: rule 1: unknown key 'type'; did you mean 'types'",
        ),
    ],
)
def test_a_malformed_recipe_names_file_rule_and_key(content: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_recipe(content, "f.toml")


def test_a_recipe_says_whose_it_is_and_what_it_must_pass() -> None:
    recipe = parse_recipe(
        'name = "x"\ndefault = "fp16"\ngating = true\ngates = ["end_to_end"]\nsubjects = ["mini"]',
        "test",
    )
    assert parse_recipe(recipe.to_toml(), "written") == recipe
    assert recipe.is_for("mini")
    assert recipe.is_for("mini@seeded")
    assert not recipe.is_for("htdemucs_6s")
    assert recipe.must_pass("end_to_end")
    assert not recipe.must_pass("conversion")
    everything = parse_recipe('name = "y"\ndefault = "fp16"\ngating = true', "test")
    assert everything.must_pass("conversion")
    assert everything.is_for("anything")
    assert not parse_recipe('name = "z"\ndefault = "fp16"', "test").must_pass("conversion")
