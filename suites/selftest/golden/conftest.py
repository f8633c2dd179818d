from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest
from golden_fakes import FakeSubject, make_root, make_store

from harness.golden import GoldenStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "golden")


@pytest.fixture
def subject() -> FakeSubject:
    return FakeSubject()


@pytest.fixture
def store(root: Path) -> GoldenStore[FakeSubject]:
    return make_store(root)


@pytest.fixture
def recorded(store: GoldenStore[FakeSubject], subject: FakeSubject) -> GoldenStore[FakeSubject]:
    """A store whose ``noise`` is built and committed."""
    store.build(subject, "noise", record=True)
    return store


@pytest.fixture(scope="session")
def processes() -> Any:
    """Starts child processes: forked from a clean server, so that dozens take a second."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["golden_fakes", "harness.subjects.signals"])
    return context
