"""The options of a parity run, and what they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from harness.errors import ParityError
from harness.places import INVENTORY
from harness.profiles import chosen_profile, declared_profile, recipe_names
from harness.verdicts import Profile, Record, Waiver, read_waivers, record_of
from harness.verdicts.completeness import Expectation
from harness.verdicts.inventory import NO_INVENTORY, read_inventory
from harness.verdicts.rows.documents import Document, read_attachment

if TYPE_CHECKING:
    from harness.store import Store
    from harness.subjects.declared import Declaration

_NARROWING: Final = {"subjects": "--subject", "cases": "--case", "recipes": "--recipe"}
"""The options that choose a part of the default profile, or something else than it."""

_IDLE: Final = {
    "collectonly": "--collect-only",
    "setupplan": "--setup-plan",
    "setuponly": "--setup-only",
    "showfixtures": "--fixtures",
    "show_fixtures_per_test": "--fixtures-per-test",
    "cacheshow": "--cache-show",
    "markers": "--markers",
}
"""The options under which pytest runs no test and ends with 0."""


_PATHS: Final = {
    "--parity-out": ("DIR", "write run.json and report here"),
    "--parity-history": ("DIR", "remember the run in this folder"),
    "--parity-baseline": ("FILE", "the accepted baseline, if it is there"),
    "--parity-waivers": ("FILE", "failures that are accepted for a while"),
    "--golden-root": ("DIR", "golden folder (default: golden)"),
    "--declaration": ("FILE", "a parity.toml: its network, and nothing else"),
}
_REPEATABLE: Final = {
    "--subject": ("S", "subject under proof"),
    "--recipe": ("P", "precision recipe"),
    "--case": ("C", "only these cases"),
    "--device": ("PROFILE", "predict packages on this device, too: measured, and no verdict"),
    "--engine": ("ENGINE", "an engine beside the default ones: it runs what it can, and must have"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a parity run."""
    group = parser.getgroup("parity", "parity run")
    for name, (metavar, words) in _PATHS.items():
        group.addoption(name, type=Path, metavar=metavar, help=words)
    for name, (metavar, words) in _REPEATABLE.items():
        group.addoption(name, action="append", metavar=metavar, help=f"{words} (repeatable)")
    group.addoption(
        "--parity-attach",
        action="append",
        type=Path,
        metavar="FILE",
        help="a document of parity sensitivity, tune or headroom for the report (repeatable)",
    )
    group.addoption(
        "--parity-store",
        metavar="URL",
        help="take packages from here that an earlier run made by the same code from the same "
        "weights and recipe, and keep those that are made; the verdict says how many",
    )
    group.addoption("--fresh", action="store_true", help="take nothing that an earlier run made")
    group.addoption(
        "--parity-audio", action="store_true", help="keep short excerpts of stems to be heard"
    )


def chosen(config: pytest.Config) -> dict[str, Sequence[str]]:
    """Return the subjects, cases and recipes that this invocation names, each empty by default."""
    return {name: config.getoption(option) or () for name, option in _NARROWING.items()}


def profile_of(config: pytest.Config) -> Profile:
    """Return what this invocation sets out to evaluate.

    Raises:
        pytest.UsageError: there is no such engine or recipe, or a plugin can't be imported.
    """
    engines, given = config.getoption("--engine") or (), chosen(config)
    with _usage_errors():
        declared = declaration_of(config)
        if declared is None:
            return chosen_profile(**given, engines=engines)
        narrowed = {"cases": given["cases"], "recipes": given["recipes"]}
        return declared_profile(declared, **narrowed, engines=engines)


def declaration_of(config: pytest.Config) -> Declaration | None:
    """Return the declaration of the only network of this invocation, if it is of a declared one."""
    file: Path | None = config.getoption("--declaration")
    if file is None:
        return None
    from harness.subjects.declared import read_declaration

    return read_declaration(file)


def idle_option(config: pytest.Config) -> str:
    """Return the option for which pytest runs no test, if there is one."""
    given = (word for name, word in _IDLE.items() if config.getoption(name, default=None))
    return next(given, "")


def expectation_of(config: pytest.Config) -> tuple[Expectation | None, tuple[str, ...]]:
    """Return what this invocation must look at, or why nobody knows.

    Raises:
        pytest.UsageError: the inventory is there and can't be read.
    """
    if config.getoption("--parity-out") is None:
        return None, ()
    from harness.golden import load_cases
    from harness.workbench.expectation import declared_expectation, expectation

    if config.getoption("--declaration") is not None:
        with _usage_errors():
            profile, known = profile_of(config), load_cases(golden_root(config))
            return declared_expectation(profile, known, cases=chosen(config)["cases"]), ()
    file = config.rootpath / INVENTORY
    if not file.is_file():
        return None, (f"{NO_INVENTORY}: {INVENTORY} is not in {config.rootpath}",)
    with _usage_errors():
        inventory = read_inventory(file)
    try:
        recipes = golden_root(config) / "recipes.toml"
        known = load_cases(recipes) if recipes.is_file() else {}
        engines = profile_of(config).engines
        narrowed = chosen(config) | {"recipes": recipe_names(chosen(config)["recipes"])}
        return expectation(inventory, known, **narrowed, engines=engines), ()
    except ParityError as error:
        return None, (f"{NO_INVENTORY}: {error}",)


def golden_root(config: pytest.Config) -> Path:
    """Return the folder with the golden recipes that this invocation uses."""
    given: Path | None = config.getoption("--declaration") or config.getoption("--golden-root")
    return given or config.rootpath / "golden"


def package_store(config: pytest.Config) -> Store | None:
    """Return where packages of earlier runs may be taken from; None for nowhere.

    Raises:
        pytest.UsageError: there is no such store.
    """
    url: str | None = config.getoption("--parity-store")
    if url is None or config.getoption("--fresh"):
        return None
    from harness.store import open_store

    with _usage_errors():
        return open_store(url)


def waivers_of(config: pytest.Config) -> tuple[Waiver, ...]:
    """Return the failures that this invocation accepts."""
    file: Path | None = config.getoption("--parity-waivers")
    with _usage_errors():
        return read_waivers(file) if file else ()


def past_of(config: pytest.Config) -> Record:
    """Return what the report of this invocation is held against, read before any test runs."""
    file: Path | None = config.getoption("--parity-baseline")
    accepted = file if file and file.exists() else None  # none was accepted yet
    with _usage_errors():
        return record_of(accepted, config.getoption("--parity-history"))


def attachments_of(config: pytest.Config) -> list[Document]:
    """Return the documents that the report of this invocation gets."""
    files: list[Path] = config.getoption("--parity-attach") or []
    with _usage_errors():
        return [read_attachment(file) for file in files]


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Have pytest refuse the invocation where what it names can't be used."""
    try:
        yield
    except ParityError as error:
        raise pytest.UsageError(str(error)) from error
