"""Precision recipes as TOML files: reading them, and those that are shipped.

A file looks like this; only ``name`` and ``default`` are required::

    name = "mixed"
    description = "..."
    source = "..."
    gating = false
    gates = ["end_to_end"]
    subjects = ["mini"]
    rewrites = ["sigmoid_over_exp"]
    default = "fp16"

    [[rules]]
    precision = "fp32"
    types = ["sqrt", "reduce_*"]
    modules = ["encoder.0"]
    optional = false
    reason = "..."

    [[rules]]
    weights = "int8"
    types = ["conv", "linear"]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from harness.bounded import TOML_LIMIT_BYTES, parse_toml, read_text
from harness.conversion.recipes.recipe import PrecisionRecipe, PrecisionRule
from harness.errors import RecipeError, UnknownNameError, require_known


def _keys(kind: type) -> dict[str, type]:
    """Return the keys of a table that becomes a recipe or a rule, with what TOML has for each."""
    hints = {field.name: str(field.type) for field in fields(kind)}
    return {
        name: list if hint.startswith("tuple") else bool if hint == "bool" else str
        for name, hint in hints.items()
    }


_RECIPE_KEYS, _RULE_KEYS = _keys(PrecisionRecipe), _keys(PrecisionRule)
_KINDS = {str: "a string", bool: "true or false", list: "a list"}
_NAMED: dict[str, PrecisionRecipe] = {}
"""Recipes of files that this process was told of, by their names."""


@cache
def shipped_recipes() -> Mapping[str, PrecisionRecipe]:
    """Return the recipes that come with the harness, by name."""
    recipes = [
        parse_recipe(entry.read_text(encoding="utf-8"), entry.name)
        for entry in files(__package__).iterdir()
        if entry.name.endswith(".toml")
    ]
    return {recipe.name: recipe for recipe in sorted(recipes, key=lambda recipe: recipe.name)}


def load_recipe(name_or_path: str | Path) -> PrecisionRecipe:
    """Return a recipe by its name, or by the path of a TOML file.

    A string that ends in ``.toml`` or has a path separator is a path. Names are those of shipped
    recipes, and of the files that `named_recipes` read in this process.

    Raises:
        UnknownNameError: no recipe has this name; the message has the nearest one.
        RecipeError: the file can't be read, or is wrong; the message has the file, rule and key.
    """
    text = str(name_or_path)
    is_path = (
        isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text
    )
    if not is_path:
        known = {**shipped_recipes(), **_NAMED}
        require_known("precision recipe", known, text)
        return known[text]
    return parse_recipe(read_text(Path(name_or_path), TOML_LIMIT_BYTES, RecipeError), text)


def named_recipes(words: Iterable[str]) -> dict[str, PrecisionRecipe]:
    """Return recipes by their own names, and have `load_recipe` find those of files by them.

    What a run says of a recipe doesn't depend on where its file lies: checks, baselines and waivers
    have its name.

    Args:
        words: names and paths, as `load_recipe` takes them.

    Raises:
        RecipeError: a file calls its recipe as another one is called.
    """
    found: dict[str, PrecisionRecipe] = {}
    for word in words:
        recipe = load_recipe(word)
        other = found.get(recipe.name, shipped_recipes().get(recipe.name, recipe))
        if other != recipe:
            raise RecipeError(
                f"{word} calls its recipe {recipe.name!r}, as another one is called; give it a "
                "name of its own"
            )
        found[recipe.name] = recipe
    _NAMED.update(found)
    return found


def parse_recipe(content: str, where: str) -> PrecisionRecipe:
    """Return the recipe that the TOML text ``content`` describes.

    Args:
        content: TOML.
        where: file name for messages.

    Raises:
        RecipeError: the text is no TOML or no recipe; the message has ``where``, rule and key.
    """
    try:
        table = parse_toml(content)
    except ValueError as error:
        raise RecipeError(f"{where}: not valid TOML: {error}") from error
    _check_keys(where, table, _RECIPE_KEYS, required=("name", "default"))
    rules = []
    for number, entry in enumerate(table.get("rules", []), start=1):
        if not isinstance(entry, dict):
            raise RecipeError(f"{where}: rule {number}: expected a table, found {entry!r}")
        rules.append(_parse_rule(f"{where}: rule {number}", entry))
    table["rules"] = tuple(rules)
    for key in ("gates", "subjects", "rewrites"):
        if key in table:
            table[key] = _strings(where, key, table[key])
    try:
        return PrecisionRecipe(**table)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error


def _parse_rule(where: str, table: dict[str, Any]) -> PrecisionRule:
    _check_keys(where, table, _RULE_KEYS, required=())
    for kind in ("types", "names", "modules"):
        if kind not in table:
            continue
        table = {**table, kind: _strings(where, kind, table[kind])}
    return PrecisionRule(**table)


def _strings(where: str, key: str, items: list[Any]) -> tuple[str, ...]:
    if not items or not all(isinstance(item, str) for item in items):
        raise RecipeError(
            f"{where}: key {key!r}: expected a list of one or more strings, found {items!r}"
        )
    return tuple(items)


def _check_keys(
    where: str, table: dict[str, Any], known: dict[str, type], *, required: tuple[str, ...]
) -> None:
    for key, value in table.items():
        if key not in known:
            raise RecipeError(f"{where}: {UnknownNameError('key', key, known)}")
        if not isinstance(value, known[key]):
            raise RecipeError(
                f"{where}: key {key!r}: expected {_KINDS[known[key]]}, found {value!r}"
            )
    for key in required:
        if key not in table:
            raise RecipeError(f"{where}: key {key!r} is missing")
