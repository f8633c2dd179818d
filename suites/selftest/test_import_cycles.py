"""No module of the harness imports one that leads back to it, not even inside a function.

A circle makes the order in which modules are first imported part of what they do. What is imported
for annotations alone (`TYPE_CHECKING`) makes none at run time, but one of what there is to know.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import harness
from harness.origin import source_hash
from harness.workbench.packages import PACKAGE_ROOMS
from harness.workbench.stored import GOLDEN_ROOMS

ROOT = Path(harness.__file__).parent
Imports = Mapping[str, frozenset[str]]


def modules(root: Path) -> dict[str, Path]:
    """Return the file of each module of the package in ``root``, by dotted name."""
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def statements(node: ast.AST, *, typing: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports at any depth; those under ``if TYPE_CHECKING`` where ``typing`` says so."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not isinstance(child, ast.If) or "TYPE_CHECKING" not in ast.dump(child.test):
            yield from statements(child, typing=typing)
        else:
            for kept in (*(child.body if typing else ()), *child.orelse):
                yield from statements(ast.Module([kept], []), typing=typing)


def imports(root: Path, *, typing: bool) -> Imports:
    """Return what each module imports of the package; packages on the way are not counted."""
    known = modules(root)
    found = {}
    for name, path in known.items():
        targets: set[str] = set()
        for statement in statements(ast.parse(path.read_text("utf-8")), typing=typing):
            if isinstance(statement, ast.Import):
                targets.update(alias.name for alias in statement.names)
                continue
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            for _ in range(statement.level - 1):
                package = package.rpartition(".")[0]
            base = ".".join(filter(None, (package if statement.level else "", statement.module)))
            named = [f"{base}.{alias.name}" for alias in statement.names]
            targets.update(target if target in known else base for target in named)
        found[name] = frozenset(targets & known.keys() - {name})
    return found


def circles(graph: Imports) -> list[list[str]]:
    """Return the sets of modules that lead back to each other (Tarjan, 1972), sorted."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in order:
                visit(target)
            if target in stack:
                lowest[name] = min(lowest[name], lowest[target])
        if lowest[name] == order[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return sorted(found)


def test_no_module_leads_back_to_itself() -> None:
    assert circles(imports(ROOT, typing=False)) == []


def test_annotations_alone_make_none() -> None:
    assert circles(imports(ROOT, typing=True)) == []


@pytest.mark.parametrize(
    ("statement", "typing"),
    [
        ("from package import one", False),
        ("import package.one", False),
        ("from . import one", False),
        ("from .one import x", False),
        ("def f():\n    from package.one import x", False),
        ("if TYPE_CHECKING:\n    from package.one import x", True),
    ],
)
def test_a_circle_is_seen_however_it_is_written(
    tmp_path: Path, statement: str, typing: bool
) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("import package.two\nx = 1\n")
    (folder / "two.py").write_text("import package.three\n")
    (folder / "three.py").write_text(f"{statement}\n")
    assert circles(imports(folder, typing=True)) == [
        ["package.one", "package.three", "package.two"]
    ]
    assert bool(circles(imports(folder, typing=False))) is not typing


NEUTRAL = {"_coremltools", "arrayfiles", "atomic", "bounded", "digests", "errors", "locks"}
NEUTRAL |= {"origin", "places", "plugins", "verdicts"}
"""What decides no value of a package or a golden: files, errors, gates, where things lie."""


@pytest.mark.parametrize(
    ("start", "rooms"),
    [("harness.conversion", PACKAGE_ROOMS), ("harness.golden.builder", GOLDEN_ROOMS)],
)
def test_a_stored_thing_is_named_by_all_the_code_that_makes_it(
    start: str, rooms: tuple[str, ...]
) -> None:
    graph = imports(ROOT, typing=False)
    reached: set[str] = set()
    waiting = [name for name in graph if name.startswith(start)]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(graph[name])
    found = {name.split(".")[1] for name in reached if "." in name}
    assert found - NEUTRAL == set(rooms)


def test_other_code_gets_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mil").mkdir()
    file, other = tmp_path / "mil" / "erf.py", tmp_path / "report.py"
    file.write_text("x = 1\n")
    other.write_text("y = 1\n")
    monkeypatch.setattr(harness, "__file__", str(tmp_path / "__init__.py"))
    named = source_hash.__wrapped__
    room, whole = named("mil"), named()
    other.write_text("y = 2\n")
    assert (named("mil"), named()) == (room, named())
    assert named() != whole
    file.write_text("x = 2\n")
    assert named("mil") != room
