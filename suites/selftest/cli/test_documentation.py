"""What documentation and docstrings point to: if these fail, a reader looks for what is no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SHIPPED = "harness/shipped/"
"""What an installed package has, and a clone has not."""


def is_there(name: str) -> bool:
    """Return whether a dotted name is a module of ours, or every part of it is in the last one."""
    place, parts = ROOT, name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    module = place / f"{parts[0]}.py" if parts else place / "__init__.py"
    parts = parts[1:] if module.is_file() else parts
    text = (module if module.is_file() else place / "__init__.py").read_text("utf-8")
    return all(re.search(rf"\b{part}\b", text) for part in parts)


def test_modules_that_are_named_are_there() -> None:
    lost = []
    for file in (*PAGES, *sorted((ROOT / "harness").rglob("*.py"))):
        named = re.findall(r"`(harness(?:\.\w+)+)`", file.read_text("utf-8"))
        lost += [f"{file.relative_to(ROOT)}: {name}" for name in named if not is_there(name)]
    assert lost == []
    assert not is_there("harness.workbench.nothing")
    assert not is_there("harness.workbench.bench.Nothing")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_or_links_are_there(page: Path) -> None:
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:harness|suites|docs|golden|examples)/[\w/.-]+)`", text)
    committed = [n for n in named if n != SHIPPED and not n.startswith("golden/tensors/")]
    assert [name for name in committed if not (ROOT / name).exists()] == []
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in linked if not (page.parent / link).exists()] == []
