"""Goldens of one's own checkpoints, in a folder of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.verdicts import Run
from harness.workbench import Workbench
from harness.workbench.check import Inquiry, check_package

GOLDEN = Path(__file__).parents[3] / "golden"

Judge = Callable[..., Run]


@pytest.fixture(scope="session")
def golden_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("golden")
    for name in ("recipes.toml", "manifest.json"):
        shutil.copy(GOLDEN / name, root)
    return root


@pytest.fixture(scope="session")
def judged(golden_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Judge a package of a subject on a song."""
    bench = Workbench(golden_root, tmp_path_factory.mktemp("packages"))

    def judge(package: Path, subject: str, **asked: Any) -> Run:
        inquiry = Inquiry(package, subject, ("song",), **asked)
        return check_package(bench, inquiry, lambda what, done, total: None).finish({})

    return judge
