"""What is imported is declared, and what is declared is used: an installation has what it needs."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.bounded import parse_toml
from harness.coreai.installed import DISTRIBUTIONS
from harness.extras import EXTRAS

ROOT = Path(__file__).parents[3]
UNIMPORTED = {
    "ruff": 'session.run("ruff"',
    "mypy": 'session.run("mypy"',
    "import-linter": 'session.run("lint-imports"',
    "museval": 'distribution("museval")',  # its package imports what needs ffmpeg
    "flask": '"moto", "flask", "flask_cors"',  # what moto's server is made of
    "flask-cors": '"moto", "flask", "flask_cors"',
    "ipykernel": '"nbclient", "ipykernel"',  # nbclient starts it
}
"""What is used without being imported, and the words by which it is."""
USERS = (
    "noxfile.py",
    "harness/conformance/runner.py",
    "suites/selftest/metrics/published.py",
    "suites/selftest/store/test_store_on_s3.py",
    "suites/selftest/frontdoor/test_frontdoor.py",
)
"""The files that have these words."""
OPTIONAL = {
    "coreai": DISTRIBUTIONS,
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime"},
    **EXTRAS,
}
"""By extra: the modules that are imported when they are used, and who brings each."""
OF_EXAMPLES = "networks"
"""The extra of what networks in ``examples`` are made with."""
BY_OTHERS = {"coreai", "coreai_torch", "s3fs"}
"""What is imported by name alone, or by another package: fsspec imports its drivers."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that requirements name."""
    return {canonical(re.split(r"[^\w.-]", text)[0]) for text in requirements}


def imported(*places: str) -> dict[str, str]:
    """Return the imported top-level modules of others, each with a file that imports it."""
    files = [file for place in places for file in [ROOT / place, *(ROOT / place).rglob("*.py")]]
    own = {"harness", "suites", *(file.stem for file in files), *sys.stdlib_module_names}
    found: dict[str, str] = {}
    for file in files:
        for node in ast.walk(
            ast.parse(file.read_bytes()) if file.is_file() else ast.Module([], [])
        ):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            found |= {name.partition(".")[0]: str(file.relative_to(ROOT)) for name in names}
    return {name: file for name, file in found.items() if name not in own}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    document: dict[str, Any] = parse_toml((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return document["project"]


@pytest.fixture(scope="module")
def owners() -> dict[str, set[str]]:
    """The distributions of each module; of one that is not installed here, that of its name."""
    used = imported("harness", "suites", "conftest.py", "noxfile.py")
    known = importlib.metadata.packages_distributions()
    return {name: {canonical(name)} for name in used} | {
        name: set(map(canonical, d)) for name, d in known.items()
    }


def test_an_installation_declares_what_it_imports_and_nothing_else(
    project: dict[str, Any], owners: dict[str, set[str]]
) -> None:
    declared, used = required(project["dependencies"]), imported("harness")
    lazily = {name for modules in OPTIONAL.values() for name in modules}
    assert lazily - BY_OTHERS <= used.keys()
    used = {name: file for name, file in used.items() if name not in lazily}
    strange = {name: file for name, file in used.items() if not owners.get(name, set()) & declared}
    assert strange == {}
    assert declared - set().union(*(owners.get(name, ()) for name in used)) == set()


def test_the_extras_hold_what_developing_imports_and_nothing_else(
    project: dict[str, Any], owners: dict[str, set[str]]
) -> None:
    optional = project["optional-dependencies"]
    for name, modules in OPTIONAL.items():
        assert required(optional[name]) == set(modules.values())
    assert required(optional[OF_EXAMPLES]) == imported("examples").keys() - {"torch"}
    others = [name for name in optional if name not in {*OPTIONAL, OF_EXAMPLES}]
    extras = required(text for name in others for text in optional[name])
    declared = extras | required(project["dependencies"]) | {"nox"}  # which installs all else
    declared |= required(t for name in OPTIONAL if name != "coreai" for t in optional[name])
    used = imported("suites", "conftest.py", "noxfile.py")
    strange = {name: file for name, file in used.items() if not owners.get(name, set()) & declared}
    assert strange == {}
    unused = extras - set().union(*(owners.get(name, ()) for name in used))
    assert unused == UNIMPORTED.keys()
    source = "".join((ROOT / file).read_text("utf-8") for file in USERS)
    assert [words for words in UNIMPORTED.values() if words not in source] == []
