"""What the layered suites share: their parameters, and the workbench that they take things from.

A test function names what it is about in its arguments (``subject``, ``case``, ``recipe``), and is
generated once for each combination; ``device`` is one that the invocation names. A mark says which
cases it is for: ``cases("segment")`` those of one segment, ``cases("taps")`` those whose goldens
hold taps, ``cases("song")`` those with music, ``cases("figures")`` the music that figures show,
``cases("all")``; ``recipes(...)`` narrows the
recipes (``but=NAME`` leaves one out), and ``subjects("trained")`` leaves out those with seeded
weights, ``subjects("seeded")`` all others; ``subjects("small")`` takes those that run in half a
second, ``"published"`` the others, ``"separating"`` those that have stems, ``"cut"`` those that
surgery changes. ``engine`` is one of the run's engines that execute what ``engines("subject")`` or
``engines("package")`` says; with ``taps=True`` only those that show inner values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from _pytest.compat import NOTSET

from harness.allocation import keep_memory, seldom_collect
from harness.conversion import load_recipe
from harness.engines import find_engine
from harness.errors import UnknownNameError
from harness.faults import all_faults
from harness.golden import Case, Golden, load_cases
from harness.golden.layout import Layout
from harness.profiles import DEFAULT, EXPLORATORY_KINDS, work_of
from harness.pytest_plugin import Recorder, golden_root, package_store, profile_of
from harness.subjects import describe_subject
from harness.verdicts import Profile
from harness.workbench import Workbench

PARAMETERS = ("subject", "case", "recipe", "engine", "device")
BELONGS: dict[str, Callable[[Case], bool]] = {
    "segment": lambda case: not case.is_file,
    "taps": lambda case: case.taps,
    "song": lambda case: case.kind == "song",
    "figures": lambda case: case.kind == "song" and case.taps,
    "all": lambda case: True,
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(kind): which golden cases a test is generated for")
    config.addinivalue_line("markers", "recipes(*names, but): only these precision recipes")
    config.addinivalue_line(
        "markers", "subjects(*kinds): only trained, seeded, small, published, separating, cut ones"
    )
    config.addinivalue_line("markers", "engines(executes, taps): which engines a test runs")


@lru_cache
def _cases(root: Path) -> dict[str, Case]:
    return load_cases(Layout(root).recipes)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = [name for name in PARAMETERS if name in metafunc.fixturenames]
    if "subject" not in names or metafunc.definition.get_closest_marker("layer") is None:
        return
    rows = list(_rows(metafunc, names))
    asked = "device" not in names  # devices are looked at where somebody names them
    if not rows and asked and profile_of(metafunc.config) == DEFAULT:
        raise pytest.UsageError(f"{metafunc.definition.nodeid} has nothing to be run on")
    metafunc.parametrize(names, rows, ids=["-".join(row) for row in rows])


def _rows(metafunc: pytest.Metafunc, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    profile = profile_of(metafunc.config)
    known = _cases(golden_root(metafunc.config))
    work = _work(profile, known)
    marker = metafunc.definition.get_closest_marker("cases")
    belongs = BELONGS[marker.args[0]] if marker else lambda _: False
    narrowed = metafunc.definition.get_closest_marker("recipes")
    recipes = [name for name in profile.recipes if narrowed is None or _fits(narrowed, name)]
    wanted = [set(mark.args) for mark in metafunc.definition.iter_markers("subjects")]
    engines = _engines(profile, metafunc.definition.get_closest_marker("engines"))
    for subject in profile.subjects:
        if not all(_kinds(subject) & kinds for kinds in wanted):
            continue
        values: dict[str, Sequence[str]] = {
            "subject": (subject,),
            "case": [name for owner, name in work if owner == subject and belongs(known[name])],
            "recipe": [name for name in recipes if load_recipe(name).is_for(subject)],
            "engine": engines,
            "device": metafunc.config.getoption("--device") or (),
        }
        for row in itertools.product(*(values[name] for name in names)):
            if _is_wanted(dict(zip(names, row, strict=True)), known):
                yield row


def _engines(profile: Profile, marker: pytest.Mark | None) -> list[str]:
    if marker is None:
        return []
    (executes,), taps = marker.args, marker.kwargs.get("taps", False)
    found = {name: find_engine(name) for name in profile.engines}
    return [n for n, e in found.items() if e.executes == executes and (e.gives_taps or not taps)]


def _fits(narrowed: pytest.Mark, recipe: str) -> bool:
    wanted = not narrowed.args or recipe in narrowed.args
    return wanted and recipe != narrowed.kwargs.get("but")


def _kinds(subject: str) -> set[str]:
    network = describe_subject(subject)
    kinds = {"trained" if network.trained else "seeded", "small" if network.small else "published"}
    kinds |= {"separating"} if network.sources else set()
    return kinds | ({"cut"} if network.has_surgery else set())


def _work(profile: Profile, known: dict[str, Case]) -> tuple[tuple[str, str], ...]:
    work = work_of(profile, known)
    for _, case in work:
        if case not in known:
            raise pytest.UsageError(str(UnknownNameError("case", case, known)))
    return work


def _is_wanted(row: dict[str, str], known: dict[str, Case]) -> bool:
    if "recipe" not in row or "case" not in row or known[row["case"]].kind in EXPLORATORY_KINDS:
        return True
    return load_recipe(row["recipe"]).gating


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order layered tests by subject, case and recipe, so that each thing is made once.

    The papers of packages come first, since all else waits for packages; then the cases of which
    most is asked, so that no process is left with one of them at the end; then faults; what is done
    in no time fills the gaps.
    """
    known = _cases(golden_root(config))
    cases = sorted(
        known, key=lambda name: (not BELONGS["figures"](known[name]), not known[name].taps)
    )

    def place(item: pytest.Item) -> tuple[Any, ...]:
        params = _parameters(item)
        if "subject" not in params:
            return (2, item.path.parent.name != "faults")
        if "case" not in params:
            return (0, params["subject"], params.get("recipe", ""))
        return (1, params["subject"], cases.index(params["case"]), params.get("recipe", ""))

    # A test for which the chosen cases or recipes leave nothing is no test of this run.
    items[:] = [item for item in items if not _is_empty(item)]
    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what gives all tests of a subject and a case to one process, under --dist loadscope.

    They share predictions; what is about no subject is given out one by one. ``--dist loadgroup``
    is meant for this, and does nothing from pytest 9.2 on: pytest-xdist 3.8 names the groups in an
    attribute that pytest doesn't read any more.
    """
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    subjects = profile_of(config).subjects

    class BySubjectAndCase(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return work_unit(nodeid, subjects)

    return BySubjectAndCase(config, log)


def work_unit(nodeid: str, subjects: Sequence[str]) -> str:
    """Return the subject and the case that a test is about, or the recipe; its own id for others.

    Faults that have one control are one unit: each process would judge it again.

    Args:
        nodeid: of the test; the first of its parameters is the subject, the second case or recipe.
        subjects: of the run.
    """
    words = nodeid.partition("[")[2].removesuffix("]")
    for subject in subjects:
        if words.startswith(f"{subject}-"):
            return f"{subject} {words.removeprefix(f'{subject}-').partition('-')[0]}"
    return _controls().get(words, nodeid)


@lru_cache
def _controls() -> dict[str, str]:
    """Return the name of what has to be sound before a fault is injected into it, for each."""
    judges = {"arithmetic": "program"}  # is one judge by two names
    return {f.name: f"control {judges.get(f.judge, f.judge)} {f.case}" for f in all_faults()}


def _parameters(item: pytest.Item) -> dict[str, Any]:
    spec = getattr(item, "callspec", None)
    return spec.params if spec is not None else {}


def _is_empty(item: pytest.Item) -> bool:
    spec = getattr(item, "callspec", None)
    return spec is not None and any(value is NOTSET for value in spec.params.values())


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """The workbench; test processes of one run share its folder of packages."""
    keep_memory()  # networks make and drop hundreds of large tensors; each fresh page costs time
    seldom_collect()
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base
    store = package_store(request.config)
    return Workbench(golden_root(request.config), shared / "packages", store=store)


@pytest.fixture
def golden(parity: Recorder, bench: Workbench, subject: str, case: str) -> Golden:
    """The golden of this test, its state recorded; raises where it can't be used."""
    parity.golden(bench.goldens.state(subject, case))
    return bench.goldens.fetch(subject, case).require()
