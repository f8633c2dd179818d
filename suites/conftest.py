"""What the layered suites share: their parameters, and the workbench that they take things from.

A test function names what it is about in its arguments (``subject``, ``case``, ``recipe``, ``tap``,
``branch``, ``stem``, ``channel``), and is generated once for each combination. A mark says which
cases it is for: ``cases("segment")`` those of one segment, ``cases("taps")`` those whose goldens
hold taps, ``cases("song")`` those with music, ``cases("all")``; and ``recipes(...)`` narrows the
recipes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from _pytest.compat import NOTSET

from harness.conversion import load_recipe
from harness.golden import Case, Golden, load_cases
from harness.profiles import DEFAULT
from harness.pytest_plugin import Recorder, golden_root, profile_of
from harness.workbench import Workbench, inner_taps, subject_sources

PARAMETERS = ("subject", "case", "recipe", "tap", "branch", "stem", "channel")
EXPLORATORY_CASES = ("song", "noise", "quiet", "hot", "song_file")
"""Recipes that nobody has to trust are measured on the cases that tell most."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(kind): which golden cases a test is generated for")
    config.addinivalue_line("markers", "recipes(*names): only these precision recipes")


@lru_cache
def _cases(root: Path) -> dict[str, Case]:
    return load_cases(root / "recipes.toml")


def _case_names(config: pytest.Config, kind: str) -> list[str]:
    wanted = profile_of(config).cases
    belongs: dict[str, Callable[[Case], bool]] = {
        "segment": lambda case: not case.is_file,
        "taps": lambda case: case.taps,
        "song": lambda case: case.kind == "song",
        "all": lambda case: True,
    }
    return [
        name
        for name, case in _cases(golden_root(config)).items()
        if belongs[kind](case) and (not wanted or name in wanted)
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [name for name in PARAMETERS if name in metafunc.fixturenames]
    if "subject" not in names or metafunc.definition.get_closest_marker("layer") is None:
        return
    rows = list(_rows(metafunc, names))
    profile = profile_of(metafunc.config)
    if not rows and not profile.cases and profile.recipes == DEFAULT.recipes:
        raise pytest.UsageError(f"{metafunc.definition.nodeid} has nothing to be run on")
    metafunc.parametrize(names, rows, ids=["-".join(row) for row in rows])


def _rows(metafunc: pytest.Metafunc, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    profile = profile_of(metafunc.config)
    marker = metafunc.definition.get_closest_marker("cases")
    cases = _case_names(metafunc.config, marker.args[0]) if marker else ()
    narrowed = metafunc.definition.get_closest_marker("recipes")
    recipes = [name for name in profile.recipes if not narrowed or name in narrowed.args]
    for subject in profile.subjects:
        values: dict[str, Sequence[str]] = {
            "subject": (subject,),
            "case": cases,
            "recipe": recipes,
            "tap": inner_taps(subject) if "tap" in names else (),
            "branch": ("freq", "time"),
            "stem": subject_sources(subject),
            "channel": ("left", "right"),
        }
        for row in itertools.product(*(values[name] for name in names)):
            if _is_wanted(dict(zip(names, row, strict=True))):
                yield row


def _is_wanted(row: dict[str, str]) -> bool:
    if "recipe" not in row or "case" not in row or row["case"] in EXPLORATORY_CASES:
        return True
    return load_recipe(row["recipe"]).gating


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order layered tests by subject, case and recipe, so that each thing is made once."""

    def place(item: pytest.Item) -> tuple[Any, ...]:
        spec = getattr(item, "callspec", None)
        if spec is None or "subject" not in spec.params or "case" not in spec.params:
            return (0,)
        cases = list(_cases(golden_root(config)))
        recipe = spec.params.get("recipe", "")
        return (1, spec.params["subject"], cases.index(spec.params["case"]), recipe)

    # A test for which the chosen cases or recipes leave nothing is no test of this run.
    items[:] = [item for item in items if not _is_empty(item)]
    items.sort(key=place)


def _is_empty(item: pytest.Item) -> bool:
    spec = getattr(item, "callspec", None)
    return spec is not None and any(value is NOTSET for value in spec.params.values())


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """The workbench; test processes of one run share its folder of packages."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    return Workbench(golden_root(request.config), shared / "packages")


@pytest.fixture
def golden(parity: Recorder, bench: Workbench, subject: str, case: str) -> Golden:
    """The golden of this test, its state recorded; raises where it can't be used."""
    parity.golden(bench.golden_state(subject, case))
    return bench.golden(subject, case).require()
