from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.packs import BOOKS, Pack, answered, open_pack, write_pack

EXAMPLE = Path("examples", "cpp", "reader.cpp").resolve()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pack]:
    """Both packs that need nothing but this program; tests that damage one copy it first."""
    folder = tmp_path_factory.mktemp("packs")
    for name, book in BOOKS.items():
        operations = {operation.name: operation.summary for operation in book.operations.values()}
        write_pack(folder / name, name, answered(book), operations)
    return {name: open_pack(folder / name) for name in BOOKS}


@pytest.fixture
def ops(built: dict[str, Pack]) -> Pack:
    return built["ops"]


@pytest.fixture
def dsp(built: dict[str, Pack]) -> Pack:
    return built["dsp"]


@pytest.fixture
def copied(ops: Pack, tmp_path: Path) -> Path:
    """A pack that may be damaged."""
    return Path(shutil.copytree(ops.folder, tmp_path / "copied"))


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in C++, compiled."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("not evaluated: neither g++ nor clang++ is here to compile examples/cpp")
    program = tmp_path_factory.mktemp("cpp") / "reader"
    words = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", str(EXAMPLE)]
    done = subprocess.run([*words, "-o", str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program
